"""Left and right lung from the union of both: components, and cutting them apart where they are joined."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from suprem.inference._components import fill_holes, parts
from suprem.volumes.boxes import bounding_box

__all__ = ["Lungs", "separate_lungs"]

_MAX_RATIO = 4.0
_MEAN_MM, _LOCAL_MM = 30.0, 10.5  # 20 and 7 slices of 1.5 mm
_JUMP_MM2 = 450.0  # 200 voxels of 1.5 x 1.5 mm
_MAX_EROSION_MM = 15.0
_QUERY = 200_000

BoolArray = npt.NDArray[np.bool_]
Pair = tuple[BoolArray, BoolArray]


class Lungs(NamedTuple):
    """Both lungs, or why they could not be told apart.

    Attributes:
        left: bool (X, Y, Z), the patient's left lung.
        right: bool (X, Y, Z).
        note: how it was done, or why not.
        separated: ``left`` and ``right`` can be used.
    """

    left: BoolArray
    right: BoolArray
    note: str
    separated: bool = True


def separate_lungs(union: BoolArray, spacing_mm: Sequence[float]) -> Lungs:
    """Tells the lungs apart on RAS axes, where smaller x is the patient's left.

    Two parts of similar size are the lungs. Otherwise, when nearly everything lies in one half of the volume, there is
    one lung (with what may be left of the other). Otherwise the lungs are joined: slices whose area stands out are
    reduced to what the slices around them share, and if that does not part the lungs they are eroded until they part;
    what was taken away goes to the nearer lung. All loops are bounded.

    Args:
        union: bool (X, Y, Z), voxels of either lung.
        spacing_mm: spacing of the grid.
    """
    empty = np.zeros_like(union)
    box = bounding_box(union)
    if box is None:
        return Lungs(empty, empty, "no lung voxels", separated=False)
    crop = union[box]
    middle = (union.shape[0] - 1) / 2 - box[0].start
    seeds, note = _seeds(crop, middle, spacing_mm)
    if seeds is None:
        return Lungs(empty, empty, note, separated=False)
    left, right = empty, empty.copy()
    left[box], right[box] = (fill_holes(side) for side in seeds)
    left &= ~right
    return Lungs(left, right, note)


def _seeds(crop: BoolArray, middle: float, spacing_mm: Sequence[float]) -> tuple[Pair | None, str]:
    """The complete left and right lung within the crop, before holes are filled."""
    whole = parts(crop)
    if _similar(whole.sizes):
        return _by_side(whole.mask([0]), whole.mask([1]), whole.centres[:2, 0].tolist()), "two parts"
    both = whole.mask(range(min(2, len(whole.sizes))))
    columns = both.sum(axis=(1, 2))
    left_half = float(columns[: max(0, math.ceil(middle))].sum())
    right_half = float(columns.sum()) - left_half
    if max(left_half, right_half) > _MAX_RATIO * min(left_half, right_half):
        return _one_lung(whole.mask([0]), both, left_half > right_half, whole.centres[:, 0].tolist(), middle)
    del whole
    for cut, how in ((_without_outliers, "slices that stand out reduced"), (_eroded, "eroded")):
        found = cut(both, spacing_mm)
        if found is not None:
            first, second = _grown_back(both, found, spacing_mm)
            centres = [float(side.sum(axis=(1, 2)) @ np.arange(side.shape[0])) / side.sum() for side in (first, second)]
            return _by_side(first, second, centres), f"joined lungs were parted: {how}"
    return None, f"the lungs are joined and did not part within {_MAX_EROSION_MM:g} mm of erosion; left as predicted"


def _similar(sizes: npt.NDArray[np.int64]) -> bool:
    return len(sizes) > 1 and bool(sizes[0] <= _MAX_RATIO * sizes[1])


def _by_side(first: BoolArray, second: BoolArray, x: Sequence[float]) -> Pair:
    return (first, second) if x[0] < x[1] else (second, first)


def _one_lung(lung: BoolArray, both: BoolArray, on_left: bool, x: Sequence[float], middle: float) -> tuple[Pair, str]:
    """One lung, and as the other what lies in the other half: a collapsed lung, or the base of it at the scan's end."""
    rest = both & ~lung
    if len(x) > 1 and (x[1] < middle) != on_left:
        note = "one large lung; the small part in the other half is the other one"
    else:
        rest, note = np.zeros_like(lung), "only one lung"
    return ((lung, rest) if on_left else (rest, lung)), note


def _without_outliers(lungs: BoolArray, spacing_mm: Sequence[float]) -> Pair | None:
    """Parts after axial slices with a sudden large area are reduced to what their neighbours share.

    There something joins the lungs. Emptying such slices would also cut each lung into an upper and a lower part.
    """
    area = lungs.sum(axis=(0, 1)).astype(np.float64)
    window = max(3, round(_MEAN_MM / spacing_mm[2]))
    mean = ndimage.uniform_filter1d(area, window, mode="nearest")
    spread = np.sqrt(np.maximum(ndimage.uniform_filter1d(area**2, window, mode="nearest") - mean**2, 0))
    local = ndimage.uniform_filter1d(area, max(3, round(_LOCAL_MM / spacing_mm[2])), mode="nearest")
    jump = _JUMP_MM2 / (spacing_mm[0] * spacing_mm[1])
    outliers = (area > mean + 2 * spread) & (area > local + jump)
    good = np.flatnonzero(~outliers)
    if good.size in (0, outliers.size):
        return None
    reduced = lungs.copy()
    for layer in np.flatnonzero(outliers):
        after = int(np.searchsorted(good, layer))
        for neighbour in good[max(after - 1, 0) : after + 1]:
            reduced[:, :, layer] &= lungs[:, :, neighbour]
    return _two_similar(reduced)


def _eroded(lungs: BoolArray, spacing_mm: Sequence[float]) -> Pair | None:
    current = lungs
    for _ in range(max(1, math.ceil(_MAX_EROSION_MM / min(spacing_mm)))):
        current = ndimage.binary_erosion(current, border_value=1)
        if not current.any():
            return None
        found = _two_similar(current)
        if found is not None:
            return found
    return None


def _two_similar(mask: BoolArray) -> Pair | None:
    found = parts(mask)
    return (found.mask([0]), found.mask([1])) if _similar(found.sizes) else None


def _grown_back(lungs: BoolArray, seeds: Pair, spacing_mm: Sequence[float]) -> Pair:
    """Every voxel of the lungs with the nearer seed, by distance in millimetres."""
    first, second = seeds[0].copy(), seeds[1].copy()
    left_over = np.argwhere(lungs & ~first & ~second)
    trees = [cKDTree(np.argwhere(seed & ~ndimage.binary_erosion(seed)) * spacing_mm) for seed in seeds]
    for start in range(0, len(left_over), _QUERY):
        index = left_over[start : start + _QUERY]
        near = trees[0].query(index * spacing_mm)[0] <= trees[1].query(index * spacing_mm)[0]
        first[tuple(index[near].T)] = True
        second[tuple(index[~near].T)] = True
    return first, second
