"""Surfaces of all structures of a label array in one pass, and how far two of them are apart.

A surface is the set of cells (see :mod:`suprem.evaluation._cells`) that it runs through. Distances between cells are
whole numbers of voxels times the spacing, so that ties with a tolerance in mm stay ties.
"""

import itertools
import math
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from suprem.evaluation._cells import CORNERS, Floats, Spacing

_REACH = 8  # voxels along each axis in which the nearest element is looked for cell by cell
_STEPS = 1024  # such cells at most; beyond them a tree is faster
_BLOCK = 2_000_000  # voxels that one thread looks at in one go


@dataclass(frozen=True)
class Surface:
    """Elements of a surface.

    Attributes:
        cells: int32 (3, N); cell (0, 0, 0) lies half a voxel before the first voxel on each axis.
        codes: uint8 (N,), how each cell is filled; bit ``4x + 2y + z`` is its voxel (x, y, z).
    """

    cells: npt.NDArray[np.int32]
    codes: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True)
class Profile:
    """Area of one surface by its distance from another one: ``lengths`` in mm, ``areas`` in mm2, both float64 (M,)."""

    lengths: Floats
    areas: Floats

    def within(self, tolerance_mm: float) -> float:
        """Area in mm2 that is not farther away than the tolerance."""
        return float(self.areas[self.lengths <= tolerance_mm].sum())

    def percentile(self, percent: float) -> float:
        """Smallest distance in mm that at least ``percent`` of the area does not exceed."""
        order = np.argsort(self.lengths, kind="stable")
        share = np.cumsum(self.areas[order]) / self.areas.sum()
        return float(self.lengths[order][min(int(np.searchsorted(share, percent / 100)), len(order) - 1)])


def slowest_first(array: npt.NDArray[Any]) -> list[int]:
    """The axes in the order of memory; blocks along the first of them lie in one piece."""
    return sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))


def surfaces_of(labels: npt.NDArray[Any], count: int, pool: Executor) -> list[Surface]:
    """Surfaces of the structures 1 to ``count`` of an unsigned (X, Y, Z) array; all outside of it is background.

    Args:
        labels: 0 is background, and what is above ``count`` is not looked at.
        count: number of structures.
        pool: threads that share the work.
    """
    axes = slowest_first(labels)
    turned = labels.transpose(axes)
    thick = max(1, _BLOCK // max(1, math.prod(n + 2 for n in turned.shape[1:])))
    starts = range(0, turned.shape[0] + 1, thick)
    parts = list(pool.map(lambda first: _block_surfaces(turned, axes, count, first, thick), starts))
    result = []
    for one in range(count):
        cells, codes = zip(*(part[one] for part in parts), strict=True)
        result.append(Surface(np.concatenate(cells, axis=1), np.concatenate(codes)))
    return result


def _block_surfaces(
    turned: npt.NDArray[Any], axes: list[int], count: int, first: int, thick: int
) -> list[tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]]:
    """Cells and codes of each structure in the layers of cells ``first`` to ``first + thick - 1`` of the first axis."""
    layers = turned[max(first - 1, 0) : first + thick]
    block = np.zeros((thick + 1, *(n + 2 for n in turned.shape[1:])), dtype=turned.dtype)
    start = 1 if first == 0 else 0
    block[start : start + len(layers), 1:-1, 1:-1] = layers
    flat, strides = block.ravel(), [0, 0, 0]
    for axis, stride in zip(axes, (block.shape[1] * block.shape[2], block.shape[2], 1), strict=True):
        strides[axis] = stride
    mixed = _mixed(flat, sorted(strides))
    corners = [flat[mixed + sum(c * s for c, s in zip(corner, strides, strict=True))] for corner in CORNERS]
    where, structures, codes = _elements(corners)
    order = np.argsort(structures, kind="stable")
    places = np.unravel_index(mixed[where[order]], block.shape)
    cells = np.empty((3, len(order)), dtype=np.int32)
    cells[axes] = places
    cells[axes[0]] += first
    ends = np.cumsum(np.bincount(structures, minlength=count + 1))[: count + 1]
    pieces = [slice(*pair) for pair in itertools.pairwise(ends.tolist())]
    sorted_codes = codes[order]
    return [(cells[:, piece], sorted_codes[piece]) for piece in pieces]


def _mixed(flat: npt.NDArray[Any], strides: list[int]) -> npt.NDArray[np.intp]:
    """First voxels of all cells whose eight voxels are not equal, in a block with a background margin.

    Cells that run over the end of a row hold voxels of the margin alone, so that the block can be read as one row.
    """
    differs = np.zeros(len(flat), dtype=bool)
    for stride in strides:  # edges, then faces, then whole cells
        size = len(differs) - stride
        differs = differs[:size] | differs[stride:] | (flat[:size] != flat[stride : stride + size])
    return np.flatnonzero(differs)


def _elements(
    corners: list[npt.NDArray[Any]],
) -> tuple[npt.NDArray[np.intp], npt.NDArray[Any], npt.NDArray[np.uint8]]:
    """Of each structure in each cell: the number of the cell, the structure, and how it fills the cell."""
    codes = [np.full(len(corners[0]), 1 << bit, dtype=np.uint8) for bit in range(8)]
    for one in range(8):
        for two in range(one + 1, 8):
            same = (corners[one] == corners[two]).view(np.uint8)
            codes[one] |= same << np.uint8(two)
            codes[two] |= same << np.uint8(one)
    # A structure is told once, by the first voxel that it has in the cell.
    first = [
        np.flatnonzero((corner != 0) & (code & ((1 << bit) - 1) == 0))
        for bit, (corner, code) in enumerate(zip(corners, codes, strict=True))
    ]
    structures, filled = (
        np.concatenate([values[where] for values, where in zip(arrays, first, strict=True)])
        for arrays in (corners, codes)
    )
    return np.concatenate(first), structures, filled


@lru_cache(maxsize=64)
def _steps(spacing_mm: Spacing) -> tuple[npt.NDArray[np.int32], Floats]:
    """Steps from a cell to its neighbours, int32 (3, K), nearest first, and their lengths in mm.

    None is missing that is nearer than the last.
    """
    axis = np.arange(-_REACH, _REACH + 1, dtype=np.int32)
    steps = np.stack(np.meshgrid(axis, axis, axis, indexing="ij")).reshape(3, -1)
    lengths = _lengths(steps, spacing_mm)
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] < (_REACH + 1) * min(spacing_mm)][:_STEPS]
    return steps[:, order], lengths[order]


def _lengths(steps: npt.NDArray[Any], spacing_mm: Spacing) -> Floats:
    squares = [(step * float(size)) ** 2 for step, size in zip(steps, spacing_mm, strict=True)]
    lengths: Floats = np.sqrt(squares[0] + squares[1] + squares[2])
    return lengths


def profile(source: Surface, target: Surface, spacing_mm: Spacing, areas: Floats) -> Profile:
    """Area of ``source`` by its distance from ``target``; neither is empty.

    Args:
        source: surface whose elements are looked at.
        target: surface whose nearest element is looked for.
        spacing_mm: voxel size.
        areas: mm2 of each of the 256 codes, see :func:`suprem.evaluation._cells.cell_areas`.
    """
    lengths = _steps(spacing_mm)[1]
    nearest = _nearest_step(source, target, spacing_mm)
    weights = areas[source.codes]
    far = nearest == len(lengths)
    binned = np.bincount(nearest, weights=weights, minlength=len(lengths) + 1)[:-1]
    hit = binned > 0
    values, sums = [lengths[hit]], [binned[hit]]
    if far.any():
        size, cells = np.asarray(spacing_mm, dtype=np.float64), source.cells[:, far]
        tree: Any = cKDTree(target.cells.T * size, balanced_tree=False, compact_nodes=False)
        values.append(_lengths(target.cells[:, tree.query(cells.T * size)[1]] - cells, spacing_mm))
        sums.append(weights[far])
    return Profile(np.concatenate(values), np.concatenate(sums))


def _nearest_step(source: Surface, target: Surface, spacing_mm: Spacing) -> npt.NDArray[np.intp]:
    """For each element the number of the shortest step to an element of ``target``, or the number of steps."""
    steps = _steps(spacing_mm)[0]
    reach = np.abs(steps).max(axis=1)
    both = (source.cells, target.cells)
    low = np.minimum(*(cells.min(axis=1) for cells in both)) - reach
    size = np.maximum(*(cells.max(axis=1) for cells in both)) + reach + 1 - low
    strides = np.array([size[1] * size[2], size[2], 1], dtype=np.intp)
    occupied = np.zeros(int(strides[0] * size[0]), dtype=bool)
    occupied[_flat(target, low, strides)] = True
    at, left = _flat(source, low, strides), np.arange(len(source))
    nearest = np.full(len(source), steps.shape[1], dtype=np.intp)
    for number, jump in enumerate(strides @ steps):
        found = occupied[at + jump]
        if found.any():
            nearest[left[found]] = number
            missed = ~found
            at, left = at[missed], left[missed]
            if not len(left):
                break
    return nearest


def _flat(surface: Surface, low: npt.NDArray[np.int32], strides: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    x, y, z = surface.cells
    flat: npt.NDArray[np.intp] = (x - low[0]) * strides[0] + (y - low[1]) * strides[1] + (z - low[2])
    return flat


def box_of(surface: Surface) -> tuple[slice, ...] | None:
    """Bounding box of the voxels inside; ``None`` where there are none."""
    if not len(surface):
        return None
    return tuple(slice(int(axis.min()), int(axis.max())) for axis in surface.cells)
