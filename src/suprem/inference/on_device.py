"""A scan on the GPU, so that there the network sets the pace.

On a CPU the network's input is interpolated layer by layer. On a GPU that would leave it waiting most of the time: here
the scan is copied once, resampled and looked at there.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from suprem.errors import VolumeError
from suprem.inference.body import BodyMask
from suprem.inference.grid import ModelGrid
from suprem.volumes.boxes import Box
from suprem.volumes.geometry import Volume

__all__ = ["BodyLookup", "DeviceInput", "DeviceScan", "device_bytes"]

_SLICES = 32
"""Scan slices that are interpolated or averaged at a time."""

_STAGED = 16 * 2**20
"""Bytes of a scan that are on their way to the GPU at a time."""


def device_bytes(grid: ModelGrid, scan_bytes: int) -> int:
    """Memory that scan and input take on the device at their fullest moment."""
    x, y, z = grid.shape
    sx, sy, sz = grid.scan_shape
    slices = 4 * _SLICES * (2 * sx * sy + 4 * x * max(y, sy))
    return max(2 * scan_bytes + slices, scan_bytes + slices + 4 * x * y * (sz + 3 * z))


class DeviceScan:
    """The voxels of a scan on the device, RAS axes.

    Args:
        scan: HU on its own index axes.
        grid: the model grid of ``scan``.
        device: where to.
    """

    def __init__(self, scan: Volume, grid: ModelGrid, device: torch.device) -> None:
        array = scan.array
        if array.dtype not in (np.int16, np.int32, np.uint8, np.float32):
            array = array.astype(np.float32)
        step = grid.reorientation
        values = _copied(array, device).permute(step.axes)
        self._values = values.flip([axis for axis, flip in enumerate(step.flips) if flip])
        self._grid, self._name = grid, scan.name
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            raise VolumeError(f"{scan.name} holds NaN or infinite intensities; replace them, e.g. by -1024.")

    def block_means(self, factors: Sequence[int]) -> npt.NDArray[np.float32]:
        """Mean over blocks of voxels; the last block of an axis may be smaller."""
        layers = factors[2] * max(1, _SLICES // factors[2])
        parts = [
            _pooled(self._values[:, :, z : z + layers].float(), factors)
            for z in range(0, self._values.shape[2], layers)
        ]
        return np.asarray(torch.cat(parts, dim=2).cpu().numpy())

    def input(self, hu_window: tuple[float, float]) -> "DeviceInput":
        """The network's input.

        Args:
            hu_window: lower and upper HU, mapped linearly to [0, 1] and clipped.
        """
        x, y, z = self._grid.shape
        order = sorted((0, 1), key=lambda axis: (x, y)[axis] / self._values.shape[axis])
        count = self._values.shape[2]
        plane = torch.empty((x, y, count), device=self._values.device)
        for low in range(0, count, _SLICES):
            part = self._values[:, :, low : low + _SLICES].float()
            for axis in order:
                part = _resampled(part, axis, (x, y)[axis], self._grid.steps[axis])
            plane[:, :, low : low + _SLICES] = part
        lower, upper = hu_window
        values = _resampled(plane, 2, z, self._grid.steps[2])
        return DeviceInput(values.sub_(lower).div_(upper - lower).clamp_(0.0, 1.0))


def _copied(array: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """An array on a device, its axes in the same order in memory."""
    order = np.argsort(np.abs(array.strides), kind="stable")[::-1]
    source = torch.from_numpy(np.ascontiguousarray(array.transpose(order)))
    there = torch.empty(source.shape, dtype=source.dtype, device=device)
    # Page-locked memory reaches a GPU several times as fast; all of a scan would take longer to lock than to copy.
    buffers = [torch.empty(_STAGED, dtype=torch.uint8, pin_memory=there.is_cuda) for _ in range(2)]
    _copy_in_parts(source.flatten().view(torch.uint8), there.flatten().view(torch.uint8), buffers)
    return there.permute(tuple(np.argsort(order)))


def _copy_in_parts(source: torch.Tensor, target: torch.Tensor, buffers: Sequence[torch.Tensor]) -> None:
    """Copies bytes by way of buffers, each of which is filled while the others are on their way."""
    sent: list[torch.cuda.Event | None] = [None] * len(buffers)
    size = len(buffers[0])
    for number, first in enumerate(range(0, len(source), size)):
        turn, part = number % len(buffers), source[first : first + size]
        earlier, buffer = sent[turn], buffers[turn][: len(part)]
        if earlier is not None:
            earlier.synchronize()
        target[first : first + size].copy_(buffer.copy_(part), non_blocking=True)
        if target.is_cuda:
            sent[turn] = torch.cuda.current_stream(target.device).record_event()


def _pooled(values: torch.Tensor, factors: Sequence[int]) -> torch.Tensor:
    # A block larger than what is left is what is left; torch refuses it.
    kernel = [min(f, n) for f, n in zip(factors, values.shape, strict=True)]
    return F.avg_pool3d(values[None], kernel, ceil_mode=True, count_include_pad=False)[0]


def _resampled(values: torch.Tensor, axis: int, length: int, step: float) -> torch.Tensor:
    """Linear interpolation along one axis, values beyond the last voxel repeated; a new tensor."""
    last = values.shape[axis] - 1
    position = np.clip(np.arange(length) * step, 0, last)
    low = np.minimum(position.astype(np.int64), max(last - 1, 0))
    shape = [1, 1, 1]
    shape[axis] = length
    weight = torch.from_numpy((position - low).astype(np.float32)).to(values.device).view(shape)
    lower, upper = (torch.from_numpy(i).to(values.device) for i in (low, np.minimum(low + 1, last)))
    near = values.index_select(axis, lower)
    return near.add_(values.index_select(axis, upper).sub_(near).mul_(weight))


class DeviceInput:
    """The whole resampled scan as the network sees it, on the device; stands in for the layers of an ``InputBand``.

    Args:
        values: float32 (X, Y, Z) in [0, 1].
    """

    def __init__(self, values: torch.Tensor) -> None:
        self._values = values

    def advance(self, start: int, stop: int) -> None:
        """Nothing: every layer is there."""

    def window(self, start: Sequence[int], size: Sequence[int]) -> torch.Tensor:
        """Voxels ``start : start + size`` of the model grid, zero where that reaches beyond the volume."""
        out = self._values.new_zeros(tuple(size))
        inside = [(max(a, 0), min(a + n, m)) for a, n, m in zip(start, size, self._values.shape, strict=True)]
        target = tuple(slice(low - a, high - a) for (low, high), a in zip(inside, start, strict=True))
        out[target] = self._values[tuple(slice(low, high) for low, high in inside)]
        return out


class BodyLookup:
    """Where labels may lie, on any device.

    Args:
        body: the patient; ``None`` for everywhere.
        device: where to.
    """

    def __init__(self, body: BodyMask | None, device: torch.device) -> None:
        self._coarse = None if body is None else torch.from_numpy(body.coarse).to(device)
        self._index = () if body is None else tuple(torch.from_numpy(i.astype(np.int64)).to(device) for i in body.index)

    def region(self, region: Box) -> torch.Tensor | None:
        """The mask over a box of model voxels, bool (x, y, z); ``None`` for everywhere."""
        if self._coarse is None:
            return None
        x, y, z = (index[part] for index, part in zip(self._index, region, strict=True))
        return self._coarse[x[:, None, None], y[:, None], z]
