"""Segmentation of whole scans in bounded memory; resolved on first use, so listing names imports no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suprem.inference._segment import default_model, load_network, segment
    from suprem.inference.folder import predict_folder
    from suprem.inference.memory import Plan
    from suprem.inference.postprocessing import list_postprocess, postprocess
    from suprem.inference.predictor import Predictor
    from suprem.inference.segmentation import Segmentation

__all__ = [
    "Plan",
    "Predictor",
    "Segmentation",
    "default_model",
    "list_postprocess",
    "load_network",
    "postprocess",
    "predict_folder",
    "segment",
]

_HOMES = {
    "Plan": "memory",
    "Predictor": "predictor",
    "Segmentation": "segmentation",
    "default_model": "_segment",
    "list_postprocess": "postprocessing",
    "load_network": "_segment",
    "postprocess": "postprocessing",
    "predict_folder": "folder",
    "segment": "_segment",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'suprem.inference' has no attribute {name!r}")
    return getattr(import_module(f"suprem.inference.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
