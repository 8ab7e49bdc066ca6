"""The 3D U-Net of Models Genesis and SuPreM (19.08 M parameters)."""

from typing import TYPE_CHECKING

from suprem.backbones._create import BACKBONES

if TYPE_CHECKING:
    from suprem.backbones._base import SegmentationNetwork

__all__ = ["unet"]


@BACKBONES.register("unet")
def unet(
    in_channels: int, num_classes: int, *, base_channels: int = 32, batch_statistics: bool = False
) -> "SegmentationNetwork":
    """The 3D U-Net of Models Genesis and SuPreM, normalised with the statistics of each patch alone.

    Args:
        in_channels: input channels.
        num_classes: output channels.
        base_channels: output channels of the first convolution; the published weights have 32.
        batch_statistics: share the statistics of the norms over the batch, as the reference program does; the output
            for a patch then depends on the others of the batch. Only for reproducing that program with batches of
            several patches; with one patch there is no difference.

    References:
        Zhou et al., "Models Genesis", Medical Image Analysis 67 (2021).
    """
    from suprem.backbones._unet import UNet

    return UNet(in_channels, num_classes, base_channels=base_channels, batch_statistics=batch_statistics)
