"""Labels of phantoms, with defects planted by hand."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from suprem.atlas.label_set import LabelSet, Provenance
from suprem.phantom import PhantomCase

BoolArray = npt.NDArray[np.bool_]


def masks_of(case: PhantomCase, names: tuple[str, ...] | None = None) -> dict[str, BoolArray]:
    """Masks of a phantom, all of its structures without names."""
    known = names or tuple(sorted(frozenset().union(*case.table)))
    return {name: case.mask(name) for name in known}


def labels_of(masks: Mapping[str, BoolArray], affine: npt.NDArray[np.float64]) -> LabelSet:
    """Labels of masks, as if an expert had made them."""
    shape = next(iter(masks.values())).shape
    provenance = dict.fromkeys(masks, Provenance("expert", "phantom"))
    return LabelSet.from_masks(masks.items(), (shape[0], shape[1], shape[2]), affine, provenance)
