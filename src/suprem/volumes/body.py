"""A coarse mask of the patient in a CT, told from air, table and cushions by density and thickness."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import cc3d
import numpy as np
import numpy.typing as npt

__all__ = ["COARSE_MM", "block_means", "coarse_body", "filled_between", "solid_body"]

COARSE_MM = 6.0
"""Edge of the blocks whose means the masks are made from."""

_TISSUE_HU = -400.0  # mean of a coarse voxel; fat is -100, lung -850, the foam of tables and cushions below -900
_LUNG_HU = -925.0  # above air with its noise, below inflated lung
_PLATE_MM = 12.0  # plates up to this thickness, the table among them, are opened away
_MARGIN_MM = 18.0
_MIN_BODY_ML = 100.0
_PART_FRACTION = 0.05  # of the largest part: a leg or an arm that lies apart is kept

BoolArray = npt.NDArray[np.bool_]


def block_means(array: npt.NDArray[Any], factors: Sequence[int]) -> npt.NDArray[np.float32]:
    """Mean over blocks of voxels; the last block of an axis may be smaller. One layer of blocks at a time.

    Args:
        array: (X, Y, Z), any real dtype.
        factors: voxels of a block along each axis.
    """
    starts = [np.arange(0, n, f) for n, f in zip(array.shape, factors, strict=True)]
    sizes = [np.diff(np.append(s, n)) for s, n in zip(starts, array.shape, strict=True)]
    out = np.empty(tuple(s.size for s in starts), dtype=np.float32)
    for k, z in enumerate(starts[2]):
        # int32 holds the sum of any block of int16; float scans are summed as they are.
        exact = np.int32 if array.dtype.kind in "iu" and array.dtype.itemsize <= 2 else np.float32
        layer = array[:, :, z : z + sizes[2][k]].sum(axis=2, dtype=exact)
        layer = np.add.reduceat(np.add.reduceat(layer, starts[0], axis=0), starts[1], axis=1)
        out[:, :, k] = layer / (sizes[0][:, None] * sizes[1][None, :] * sizes[2][k])
    return out


def solid_body(means: npt.NDArray[np.float32], spacing_mm: Sequence[float]) -> BoolArray | None:
    """The tissue of the patient alone, without lungs and margin: plates opened away, the largest parts kept.

    Args:
        means: float32 (x, y, z) HU on RAS axes, some 6 mm.
        spacing_mm: spacing of ``means``.

    Returns:
        bool (x, y, z), or ``None`` when no body is found.
    """
    tissue = means > _TISSUE_HU
    solid = _opened(tissue, _plate_box(spacing_mm))
    solid = _largest_parts(solid, float(np.prod(spacing_mm)) / 1000.0)
    if not solid.any():
        return None
    # The opening rounds edges off; the tissue next to what it left is the body's own.
    return _neighbours(_neighbours(solid) & tissue) & tissue


def coarse_body(means: npt.NDArray[np.float32], spacing_mm: Sequence[float]) -> BoolArray | None:
    """The patient in a coarse CT; ``None`` when no body is found.

    Tissue is what is denser than lung; thin plates (the table) are opened away and the largest parts kept. In every
    axial slice all that lies between tissue, left to right or back to front, belongs to the body as well. Lung that
    the field of view cuts open is added by its own density, then a margin all around.

    Args:
        means: float32 (x, y, z) HU on RAS axes, some 6 mm.
        spacing_mm: spacing of ``means``.
    """
    solid = solid_body(means, spacing_mm)
    if solid is None:
        return None
    body = filled_between(solid)
    lung = (means > _LUNG_HU) & (means <= _TISSUE_HU)
    body |= _adjacent_parts(_opened(lung, _plate_box(spacing_mm)), body)
    return _grown(body, [math.ceil(_MARGIN_MM / s) for s in spacing_mm])


def _plate_box(spacing_mm: Sequence[float]) -> list[int]:
    """A plate may stand along any axis; a box of this size fits into a body, but into no plate however it lies."""
    return [math.floor(_PLATE_MM / s) + 1 for s in spacing_mm]


def _opened(mask: BoolArray, size: Sequence[int]) -> BoolArray:
    """Opening with a box; beyond the edges the mask goes on, so a body cut by the field of view is not eaten."""
    box = tuple(min(n, m) for n, m in zip(size, mask.shape, strict=True))
    eroded = _over_box(mask, box, np.logical_and, before=[n // 2 for n in box], beyond="edge")
    # The mirrored origin makes the dilation the erosion's counterpart for even sizes.
    return _over_box(eroded, box, np.logical_or, before=[(n - 1) // 2 for n in box], beyond="constant") & mask


def _over_box(
    mask: BoolArray, size: Sequence[int], how: np.ufunc, *, before: Sequence[int], beyond: Literal["edge", "constant"]
) -> BoolArray:
    """``how`` over a box around each voxel; SciPy's filters take four times as long.

    Args:
        mask: bool (x, y, z).
        size: of the box along each axis.
        how: ``np.logical_and`` for an erosion, ``np.logical_or`` for a dilation.
        before: voxels of the box before its own along each axis.
        beyond: ``"edge"`` where the mask goes on beyond its edges, ``"constant"`` where nothing is there.
    """
    width = [(first, count - 1 - first) for count, first in zip(size, before, strict=True)]
    found = np.pad(mask, width, mode=beyond)
    for axis, (count, length) in enumerate(zip(size, mask.shape, strict=True)):
        first, *others = (found[(slice(None),) * axis + (slice(step, step + length),)] for step in range(count))
        found = first.copy()
        for part in others:
            how(found, part, out=found)
    return found


def _neighbours(mask: BoolArray) -> BoolArray:
    """The mask and the six neighbours of its voxels."""
    found = mask.copy()
    for axis in range(3):
        here, there = np.moveaxis(mask, axis, 0), np.moveaxis(found, axis, 0)
        there[1:] |= here[:-1]
        there[:-1] |= here[1:]
    return found


def _largest_parts(mask: BoolArray, voxel_ml: float) -> BoolArray:
    labels = cc3d.connected_components(mask, connectivity=6)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    if sizes.max() * voxel_ml < _MIN_BODY_ML:
        return np.zeros_like(mask)
    return np.asarray((sizes >= _PART_FRACTION * sizes.max())[labels] & mask)


def filled_between(mask: BoolArray) -> BoolArray:
    """Everything between mask voxels along x or along y."""
    result = mask.copy()
    for axis in (0, 1):
        forward = np.logical_or.accumulate(mask, axis=axis)
        backward = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis=axis), axis)
        result |= forward & backward
    return result


def _adjacent_parts(mask: BoolArray, body: BoolArray) -> BoolArray:
    """The connected parts of ``mask`` that touch ``body``."""
    labels = cc3d.connected_components(mask, connectivity=6)
    touching = np.bincount(labels[_neighbours(body)], minlength=int(labels.max()) + 1) > 0
    touching[0] = False
    return np.asarray(touching[labels])


def _grown(mask: BoolArray, radius: Sequence[int]) -> BoolArray:
    return _over_box(mask, [2 * r + 1 for r in radius], np.logical_or, before=radius, beyond="constant")
