"""The plain head: one 1x1x1 convolution that each backbone keeps under its published name."""

from typing import TYPE_CHECKING

from torch import nn

from suprem.heads import HEADS

if TYPE_CHECKING:
    from suprem.backbones._base import SegmentationNetwork

__all__ = ["attach_conv_head", "output_convolution"]


def output_convolution(in_channels: int, num_classes: int, *, bias: bool = True) -> nn.Conv3d:
    """A 1x1x1 convolution: (N, in_channels, X, Y, Z) features to (N, num_classes, X, Y, Z) logits."""
    return nn.Conv3d(in_channels, num_classes, kernel_size=1, bias=bias)


@HEADS.register("conv")
def attach_conv_head(backbone: "SegmentationNetwork", num_classes: int) -> "SegmentationNetwork":
    """The backbone itself, with ``num_classes`` outputs."""
    if backbone.num_classes != num_classes:
        backbone.replace_head(num_classes)
    return backbone
