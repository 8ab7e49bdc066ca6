"""Small networks with a contract, for the tests of the export."""

from typing import Any

import torch

from suprem.backbones import create_model
from suprem.backbones._base import SegmentationNetwork
from suprem.zoo import ModelConfig, Preprocessing

CONV: dict[str, dict[str, Any]] = {
    "segresnet": {"init_filters": 8, "blocks_down": (1, 1, 1), "blocks_up": (1, 1)},
    "segresnet_tiny": {"blocks_down": (1, 1), "blocks_up": (1,)},
    "swinunetr": {"feature_size": 12, "window_size": 2, "depths": (2, 1, 1, 1)},
    "unet": {"base_channels": 4},
}
UNIVERSAL: dict[str, dict[str, Any]] = {
    "segresnet": {"init_filters": 16, "blocks_down": (1, 1, 1), "blocks_up": (1, 1)},
    "segresnet_tiny": {"init_filters": 16, "blocks_down": (1, 1), "blocks_up": (1,)},
    "swinunetr": {"feature_size": 48, "window_size": 2, "depths": (1, 1, 1, 1)},
    "unet": {"base_channels": 8},
}
CLASSES = ("liver", "spleen")


def small_network(
    backbone: str, head: str = "conv", *, activation: str = "sigmoid", patch_size: tuple[int, int, int] | None = None
) -> SegmentationNetwork:
    """Seeded random weights in evaluation mode, with a contract; the window is as small as the backbone allows."""
    options = (UNIVERSAL if head == "universal" else CONV)[backbone]
    window = patch_size or ((64, 32, 32) if backbone == "swinunetr" else (32, 24, 16))
    config = ModelConfig(
        f"{backbone}.test",
        backbone,
        CLASSES,
        head=head,  # type: ignore[arg-type]
        activation=activation,  # type: ignore[arg-type]
        label_space="universal_32",
        backbone_kwargs=options,
        preprocessing=Preprocessing((6.0, 6.0, 6.0), (-160.0, 240.0), window),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = create_model(backbone, num_classes=config.num_channels, head=head, **options)
        if head == "universal":
            network.set_embedding(torch.randn(len(CLASSES), 512))  # type: ignore[operator]
    network.config = config
    return network.eval()
