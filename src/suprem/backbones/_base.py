"""The interface that every segmentation network of the package offers to heads, inference and training."""

from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import nn

if TYPE_CHECKING:
    from suprem.zoo.config import ModelConfig
    from suprem.zoo.load import LoadReport

__all__ = ["Features", "SegmentationNetwork"]


class Features(NamedTuple):
    """What a backbone hands to a head.

    Attributes:
        decoder: (N, C, X, Y, Z) at full resolution: the input of the output convolution.
        bottleneck: (N, D, x, y, z): the deepest features.
    """

    decoder: torch.Tensor
    bottleneck: torch.Tensor


class SegmentationNetwork(nn.Module):
    """A backbone with its head; tensor names are those of the published checkpoints.

    ``network(image)`` maps float32 (N, in_channels, X, Y, Z) to logits (N, num_channels, X, Y, Z). Subclasses implement
    :meth:`forward_features` and :meth:`classify`; a conv-head network keeps its 1x1x1 output convolution under the
    published path :attr:`head_path`.

    Attributes:
        head_path: dotted path of the output convolution, also the prefix of the only tensors a loader may replace.
        divisor: spatial sizes must be multiples of this.
        decoder_channels: C of :class:`Features`.
        bottleneck_channels: D of :class:`Features`.
        pointwise_head: ``classify`` acts on each voxel of the decoder features alone and is affine, so blending
            features and classifying once equals blending logits (design decision of the streaming engine).
        config: the contract of the weights it holds, ``None`` for a network made from scratch.
        load_report: what happened to each tensor when weights were loaded.
    """

    head_path: ClassVar[str]
    divisor: ClassVar[int]
    decoder_channels: int
    bottleneck_channels: int
    pointwise_head: bool = True
    config: "ModelConfig | None" = None
    load_report: "LoadReport | None" = None

    def forward_features(self, image: torch.Tensor) -> Features:
        """(N, in_channels, X, Y, Z) -> decoder and bottleneck features."""
        raise TypeError(f"{type(self).__name__} does not define forward_features; every backbone has to.")

    def classify(self, features: Features) -> torch.Tensor:
        """Features -> logits (N, num_channels, X, Y, Z)."""
        head = self.get_submodule(self.head_path)
        logits: torch.Tensor = head(features.decoder)
        return logits

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, X, Y, Z) -> logits (N, num_channels, X, Y, Z)."""
        return self.classify(self.forward_features(image))
