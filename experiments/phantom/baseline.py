"""Fits the per-voxel HU + position classifier on the training phantoms and stores it in the package.

```
python experiments/phantom/baseline.py --cache CACHE_FOLDER
```
"""

import argparse
from pathlib import Path

from cases import SPACING_MM, prepared_case

from suprem.phantom import TRAINING_SEEDS
from suprem.phantom.baseline import PositionBaseline

TARGET = Path(__file__).parents[2] / "src" / "suprem" / "phantom" / "baseline.npz"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()
    cases = (prepared_case(seed, options.cache) for seed in TRAINING_SEEDS)
    PositionBaseline.fit(cases, SPACING_MM).save(options.out)
    print(f"{options.out}: {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
