"""Fixtures of the zoo tests."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from suprem.backbones._base import SegmentationNetwork


@pytest.fixture(scope="session")
def make_published() -> "Callable[[Path], SegmentationNetwork]":
    """Writes a small network as a published folder and returns it."""

    def make(folder: Path) -> "SegmentationNetwork":
        import torch

        from suprem.backbones import create_model
        from suprem.zoo import ModelConfig, Preprocessing, save_folder

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            network = create_model("segresnet_tiny", num_classes=2)
        contract = Preprocessing((3.0, 3.0, 3.0), patch_size=(32, 32, 32))
        network.config = ModelConfig(
            "segresnet_tiny.test",
            "segresnet_tiny",
            ("liver", "spleen"),
            label_space="universal_32",
            preprocessing=contract,
        )
        save_folder(network.eval(), folder, notes="Random weights, for tests.")
        return network

    return make
