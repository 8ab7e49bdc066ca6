"""From the measurements of `calibrate.py` to a probability that a mask is good, and how far that can be believed.

```
python experiments/quality/trust.py            # results_masks.csv -> results_flags.csv, results_trust.csv, the figure
```

A logistic regression gives the probability that the Dice coefficient is at least 0.7. Every phantom is judged by a
regression that was fitted on the other phantoms only, so no figure here is from a phantom that was used for fitting.
"""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from suprem.quality import reference_ranges
from suprem.quality.findings import FLAGS

HERE = Path(__file__).parent
MASKS, BY_FLAG, TRUST = (HERE / f"results_{name}.csv" for name in ("masks", "flags", "trust"))
FIGURE = HERE.parents[1] / "docs" / "explanation" / "quality-calibration.svg"
ENOUGH = 0.7
"""A mask counts as good from this Dice coefficient on."""
BINS = 10

Row = dict[str, str]
Array = npt.NDArray[np.float64]


def number(row: Row, column: str, otherwise: float) -> float:
    """A cell, or what stands for an empty one."""
    return float(row[column]) if row[column] else otherwise


def from_flags(row: Row) -> list[float]:
    """The flags alone, 0 or 1."""
    raised = row["flags"].split()
    return [float(flag in raised) for flag in FLAGS]


def from_measurements(row: Row) -> list[float]:
    """What the flags are made of, as numbers, with the flags that have no number behind them."""
    name, volume = row["structure"], float(row["volume_ml"])
    usual = reference_ranges().get((name, "volume_ml"))
    middle = (usual.low * usual.high) ** 0.5 if usual else volume
    raised = row["flags"].split()
    return [
        number(row, "border_share", 0.0),
        number(row, "largest_share", 1.0),
        float(np.log(number(row, "undecided_share", 1.0) + 0.01)),
        number(row, "undecided_mm", 0.0),
        abs(float(np.log(volume / middle))),
        float(np.log(volume)),
        *(float(flag in raised) for flag in ("volume", "intensity", "spread", "side")),
    ]


def probabilities(rows: Sequence[Row], good: Array, features: Callable[[Row], list[float]]) -> Array:
    """Probability that each mask is good, from the other phantoms."""
    values = np.array([features(row) for row in rows])
    seeds = np.array([row["seed"] for row in rows])
    result = np.empty(len(rows))
    for seed in np.unique(seeds):
        here = seeds == seed
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(values[~here], good[~here])
        result[here] = model.predict_proba(values[here])[:, 1]
    return result


def shares(rows: Sequence[Row], good: Array, key: Callable[[Row], str]) -> Array:
    """The share of good masks among those of the other phantoms with the same key, with one pseudo-count each way."""
    return np.array(
        [
            (1 + sum(g for r, g in zip(rows, good, strict=True) if r["seed"] != row["seed"] and key(r) == key(row)))
            / (2 + sum(r["seed"] != row["seed"] and key(r) == key(row) for r in rows))
            for row in rows
        ]
    )


def bins(predicted: Array, good: Array) -> list[tuple[float, float, int]]:
    """Mean prediction, observed share and count of each tenth of the probability scale that holds any."""
    index = np.minimum((predicted * BINS).astype(int), BINS - 1)
    found = [(i, index == i) for i in range(BINS) if (index == i).any()]
    return [(float(predicted[here].mean()), float(good[here].mean()), int(here.sum())) for _, here in found]


def calibration_error(predicted: Array, good: Array) -> float:
    """Expected calibration error: mean distance of prediction and observation over the bins, weighted by count."""
    return float(sum(abs(mean - share) * count for mean, share, count in bins(predicted, good)) / len(good))


def flag_rows(rows: Sequence[Row]) -> list[list[Any]]:
    """Per flag: how many masks have it, and their Dice coefficients beside those of the others."""
    table: list[list[Any]] = []
    for flag in (*(flag for flag in FLAGS if flag != "missing"), "any", "any but cut"):
        wanted = {"any": set(FLAGS), "any but cut": set(FLAGS) - {"cut"}}.get(flag, {flag})
        split: tuple[list[float], list[float]] = ([], [])
        for row in rows:
            if float(row["volume_ml"]) > 0:
                split[bool(wanted & set(row["flags"].split()))].append(float(row["dsc"]))
        means = [f"{np.mean(part):.3f}" if part else "" for part in split]
        good = [f"{np.mean(np.array(part) >= ENOUGH):.3f}" if part else "" for part in split]
        table.append([flag, len(split[1]), means[1], len(split[0]), means[0], good[1], good[0]])
    return table


def draw(curves: dict[str, tuple[Array, Array]]) -> None:
    """Predicted against observed shares; the size of a point is the number of masks."""
    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams.update({"svg.hashsalt": "suprem", "svg.fonttype": "none", "font.size": 9})
    figure, axes = pyplot.subplots(figsize=(4.6, 4.2))
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="perfect")
    for (name, (predicted, good)), style in zip(curves.items(), ("o-", "s--"), strict=True):
        found = np.array(bins(predicted, good))
        (line,) = axes.plot(found[:, 0], found[:, 1], style, markersize=3, linewidth=1, label=name)
        axes.scatter(found[:, 0], found[:, 1], s=found[:, 2] / 2, color=line.get_color(), alpha=0.3, linewidths=0)
    axes.set(xlabel=f"predicted probability that DSC >= {ENOUGH}", ylabel="observed share", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left", frameon=False)
    figure.tight_layout()
    figure.savefig(FIGURE, metadata={"Date": None})


def write(path: Path, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *rows])


def main() -> None:
    """Command line."""
    with MASKS.open(newline="", encoding="utf-8") as file:
        everything = list(csv.DictReader(file))
    write(
        BY_FLAG,
        ["flag", "masks with it", "mean DSC", "masks without", "mean DSC without", "good with it", "good without"],
        flag_rows(everything),
    )
    rows = [row for row in everything if float(row["volume_ml"]) > 0]
    good = np.array([float(row["dsc"]) >= ENOUGH for row in rows], dtype=float)
    estimates = {
        "one share for all": shares(rows, good, lambda row: ""),
        "share of the structure": shares(rows, good, lambda row: row["structure"]),
        "flags": probabilities(rows, good, from_flags),
        "measurements": probabilities(rows, good, from_measurements),
    }
    prior = {id(row): value for row, value in zip(rows, estimates["share of the structure"], strict=True)}
    both = "measurements and structure"
    estimates[both] = probabilities(
        rows, good, lambda row: [*from_measurements(row), float(np.log(prior[id(row)] / (1 - prior[id(row)])))]
    )
    conditions = ["all", *dict.fromkeys(row["condition"] for row in rows)]
    table = []
    for name, predicted in estimates.items():
        for condition in conditions:
            here = np.array([condition in ("all", row["condition"]) for row in rows])
            p, g = predicted[here], good[here]
            scores = (g.mean(), p.mean(), brier_score_loss(g, p), calibration_error(p, g), roc_auc_score(g, p))
            table.append([name, condition, len(g), *(f"{score:.3f}" for score in scores)])
    head = ["estimate from", "condition", "masks", "good", "predicted", "Brier score", "ECE", "AUC"]
    write(TRUST, head, table)
    draw({name: (estimates[name], good) for name in ("measurements", both)})


if __name__ == "__main__":
    main()
