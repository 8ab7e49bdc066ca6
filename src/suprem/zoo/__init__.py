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
    from suprem.zoo.load import load_body, load_pretrained
    from suprem.zoo.model_card import DatasetUse, Provenance, Score, used_datasets
    from suprem.zoo.push import Pushed, push_to_hub
    from suprem.zoo.verification import VerifyReport, verify

__all__ = [
    "Card",
    "DatasetUse",
    "LoadReport",
    "ModelConfig",
    "Preprocessing",
    "Provenance",
    "Pushed",
    "Score",
    "VerifyReport",
    "card",
    "is_available_offline",
    "list_checkpoints",
    "load_body",
    "load_pretrained",
    "push_to_hub",
    "save_folder",
    "used_datasets",
    "verify",
]

_HOMES = {
    "DatasetUse": "suprem.zoo.model_card",
    "Provenance": "suprem.zoo.model_card",
    "Pushed": "suprem.zoo.push",
    "Score": "suprem.zoo.model_card",
    "VerifyReport": "suprem.zoo.verification",
    "load_body": "suprem.zoo.load",
    "load_pretrained": "suprem.zoo.load",
    "push_to_hub": "suprem.zoo.push",
    "save_folder": "suprem.zoo.folder",
    "used_datasets": "suprem.zoo.model_card",
    "verify": "suprem.zoo.verification",
}

__getattr__ = lazy_names(globals(), _HOMES)
