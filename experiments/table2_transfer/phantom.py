"""Table 2 on phantoms: three backbones from random, self-supervised and supervised weights, two groups of structures.

```
python -m experiments.table2_transfer.phantom WORK
```
"""

from pathlib import Path
from typing import Any

from experiments.phantom.study import (
    BACKBONES,
    PATCH,
    PATCHES,
    TRAINING,
    Pretraining,
    dsc_row,
    main,
    pretrain_all,
    run_study,
    starts,
)
from suprem.transfer.run_table import StudyFolder
from suprem.transfer.summary import summarise

KINDS = ("self_supervised", "supervised")
SHOTS = 8


def study(work: Path, jobs: int, backbone: str) -> StudyFolder:
    """All runs of one backbone, which Table 4 looks at structure by structure."""
    found = pretrain_all([Pretraining(backbone, kind) for kind in KINDS], work, jobs)
    sources = {"scratch": None, **{run.kind: source for run, source in found.items()}}
    model = {
        "backbone": backbone,
        "backbone_kwargs": BACKBONES[backbone],
        "initialisations": starts(work, {name: sources[name] for name in ("scratch", *KINDS)}),
    }
    training = {**TRAINING, "patch_size": list(PATCHES.get(backbone, PATCH))}
    return run_study(work, f"table2-{backbone}", jobs, models={backbone: model}, shots=[SHOTS], training=training)


def experiment(work: Path, jobs: int) -> list[dict[str, Any]]:
    """One row for each backbone, starting point and group."""
    rows = []
    for backbone in BACKBONES:
        folder = study(work, jobs, backbone)
        rows += [
            dsc_row(cell, backbone=backbone, pretraining=cell.initialisation, target="phantom", group=cell.group)
            for cell in summarise(folder.study, folder.results())
        ]
    return rows


if __name__ == "__main__":
    main("table2_transfer", __doc__, experiment)
