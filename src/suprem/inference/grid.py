"""The model's grid, the scan's grid, and the two ways between them: interpolated in, nearest label out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from suprem.errors import VolumeError
from suprem.inference.memory import INTERPOLATED_SLICES
from suprem.volumes.boxes import bounding_box
from suprem.volumes.geometry import (
    Reorientation,
    Volume,
    nearest_index,
    resample_linear,
    resampled_affine,
    resampled_shape,
    to_ras,
)

__all__ = ["InputBand", "ModelGrid"]


@dataclass(frozen=True, eq=False)
class ModelGrid:
    """Where the network looks: RAS axes, the spacing of its preprocessing, first voxels aligned with the scan's.

    Attributes:
        shape: voxels (X, Y, Z) of the model grid.
        spacing_mm: its spacing.
        affine: float64 (4, 4), index -> RAS millimetres.
        reorientation: step from the scan's index axes to RAS axes.
        scan_shape: voxels of the scan on RAS axes.
        scan_spacing_mm: spacing of the scan on RAS axes.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    affine: npt.NDArray[np.float64]
    reorientation: Reorientation
    scan_shape: tuple[int, int, int]
    scan_spacing_mm: tuple[float, float, float]

    @classmethod
    def of(cls, scan: Volume, spacing_mm: Sequence[float] | None) -> "ModelGrid":
        """The model grid of ``scan``; ``spacing_mm=None`` keeps the scan's own spacing."""
        ras, step = to_ras(scan)
        own = ras.spacing_mm
        if spacing_mm is None:
            return cls(ras.shape, own, ras.affine, step, ras.shape, own)
        x, y, z = spacing_mm
        target = (float(x), float(y), float(z))
        shape = resampled_shape(ras.shape, own, target)
        return cls(shape, target, resampled_affine(ras.affine, target), step, ras.shape, own)

    @property
    def steps(self) -> tuple[float, float, float]:
        """Model spacing divided by scan spacing, per RAS axis; exactly 1 where they are equal."""
        x, y, z = (a / b for a, b in zip(self.spacing_mm, self.scan_spacing_mm, strict=True))
        return x, y, z

    def to_scan(self, labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Labels or a mask (X, Y, Z) on the model grid -> the nearest values on the scan's own index axes.

        Only the box around what is labelled is read and written: the rest of the new array is zero pages that nobody
        has touched, and most structures are small.
        """
        # x becomes the fastest axis in memory, and grows as it does in the scan, as image files and readers have it.
        result = np.zeros(self.scan_shape[::-1], dtype=labels.dtype)
        box = bounding_box(labels if labels.dtype == np.bool_ else labels != 0)
        if box is not None:
            x, y, z = (self._positions(axis, part) for axis, part in enumerate(box))
            # x while the array is small, then y layer by layer, so that no second copy of the whole exists.
            part = np.take(labels[box].T, x.nearest, axis=2)
            for layer, index in zip(range(z.there.start, z.there.stop), z.nearest, strict=True):
                np.take(part[index], y.nearest, axis=0, out=result[layer, y.there, x.there], mode="clip")
        return result.T.transpose(np.argsort(self.reorientation.axes))

    def _positions(self, axis: int, part: slice) -> "_Positions":
        """Where on a RAS axis of the scan, counted in the scan's own direction, a range of the model grid lies."""
        size = self.scan_shape[axis]
        index = nearest_index(self.shape[axis], size, 1.0 / self.steps[axis])
        low, high = (int(found) for found in np.searchsorted(index, (part.start, part.stop)))
        nearest = index[low:high] - part.start
        if self.reorientation.flips[axis]:
            return _Positions(slice(size - high, size - low), nearest[::-1])
        return _Positions(slice(low, high), nearest)


class _Positions(NamedTuple):
    """A range of scan voxels, and for each of them the voxel of the model grid's range that is nearest."""

    there: slice
    nearest: npt.NDArray[np.intp]


class InputBand:
    """The layers of the network's input that the open windows need; the whole resampled scan never exists.

    Layers are asked for in ascending order, so each scan slice is interpolated in-plane at most twice.

    Args:
        scan: int16 or float HU on its own index axes.
        grid: the model grid of ``scan``.
        hu_window: lower and upper HU, mapped linearly to [0, 1] and clipped.
    """

    def __init__(self, scan: Volume, grid: ModelGrid, hu_window: tuple[float, float]) -> None:
        self._name = scan.name
        self._ras = grid.reorientation.apply(scan.array)
        self._grid = grid
        self._window = hu_window
        self._start = self._stop = 0
        self._layers = np.empty((*grid.shape[:2], 0), dtype=np.float32)

    def advance(self, start: int, stop: int) -> None:
        """Makes layers ``start:stop`` of the model grid available and forgets those below ``start``."""
        start, stop = max(start, 0), min(stop, self._grid.shape[2])
        first_new = max(start, self._stop)
        band = np.empty((*self._grid.shape[:2], stop - start), dtype=np.float32)
        kept = max(0, self._stop - start)
        if kept:
            band[:, :, :kept] = self._layers[:, :, start - self._start : start - self._start + kept]
        self._layers = band
        self._start, self._stop = start, stop
        self._interpolate(band[:, :, first_new - start :], first_new)

    def window(self, start: Sequence[int], size: Sequence[int]) -> npt.NDArray[np.float32]:
        """Voxels ``start : start + size`` of the model grid, zero where that reaches beyond the volume.

        Args:
            start: first voxel per axis, may be negative; its z range lies within the layers made available.
            size: voxels per axis.

        Returns:
            float32 array of shape ``size``, values in [0, 1].
        """
        out = np.zeros(tuple(size), dtype=np.float32)
        inside = [(max(a, 0), min(a + n, m)) for a, n, m in zip(start, size, self._grid.shape, strict=True)]
        target = tuple(slice(lo - a, hi - a) for (lo, hi), a in zip(inside, start, strict=True))
        (x0, x1), (y0, y1), (z0, z1) = inside
        out[target] = self._layers[x0:x1, y0:y1, z0 - self._start : z1 - self._start]
        return out

    def _interpolate(self, out: npt.NDArray[np.float32], first: int) -> None:
        """Fills ``out`` with the windowed model layers ``first, first + 1, ...``."""
        steps, n_scan = self._grid.steps, self._grid.scan_shape[2]
        done = 0
        while done < out.shape[2]:
            low = self._below(first + done)
            count = 1
            while done + count < out.shape[2] and self._below(first + done + count) + 2 - low <= INTERPOLATED_SLICES:
                count += 1
            position = np.clip((first + done + np.arange(count)) * steps[2], 0, n_scan - 1)
            last = min(self._below(first + done + count - 1) + 1, n_scan - 1)
            block = self._in_plane(low, last + 1)
            lower = np.minimum(position.astype(np.intp), max(n_scan - 2, 0))
            weight = (position - lower).astype(np.float32)
            layers = block[:, :, lower - low]
            if weight.any():
                upper = np.minimum(lower + 1, n_scan - 1)
                layers += weight * (block[:, :, upper - low] - layers)
            out[:, :, done : done + count] = self._windowed(layers)
            done += count

    def _below(self, layer: int) -> int:
        """The scan slice at or below a model layer."""
        n_scan = self._grid.scan_shape[2]
        return min(int(np.clip(layer * self._grid.steps[2], 0, n_scan - 1)), max(n_scan - 2, 0))

    def _in_plane(self, low: int, stop: int) -> npt.NDArray[np.float32]:
        """Scan slices ``low:stop``, interpolated to the model grid along x and y: float32 (X, Y, stop - low)."""
        block = self._ras[:, :, low:stop]
        if block.dtype.kind == "f" and not np.isfinite(block).all():
            raise VolumeError(f"{self._name} holds NaN or infinite intensities; replace them, e.g. by -1024.")
        x, y, _ = self._grid.shape
        # One layout in memory, so that a re-oriented scan is interpolated in the same order, to the same last bit.
        block = np.asfortranarray(block)
        return resample_linear(block, (x, y, stop - low), (*self._grid.steps[:2], 1.0))

    def _windowed(self, layers: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        lower, upper = self._window
        layers -= np.float32(lower)
        layers /= np.float32(upper - lower)
        return np.clip(layers, 0.0, 1.0, out=layers)
