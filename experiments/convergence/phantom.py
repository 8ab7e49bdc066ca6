"""Convergence on phantoms: the scores of a fine-tuning on its way, after supervised and self-supervised pre-training.

```
python -m experiments.convergence.phantom WORK
```
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from experiments.phantom.study import GROUPS, TRAINING, Pretraining, main, pretrain_all, run_study, starts
from suprem.evaluation.statistics import welch_t

BACKBONE = "segresnet_tiny"
STEPS, EVERY, SHOTS = 160, 40, 8


def experiment(work: Path, jobs: int) -> list[dict[str, Any]]:
    """One row for each pre-training and number of steps."""
    found = pretrain_all([Pretraining(BACKBONE, kind) for kind in ("self_supervised", "supervised")], work, jobs)
    model = {"backbone": BACKBONE, "initialisations": starts(work, {run.kind: found[run] for run in found})}
    everything = {"all": [name for members in GROUPS.values() for name in members]}
    folder = run_study(
        work, "convergence", jobs, models={BACKBONE: model}, shots=[SHOTS], groups=everything,
        baseline="self_supervised", training={**TRAINING, "steps": STEPS, "curve_every": EVERY},
    )  # fmt: skip
    scores: dict[tuple[str, int], list[float]] = {}
    for result in folder.results():
        for step, score in result.facts["curve"]:
            scores.setdefault((result.run.initialisation, int(step)), []).append(100 * score)
    rows = [_row(kind, step, values, scores[("self_supervised", step)]) for (kind, step), values in scores.items()]
    empty = {"target": "phantom", "steps": "", "metric": "gpu_hours", "note": "trained on a CPU"}
    return [*rows, *({**empty, "pretraining": kind} for kind in ("self_supervised", "supervised"))]


def _row(kind: str, step: int, values: list[float], against: list[float]) -> dict[str, Any]:
    tested = kind == "supervised" and np.ptp(values) > 0 and np.ptp(against) > 0
    p_value = float(welch_t(values, against).p_value) if tested else math.nan
    return {
        "target": "phantom",
        "pretraining": kind,
        "steps": step,
        "metric": "dsc",
        "mean": f"{np.mean(values):.2f}",
        "sd": f"{np.std(values, ddof=1):.2f}",
        "n": len(values),
        "p_value": f"{p_value:.3g}" if tested else "",
        "test": "Welch's t" if tested else "",
        "note": "",
    }


if __name__ == "__main__":
    main("convergence", __doc__, experiment)
