"""A scan and its labels on the GPU, so that there the network sets the pace.

On a CPU the network's input is interpolated layer by layer and labels go straight to where they are kept. On a GPU that
would leave it waiting most of the time: here the scan is copied once, resampled and looked at there, and the labels
come back once.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from suprem.errors import VolumeError
from suprem.inference.blending import ClassChannels
from suprem.inference.body import BodyMask
from suprem.inference.grid import ModelGrid
from suprem.inference.store import BitStore, IndexStore, Region
from suprem.volumes.geometry import Volume

__all__ = ["BodyLookup", "DeviceInput", "DeviceLabels", "DeviceScan", "device_bytes"]

_SLICES = 32
"""Scan slices that are interpolated or averaged at a time."""


def device_bytes(grid: ModelGrid, scan_bytes: int, label_bytes: int) -> int:
    """Memory that scan, input and labels take on the device at their fullest moment."""
    x, y, z = grid.shape
    sx, sy, sz = grid.scan_shape
    slices = 4 * _SLICES * (2 * sx * sy + 4 * x * max(y, sy))
    return max(2 * scan_bytes + slices, scan_bytes + slices + 4 * x * y * (sz + 3 * z)) + label_bytes


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
        if any(stride <= 0 for stride in array.strides):
            array = np.ascontiguousarray(array)
        step = grid.reorientation
        values = torch.from_numpy(array).to(device).permute(step.axes)
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

    def region(self, region: Region) -> torch.Tensor | None:
        """The mask over a box of model voxels, bool (x, y, z); ``None`` for everywhere."""
        if self._coarse is None:
            return None
        x, y, z = (index[part] for index, part in zip(self._index, region, strict=True))
        return self._coarse[x[:, None, None], y[:, None], z]


class DeviceLabels:
    """Collects labels on the device until all windows are done.

    Args:
        channels: what the logits mean.
        shape: voxels (X, Y, Z) of the model grid.
        device: where to.
    """

    def __init__(self, channels: ClassChannels, shape: tuple[int, int, int], device: torch.device) -> None:
        self._store = channels.store(shape)
        size = shape if channels.exclusive else (-(-len(channels.names) // 8), *shape)
        self._labels = torch.zeros(size, dtype=channels.label_dtype, device=device)

    def write(self, region: Region, labels: torch.Tensor, inside: torch.Tensor | None) -> None:
        """Stores labels of a box, (V,) or (planes, V); nothing is there outside ``inside`` (x, y, z)."""
        box = tuple(len(range(*part.indices(n))) for part, n in zip(region, self._store.shape, strict=True))
        found = labels.view(*self._labels.shape[:-3], *box)
        self._labels[(..., *region)] = found if inside is None else found * inside

    def finish(self) -> BitStore | IndexStore:
        """The labels, in the memory of the computer."""
        found: npt.NDArray[Any] = self._labels.cpu().numpy()
        self._store.fill(found)
        return self._store
