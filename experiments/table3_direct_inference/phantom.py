"""Table 3 on phantoms: a network as it is on scans of another scanner, beside one that was trained on such scans.

```
python -m experiments.table3_direct_inference.phantom WORK
```

The other scanner has thick slices (4 x 4 x 8 mm), resampled to the grid of the networks.
"""

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.phantom.study import WINDOW, Pretraining, collect, main, make_store, number_row, pretrain_all
from suprem.evaluation.statistics import one_sample_t
from suprem.inference.predictor import Predictor
from suprem.transfer.scoring import mean_scores, scored_cases
from suprem.transfer.study import study_from
from suprem.zoo import load_pretrained

NINE = (
    *("spleen", "kidney_right", "kidney_left", "gall_bladder", "liver", "aorta", "postcava", "pancreas"),
    "colon",
)
"""Organs of the paper's table, with the colon for the stomach, whose masks no pre-training here has seen."""

BACKBONE = "segresnet_tiny"
REPEATS = (0, 1, 2)
THICK = (4.0, 4.0, 8.0)


def scores(source: str, work: Path) -> dict[str, float]:
    """Mean DSC of each organ in percent, on the test scans of the other scanner."""
    study = study_from(
        {
            "stores": [str(work / "thick-train-store")],
            "groups": {"nine": list(NINE)},
            "models": {"net": {"backbone": BACKBONE, "initialisations": {"scratch": None}}},
            "scoring": {"store": str(work / "thick-test-store")},
        },
        "table 3",
    )
    predictor = Predictor(
        load_pretrained(source),
        classes=NINE,
        device="cpu",
        quality="exhaustive",
        overlap=WINDOW["overlap"],
        max_ram=None,
    )
    rows = [row for case in scored_cases(study) for row in case.scores(predictor, NINE, 1.0)]
    return {name: 100 * value for name, value in mean_scores(rows, "dsc").items()}


def experiment(work: Path, jobs: int) -> list[dict[str, Any]]:
    """One row for each organ and model, and the average."""
    for name, seeds in (("thick-train", range(3300, 3316)), ("thick-test", range(3400, 3404))):
        make_store(work, name, seeds, jobs=jobs, scan_spacing=THICK)
    repeats = [Pretraining(BACKBONE, "supervised", seed=seed) for seed in REPEATS]
    own = Pretraining(BACKBONE, "supervised", store="thick-train")
    found = pretrain_all([*repeats, own], work, jobs)
    outcomes = collect(partial(scores, work=work), [found[run] for run in (*repeats, own)], jobs)
    direct = [outcomes[found[run]] for run in repeats]
    iid = outcomes[found[own]]
    rows = []
    for name in (*NINE, "average"):
        values = [float(np.mean(list(d.values()))) if name == "average" else d[name] for d in direct]
        value = float(np.mean(list(iid.values()))) if name == "average" else iid[name]
        rows += _rows(name, values, value)
    return rows


def _rows(name: str, values: list[float], iid: float) -> list[dict[str, Any]]:
    p_value = float(one_sample_t(values, iid).p_value) if np.ptp(values) > 0 else math.nan
    keys = {"structure": name, "target": "phantom"}
    direct = number_row("dsc", values, p_value, "one-sample t", model="direct", **keys)
    if math.isnan(p_value):
        direct["note"] = "all repeats gave the same value"
    return [direct, number_row("dsc", [iid], model="iid", **keys)]


if __name__ == "__main__":
    main("table3_direct_inference", __doc__, experiment)
