"""Overlap of a predicted with a reference mask, with the conventions for empty masks stated."""

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from suprem.errors import ConfigurationError

__all__ = ["EMPTY_CONVENTIONS", "EmptyConvention", "dice", "dice_from_counts"]

EmptyConvention = Literal["absent", "one", "zero"]

EMPTY_CONVENTIONS: dict[str, float] = {"absent": math.nan, "one": 1.0, "zero": 0.0}
"""Value of the Dice coefficient when prediction and reference are both empty.

``absent``: not a number, so that means over cases leave the case out (``numpy.nanmean``); the default. ``one``: a
correctly absent structure is a perfect result. ``zero``: as a plain count with a small constant in the denominator
gives it. When exactly one of the masks is empty the coefficient is 0 under every convention.
"""


def dice_from_counts(overlap: int, predicted: int, reference: int, *, empty: EmptyConvention = "absent") -> float:
    """Dice coefficient from voxel counts.

    Args:
        overlap: Voxels in both masks.
        predicted: Voxels of the prediction.
        reference: Voxels of the reference.
        empty: Convention for two empty masks, see :data:`EMPTY_CONVENTIONS`.

    Raises:
        ConfigurationError: the convention is unknown.

    Example:
        >>> dice_from_counts(2, 4, 4)
        0.5
    """
    if empty not in EMPTY_CONVENTIONS:
        raise ConfigurationError(f"empty is {empty!r}; it must be one of {', '.join(map(repr, EMPTY_CONVENTIONS))}.")
    total = predicted + reference
    return EMPTY_CONVENTIONS[empty] if total == 0 else 2.0 * overlap / total


def dice(prediction: npt.NDArray[Any], reference: npt.NDArray[Any], *, empty: EmptyConvention = "absent") -> float:
    """Dice coefficient of two masks on the same grid.

    Args:
        prediction: bool or 0/1 array of any shape.
        reference: the same shape.
        empty: Convention for two empty masks, see :data:`EMPTY_CONVENTIONS`.

    Returns:
        A number in [0, 1], or NaN where both masks are empty and the convention is ``"absent"``.

    Raises:
        ConfigurationError: the shapes differ or the convention is unknown.

    Example:
        >>> dice(np.array([1, 1, 0]), np.array([0, 1, 1]))
        0.5
    """
    if prediction.shape != reference.shape:
        raise ConfigurationError(
            f"prediction is {prediction.shape} and reference {reference.shape}; compare masks on the same grid."
        )
    predicted, wanted = prediction.astype(bool, copy=False), reference.astype(bool, copy=False)
    counts = (np.count_nonzero(m) for m in (predicted & wanted, predicted, wanted))
    overlap, n_predicted, n_reference = (int(c) for c in counts)
    return dice_from_counts(overlap, n_predicted, n_reference, empty=empty)
