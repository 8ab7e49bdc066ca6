"""Segmentation of whole scans in bounded memory; resolved on first use, so listing names imports no torch."""

from typing import TYPE_CHECKING

from suprem._lazy import lazy_names

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
    "Plan": "suprem.inference.memory",
    "Predictor": "suprem.inference.predictor",
    "Segmentation": "suprem.inference.segmentation",
    "default_model": "suprem.inference._segment",
    "list_postprocess": "suprem.inference.postprocessing",
    "load_network": "suprem.inference._segment",
    "postprocess": "suprem.inference.postprocessing",
    "predict_folder": "suprem.inference.folder",
    "segment": "suprem.inference._segment",
}

__getattr__ = lazy_names(globals(), _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
