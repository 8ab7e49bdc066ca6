"""Convergence on phantoms: the scores of a fine-tuning on its way, after supervised and self-supervised pre-training.

```
python -m experiments.convergence.phantom WORK
```
"""

import math
from pathlib import Path
from typing import Any

from experiments.phantom.study import (
    GROUPS,
    TRAINING,
    Pretraining,
    main,
    number_row,
    pretrain_all,
    run_study,
    starts,
    welch_p,
)

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
    p_value = welch_p(values, against) if kind == "supervised" else math.nan
    return number_row("dsc", values, p_value, "Welch's t", target="phantom", pretraining=kind, steps=step)


if __name__ == "__main__":
    main("convergence", __doc__, experiment)
