"""Scores weights on synthetic CTs that none of them has seen, beside the per-voxel classifier.

```
python experiments/phantom/evaluate.py segresnet_tiny.phantom local-dir:RUN/model --spacing 2
```

Seeds 1 to 10 by default, at the given spacing, with the scan's own grid as the grid of the scores. Prints the mean over
the 25 organs and over the 7 lesions, and writes one row per weights and structure to results_evaluate.csv beside this
file.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from suprem import load_pretrained
from suprem.evaluation.metrics import dice
from suprem.inference import Predictor
from suprem.labels import label_space
from suprem.phantom import generate
from suprem.phantom.baseline import PositionBaseline

NAMES = label_space("universal_32").names
LESIONS = tuple(name for name in NAMES if name.endswith(("_tumor", "_cyst")))
ORGANS = tuple(name for name in NAMES if name not in LESIONS)
BASELINE = "HU and position of each voxel"
TARGET = Path(__file__).with_name("results_evaluate.csv")


def scores(models: Sequence[str], seeds: range, spacing: float) -> dict[str, dict[str, list[float]]]:
    """Dice coefficients of every structure in the phantoms that have it, by model."""
    predictors = {name: Predictor(load_pretrained(name), device="cpu", quality="exhaustive") for name in models}
    baseline = PositionBaseline.bundled()
    found: dict[str, dict[str, list[float]]] = {name: {n: [] for n in NAMES} for name in (*models, BASELINE)}
    for seed in seeds:
        case = generate(seed, spacing_mm=(spacing, spacing, spacing))
        masks = {name: predictor.predict(case.ct).mask for name, predictor in predictors.items()}
        masks[BASELINE] = baseline.predict(case.ct).mask
        for structure in case.structures:
            truth = case.mask(structure)
            for name, mask in masks.items():
                found[name][structure].append(dice(mask(structure), truth))
        print(f"seed {seed}: {len(case.structures)} structures, {case.ct.array.shape} voxels", flush=True)
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="as for load_pretrained; NAME=SOURCE gives a name for the table")
    parser.add_argument("--seeds", type=int, nargs=2, default=(1, 11), metavar=("FIRST", "BEHIND"))
    parser.add_argument("--spacing", type=float, default=2.0, help="mm")
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()
    named = {text.rpartition("=")[0] or text: text.rpartition("=")[2] for text in options.models}
    found = scores(list(named.values()), range(*options.seeds), options.spacing)
    titles = {source: name for name, source in named.items()}
    with options.out.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["model", "structure", "dice", "cases"])
        for source, per_structure in found.items():
            name = titles.get(source, source)
            means = {n: float(np.mean(values)) for n, values in per_structure.items() if values}
            for group, members in (("25 organs", ORGANS), ("7 lesions", LESIONS), ("all 32", NAMES)):
                mean = float(np.mean([means[n] for n in members if n in means]))
                cases = sum(len(per_structure[n]) for n in members)
                table.writerow([name, group, f"{mean:.4f}", cases])
                print(f"{name}: {group} {mean:.3f}")
            for n, mean in means.items():
                table.writerow([name, n, f"{mean:.4f}", len(per_structure[n])])


if __name__ == "__main__":
    main()
