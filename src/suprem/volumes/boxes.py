"""The box around a mask."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["Box", "bounding_box"]

Box = tuple[slice, slice, slice]
"""A range of voxels along each axis."""


def bounding_box(mask: npt.NDArray[np.bool_], margin: Sequence[int] = (0, 0, 0)) -> Box | None:
    """The smallest box around a mask, grown by ``margin`` where the array allows; ``None`` for an empty mask."""
    box = [slice(0, 0)] * 3
    part = mask
    # The slowest axis in memory first: its planes are read in one go, and what is left of the others is little.
    for axis in np.argsort(np.abs(mask.strides))[::-1]:
        found = np.flatnonzero(part.any(axis=tuple(a for a in range(3) if a != axis)))
        if not found.size:
            return None
        low, high = int(found[0]), int(found[-1]) + 1
        box[axis] = slice(max(0, low - margin[axis]), high + margin[axis])
        part = part[(*[slice(None)] * axis, slice(low, high))]
    return box[0], box[1], box[2]
