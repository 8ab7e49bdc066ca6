"""Torch's functions as a GPU runs them fastest while it predicts: the same numbers, with the channels last."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

__all__ = ["FasterOnGpu"]

_LAST = torch.channels_last_3d


class FasterOnGpu(TorchFunctionMode):
    """Within it, networks of 3D convolutions take less time on a GPU.

    cuDNN's convolutions on tensor cores want the channels of a voxel side by side and sort them before and after each
    layer. Here convolutions and all that follows keep them so, and group and instance norms are made of sums, since
    torch's own norms of that order take twice as long as of the other. Results differ by rounding. Where gradients are
    wanted everything is left as it is. It does not pay for every network, see
    :attr:`~suprem.backbones._base.SegmentationNetwork.channels_last_on_gpu`; how much time it spares,
    ``experiments/benchmarks/network_on_gpu.py`` measures.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls what stands for ``func``, otherwise ``func``; torch's protocol."""
        return _INSTEAD.get(func, func)(*args, **(kwargs or {}))


def _conv3d(input: torch.Tensor, weight: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    if input.ndim != 5 or torch.is_grad_enabled():
        return F.conv3d(input, weight, *args, **kwargs)
    # Of one channel both orders are the same, and torch takes the other one for granted.
    image = input.contiguous(memory_format=_LAST) if input.shape[1] > 1 else input
    return F.conv3d(image, weight, *args, **kwargs).contiguous(memory_format=_LAST)


def _group_norm(
    input: torch.Tensor,  # the names are torch's, since callers may use them
    num_groups: int,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
) -> torch.Tensor:
    if not _channels_last(input):
        return F.group_norm(input, num_groups, weight, bias, eps)
    return normalised(input, num_groups, weight, bias, eps)


def _instance_norm(
    input: torch.Tensor,
    running_mean: torch.Tensor | None = None,
    running_var: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    if not use_input_stats or running_mean is not None or not _channels_last(input):
        return F.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)
    return normalised(input, input.shape[1], weight, bias, eps)


def _channels_last(values: torch.Tensor) -> bool:
    last = values.ndim == 5 and values.shape[1] > 1 and values.is_contiguous(memory_format=_LAST)
    return last and not torch.is_grad_enabled()


def normalised(
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


_INSTEAD: dict[Callable[..., Any], Callable[..., Any]] = {
    F.conv3d: _conv3d,
    F.group_norm: _group_norm,
    F.instance_norm: _instance_norm,
}
