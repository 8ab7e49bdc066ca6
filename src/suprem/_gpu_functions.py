"""Torch's functions as a GPU runs them fastest while it predicts: the same numbers, with the channels last."""

from typing import Any

import torch
import torch.nn.functional as F

from suprem._torch_functions import Replacements, replaced_norms

__all__ = ["FasterOnGpu"]

_LAST = torch.channels_last_3d


class FasterOnGpu(Replacements):
    """Within it, networks of 3D convolutions take less time on a GPU.

    cuDNN's convolutions on tensor cores want the channels of a voxel side by side and sort them before and after each
    layer. Here convolutions and all that follows keep them so, and group and instance norms are made of sums, since
    torch's own norms of that order take twice as long as of the other. Results differ by rounding. Where gradients are
    wanted everything is left as it is. It does not pay for every network, see
    :attr:`~suprem.backbones._base.SegmentationNetwork.channels_last_on_gpu`; how much time it spares,
    ``experiments/benchmarks/network_on_gpu.py`` measures.
    """


def _conv3d(input: torch.Tensor, weight: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    if input.ndim != 5 or torch.is_grad_enabled():
        return F.conv3d(input, weight, *args, **kwargs)
    # Of one channel both orders are the same, and torch takes the other one for granted.
    image = input.contiguous(memory_format=_LAST) if input.shape[1] > 1 else input
    return F.conv3d(image, weight, *args, **kwargs).contiguous(memory_format=_LAST)


def _suits_norm(values: torch.Tensor) -> bool:
    return values.ndim == 5 and values.shape[1] > 1 and values.is_contiguous(memory_format=_LAST)


def _normalised(
    values: torch.Tensor, groups: int, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float
) -> torch.Tensor:
    """Group normalisation of channels-last values, with sums in single precision.

    Args:
        values: float (N, C, X, Y, Z).
        groups: of channels.
        weight: (C,) or ``None``.
        bias: (C,) or ``None``.
        eps: added to the variance.
    """
    space = (2, 3, 4)
    if values.dtype == torch.float32:
        variance, mean = torch.var_mean(values, space, correction=0)
    else:  # of what has three digits, sums of squares lose nothing to the mean, and are read in one pass
        mean = values.mean(space, dtype=torch.float32)
        square = torch.linalg.vector_norm(values, 2, space, dtype=torch.float32).square_() / values[0, 0].numel()
        variance = square.sub_(mean.square()).clamp_min_(0)
    scale, shift = _line(mean, variance, groups, eps)
    if weight is not None:
        scale, shift = scale * weight, shift * weight
    if bias is not None:
        shift = shift + bias
    # With numbers of another kind the product would take twice as long, and of the result no more digits are kept.
    scale, shift = (part.to(values.dtype)[:, :, None, None, None] for part in (scale, shift))
    return torch.addcmul(shift, values, scale)


def _line(mean: torch.Tensor, variance: torch.Tensor, groups: int, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    """What values are multiplied by and what is added then, (N, C) each, from what their channels have, (N, C)."""
    channels = mean.shape[1]
    if groups < channels:
        apart = mean.view(len(mean), groups, -1)
        centre = apart.mean(2, keepdim=True)
        variance = (variance.view(apart.shape) + (apart - centre).square()).mean(2)
        mean, variance = (part.repeat_interleave(channels // groups, 1) for part in (centre.squeeze(2), variance))
    scale = (variance + eps).rsqrt()
    return scale, -mean * scale


FasterOnGpu.instead = {F.conv3d: _conv3d, **replaced_norms(_suits_norm, _normalised)}
