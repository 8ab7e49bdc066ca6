"""Tells the left from the right half of structures that a dataset labels with one value."""

from dataclasses import dataclass
from typing import Any, Literal

import cc3d
import numpy as np
import numpy.typing as npt

from suprem.errors import VolumeError

__all__ = ["LEFT", "RIGHT", "Sides", "body_midline", "split_left_right"]

RIGHT, LEFT = 1, 2

_BODY_HU = -300
"""Between lung and fat: skin is body, the padding of a couch is not."""
_BODY_VOXELS = 160
"""The midline is a mean over the whole body, so a coarse grid of at most this many voxels per axis is enough."""
_STRADDLING_SHARE = 0.2
_SPECK_MM3 = 100.0
_SPECK_SHARE = 0.02
_VIEW_SHARE = 0.9

_Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Sides:
    """Where the parts of a mask belong.

    Attributes:
        crop: the box of the mask; empty slices for an empty mask.
        side: uint8 array of the box: 0 outside the mask or undecided, ``RIGHT`` or ``LEFT``.
        undecided_mm3: volume of the components that straddle the midline and were not cut; then no voxel has a side.
        cut: a component straddled the midline and was cut there.
        empty: the side that has nothing to speak of while the other has, ``RIGHT`` or ``LEFT``; 0 when there is none.
        in_view: whether the field of view reaches to where that side would lie.
    """

    crop: tuple[slice, slice, slice]
    side: npt.NDArray[np.uint8]
    undecided_mm3: float = 0.0
    cut: bool = False
    empty: int = 0
    in_view: bool = True


def body_midline(ct: _Array) -> float:
    """Mean position of the body along the left-right axis.

    Meant for scans that show the whole width of the body; half a body has no midline.

    Args:
        ct: (X, Y, Z) in RAS, HU.

    Returns:
        Index along X, with a fraction.

    Raises:
        VolumeError: nothing is denser than air.
    """
    steps = tuple(-(-n // _BODY_VOXELS) for n in ct.shape)
    dense = ct[:: steps[0], :: steps[1], :: steps[2]] > _BODY_HU
    if not dense.any():
        raise VolumeError(f"No voxel of the CT is above {_BODY_HU} HU, so it shows no body. Check its rescale slope.")
    components, count = cc3d.connected_components(dense, connectivity=26, return_N=True)
    sizes = np.bincount(components.ravel(), minlength=count + 1)
    body = components == 1 + int(np.argmax(sizes[1:]))
    weight = body.sum(axis=(1, 2))
    return float(np.average(np.arange(len(weight)), weights=weight) * steps[0])


@dataclass
class _Components:
    """The 26-connected parts of a mask: size, position and extent along X; entry 0 is the background."""

    labels: npt.NDArray[Any]
    voxels: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    centre: npt.NDArray[np.float64]
    first: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]

    @classmethod
    def of(cls, mask: npt.NDArray[np.bool_], start: int, midline: float) -> "_Components":
        labels, count = cc3d.connected_components(mask, connectivity=26, return_N=True)
        voxels, right, moment = (np.zeros(count + 1, dtype=np.int64) for _ in range(3))
        first, last = np.full(count + 1, np.iinfo(np.int64).max), np.full(count + 1, -1)
        for x, plane in enumerate(labels, start=start):
            here = np.bincount(plane.ravel(), minlength=count + 1)
            voxels += here
            moment += here * x
            right += here if x > midline else 0
            found = here > 0
            first[found] = np.minimum(first[found], x)
            last[found] = x
        return cls(labels, voxels, right, moment / np.maximum(voxels, 1), first, last)


def split_left_right(
    mask: npt.NDArray[np.bool_],
    midline: float,
    spacing_mm: tuple[float, float, float],
    *,
    straddling: Literal["cut", "unknown"],
) -> Sides:
    """Gives every component of a mask to the side of its centroid.

    A component with more than a fifth of its voxels on either side straddles the midline: it is cut there, or the sides
    stay undecided. Specks (below 0.1 ml or 2 % of the largest component) follow their centroid but decide nothing.

    Args:
        mask: bool (X, Y, Z) in RAS: the organ of both sides with its lesions.
        midline: Index of the body's midline along X.
        spacing_mm: Of the grid.
        straddling: What happens to a component that straddles the midline.
    """
    crop = _box(mask)
    if crop is None:
        return Sides((slice(0, 0),) * 3, np.zeros((0, 0, 0), dtype=np.uint8))
    parts = _Components.of(mask[crop], crop[0].start, midline)
    voxel_mm3 = float(np.prod(spacing_mm))
    large = parts.voxels >= max(_SPECK_MM3 / voxel_mm3, _SPECK_SHARE * parts.voxels[1:].max())
    large[0] = False
    share = parts.right / np.maximum(parts.voxels, 1)
    straddles = large & (share > _STRADDLING_SHARE) & (share < 1 - _STRADDLING_SHARE)
    of_component = np.where(parts.centre > midline, RIGHT, LEFT).astype(np.uint8)
    of_component[0] = 0
    if straddles.any() and straddling == "unknown":
        nothing = np.zeros(parts.labels.shape, dtype=np.uint8)
        return Sides(crop, nothing, undecided_mm3=float(parts.voxels[straddles].sum()) * voxel_mm3)
    side = np.empty(parts.labels.shape, dtype=np.uint8)
    for x, (plane, out) in enumerate(zip(parts.labels, side, strict=True), start=crop[0].start):
        here = np.where(straddles, RIGHT if x > midline else LEFT, of_component).astype(np.uint8)
        out[...] = here[plane]
    if straddles.any():
        return Sides(crop, side, cut=True)
    empty, in_view = _one_sided(parts, large, of_component, midline, mask.shape[0])
    return Sides(crop, side, empty=empty, in_view=in_view)


def _one_sided(
    parts: _Components, large: npt.NDArray[np.bool_], of_component: npt.NDArray[np.uint8], midline: float, width: int
) -> tuple[int, bool]:
    """The side without a component worth the name, and whether the mirror image of the other side is in view."""
    sides = set(of_component[large].tolist())
    if sides != {RIGHT} and sides != {LEFT}:
        return 0, True
    low = 2 * midline - float(parts.last[large].max())
    high = 2 * midline - float(parts.first[large].min())
    seen = min(high, width - 1) - max(low, 0) + 1
    return (LEFT if sides == {RIGHT} else RIGHT), seen >= _VIEW_SHARE * (high - low + 1)


def _box(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice, slice] | None:
    """The smallest box around a mask, ``None`` when it is empty."""
    slices = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        filled = np.flatnonzero(mask.any(axis=others))
        if not len(filled):
            return None
        slices.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return slices[0], slices[1], slices[2]
