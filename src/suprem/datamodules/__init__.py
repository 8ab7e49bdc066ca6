"""Training data: patches and whole volumes streamed from stores, as LightningDataModules."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suprem.datamodules.ct import CTDataModule

__all__ = ["CTDataModule"]


def __getattr__(name: str) -> Any:
    # Lightning takes seconds to import; whoever only asks what there is does not pay for it.
    if name not in __all__:
        raise AttributeError(f"module 'suprem.datamodules' has no attribute {name!r}")
    value = getattr(import_module("suprem.datamodules.ct"), name)
    globals()[name] = value
    return value
