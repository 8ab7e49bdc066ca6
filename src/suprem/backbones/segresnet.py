"""SegResNet with 16 initial filters (4.70 M parameters), as SuPreM pre-trained it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from suprem.backbones._create import BACKBONES

if TYPE_CHECKING:
    from suprem.backbones._base import SegmentationNetwork

__all__ = ["segresnet"]


@BACKBONES.register("segresnet")
def segresnet(
    in_channels: int,
    num_classes: int,
    *,
    init_filters: int = 16,
    blocks_down: Sequence[int] = (1, 2, 2, 4),
    blocks_up: Sequence[int] = (1, 1, 1),
    dropout_prob: float = 0.0,
) -> "SegmentationNetwork":
    """SegResNet with 16 initial filters; the defaults are those of the published weights.

    Args:
        in_channels: input channels.
        num_classes: output channels.
        init_filters: channels at full resolution, a multiple of 8; each level doubles them.
        blocks_down: residual blocks per encoder level.
        blocks_up: residual blocks per decoder level, one level fewer.
        dropout_prob: channel dropout after the first convolution.

    References:
        Myronenko, "3D MRI brain tumor segmentation using autoencoder regularization", BrainLes (2018).
    """
    from suprem.backbones._segresnet import SegResNet

    return SegResNet(in_channels, num_classes, init_filters, blocks_down, blocks_up, dropout_prob)
