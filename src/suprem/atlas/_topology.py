"""What cannot be in a structure of one solid piece: parts apart from it, and cavities in which nothing is labelled."""

from math import prod

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from suprem.atlas.label_set import LabelSet
from suprem.atlas.predictions import Box
from suprem.inference._components import bounding_box, keep_parts
from suprem.quality.evidence import is_one_piece

__all__ = ["stray"]

_LEAST_ML = 0.1
"""Less is a speck, not worth a look."""
_MOST = 20
"""Parts that are shown; where there are more, something else is wrong as well."""


def stray(name: str, labels: LabelSet) -> tuple[Box, npt.NDArray[np.uint8]] | None:
    """Where the labels of a structure fall apart or leave something out in their midst.

    Args:
        name: Of a structure. Of one that may have several parts, as lesions and vessel trees, nothing is known.
        labels: That count now.

    Returns:
        A box, and in it 255 where a part lies apart from the largest one (26 neighbours) or where nothing is labelled
        and the structure is all around; ``None`` where there is no such place of 0.1 ml.
    """
    if name not in labels.provenance or not is_one_piece(name):
        return None
    mask = labels.mask(name)
    box = bounding_box(mask)
    if box is None:
        return None
    inside = mask[box]
    apart = inside & ~keep_parts(inside, 1)
    cavities = ndimage.binary_fill_holes(inside) & ~inside & (labels.indices[box] == 0)
    least = _LEAST_ML * 1000 / prod(np.linalg.norm(labels.affine[:3, :3], axis=0))
    found = keep_parts(apart | cavities, _MOST, more_than=least)
    return (box, np.uint8(255) * found) if found.any() else None
