"""Data streamed into Lightning: patches and whole volumes of stores to train on, scans to predict on."""

from typing import TYPE_CHECKING

from suprem._lazy import lazy_names

if TYPE_CHECKING:
    from suprem.datamodules.categories import CategoryDataModule
    from suprem.datamodules.ct import CTDataModule
    from suprem.datamodules.scans import ScanDataModule
    from suprem.datamodules.unlabelled import UnlabelledDataModule

__all__ = ["CTDataModule", "CategoryDataModule", "ScanDataModule", "UnlabelledDataModule"]

_HOMES = {
    "CTDataModule": "suprem.datamodules.ct",
    "CategoryDataModule": "suprem.datamodules.categories",
    "ScanDataModule": "suprem.datamodules.scans",
    "UnlabelledDataModule": "suprem.datamodules.unlabelled",
}

__getattr__ = lazy_names(globals(), _HOMES)
