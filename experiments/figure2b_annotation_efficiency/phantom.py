"""Figure 2b on phantoms: how many annotated volumes fine-tuning needs, after pre-training with and without labels.

```
python -m experiments.figure2b_annotation_efficiency.phantom WORK
```
"""

from pathlib import Path
from typing import Any

from experiments.phantom.study import GROUPS, Pretraining, dsc_row, main, pretrain_all, run_study, starts
from suprem.transfer.summary import summarise

BACKBONE = "segresnet_tiny"
SHOTS = [2, 4, 8, 16]


def experiment(work: Path, jobs: int) -> list[dict[str, Any]]:
    """One row for each pre-training and number of volumes; unseen structures only."""
    found = pretrain_all([Pretraining(BACKBONE, kind) for kind in ("self_supervised", "supervised")], work, jobs)
    model = {"backbone": BACKBONE, "initialisations": starts(work, {run.kind: found[run] for run in found})}
    everything = {"all": [name for members in GROUPS.values() for name in members]}
    folder = run_study(
        work, "figure2b", jobs, models={BACKBONE: model}, shots=SHOTS, groups=everything, baseline="self_supervised"
    )
    return [
        dsc_row(cell, target="phantom", pretraining=cell.initialisation, volumes=cell.shots)
        for cell in summarise(folder.study, folder.results())
    ]


if __name__ == "__main__":
    main("figure2b_annotation_efficiency", __doc__, experiment)
