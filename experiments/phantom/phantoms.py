"""Writes synthetic CTs as a dataset in nnU-Net's raw format, which `suprem data prepare folder` and others read.

```
python experiments/phantom/phantoms.py phantoms --seeds 1000 1080 --jobs 2
suprem data prepare folder --root phantoms --out phantoms-2mm --spacing 2 --jobs 2
```

What is there already is not made again.
"""

import argparse
import json
import logging
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from suprem.labels import label_space
from suprem.phantom import generate, phantom_table
from suprem.volumes.geometry import Volume
from suprem.volumes.io import write_volume

FINE = ((2.0, 2.0, 2.0), (2.0, 2.0, 3.0), (2.5, 2.5, 2.5), (2.0, 2.0, 2.5))
"""Spacings of the scans, in mm; they change from seed to seed."""


def write_case(seed: int, root: Path, spacings: tuple[tuple[float, float, float], ...], lesions: float) -> int:
    """One phantom as image and label map of palette indices; the label appears last and marks the case as complete."""
    name = f"phantom_{seed:04d}"
    label = root / "labelsTr" / f"{name}.nii.gz"
    if not label.exists():
        case = generate(seed, spacing_mm=spacings[seed % len(spacings)], lesion_probability=lesions)
        write_volume(case.ct, root / "imagesTr" / f"{name}_0000.nii.gz")
        write_volume(Volume(case.labels.array, case.labels.affine, name), label)
    return seed


def write_description(root: Path) -> None:
    """The dataset.json: each structure is a region, the union of the palette indices that belong to it."""
    table = phantom_table()
    regions: dict[str, int | list[int]] = {"background": 0}
    for name in label_space("universal_32").names:
        regions[name] = [index for index, entry in enumerate(table) if name in entry]
    cases = len(list((root / "labelsTr").glob("*.nii.gz")))
    content = {
        "name": "phantoms",
        "channel_names": {"0": "CT"},
        "labels": regions,
        "regions_class_order": list(range(1, len(regions))),
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def write_dataset(
    root: Path,
    seeds: range,
    *,
    spacings: tuple[tuple[float, float, float], ...] = FINE,
    lesions: float = 0.85,
    jobs: int = 1,
) -> None:
    """All phantoms of some seeds, below ``root``."""
    for part in ("imagesTr", "labelsTr"):
        (root / part).mkdir(parents=True, exist_ok=True)
    make = partial(write_case, root=root, spacings=spacings, lesions=lesions)
    with ProcessPoolExecutor(jobs) as pool:
        for seed in pool.map(make, seeds):
            logging.info("seed %d", seed)
    write_description(root)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--seeds", type=int, nargs=2, default=(1000, 1080), metavar=("FIRST", "BEHIND_LAST"))
    parser.add_argument("--spacing", type=float, nargs=3, help="Of every scan, in mm; else it changes.")
    parser.add_argument("--lesions", type=float, default=0.85, help="Probability of each kind of lesion.")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    spacings = (tuple(options.spacing),) if options.spacing else FINE
    write_dataset(options.root, range(*options.seeds), spacings=spacings, lesions=options.lesions, jobs=options.jobs)


if __name__ == "__main__":
    main()
