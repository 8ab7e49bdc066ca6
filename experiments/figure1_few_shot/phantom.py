"""Figure 1 on phantoms: fine-tuning on few cases, from random, self-supervised and supervised weights.

```
python -m experiments.figure1_few_shot.phantom WORK
```
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.phantom.study import GROUPS, Pretraining, dsc_row, main, pretrain_all, run_study, starts
from suprem.transfer.summary import summarise

BACKBONE = "segresnet_tiny"
SHOTS = [1, 4, 16]


def experiment(work: Path, jobs: int) -> list[dict[str, Any]]:
    """One row for each starting point and number of cases."""
    found = pretrain_all([Pretraining(BACKBONE, kind) for kind in ("self_supervised", "supervised")], work, jobs)
    sources = {"scratch": None, **{run.kind: source for run, source in found.items()}}
    model = {"backbone": BACKBONE, "initialisations": starts(work, sources)}
    everything = {"all": [name for members in GROUPS.values() for name in members]}
    folder = run_study(work, "figure1", jobs, models={BACKBONE: model}, shots=SHOTS, groups=everything)
    against = replace(folder.study, baseline="self_supervised")
    return [
        dsc_row(cell, target="phantom", pretraining=cell.initialisation, shots=cell.shots)
        for cell in summarise(against, folder.results())
    ]


if __name__ == "__main__":
    main("figure1_few_shot", __doc__, experiment)
