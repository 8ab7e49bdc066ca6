"""Blending of overlapping windows in accumulators that exist only while windows can still reach them."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from suprem.inference.windows import Window, in_batches

__all__ = ["Cell", "SlabAccumulator", "SlabLayout"]

_CACHED = 2**20
"""How many values of an output are worked on at a time on a CPU."""


class Cell(NamedTuple):
    """A finished part of a slab.

    Attributes:
        x: voxels along x that it covers; it spans all of y.
        z: layers that it covers.
        values: (C, x, Y, z) sum of weighted window outputs, float32 or float16.
        weights: float32 (x, Y, z), sum of the weights; 0 where no window was run.
    """

    x: slice
    z: slice
    values: torch.Tensor
    weights: torch.Tensor


class SlabLayout:
    """Cuts a volume into cells (a range of x times a range of z, all of y) at the edges of the windows.

    Windows run from the feet to the head, and from left to right within a slab, so a cell is opened by the first window
    that reaches it and closed by the last. At most the layers of one window are open, and of those only what lies
    between finished and untouched columns: two thirds of a full slab, more where the last windows crowd.

    Args:
        shape: voxels (X, Y, Z).
        patch_size: voxels (x, y, z) of a window.
        windows: the windows that will be run, in order.
    """

    def __init__(self, shape: tuple[int, int, int], patch_size: Sequence[int], windows: Sequence[Window]) -> None:
        self.shape = shape
        self.patch_size = (patch_size[0], patch_size[1], patch_size[2])
        self.windows = tuple(windows)
        self._x = _edges({w.x for w in windows}, patch_size[0], shape[0])
        self._z = _edges({w.z for w in windows}, patch_size[2], shape[2])
        self._last_use = {cell: i for i, window in enumerate(self.windows) for cell in self.cells(window)}

    def cells(self, window: Window) -> Iterator[tuple[int, int]]:
        """The cells that a window reaches."""
        for i in _covered(self._x, window.x, self.patch_size[0]):
            for k in _covered(self._z, window.z, self.patch_size[2]):
                yield i, k

    def box(self, cell: tuple[int, int]) -> tuple[slice, slice]:
        """The ranges of x and z that a cell covers."""
        i, k = cell
        return slice(self._x[i], self._x[i + 1]), slice(self._z[k], self._z[k + 1])

    def closed_by(self, done: int) -> Iterator[tuple[int, int]]:
        """The cells that no window from number ``done`` on reaches."""
        return (cell for cell, last in self._last_use.items() if last < done)

    def voxels(self, cell: tuple[int, int]) -> int:
        """Voxels of one cell."""
        x, z = self.box(cell)
        return int((x.stop - x.start) * self.shape[1] * (z.stop - z.start))

    def peak_voxels(self, batch: int) -> int:
        """The most voxels that are ever open at once when ``batch`` windows run together."""
        closing = defaultdict(list)
        for cell, last in self._last_use.items():
            closing[last].append(cell)
        open_cells: set[tuple[int, int]] = set()
        now = peak = done = 0
        for group in in_batches(self.windows, batch):
            for window in group:
                new = set(self.cells(window)) - open_cells
                open_cells |= new
                now += sum(self.voxels(cell) for cell in new)
            peak = max(peak, now)
            for i in range(done, done + len(group)):
                now -= sum(self.voxels(cell) for cell in closing[i])
            done += len(group)
        return peak


def _edges(starts: set[int], patch: int, size: int) -> list[int]:
    return sorted({min(max(edge, 0), size) for start in starts for edge in (start, start + patch)})


def _covered(edges: list[int], start: int, patch: int) -> range:
    low, high = max(start, 0), min(start + patch, edges[-1])
    return range(bisect_right(edges, low) - 1, bisect_right(edges, high - 1))


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Zeros; on a CPU in pages that the system hands out as such, where torch would write all of them once more."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    return torch.from_numpy(np.zeros(shape, dtype={torch.float32: np.float32, torch.float16: np.float16}[dtype]))


class SlabAccumulator:
    """Sums weighted window outputs cell by cell.

    Args:
        layout: the cells.
        importance: float32 (x, y, z) weight of each voxel of a window.
        channels: channels of the outputs.
        dtype: float32, or float16 to halve the memory.
    """

    def __init__(
        self, layout: SlabLayout, importance: torch.Tensor, channels: int, dtype: torch.dtype = torch.float32
    ) -> None:
        self._layout = layout
        self._importance = importance
        self._channels = channels
        self._dtype = dtype
        self._open: dict[tuple[int, int], tuple[torch.Tensor, torch.Tensor]] = {}

    def add(self, window: Window, output: torch.Tensor) -> None:
        """Adds one window's output, float (C, x, y, z) in any order of its numbers; it may be overwritten."""
        size, y_size = self._layout.patch_size, self._layout.shape[1]
        y = slice(max(window.y, 0), min(window.y + size[1], y_size))
        pieces = []
        for cell in self._layout.cells(window):
            values, weights = self._opened(cell, output)
            x, z = self._layout.box(cell)
            # Cells end where windows do, so a cell is either covered whole along x and z or not at all.
            source = (
                slice(x.start - window.x, x.stop - window.x),
                slice(y.start - window.y, y.stop - window.y),
                slice(z.start - window.z, z.stop - window.z),
            )
            weights[:, y] += self._importance[source]
            pieces.append((values[:, :, y], source))
        if output.is_cuda:  # all at once, so that it is called as rarely as can be and reads everything once
            for target, source in pieces:
                target.addcmul_(output[(slice(None), *source)], self._importance[source])
            return
        # What is worked on stays in the cache.
        step = max(1, _CACHED // output[:, 0].numel())
        for first in range(0, size[0], step):
            part = output[:, first : first + step]
            part *= self._importance[first : first + step]
            for target, (x, y, z) in pieces:
                low, high = max(x.start, first), min(x.stop, first + step)
                if low < high:
                    target[:, low - x.start : high - x.start] += part[:, low - first : high - first, y, z]

    def close(self, done: int) -> Iterator[Cell]:
        """Hands out and forgets the cells that no window from number ``done`` on reaches."""
        for cell in list(self._layout.closed_by(done)):
            if cell in self._open:
                x, z = self._layout.box(cell)
                values, weights = self._open.pop(cell)
                yield Cell(x, z, values, weights)
                del values, weights  # the memory must be gone before the next cell is opened

    def _opened(self, cell: tuple[int, int], output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if cell not in self._open:
            x, z = self._layout.box(cell)
            shape, device = (x.stop - x.start, self._layout.shape[1], z.stop - z.start), self._importance.device
            if output.stride(0) == 1:  # the order in which it comes, which takes less than half the time to add
                values = _zeros((*shape, self._channels), self._dtype, device).permute(3, 0, 1, 2)
            else:
                values = _zeros((self._channels, *shape), self._dtype, device)
            self._open[cell] = values, _zeros(shape, torch.float32, device)
        return self._open[cell]
