"""Torch's functions as a CPU runs them fastest: the same numbers, by oneDNN and with the channels last."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F

from suprem._torch_functions import Replacements, replaced_norms

__all__ = ["FasterOnCpu", "faster_on"]

_LAST = torch.channels_last_3d
_CHUNK = 2**17
"""How many values each thread normalises at a time: what stays in a core's cache between the steps."""
_ROW = 2**10
"""How many values a row of them has at most."""


class FasterOnCpu(Replacements):
    """Within it, networks of 3D convolutions take less time on a CPU.

    Convolutions of one sample, of one voxel or of one channel go to oneDNN, where torch would take a loop of matrix
    products; they and all that follows keep the channels of a voxel side by side, which saves oneDNN from sorting
    them; group and instance norms work through what fits the cache. Results differ by rounding. What is not float32 on
    a CPU, or would be cast to something else, is left as it is, and everything is where torch was built without oneDNN.
    How much time it spares, ``experiments/benchmarks/network_on_cpu.py`` measures.

    Example:
        >>> convolution, image = torch.nn.Conv3d(1, 8, 3, padding=1), torch.rand(1, 1, 16, 16, 16)
        >>> with torch.inference_mode(), FasterOnCpu():
        ...     found = convolution(image)
        >>> found.is_contiguous(memory_format=torch.channels_last_3d)
        True
        >>> bool(torch.allclose(found, convolution(image), atol=1e-5))
        True
    """


def faster_on(device: torch.device) -> AbstractContextManager[object]:
    """:class:`FasterOnCpu` on a CPU, nothing elsewhere."""
    return FasterOnCpu() if device.type == "cpu" else nullcontext()


def _suits(values: torch.Tensor) -> bool:
    alike = values.ndim == 5 and values.dtype == torch.float32 and values.device.type == "cpu"
    return alike and not torch.is_autocast_enabled("cpu")


def _conv3d(
    input: torch.Tensor,  # the names are torch's, since callers may use them
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> torch.Tensor:
    if not _has_onednn() or isinstance(padding, str) or not _suits(input) or weight.dtype != torch.float32:
        return F.conv3d(input, weight, bias, stride, padding, dilation, groups)
    image, size = _channels_last(input), _triple
    found: torch.Tensor = torch.mkldnn_convolution(
        image, weight, bias, size(padding), size(stride), size(dilation), groups
    )
    return found


def _has_onednn() -> bool:
    library = torch.backends.mkldnn
    return bool(library.is_available() and library.enabled)  # type: ignore[no-untyped-call]


def _triple(size: int | Sequence[int]) -> list[int]:
    return [size] * 3 if isinstance(size, int) else list(size) * (3 // len(size))


def _channels_last(image: torch.Tensor) -> torch.Tensor:
    if image.shape[1] > 1:
        return image.contiguous(memory_format=_LAST)
    # Of one channel both orders are the same, and torch would keep the strides of the other one.
    return image.contiguous().as_strided(image.shape, torch.empty_like(image, memory_format=_LAST).stride())


def _suits_norm(values: torch.Tensor) -> bool:
    return _suits(values) and values.is_contiguous(memory_format=_LAST)


def _normalised(
    values: torch.Tensor, groups: int, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float
) -> torch.Tensor:
    """Group normalisation; torch's own of channels-last images sums in single precision and is off by 0.002."""
    out = torch.empty_like(values)
    channels = values.shape[1]
    for image, target in zip(_rows(values), _rows(out), strict=True):
        mean, variance = _moments(image, channels, groups)
        scale = (variance + eps).rsqrt_().repeat_interleave(channels // groups)
        if weight is not None:
            scale *= weight
        shift = -mean.repeat_interleave(channels // groups) * scale
        if bias is not None:
            shift += bias
        along = image.shape[1] // channels
        scale, shift = scale.float().repeat(along), shift.float().repeat(along)
        for part, written in zip(_chunks(image), _chunks(target), strict=True):
            torch.addcmul(shift, part, scale, out=written)
    return out


def _moments(image: torch.Tensor, channels: int, groups: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of the groups of channels of one of :func:`_rows`, float64 (groups,)."""
    # Sums of squares around a value nearby lose no digits to the mean.
    near = image[: len(image) // 64 + 1].view(-1, channels).mean(dim=0)
    centre = near.repeat(image.shape[1] // channels)
    total = torch.zeros((2, image.shape[1]), dtype=torch.float64)
    chunks = _chunks(image)
    buffer = torch.empty_like(chunks[0])
    for part in chunks:
        apart = torch.sub(part, centre, out=buffer[: len(part)])
        total[0] += apart.sum(dim=0)
        total[1] += apart.square_().sum(dim=0)
    first, second = (total.view(2, -1, channels).sum(dim=1) * (channels / image.numel())).view(2, groups, -1)
    means = first + near.double().view(groups, -1)
    mean = means.mean(dim=1)
    spread = (second - first.square()) + (means - mean[:, None]).square()
    return mean, spread.mean(dim=1)


def _rows(values: torch.Tensor) -> torch.Tensor:
    """Channels-last (N, C, X, Y, Z) as (N, rows, many times C), without a copy; short rows would be slow to scale."""
    flat = values.permute(0, 2, 3, 4, 1).flatten(1, 3)
    along = math.gcd(flat.shape[1], max(1, _ROW // values.shape[1]))
    return flat.view(len(flat), -1, along * values.shape[1])


def _chunks(rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
    size = max(1, _CHUNK * torch.get_num_threads() // rows.shape[1])
    found: tuple[torch.Tensor, ...] = torch.split(rows, size)
    return found


FasterOnCpu.instead = {F.conv3d: _conv3d, **replaced_norms(_suits_norm, _normalised)}
