"""The data module of the command line: stores, or raw data that become one first."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from suprem.datamodules.ct import CTDataModule
from suprem.datasets._prepare import prepare
from suprem.errors import ConfigurationError

__all__ = ["TrainingData"]

_RANKS = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
_POLL_S = 1.0


class TrainingData(CTDataModule):
    """:class:`CTDataModule` of stores, or of a dataset's raw folder, which is prepared first.

    Args:
        classes: Structures in channel order; synonyms are accepted.
        stores: Folders or addresses of stores; ``None`` prepares ``dataset`` from ``root``.
        dataset: A name of ``suprem data list``; ``folder`` is data of your own.
        root: Folder of the raw data.
        store: Where the prepared data go; ``None`` takes ``stores/DATASET_FOLDER_SPACING`` in the working folder. What
            is there already is not done again.
        spacing_mm: Of the prepared data (x, y, z); ``None`` keeps each scan's own.
        jobs: Processes that prepare.
        **options: See :class:`CTDataModule`.

    Raises:
        ConfigurationError: neither or both of ``stores`` and ``dataset`` with ``root`` are given, or no case could be
            prepared; and as :class:`CTDataModule`.
    """

    def __init__(
        self,
        classes: Sequence[str],
        *,
        stores: str | list[str] | None = None,
        dataset: str | None = None,
        root: str | None = None,
        store: str | None = None,
        spacing_mm: tuple[float, float, float] | None = (1.5, 1.5, 1.5),
        jobs: int = 1,
        **options: Any,
    ) -> None:
        if (stores is None) == (dataset is None) or (dataset is None) != (root is None):
            raise ConfigurationError(
                f"stores is {stores}, dataset {dataset} and root {root}; give either stores, or a dataset and the root "
                "folder of its raw data."
            )
        if stores is None:
            stores = str(_prepared(str(dataset), Path(str(root)), store, spacing_mm, jobs))
        super().__init__(stores, classes, **options)


def _prepared(
    dataset: str, root: Path, store: str | None, spacing_mm: tuple[float, float, float] | None, jobs: int
) -> Path:
    name = "own" if spacing_mm is None else "x".join(f"{step:g}" for step in spacing_mm)
    place = Path(store) if store else Path("stores") / f"{dataset}_{root.resolve().name}_{name}"
    if any(int(os.environ.get(rank, "0")) for rank in _RANKS):
        while not (place / "index.jsonl").exists():  # the first process is preparing
            time.sleep(_POLL_S)
        return place
    report = prepare(dataset, root, place, spacing_mm=spacing_mm, jobs=jobs)
    if not report.done and not report.skipped:
        first = f" First: {report.problems[0].case}: {report.problems[0].reason}" if report.problems else ""
        raise ConfigurationError(f"No case of {root} could be prepared; see {place / 'problems.csv'}.{first}")
    return place
