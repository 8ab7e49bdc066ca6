"""MONAI's U-Net, as in its tutorials and in the reference's benchmark (7.78 M parameters)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from suprem.backbones._create import BACKBONES

if TYPE_CHECKING:
    from suprem.backbones._base import SegmentationNetwork

__all__ = ["unet_monai"]


@BACKBONES.register("unet_monai")
def unet_monai(
    in_channels: int,
    num_classes: int,
    *,
    channels: Sequence[int] = (64, 128, 256, 512),
    strides: Sequence[int] = (2, 2, 2),
    num_res_units: int = 0,
    norm: Literal["instance", "batch"] = "instance",
    features: int = 9,
) -> "SegmentationNetwork":
    """MONAI's U-Net with PReLU; the defaults are those of the reference's benchmark.

    The class count is part of its last layers, so the whole of it makes ``features`` features here, and a 1x1x1
    convolution behind it makes the logits. For a file of MONAI it is the identity, so the output is the file's.

    Args:
        in_channels: input channels.
        num_classes: output channels.
        channels: channels per level, from the finest.
        strides: between the levels, 1 or 2, one fewer than ``channels``.
        num_res_units: convolutions per residual unit; 0 for a plain convolution per level.
        norm: ``"instance"`` without parameters, or ``"batch"``.
        features: output channels of MONAI's network, the class count of a file of it.

    References:
        Kerfoot et al., "Left-ventricle quantification using residual U-Net", STACOM (2018).
    """
    from suprem.backbones._unet_monai import UNetMonai

    return UNetMonai(
        in_channels,
        num_classes,
        channels=channels,
        strides=strides,
        num_res_units=num_res_units,
        norm=norm,
        features=features,
    )
