"""Table 1 on phantoms: some source datasets, written in their own layouts, prepared, and counted.

```
python -m experiments.table1_dataset.phantom WORK
```
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.phantom.study import SPACING, collect, main
from suprem.datasets import dataset
from suprem.datasets._prepare import prepare
from suprem.phantom import generate
from suprem.phantom.disguise import disguise
from suprem.volumes.store import Store

SOURCES = {"lits": "LiTS", "word": "WORD", "amos22": "AMOS22", "kits": "KiTS", "chaos_ct": "CHAOS"}
"""Name here -> name in the paper's table."""

CASES = 2


def count(name: str, work: Path) -> dict[str, int]:
    """Writes, prepares and counts one dataset."""
    root, store = work / "table1" / name, work / "table1" / f"{name}-store"
    spec = dataset(name)
    if not root.exists():
        for number in range(CASES):
            case = generate(3500 + number, spacing_mm=SPACING)
            _write(case, spec, root, number)
    prepare(name, root, store, spacing_mm=None)
    return _counted(Store.open(store))


def _write(case: Any, spec: Any, root: Path, number: int) -> None:
    family = next(f for variant in spec.variants for f in variant.files if f.label)
    variant = next(v for v in spec.variants if family in v.files)
    values = {name: _other(field.example, number) for name, field in family.fields.items()}
    disguise(case, spec, variant, root, values=values)


def _other(example: str, number: int) -> str:
    """The example of a field, or for the second case the next number."""
    return str(int(example) + number).zfill(len(example)) if example.isdigit() else example


def _counted(store: Store) -> dict[str, int]:
    structures, masks, slices, voxels = set[str](), 0, 0, 0
    for record in store.records:
        present = [name for name in record.annotated if record.voxels[name]]
        structures.update(record.annotated)
        masks += len(present)
        voxels += sum(record.voxels.values())
        slices += int(np.count_nonzero(store.case(record.key).labels().any(axis=(0, 1))))
    return {
        "volumes": len(store), "organs": len(structures), "masks": masks, "slices": slices, "voxels": voxels,
    }  # fmt: skip


def experiment(work: Path, jobs: int) -> list[dict[str, Any]]:
    """One row for each dataset and count."""
    rows = []
    found = collect(partial(count, work=work), list(SOURCES), jobs)
    for name, shown in SOURCES.items():
        rows += [
            {
                "dataset": shown,
                "metric": metric,
                "mean": value / 1e9 if metric == "voxels" else value,
                "note": "phantoms",
            }
            for metric, value in found[name].items()
        ]
    return rows


if __name__ == "__main__":
    main("table1_dataset", __doc__, experiment, stores=False)
