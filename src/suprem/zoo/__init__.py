"""Checkpoints: what exists, what is known about it, and how to load it.

Listing and reading cards imports no torch; the loaders are resolved on first use.
"""

from typing import TYPE_CHECKING

from suprem._lazy import lazy_names
from suprem.zoo.card import Card, card, list_checkpoints
from suprem.zoo.config import ModelConfig, Preprocessing
from suprem.zoo.report import LoadReport
from suprem.zoo.source import is_available_offline

if TYPE_CHECKING:
    from suprem.zoo.folder import save_folder
    from suprem.zoo.load import load_pretrained
    from suprem.zoo.verification import VerifyReport, verify

__all__ = [
    "Card",
    "LoadReport",
    "ModelConfig",
    "Preprocessing",
    "VerifyReport",
    "card",
    "is_available_offline",
    "list_checkpoints",
    "load_pretrained",
    "save_folder",
    "verify",
]

_HOMES = {
    "VerifyReport": "suprem.zoo.verification",
    "load_pretrained": "suprem.zoo.load",
    "save_folder": "suprem.zoo.folder",
    "verify": "suprem.zoo.verification",
}

__getattr__ = lazy_names(globals(), _HOMES)
