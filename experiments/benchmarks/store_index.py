"""Seconds to open a store of 10,000 cases, to split and shuffle them, and what of the folder is looked at meanwhile.

    python experiments/benchmarks/store_index.py

The index is that of 10,000 tiny cases with 25 structures each; the folders of the cases do not even exist. Writes
`results_store_index.csv` beside itself: medians over the repeats, least and most.
"""

import csv
import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from suprem.datamodules import CTDataModule
from suprem.datamodules._patches import epoch_plan
from suprem.labels import label_space
from suprem.volumes import Volume
from suprem.volumes.store import Store, StoreSettings, create_store, write_case, write_index

CASES, REPEATS = 10_000, 5


def make(root: Path) -> None:
    """One real case, and its line in the index 10,000 times under other names."""
    names = label_space("abdomenatlas_1_1").names
    create_store(root, StoreSettings((1.5, 1.5, 1.5)))
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    record = write_case(
        root,
        dataset="tiny",
        case="0",
        scan="0",
        subject="0",
        split=None,
        ct=Volume(np.zeros((8, 8, 8), np.int16), affine),
        labels=Volume(np.arange(512, dtype=np.uint16).reshape(8, 8, 8) % (len(names) + 1), affine),
        original_shape=(8, 8, 8),
        original_affine=affine,
        table=(frozenset[str](), *(frozenset({name}) for name in names)),
        annotated=frozenset(names),
    )
    write_index(root)
    lines = []
    for number in range(CASES):
        name = f"case_{number:05}"
        lines.append(json.dumps(replace(record, case=name, scan=name, subject=name, scan_hash=name).to_json()))
    (root / "index.jsonl").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Measures and writes the table."""
    seconds: dict[str, list[float]] = {}
    listed: list[str] = []
    sys.addaudithook(lambda event, _: listed.append(event) if event in ("os.listdir", "os.scandir") else None)

    def timed(what: str, start: float) -> None:
        seconds.setdefault(what, []).append(time.perf_counter() - start)

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "store"
        make(root)
        size = (root / "index.jsonl").stat().st_size
        listed.clear()
        for repeat in range(REPEATS):
            start = time.perf_counter()
            store = Store.open(root)
            timed("open", start)
            assert len(store) == CASES
            start = time.perf_counter()
            module = CTDataModule(root, store.records[0].annotated)
            timed("data module: open, split by scan and patient", start)
            start = time.perf_counter()
            plan = epoch_plan(module.split.train, CASES, epoch=repeat, seed=0, weights=None, all_copies=False)
            timed("shuffle one epoch", start)
            assert len(set(plan.tolist())) == len(module.split.train)
        looked = len(listed)
    path = Path(__file__).with_name("results_store_index.csv")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", "cases", "index_mib", "median_s", "least_s", "most_s", "folders_listed"])
        for what, values in seconds.items():
            row = [f"{v:.3f}" for v in (statistics.median(values), min(values), max(values))]
            writer.writerow([what, CASES, f"{size / 2**20:.1f}", *row, looked])
    print(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
