"""The data module of scans without labels, for ``Trainer.predict``."""

import os
from collections.abc import Iterable
from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from suprem.datasets._harmonise import harmonise
from suprem.datasets._reading import SourceCase
from suprem.errors import ConfigurationError
from suprem.volumes.io import read_ct
from suprem.volumes.scans import ScanInput, find_scans
from suprem.volumes.store import StoreSettings

__all__ = ["ScanDataModule"]


class ScanDataModule(LightningDataModule):
    """Whole scans of a folder, prepared as in training, one per batch and each on one process.

    For masks on the grid of the scanner, with bounded memory, use ``suprem predict`` or :func:`suprem.segment`; this is
    for whatever else a task computes from a scan.

    A batch holds ``image`` float32 (1, 1, X, Y, Z) in [0, 1], in RAS; ``affine`` float64 (1, 4, 4), index to RAS mm;
    ``keys``, the name of the case; ``paths``, where it was read; ``spacing_mm`` float32 (1, 3).

    Args:
        inputs: Files, DICOM folders, or folders of scans, see :func:`suprem.volumes.scans.find_scans`.
        spacing_mm: (x, y, z) that the network was trained with; ``None`` keeps each scan's own.
        hu_window: Mapped to [0, 1] and clipped.
        num_workers: Reading processes; 0 reads in the process that predicts.

    Raises:
        ConfigurationError: nothing is found, two scans share a name, or an argument cannot be.

    Example:
        >>> data = ScanDataModule("scans/", spacing_mm=(1.5, 1.5, 1.5))  # doctest: +SKIP
        >>> trainer.predict(task, data)  # doctest: +SKIP
    """

    # With more processes than scans some have nothing to do.
    allow_zero_length_dataloader_with_multiple_devices = True

    def __init__(
        self,
        inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        spacing_mm: tuple[float, float, float] | None,
        hu_window: tuple[float, float] = (-175.0, 250.0),
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        if hu_window[0] >= hu_window[1]:
            raise ConfigurationError(f"hu_window is {hu_window}; the first value must be the smaller one.")
        self.scans = find_scans(inputs)
        self.settings, self.hu_window, self.num_workers = StoreSettings(spacing_mm), hu_window, num_workers

    def predict_dataloader(self) -> DataLoader[dict[str, Any]]:
        """The scans, in the order in which they were found."""
        # Lightning divides them among processes, and repeats none when it predicts.
        return DataLoader(
            _Scans(self.scans, self.settings, self.hu_window),
            batch_size=None,
            num_workers=self.num_workers,
        )


class _Scans(Dataset[dict[str, Any]]):
    def __init__(self, scans: list[ScanInput], settings: StoreSettings, hu_window: tuple[float, float]) -> None:
        self.scans, self.settings, self.hu_window = scans, settings, hu_window

    def __len__(self) -> int:
        return len(self.scans)

    def __getitem__(self, index: int) -> dict[str, Any]:
        scan = self.scans[index]
        ct = harmonise(SourceCase(read_ct(scan.path), None), self.settings).ct
        low, high = self.hu_window
        image = torch.from_numpy(ct.array).to(torch.float32).sub_(low).div_(high - low).clamp_(0, 1)
        return {
            "image": image[None, None],
            "affine": torch.from_numpy(ct.affine.copy())[None],
            "keys": [scan.case_id],
            "paths": [str(scan.path)],
            "spacing_mm": torch.tensor([ct.spacing_mm], dtype=torch.float32),
        }
