"""One decision per scan or lesion from the features of a segmentation backbone."""

from typing import Any, ClassVar

import torch
from torch import nn

from suprem.backbones._base import SegmentationNetwork
from suprem.heads.universal import UniversalNetwork

__all__ = ["ClassificationNetwork", "Network"]


class ClassificationNetwork(nn.Module):
    """A backbone whose pooled features go through one linear layer.

    Pooled are the deepest features over the whole image, and those of the decoder over the region, or over the image
    where there is none.

    Args:
        network: Any segmentation network; its head is dropped.
        categories: Number of categories.
        dropout: Of the pooled features.
    """

    head_path: ClassVar[str] = "output"

    def __init__(self, network: SegmentationNetwork, categories: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        if isinstance(network, UniversalNetwork):
            network = network.backbone
        else:
            network.remove_head()
        self.backbone: SegmentationNetwork = network
        width = network.bottleneck_channels + network.decoder_channels
        # Backbones end in features of very different sizes.
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)
        self.output = nn.Linear(width, categories)

    @property
    def encoder_stages(self) -> tuple[str, ...]:
        """How the names of the encoder's parameters start, from the input to the bottleneck."""
        return tuple(f"backbone.{stage}" for stage in self.backbone.encoder_stages)

    @property
    def head_keys(self) -> tuple[str, ...]:
        """Names of all parameters that no backbone has."""
        return tuple(name for name, _ in self.named_parameters() if not name.startswith("backbone."))

    def pool(self, image: torch.Tensor, region: torch.Tensor | None = None) -> torch.Tensor:
        """(N, in_channels, X, Y, Z) -> features (N, F).

        Args:
            image: As for the backbone.
            region: bool (N, 1, X, Y, Z); a sample whose region is empty is pooled over the whole image.
        """
        features: Any = self.backbone.forward_features(image)
        whole = features.bottleneck.mean((2, 3, 4))
        if region is None:
            return torch.cat((whole, features.decoder.mean((2, 3, 4))), dim=1)
        inside = region | ~region.any(dim=(2, 3, 4), keepdim=True)
        weight = inside.to(features.decoder.dtype)
        local = (features.decoder * weight).sum((2, 3, 4)) / weight.sum((2, 3, 4))
        return torch.cat((whole, local), dim=1)

    def forward(self, image: torch.Tensor, region: torch.Tensor | None = None) -> torch.Tensor:
        """(N, in_channels, X, Y, Z) -> logits (N, categories); see :meth:`pool`."""
        logits: torch.Tensor = self.output(self.dropout(self.norm(self.pool(image, region))))
        return logits


Network = SegmentationNetwork | ClassificationNetwork
"""What has encoder stages and an output layer, whose parameters can be trained apart."""
