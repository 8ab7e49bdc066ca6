"""What is measured of one mask to judge it: border, surface, parts, place and the width of the undecided band."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt

from suprem.datasets._sides import body_midline
from suprem.errors import UnknownNameError, VolumeError
from suprem.labels import structure
from suprem.volumes.boxes import Box, bounding_box

__all__ = ["Evidence", "body_midline_mm", "gather", "is_one_piece", "parts_apart"]

BoolArray = npt.NDArray[np.bool_]
Spacing = tuple[float, float, float]

_FACES = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))
_BODY_HU = -300
_ONE_SIDED = 0.25
"""A body that fills this much more of one lateral face of the grid than of the other is not shown in its full width."""

# In one piece in (nearly) everybody; others may have several parts, like lesions and vessel trees.
_ONE_PIECE_GROUPS = frozenset({"abdominal organ", "thorax organ", "skeletal structure", "cardiac structure", "muscle"})
_SEVERAL = frozenset({"adrenal_glands", "gonads", "costal_cartilages", "sternum"})
_ONE_PIECE_VESSELS = frozenset(
    {"aorta", "postcava", "superior_vena_cava", "portal_vein_and_splenic_vein", "celiac_trunk", "brachiocephalic_trunk"}
)


@dataclass(frozen=True)
class Evidence:
    """What is known of one structure; of an empty mask only that it is empty.

    Attributes:
        structure: its name, not necessarily one of the label registry.
        voxels: voxels of the mask.
        volume_ml: volume in millilitres.
        mean_hu: mean density, ``None`` where no CT was given.
        std_hu: population standard deviation of the density in HU.
        faces: faces of the grid that the mask reaches, in words of the patient.
        border_share: share of the mask's surface that lies on the border of the grid, 0 to 1. Surface is counted in
            voxel faces, which is too much on slanted surfaces, so the share is rather too small.
        surface_mm2: area of the surface in voxel faces.
        parts: connected parts (26 neighbours), ``None`` for structures that may have several. Parts other than the
            largest that reach the border of the grid are not counted: they may be joined outside.
        largest_share: share of the largest part and of those that reach the border in the volume.
        centre_x_mm: mean position along the left-right axis, from the first voxel of the grid.
        undecided_ml: volume in which the network was close to its decision threshold; ``None`` without probabilities.
    """

    structure: str
    voxels: int
    volume_ml: float
    mean_hu: float | None = None
    std_hu: float | None = None
    faces: tuple[str, ...] = ()
    border_share: float | None = None
    surface_mm2: float | None = None
    parts: int | None = None
    largest_share: float | None = None
    centre_x_mm: float | None = None
    undecided_ml: float | None = None

    @property
    def empty(self) -> bool:
        """True when the mask has no voxel."""
        return self.voxels == 0

    @property
    def undecided_share(self) -> float | None:
        """Volume close to the decision threshold, on both sides of it, relative to the volume of the mask."""
        return None if self.undecided_ml is None or self.empty else self.undecided_ml / self.volume_ml

    @property
    def undecided_mm(self) -> float | None:
        """Mean thickness of the undecided band around the surface: its volume over the area of the surface."""
        return (
            None if self.undecided_ml is None or not self.surface_mm2 else 1000 * self.undecided_ml / self.surface_mm2
        )


def gather(
    name: str,
    mask: BoolArray,
    spacing_mm: Spacing,
    *,
    mean_hu: float | None = None,
    std_hu: float | None = None,
    undecided_ml: float | None = None,
) -> Evidence:
    """Measures one mask; everything is worked out in its bounding box.

    Args:
        name: Structure, in any spelling or unknown to the label registry.
        mask: bool (X, Y, Z) in RAS: the first index grows to the right of the patient.
        spacing_mm: Voxel size (x, y, z).
        mean_hu: Mean density under the mask, where it is known.
        std_hu: Its standard deviation.
        undecided_ml: Volume close to the decision threshold of a network.

    Raises:
        VolumeError: the mask is not three-dimensional or the spacing not positive.

    Example:
        >>> mask = np.zeros((6, 6, 6), dtype=bool)
        >>> mask[1:5, 1:5, 0:4] = True
        >>> result = gather("liver", mask, (1.0, 1.0, 1.0))
        >>> result.faces, round(result.border_share, 3), result.parts
        (('inferior',), 0.167, 1)
    """
    if mask.ndim != 3 or len(spacing_mm) != 3 or not all(size > 0 for size in spacing_mm):
        raise VolumeError(
            f"The mask of {name!r} has shape {mask.shape} and spacing {spacing_mm} mm; three axes with positive "
            "spacing are needed."
        )
    box = bounding_box(mask)
    if box is None:
        return Evidence(name, 0, 0.0, undecided_ml=undecided_ml)
    part = mask[box]
    profile = np.count_nonzero(part, axis=(1, 2))
    voxels = int(profile.sum())
    faces, at_border = _at_border(part, box, mask.shape, spacing_mm)
    surface = _surface(part, spacing_mm)
    parts, largest = _parts(part, box, mask.shape) if is_one_piece(name) else (None, None)
    return Evidence(
        name,
        voxels,
        voxels * prod(spacing_mm) / 1000,
        mean_hu,
        std_hu,
        faces,
        at_border / surface,
        surface,
        parts,
        largest,
        float(profile @ np.arange(box[0].start, box[0].start + len(profile)) / voxels) * spacing_mm[0],
        undecided_ml,
    )


def body_midline_mm(ct: npt.NDArray[Any], spacing_mm: Spacing) -> float | None:
    """Where the middle of the body lies along the left-right axis, from the first voxel of the grid.

    Args:
        ct: (X, Y, Z) in RAS, HU.
        spacing_mm: Voxel size (x, y, z).

    Returns:
        Millimetres; ``None`` where the scan shows no body, or only one side of it.
    """
    first, last = (float((ct[end] > _BODY_HU).mean()) for end in (0, -1))
    if abs(first - last) > _ONE_SIDED:
        return None
    try:
        return body_midline(ct) * spacing_mm[0]
    except VolumeError:  # nothing but air
        return None


def is_one_piece(name: str) -> bool:
    """Whether a structure is one connected part in (nearly) everybody; false for those that nothing is known about."""
    try:
        entry = structure(name)
    except UnknownNameError:  # nothing is known about a class of the user's own
        return False
    return entry.name in _ONE_PIECE_VESSELS or (entry.group in _ONE_PIECE_GROUPS and entry.name not in _SEVERAL)


def _at_border(part: BoolArray, box: Box, shape: Sequence[int], spacing_mm: Spacing) -> tuple[tuple[str, ...], float]:
    """The faces of the grid that are reached, and the area there in mm2."""
    faces, area = [], 0.0
    for axis, (span, size) in enumerate(zip(box, shape, strict=True)):
        face_mm2 = prod(spacing_mm) / spacing_mm[axis]
        for face, reached, index in zip(_FACES[axis], (span.start == 0, span.stop == size), (0, -1), strict=True):
            count = int(np.count_nonzero(part[(slice(None),) * axis + (index,)])) if reached else 0
            if count:
                faces.append(face)
                area += count * face_mm2
    return tuple(faces), area


def _surface(part: BoolArray, spacing_mm: Spacing) -> float:
    """Area in mm2 of all voxel faces between the mask and what is not in it."""
    area = 0.0
    for axis in range(3):
        along = np.moveaxis(part, axis, 0)
        count = np.count_nonzero(along[1:] != along[:-1]) + np.count_nonzero(along[0]) + np.count_nonzero(along[-1])
        area += int(count) * prod(spacing_mm) / spacing_mm[axis]
    return area


def parts_apart(
    part: BoolArray, box: Box, shape: Sequence[int]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.intp], BoolArray]:
    """The connected parts of a mask, and which of them lie apart from the largest.

    Args:
        part: The mask in its bounding box, bool (X, Y, Z).
        box: Where that is.
        shape: Voxels of the whole grid; a part at its border may be joined to the others beyond it.

    Returns:
        Number of its part for each voxel (26 neighbours), 0 for the background; voxels per number; whether the part of
        a number lies apart.
    """
    order = np.argsort(np.abs(part.strides))[::-1]  # in the order of memory all of this is several times as fast
    packed = np.ascontiguousarray(part.transpose(order))
    found = cc3d.connected_components(packed, connectivity=26, binary_image=True)
    sizes, labels = np.bincount(found[packed]), found.transpose(np.argsort(order))
    apart = sizes > 0
    for axis, (span, size) in enumerate(zip(box, shape, strict=True)):
        for reached, index in ((span.start == 0, 0), (span.stop == size, -1)):
            if reached:
                apart[labels[(slice(None),) * axis + (index,)]] = False
    apart[np.argmax(sizes)] = False
    return labels, sizes, apart


def _parts(part: BoolArray, box: Box, shape: Sequence[int]) -> tuple[int, float]:
    """Number of parts that count, and the share of the voxels that are not apart."""
    _, sizes, apart = parts_apart(part, box, shape)
    return int(np.count_nonzero(apart)) + 1, float(1 - sizes[apart].sum() / sizes.sum())
