"""The pyramid transformer of UniMiSS, small (37.20 M parameters) or tiny (16.51 M)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from suprem.backbones._create import BACKBONES

if TYPE_CHECKING:
    from suprem.backbones._base import SegmentationNetwork

__all__ = ["mit"]


@BACKBONES.register("mit")
def mit(
    in_channels: int,
    num_classes: int,
    *,
    patch_size: Sequence[int] = (64, 64, 64),
    depths: Sequence[int] = (2, 3, 4, 3),
    decoder_depths: Sequence[int] = (3, 4, 3),
    embed_dims: Sequence[int] = (48, 128, 256, 512),
    num_heads: Sequence[int] = (1, 2, 4, 8),
    stem_channels: int = 32,
) -> "SegmentationNetwork":
    """The transformer of UniMiSS; the defaults are the small form of the published weights.

    The tiny form has ``depths=(1, 1, 1, 1)`` and ``decoder_depths=(1, 1, 1)``. The first axis keeps its resolution once
    more than the others. The highest resolution is half of the input's along the other two, and its features are
    interpolated in front of the output convolution.

    Args:
        in_channels: input channels.
        num_classes: output channels.
        patch_size: input size for which the position tables are made, multiples of 32; for inputs of another size they
            are interpolated on their grid.
        depths: transformer blocks in each of the four stages of the encoder.
        decoder_depths: transformer blocks in each of the three stages of the decoder, from the deepest.
        embed_dims: channels of the four stages.
        num_heads: attention heads of the four stages; a stage of the decoder has those of the next deeper one.
        stem_channels: channels of the convolutions at the highest resolution.

    References:
        Xie et al., "UniMiSS: Universal Medical Self-Supervised Learning via Breaking Dimensionality Barrier", ECCV
        (2022).
    """
    from suprem.backbones._mit import MiT

    return MiT(
        in_channels,
        num_classes,
        patch_size=patch_size,
        depths=depths,
        decoder_depths=decoder_depths,
        embed_dims=embed_dims,
        num_heads=num_heads,
        stem_channels=stem_channels,
    )
