"""Supervised pre-trained 3D models for CT: load, predict, fine-tune, publish.

The public names are resolved on first use (PEP 562), so ``import suprem`` costs milliseconds and imports neither torch
nor Lightning nor MONAI.
"""

from typing import TYPE_CHECKING

from suprem._lazy import lazy_names
from suprem._version import __version__

if TYPE_CHECKING:
    from suprem.backbones import create_model, list_backbones
    from suprem.datasets import list_datasets
    from suprem.inference import segment
    from suprem.zoo import list_checkpoints, load_pretrained, push_to_hub

__all__ = [
    "__version__",
    "create_model",
    "list_backbones",
    "list_checkpoints",
    "list_datasets",
    "load_pretrained",
    "push_to_hub",
    "segment",
]

_HOMES = {
    "create_model": "suprem.backbones",
    "list_backbones": "suprem.backbones",
    "list_checkpoints": "suprem.zoo",
    "list_datasets": "suprem.datasets",
    "load_pretrained": "suprem.zoo",
    "push_to_hub": "suprem.zoo",
    "segment": "suprem.inference",
}

__getattr__ = lazy_names(globals(), _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
