"""The data module of classification: one box per case, with the category that a table gives it."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pytorch_lightning.utilities import move_data_to_device

from suprem._files import read_csv
from suprem.datamodules._classes import Channels, known_names
from suprem.datamodules._loader import StreamLoader
from suprem.datamodules._patches import PatchDataset, Sample, Start
from suprem.datamodules.ct import CTDataModule
from suprem.errors import ConfigurationError
from suprem.volumes.store import StoredCase

__all__ = ["CategoryDataModule", "read_categories"]

_COLUMNS = ("case", "category")


def read_categories(path: str | Path) -> dict[str, str]:
    """Case -> category, from a CSV file with the columns ``case`` and ``category``; others are ignored.

    Raises:
        ConfigurationError: it cannot be read, lacks a column, or names a case twice with different categories.
    """
    columns, rows = read_csv(Path(path), advice="Save it as CSV in UTF-8.")
    missing = [name for name in _COLUMNS if name not in columns]
    if missing:
        raise ConfigurationError(f"{path} has no column {', '.join(missing)}; its first line must name them.")
    found: dict[str, str] = {}
    for row in rows:
        case, category = (str(row[name] or "").strip() for name in _COLUMNS)
        if found.setdefault(case, category) != category:
            raise ConfigurationError(
                f"{path} says that {case} is {found[case]!r} and {category!r}; keep one line per case."
            )
    return found


class CategoryDataModule(CTDataModule):
    """Boxes of one size around a structure, or around the body, with one category per case.

    A batch holds ``image`` float32 (N, 1, X, Y, Z) in [0, 1]; ``region`` bool (N, 1, X, Y, Z), voxels of the structure
    (absent without one); ``category`` int64 (N,), index into :attr:`categories`; ``keys``, the cases.

    Args:
        stores: As for :class:`CTDataModule`.
        table: CSV file with the columns ``case`` (``DATASET/CASE``, or the case alone where that is unambiguous) and
            ``category``. Cases that it does not name are left out.
        region: Structure in whose middle a box is placed; cases that have none of it are left out. ``None`` takes the
            middle of the body.
        categories: Their order; ``None`` sorts those of the table.
        jitter: How far boxes of the training move from the middle, as a share of their size.
        **options: See :class:`CTDataModule`.

    Raises:
        ConfigurationError: the table names no case of the stores, or less than two categories, or one that is not
            among ``categories``; and as :class:`CTDataModule`.

    Attributes:
        categories: names, in the order of the network's outputs.
    """

    def __init__(
        self,
        stores: str | list[str],
        *,
        table: str,
        region: str | None = None,
        categories: Sequence[str] | None = None,
        jitter: float = 0.1,
        **options: Any,
    ) -> None:
        wanted = read_categories(table)
        self.categories = tuple(categories) if categories else tuple(sorted(set(wanted.values())))
        wrong = sorted(set(wanted.values()) - set(self.categories))
        if len(self.categories) < 2 or wrong:
            raise ConfigurationError(
                f"{table} has the categories {', '.join(sorted(set(wanted.values())))}, the task "
                f"{', '.join(self.categories)}; at least two are needed, and all of the table."
            )
        if not 0 <= jitter < 0.5:
            raise ConfigurationError(f"jitter is {jitter}; it must lie in [0, 0.5).")
        self.table, self.region, self.jitter, self._wanted = table, region, jitter, wanted
        super().__init__(stores, [region] if region else [], **options)

    def _channels(self, classes: Sequence[str], exclusive: bool) -> Channels:
        return Channels(known_names(classes) if classes else (), exclusive)

    def category(self, key: str) -> str | None:
        """Category of a case of the store; ``None`` where the table has none."""
        return self._wanted.get(key, self._wanted.get(key.rpartition("/")[2]))

    def _usable(self, cases: Sequence[StoredCase]) -> list[StoredCase]:
        self._refuse_ambiguous(cases)
        usable = [case for case in cases if self.category(case.record.key) is not None]
        if self.region is not None:
            usable = [case for case in usable if case.record.voxels.get(self.classes[0])]
        if not usable:
            has = f" and has {self.region}" if self.region else ""
            raise ConfigurationError(f"No case of the stores is named in {self.table}{has}; compare the names.")
        return usable

    def _refuse_ambiguous(self, cases: Sequence[StoredCase]) -> None:
        names = [case.record.key.rpartition("/")[2] for case in cases]
        twice = sorted({name for name in names if name in self._wanted and names.count(name) > 1})
        if twice:
            raise ConfigurationError(f"{self.table} names {twice[0]}, which several datasets have; write DATASET/CASE.")

    def _training_dataset(self) -> PatchDataset:
        return self._patches_of(partial(_Boxes, jitter=self.jitter))

    def _validation_dataset(self) -> "_MiddleBoxes":
        return _MiddleBoxes(_Boxes(self.split.val, self.channels, self.patches, jitter=0.0, length=0))

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> dict[str, Any]:
        """Windows and augments on the device, and looks up region and category."""
        ready = super().on_after_batch_transfer(batch, dataloader_idx)
        numbers = [self.categories.index(str(self.category(key))) for key in ready["keys"]]
        image: torch.Tensor = ready["image"]
        result = {"image": image, "keys": ready["keys"], "category": torch.tensor(numbers, device=image.device)}
        return {**result, "region": ready["target"]} if self.region else result

    def validation_batches(self, device: torch.device) -> Iterator[dict[str, Any]]:
        """All validation cases one by one, whatever other processes there are."""
        for batch in StreamLoader(self._validation_dataset(), batch_size=1, whole=True):
            yield self.on_after_batch_transfer(move_data_to_device(batch, device), 0)


class _Boxes(PatchDataset):
    """Patches in the middle of what a case is about."""

    def __init__(self, *arguments: Any, jitter: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.jitter = jitter

    def _start(self, stored: StoredCase, rng: np.random.Generator) -> Start:
        middle = self._middle(stored)
        size = np.array(self.settings.size)
        moved = middle + rng.uniform(-self.jitter, self.jitter, 3) * size
        x, y, z = (int(v) for v in np.rint(moved - size / 2))
        return x, y, z

    def _middle(self, stored: StoredCase) -> npt.NDArray[np.float64]:
        names = self._cases.channels.names
        points = stored.foreground(names[0] if names else None)
        if not len(points):
            return np.array(stored.record.shape) / 2
        return np.asarray((points.min(0) + points.max(0) + 1) / 2)


class _MiddleBoxes(torch.utils.data.Dataset[Sample]):
    """The box in the middle of each case, without augmentation."""

    def __init__(self, boxes: _Boxes) -> None:
        self._boxes = boxes

    def __len__(self) -> int:
        return len(self._boxes.cases)

    def __getitem__(self, place: tuple[int, int]) -> Sample:
        return self._boxes.box(place[1], np.random.default_rng(0), augment=False)
