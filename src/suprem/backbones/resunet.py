"""The dilated 3D ResNet-101 of Med3D with its small head (85.75 M parameters)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from suprem.backbones._create import BACKBONES

if TYPE_CHECKING:
    from suprem.backbones._base import SegmentationNetwork

__all__ = ["resunet"]


@BACKBONES.register("resunet")
def resunet(
    in_channels: int,
    num_classes: int,
    *,
    base_channels: int = 64,
    depths: Sequence[int] = (3, 4, 23, 3),
    head_channels: int = 32,
) -> "SegmentationNetwork":
    """The network of Med3D; the defaults are those of the published weights.

    It computes at a quarter of the resolution, and its features are interpolated in front of the output convolution.
    Its batch norms share statistics over the batch in training, and use the stored ones in evaluation. Its output
    convolution has no bias, so that the ``prior`` of a fine-tuning has nothing to set.

    Args:
        in_channels: input channels.
        num_classes: output channels.
        base_channels: channels of the first convolution; each of the four stages has 4, 8, 16 and 32 times as many.
        depths: residual blocks in each of the four stages.
        head_channels: channels of the two convolutions in front of the output convolution.

    References:
        Chen et al., "Med3D: Transfer Learning for 3D Medical Image Analysis", arXiv 1904.00625 (2019).
    """
    from suprem.backbones._resunet import ResUNet

    return ResUNet(in_channels, num_classes, base_channels=base_channels, depths=depths, head_channels=head_channels)
