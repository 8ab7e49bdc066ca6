"""What cannot be in a structure of one solid piece: parts apart from it, and cavities in which nothing is labelled."""

from math import prod

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from suprem.atlas.label_set import LabelSet
from suprem.inference._components import keep_parts
from suprem.quality.evidence import is_one_piece, parts_apart
from suprem.volumes.boxes import Box, bounding_box

__all__ = ["cavities", "stray"]

_LEAST_ML = 1.0
"""Less is a speck, not worth a look."""
_MOST = 20
"""Cavities that are shown; where there are more, something else is wrong as well."""


def cavities(inside: npt.NDArray[np.bool_], box: Box, labels: LabelSet) -> npt.NDArray[np.bool_]:
    """Voxels that a mask, seen in its bounding box, encloses and in which nothing is labelled."""
    return np.asarray(ndimage.binary_fill_holes(inside) & ~inside & (labels.indices[box] == 0))


def stray(name: str, labels: LabelSet) -> tuple[Box, npt.NDArray[np.uint8]] | None:
    """Where the labels of a structure fall apart or leave something out in their midst.

    Args:
        name: Of a structure. Of one that may have several parts, as lesions and vessel trees, nothing is known.
        labels: That count now.

    Returns:
        A box, and in it 255 where a part lies apart from the largest one (26 neighbours) and does not reach the border
        of the scan, beyond which it may be joined, and where nothing is labelled and the structure is all around;
        ``None`` where there is no such place of 1 ml.
    """
    if name not in labels.provenance or not is_one_piece(name):
        return None
    mask = labels.mask(name)
    box = bounding_box(mask)
    if box is None:
        return None
    inside = mask[box]
    least = _LEAST_ML * 1000 / prod(np.linalg.norm(labels.affine[:3, :3], axis=0))
    parts, sizes, apart = parts_apart(inside, box, labels.shape)
    found = (apart & (sizes >= least))[parts]
    found |= keep_parts(cavities(inside, box, labels), _MOST, more_than=least)
    place = bounding_box(found)
    if place is None:
        return None
    x, y, z = (slice(low.start + s.start, low.start + s.stop) for low, s in zip(box, place, strict=True))
    return (x, y, z), np.uint8(255) * found[place]
