"""The smaller grid that a page can hold: intensities averaged over its voxels, masks looked up at their centres."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from suprem.report.companding import compand
from suprem.volumes.geometry import Reorientation, Volume, to_ras

__all__ = ["MAX_IN_PLANE", "MAX_VOXELS", "ReducedGrid"]

MAX_IN_PLANE = 256
# 256 x 256 x 320: what a browser unpacks and draws in well under two seconds.
MAX_VOXELS = 256 * 256 * 320

Array = npt.NDArray[Any]
Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class ReducedGrid:
    """A grid over the same field of view as a scan's, RAS axes, with as many voxels as the scan or fewer per axis.

    Attributes:
        scan: the scan with RAS axes (a view).
        step: from the scan as it was given to RAS axes.
        shape: voxels (X, Y, Z) of this grid.
    """

    scan: Volume
    step: Reorientation
    shape: Shape

    @classmethod
    def of(cls, scan: Volume) -> "ReducedGrid":
        """The finest grid within the limits: 256 voxels in plane, and fewer slices only where there are very many."""
        ras, step = to_ras(scan)
        x, y = (min(n, MAX_IN_PLANE) for n in ras.shape[:2])
        return cls(ras, step, (x, y, max(1, min(ras.shape[2], MAX_VOXELS // (x * y)))))

    def coarser(self, factor: float) -> "ReducedGrid":
        """A grid with about ``factor`` times the voxels, coarsened evenly over the axes; one voxel per axis is left."""
        x, y, z = (max(1, int(n * factor ** (1 / 3))) for n in self.shape)
        return ReducedGrid(self.scan, self.step, (x, y, z))

    @property
    def ratio(self) -> tuple[float, float, float]:
        """Scan voxels per voxel of this grid, 1 or more."""
        x, y, z = (n / m for n, m in zip(self.scan.shape, self.shape, strict=True))
        return x, y, z

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Size of a voxel of this grid."""
        x, y, z = (s * r for s, r in zip(self.scan.spacing_mm, self.ratio, strict=True))
        return x, y, z

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """Index on this grid -> RAS millimetres, (4, 4); outer faces lie on those of the scan."""
        ratio = np.asarray(self.ratio)
        scale = np.diag([*ratio, 1.0])
        scale[:3, 3] = (ratio - 1) / 2
        return np.asarray(self.scan.affine @ scale)

    def codes(self) -> npt.NDArray[np.uint8]:
        """The scan on this grid, each voxel the mean of what it covers, companded; uint8 (Z, Y, X)."""
        x, y, z = (_coverage(n, m) for n, m in zip(self.scan.shape, self.shape, strict=True))
        out = np.empty(self.shape[::-1], dtype=np.uint8)
        kept: dict[int, Array] = {}  # reduced slices that the next output slice shares
        for index in range(self.shape[2]):
            row = z.getrow(index)
            kept = {k: kept[k] if k in kept else self._slice(int(k), x, y) for k in row.indices}
            out[index] = compand(sum(w * kept[k] for k, w in zip(row.indices, row.data, strict=True)))
        return out

    def _slice(self, index: int, x: sparse.csr_matrix, y: sparse.csr_matrix) -> Array:
        """One slice of the scan averaged in plane, float32 (Y, X)."""
        plane = np.ascontiguousarray(self.scan.array[:, :, index].T, dtype=np.float32)
        if self.scan.shape[:2] == self.shape[:2]:
            return plane
        return np.asarray((x @ (y @ plane).T).T)

    def centres(self) -> tuple[Array, Array, Array]:
        """Per axis, the index of the scan voxel (RAS axes) at the centre of each voxel of this grid."""
        x, y, z = (
            np.minimum(((np.arange(m) + 0.5) * n / m).astype(np.intp), n - 1)
            for n, m in zip(self.scan.shape, self.shape, strict=True)
        )
        return x, y, z

    def look_up(self, mask: npt.NDArray[np.bool_]) -> tuple[tuple[slice, slice, slice], npt.NDArray[np.bool_]]:
        """A mask on this grid, as the box that holds it and the part of the mask in that box.

        Where the centres miss a small structure altogether, every voxel that it touches is taken: nothing disappears.

        Args:
            mask: bool (X, Y, Z) on the scan's grid as it was given.

        Returns:
            Slices along Z, Y, X and bool (Z, Y, X) of that size; of size zero when the mask is empty.
        """
        turned = self.step.apply(mask)
        bounds = _bounds(turned)
        if bounds is None:
            return (slice(0, 0), slice(0, 0), slice(0, 0)), np.zeros((0, 0, 0), dtype=bool)
        picked = []
        for centre, (low, high) in zip(self.centres(), bounds, strict=True):
            first, last = np.searchsorted(centre, [low, high])
            picked.append((int(first), centre[first:last]))
        (x0, x), (y0, y), (z0, z) = picked
        # Slice by slice and only within the box: the axes of the scan may lie in any order in memory.
        found = np.zeros((len(z), len(y), len(x)), dtype=bool)
        for k, index in enumerate(z):
            found[k] = turned[:, :, index][np.ix_(x, y)].T
        if found.any():
            return (_span(z0, len(z)), _span(y0, len(y)), _span(x0, len(x))), found
        return self._touched(turned, bounds)

    def _touched(
        self, turned: npt.NDArray[np.bool_], bounds: tuple[tuple[int, int], ...]
    ) -> tuple[tuple[slice, slice, slice], npt.NDArray[np.bool_]]:
        box = turned[tuple(slice(low, high) for low, high in bounds)]
        where = [
            ((index + low) * m // n)
            for index, (low, _), n, m in zip(np.nonzero(box), bounds, self.scan.shape, self.shape, strict=True)
        ]
        starts = [int(w.min()) for w in where]
        sizes = [int(w.max()) - s + 1 for w, s in zip(where, starts, strict=True)]
        found = np.zeros(sizes[::-1], dtype=bool)
        x, y, z = (w - s for w, s in zip(where, starts, strict=True))
        found[z, y, x] = True
        slices = [_span(s, n) for s, n in zip(starts, sizes, strict=True)]
        return (slices[2], slices[1], slices[0]), found


def _span(start: int, length: int) -> slice:
    return slice(start, start + length)


def _bounds(mask: npt.NDArray[np.bool_]) -> tuple[tuple[int, int], ...] | None:
    """First index and one past the last along each axis; ``None`` for an empty mask."""
    # Plane by plane across the axis whose neighbours lie farthest apart in memory.
    axis = int(np.argmax(np.abs(mask.strides)))
    others = [a for a in range(3) if a != axis]
    seen = [np.zeros(n, dtype=bool) for n in mask.shape]
    for index, plane in enumerate(np.moveaxis(mask, axis, 0)):
        rows = plane.any(axis=1)
        if rows.any():
            seen[axis][index] = True
            seen[others[0]] |= rows
            seen[others[1]] |= plane.any(axis=0)
    if not seen[0].any():
        return None
    found = [np.flatnonzero(s) for s in seen]
    return tuple((int(f[0]), int(f[-1]) + 1) for f in found)


def _coverage(n_in: int, n_out: int) -> sparse.csr_matrix:
    """Weights (n_out, n_in) that average what each output voxel covers of the input; rows sum to one."""
    if n_in == n_out:
        return sparse.identity(n_in, dtype=np.float32, format="csr")
    edges = np.arange(n_out + 1) * (n_in / n_out)
    rows, columns, weights = [], [], []
    for row, (low, high) in enumerate(pairwise(edges)):
        covered = np.arange(int(low), min(n_in, int(np.ceil(high - 1e-9))))
        share = np.minimum(covered + 1, high) - np.maximum(covered, low)
        rows += [row] * len(covered)
        columns += covered.tolist()
        weights += (share / share.sum()).tolist()
    return sparse.csr_matrix((np.asarray(weights, np.float32), (rows, columns)), shape=(n_out, n_in))
