"""What the quality flags see of masks whose true Dice coefficient is known, on phantoms that no network has seen.

```
python experiments/quality/calibrate.py            # 10 phantoms in four conditions -> results_masks.csv
```

Runs the bundled network on each phantom as it is, cropped in height, mirrored (as by a wrong header), and with added
noise. `trust.py` turns the table into an estimate and says how good it is.
"""

import csv
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suprem import load_pretrained
from suprem.evaluation.metrics import dice
from suprem.inference import Predictor
from suprem.phantom import TRAINING_SEEDS, VALIDATION_SEEDS, generate
from suprem.quality import Evidence, Finding, body_midline_mm, find, gather
from suprem.volumes.geometry import Volume

HERE = Path(__file__).parent
MASKS = HERE / "results_masks.csv"

MODEL = "segresnet_tiny.phantom"
SEEDS = range(3000, 3010)
SPACING_MM = (4.0, 4.0, 4.0)
OVERLAP = 0.25  # half the windows of the default, and half its time
CONDITIONS = ("as it is", "cropped", "mirrored", "noise")
NOISE_HU = 60.0

COLUMNS = (
    *("seed", "condition", "structure", "dsc", "volume_ml", "mean_hu", "std_hu", "border_share"),
    *("largest_share", "undecided_share", "undecided_mm", "flags"),
)

Array = npt.NDArray[Any]


def degraded(ct: Array, labels: Array, condition: str, rng: np.random.Generator) -> tuple[Array, Array]:
    """A phantom in one of the conditions; RAS, CT and labels alike."""
    if condition == "cropped":
        height = ct.shape[2]
        start = int(rng.uniform(0.1, 0.4) * height)
        stop = start + int(rng.uniform(0.35, 0.5) * height)
        return ct[:, :, start:stop].copy(), labels[:, :, start:stop].copy()
    if condition == "mirrored":
        return ct[::-1].copy(), labels[::-1].copy()
    if condition == "noise":
        noisy = ct + rng.normal(0.0, NOISE_HU, ct.shape)
        return np.clip(np.rint(noisy), -1024, 3071).astype(np.int16), labels
    return ct, labels


def examined(predictor: Predictor, ct: Volume) -> tuple[list[Evidence], tuple[Finding, ...], dict[str, Array]]:
    """What the flags are made of, the flags, and the masks."""
    segmentation = predictor.predict(ct)
    masks = {name: segmentation.mask(name) for name in segmentation.classes}
    evidence = []
    for name, mask in masks.items():
        values = ct.array[mask].astype(np.float64)
        mean, std = (float(values.mean()), float(values.std())) if values.size else (None, None)
        undecided = segmentation.undecided_ml[name]
        evidence.append(gather(name, mask, SPACING_MM, mean_hu=mean, std_hu=std, undecided_ml=undecided))
    return evidence, find(evidence, body_midline_mm(ct.array, SPACING_MM)), masks


def rows_of(predictor: Predictor, seed: int) -> Iterator[dict[str, Any]]:
    """One row per condition and structure that is there or was found."""
    case = generate(seed, spacing_mm=SPACING_MM)
    for number, condition in enumerate(CONDITIONS):
        rng = np.random.default_rng([seed, number])
        ct, labels = degraded(case.ct.array, case.labels.array, condition, rng)
        evidence, findings, masks = examined(predictor, Volume(ct, case.ct.affine, f"phantom {seed}, {condition}"))
        for one in evidence:
            truth = np.array([one.structure in entry for entry in case.table])[labels]
            if one.empty and not truth.any():
                continue
            flags = " ".join(finding.flag for finding in findings if finding.structure == one.structure)
            measured = {key: _cell(getattr(one, key)) for key in COLUMNS if hasattr(one, key) and key != "structure"}
            score = f"{dice(masks[one.structure], truth):.4f}"
            yield {
                **{"seed": seed, "condition": condition, "structure": one.structure},
                **measured,
                "dsc": score,
                "flags": flags,
            }


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def main() -> None:
    """Writes results_masks.csv."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if set(SEEDS) & {*TRAINING_SEEDS, *VALIDATION_SEEDS}:
        raise SystemExit("The network was trained on some of these phantoms; choose other seeds.")
    predictor = Predictor(load_pretrained(MODEL), device="cpu", quality="exhaustive", overlap=OVERLAP)
    start = time.perf_counter()
    with MASKS.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        for seed in SEEDS:
            table.writerows(rows_of(predictor, seed))
            file.flush()
            logging.info("seed %d, %.0f s", seed, time.perf_counter() - start)


if __name__ == "__main__":
    main()
