"""Data streamed into Lightning: patches and whole volumes of stores to train on, scans to predict on."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suprem.datamodules.ct import CTDataModule
    from suprem.datamodules.scans import ScanDataModule

__all__ = ["CTDataModule", "ScanDataModule"]

_MODULES = {"CTDataModule": "suprem.datamodules.ct", "ScanDataModule": "suprem.datamodules.scans"}


def __getattr__(name: str) -> Any:
    # Lightning takes seconds to import; whoever only asks what there is does not pay for it.
    if name not in _MODULES:
        raise AttributeError(f"module 'suprem.datamodules' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value
