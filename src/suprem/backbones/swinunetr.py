"""Swin UNETR with feature size 48 (62.19 M parameters), as SuPreM pre-trained it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from suprem.backbones._create import BACKBONES

if TYPE_CHECKING:
    from suprem.backbones._base import SegmentationNetwork

__all__ = ["swinunetr"]


@BACKBONES.register("swinunetr")
def swinunetr(
    in_channels: int,
    num_classes: int,
    *,
    feature_size: int = 48,
    depths: Sequence[int] = (2, 2, 2, 2),
    num_heads: Sequence[int] = (3, 6, 12, 24),
    window_size: int = 7,
    drop_rate: float = 0.0,
    attn_drop_rate: float = 0.0,
    dropout_path_rate: float = 0.0,
    use_checkpoint: bool = False,
) -> "SegmentationNetwork":
    """Swin UNETR; the defaults are those of the published weights.

    Args:
        in_channels: input channels.
        num_classes: output channels.
        feature_size: channels at full resolution, a multiple of 12.
        depths: transformer blocks in each of the four stages.
        num_heads: attention heads in each stage.
        window_size: edge of an attention window, in tokens.
        drop_rate: dropout of embeddings, projections and MLPs.
        attn_drop_rate: dropout of attention weights.
        dropout_path_rate: stochastic depth.
        use_checkpoint: recompute transformer blocks in the backward pass to save memory.

    References:
        Hatamizadeh et al., "Swin UNETR", BrainLes (2021); Tang et al., CVPR (2022).
    """
    from suprem.backbones._swinunetr import SwinUNETR

    return SwinUNETR(
        in_channels,
        num_classes,
        feature_size=feature_size,
        depths=depths,
        num_heads=num_heads,
        window_size=window_size,
        drop_rate=drop_rate,
        attn_drop_rate=attn_drop_rate,
        dropout_path_rate=dropout_path_rate,
        use_checkpoint=use_checkpoint,
    )
