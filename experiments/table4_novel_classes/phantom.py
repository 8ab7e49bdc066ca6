"""Table 4 on phantoms: Swin UNETR, each structure that pre-training has not seen.

```
python -m experiments.table4_novel_classes.phantom WORK
```

The runs are those of Swin UNETR in Table 2; in the same working folder they are not repeated.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.phantom.study import dsc_row, main
from experiments.table2_transfer.phantom import study
from suprem.transfer.summary import summarise


def experiment(work: Path, jobs: int) -> list[dict[str, Any]]:
    """One row for each structure and pre-training, and the average of each group."""
    folder = study(work, jobs, "swinunetr")
    against = replace(folder.study, baseline="self_supervised")
    results = [result for result in folder.results() if result.run.initialisation != "scratch"]
    cells = [*summarise(against, results, scope="structure"), *summarise(against, results)]
    return [
        dsc_row(
            cell, target="phantom", group=cell.group, structure=cell.structure or "average",
            pretraining=cell.initialisation,
        )
        for cell in cells
    ]  # fmt: skip


if __name__ == "__main__":
    main("table4_novel_classes", __doc__, experiment)
