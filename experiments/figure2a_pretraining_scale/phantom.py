"""Figure 2a on phantoms: how many volumes pre-training needs, with and without labels.

```
python -m experiments.figure2a_pretraining_scale.phantom WORK
```

Every pre-training of a kind has the same number of steps, however many volumes it sees.
"""

from pathlib import Path
from typing import Any

from experiments.phantom.study import GROUPS, SEEDS, Pretraining, dsc_row, main, pretrain_all, run_study, starts
from suprem.evaluation.statistics import welch_t
from suprem.transfer.summary import Cell, summarise

BACKBONE = "segresnet_tiny"
VOLUMES = {"supervised": (2, 8, 32), "self_supervised": (8, 32)}
SHOTS = 8


def experiment(work: Path, jobs: int) -> list[dict[str, Any]]:
    """One row for each kind and number of volumes; the fewest with labels are tested against the most without."""
    # All phantoms are no subset, so that other experiments find the same networks.
    everything_seen = len(SEEDS["pretrain"])
    runs = {
        (kind, volumes): Pretraining(BACKBONE, kind, None if volumes == everything_seen else volumes)
        for kind, sizes in VOLUMES.items()
        for volumes in sizes
    }
    found = pretrain_all(list(runs.values()), work, jobs)
    sources = {f"{kind}-{volumes}": found[run] for (kind, volumes), run in runs.items()}
    model = {"backbone": BACKBONE, "initialisations": starts(work, sources)}
    everything = {"all": [name for members in GROUPS.values() for name in members]}
    folder = run_study(
        work, "figure2a", jobs, models={BACKBONE: model}, shots=[SHOTS], groups=everything, baseline=None
    )
    cells = {cell.initialisation: cell for cell in summarise(folder.study, folder.results())}
    rows = []
    for kind, volumes in runs:
        keys = {"target": "phantom", "pretraining": kind, "volumes": volumes}
        rows.append({**dsc_row(cells[f"{kind}-{volumes}"], **keys), "note": ""})
        rows.append({**keys, "metric": "gpu_hours", "note": "pre-trained on a CPU"})
    fewest, most = (cells[f"{kind}-{pick(VOLUMES[kind])}"] for kind, pick in zip(VOLUMES, (min, max), strict=True))
    rows[0] |= {"p_value": f"{_p_value(fewest, most):.3g}", "test": "Welch's t"}
    return rows


def _p_value(one: Cell, other: Cell) -> float:
    return float(welch_t(one.values, other.values).p_value)


if __name__ == "__main__":
    main("figure2a_pretraining_scale", __doc__, experiment)
