"""Training and validation phantoms on the network's grid, cached as .npz files.

```
python experiments/phantom/cases.py CACHE_FOLDER [--jobs 2]
```

makes them all beforehand; `train.py` makes what is missing.
"""

import argparse
import logging
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from suprem.phantom import TRAINING_SEEDS, VALIDATION_SEEDS, PhantomCase, generate
from suprem.volumes.geometry import nearest_index, resample_linear, resampled_shape, to_ras

SPACING_MM = (4.0, 4.0, 4.0)
SCAN_SPACINGS_MM = ((3.0, 3.0, 3.0), (2.0, 2.0, 3.0), (2.5, 2.5, 2.5), (2.5, 2.5, 5.0))
LESION_PROBABILITY = 0.85


def resampled(
    case: PhantomCase, spacing_mm: tuple[float, float, float]
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    """CT and label index of a phantom at another spacing, the way a scan is resampled before inference."""
    ct, _ = to_ras(case.ct)
    shape = resampled_shape(ct.shape, ct.spacing_mm, spacing_mm)
    steps = tuple(t / s for t, s in zip(spacing_mm, ct.spacing_mm, strict=True))
    image = np.rint(resample_linear(ct.array, shape, (steps[0], steps[1], steps[2]))).astype(np.int16)
    nearest = [nearest_index(n, m, s) for n, m, s in zip(ct.shape, shape, steps, strict=True)]
    return image, case.labels.array[np.ix_(*nearest)]


def prepared_case(seed: int, cache: Path) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    """CT (int16 HU) and label index (uint8) of one phantom at :data:`SPACING_MM`, both (X, Y, Z) in RAS.

    The scanner's spacing changes from seed to seed, and both arrays are resampled the way a scan is before inference.
    """
    file = cache / f"{seed}.npz"
    if not file.exists():
        case = generate(
            seed,
            spacing_mm=SCAN_SPACINGS_MM[seed % len(SCAN_SPACINGS_MM)],
            lesion_probability=LESION_PROBABILITY if seed in TRAINING_SEEDS else 1.0,
        )
        image, labels = resampled(case, SPACING_MM)
        np.savez(file, image=image, labels=labels)
    with np.load(file) as stored:
        return stored["image"], stored["labels"]


def _make(seed: int, cache: Path) -> int:
    prepared_case(seed, cache)
    return seed


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    options.cache.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(options.jobs) as pool:
        for seed in pool.map(partial(_make, cache=options.cache), (*VALIDATION_SEEDS, *TRAINING_SEEDS)):
            logging.info("seed %d", seed)


if __name__ == "__main__":
    main()
