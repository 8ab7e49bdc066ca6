"""Connected components and box morphology on the bounding box of a mask."""

from collections.abc import Sequence
from typing import NamedTuple

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from suprem.volumes.boxes import bounding_box

__all__ = ["Parts", "closed_and_dilated", "fill_holes", "keep_parts", "parts"]

BoolArray = npt.NDArray[np.bool_]


class Parts(NamedTuple):
    """The connected parts of a mask (26 neighbours), largest first.

    Attributes:
        labels: unsigned integers of the mask's shape, 0 is background.
        order: labels by falling size; equal sizes in the order of the array.
        sizes: voxels of each label in ``order``.
        centres: (n, 3) mean voxel index of each label in ``order``.
    """

    labels: npt.NDArray[np.unsignedinteger]
    order: npt.NDArray[np.intp]
    sizes: npt.NDArray[np.int64]
    centres: npt.NDArray[np.float64]

    def mask(self, ranks: Sequence[int]) -> BoolArray:
        """The union of some parts, by their rank in size."""
        found = np.zeros(self.labels.shape, dtype=np.bool_)
        for rank in ranks:  # comparing takes a byte per voxel, an index array would take eight
            found |= self.labels == self.order[rank]
        return found


def parts(mask: BoolArray) -> Parts:
    """Labels the connected parts of ``mask``."""
    labels = cc3d.connected_components(mask, connectivity=26, binary_image=True)
    measured = cc3d.statistics(labels, no_slice_conversion=True)
    counts = measured["voxel_counts"][1:].astype(np.int64)
    order = np.argsort(-counts, kind="stable")
    return Parts(labels, order + 1, counts[order], measured["centroids"][1:][order])


def keep_parts(mask: BoolArray, count: int, more_than: float = 0) -> BoolArray:
    """The ``count`` largest connected parts of a mask that have more than ``more_than`` voxels."""
    result = np.zeros_like(mask)
    box = bounding_box(mask)
    if box is not None:
        found = parts(mask[box])
        result[box] = found.mask([rank for rank, size in enumerate(found.sizes[:count]) if size > more_than])
    return result


def closed_and_dilated(mask: BoolArray, radius: Sequence[int]) -> BoolArray:
    """Closing, then dilation, with a box of ``2 * radius + 1`` voxels."""
    result = np.zeros_like(mask)
    box = bounding_box(mask, [3 * r for r in radius])
    if box is not None:
        size = tuple(2 * r + 1 for r in radius)
        grown = ndimage.maximum_filter(mask[box], size=size, mode="constant", cval=0)
        # Beyond the volume nothing is known, so the erosion does not start from there.
        closed = ndimage.minimum_filter(grown, size=size, mode="constant", cval=1)
        result[box] = ndimage.maximum_filter(closed, size=size, mode="constant", cval=0)
    return result


def fill_holes(mask: BoolArray) -> BoolArray:
    """The mask with the cavities that it encloses on all sides."""
    result = mask.copy()
    box = bounding_box(mask)
    if box is not None:
        result[box] = ndimage.binary_fill_holes(mask[box])
    return result
