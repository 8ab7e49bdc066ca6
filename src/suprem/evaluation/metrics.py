"""Overlap, surface distances and volume error of masks on one grid, with the conventions for empty masks stated."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from suprem.errors import ConfigurationError
from suprem.evaluation._surface import Spacing, distances, surface_of, weighted_percentile

__all__ = [
    "EMPTY_CONVENTIONS",
    "EMPTY_DISTANCES",
    "EmptyConvention",
    "MaskScores",
    "compare_labels",
    "compare_masks",
    "dice",
    "dice_from_counts",
]

EmptyConvention = Literal["absent", "one", "zero"]

EMPTY_CONVENTIONS: dict[str, float] = {"absent": math.nan, "one": 1.0, "zero": 0.0}
"""Value of the Dice coefficient when prediction and reference are both empty.

``absent``: not a number, so that means over cases leave the case out (``numpy.nanmean``); the default. ``one``: a
correctly absent structure is a perfect result. ``zero``: as a plain count with a small constant in the denominator
gives it. When exactly one of the masks is empty the coefficient is 0 under every convention.
"""

EMPTY_DISTANCES: dict[str, float] = {"absent": math.nan, "one": 0.0, "zero": math.inf}
"""Value of the surface distances in mm when prediction and reference are both empty, by the same convention.

When exactly one of the masks is empty the distances are infinite and NSD is 0 under every convention.
"""


@dataclass(frozen=True)
class MaskScores:
    """Scores of one structure.

    Attributes:
        dsc: Dice coefficient.
        nsd: Share of both surfaces' area within the tolerance of the other surface.
        hd95_mm: Larger of the two directed 95th percentiles of surface distance, weighted by area.
        hd_mm: Hausdorff distance.
        asd_mm: Average distance over the area of both surfaces.
        volume_error_ml: Predicted minus reference volume.
        relative_volume_error: The same over the reference volume; NaN where both are empty, infinite where only the
            reference is.
    """

    dsc: float
    nsd: float
    hd95_mm: float
    hd_mm: float
    asd_mm: float
    volume_error_ml: float
    relative_volume_error: float


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


def compare_masks(
    prediction: npt.NDArray[Any],
    reference: npt.NDArray[Any],
    spacing_mm: Spacing,
    tolerance_mm: float,
    *,
    empty: EmptyConvention = "absent",
) -> MaskScores:
    """All scores of one structure; arguments and errors as for :func:`compare_labels`, with bool or 0/1 masks.

    Example:
        >>> cube = np.ones((3, 3, 3), dtype=bool)
        >>> compare_masks(cube, cube, (1.0, 1.0, 2.0), 1.0).nsd
        1.0
    """
    pair = (prediction.astype(bool).astype(np.uint8), reference.astype(bool).astype(np.uint8))
    return compare_labels(*pair, spacing_mm, {1: tolerance_mm}, empty=empty)[1]


def compare_labels(
    prediction: npt.NDArray[Any],
    reference: npt.NDArray[Any],
    spacing_mm: Spacing,
    tolerances_mm: Mapping[int, float],
    *,
    empty: EmptyConvention = "absent",
) -> dict[int, MaskScores]:
    """Scores of every structure of two label arrays, each worked out in its bounding box.

    Args:
        prediction: Integer (X, Y, Z), 0 is background.
        reference: The same shape, on the same grid.
        spacing_mm: Voxel size along each axis.
        tolerances_mm: Labels to compare, each with the tolerance of its NSD.
        empty: Convention for a structure that neither array holds, see :data:`EMPTY_CONVENTIONS` and
            :data:`EMPTY_DISTANCES`.

    Raises:
        ConfigurationError: shapes, types, spacing, labels, tolerances or the convention cannot work.

    References:
        Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy", 2021 (NSD).
    """
    if prediction.shape != reference.shape or prediction.ndim != 3:
        raise ConfigurationError(
            f"prediction is {prediction.shape} and reference {reference.shape}; compare (X, Y, Z) on the same grid."
        )
    if not all(np.issubdtype(array.dtype, np.integer) for array in (prediction, reference)):
        raise ConfigurationError(f"Labels are {prediction.dtype} and {reference.dtype}; convert them to integers.")
    if len(spacing_mm) != 3 or not all(0 < size < math.inf for size in spacing_mm):
        raise ConfigurationError(f"spacing_mm is {spacing_mm}; give three positive sizes in mm.")
    if not all(label > 0 and 0 <= tolerance < math.inf for label, tolerance in tolerances_mm.items()):
        raise ConfigurationError(f"tolerances_mm is {dict(tolerances_mm)}; labels are positive, tolerances >= 0.")
    if empty not in EMPTY_CONVENTIONS:
        raise ConfigurationError(f"empty is {empty!r}; it must be one of {', '.join(map(repr, EMPTY_CONVENTIONS))}.")
    highest = max(tolerances_mm, default=0)
    arrays = (prediction, reference)
    boxes = [ndimage.find_objects(array, max_label=highest) if highest else [] for array in arrays]
    return {
        label: _scores(arrays, (boxes[0][label - 1], boxes[1][label - 1]), label, spacing_mm, tolerance, empty)
        for label, tolerance in tolerances_mm.items()
    }


def _scores(
    arrays: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    boxes: tuple[Any, Any],
    label: int,
    spacing_mm: Spacing,
    tolerance_mm: float,
    empty: EmptyConvention,
) -> MaskScores:
    masks = [None if box is None else array[box] == label for array, box in zip(arrays, boxes, strict=True)]
    predicted, wanted = (0 if mask is None else int(np.count_nonzero(mask)) for mask in masks)
    error = predicted - wanted
    relative = error / wanted if wanted else (math.inf if predicted else math.nan)
    volumes = (error * math.prod(spacing_mm) / 1000, relative)
    if masks[0] is None or masks[1] is None:
        both = predicted + wanted == 0
        apart = EMPTY_DISTANCES[empty] if both else math.inf
        share = EMPTY_CONVENTIONS[empty] if both else 0.0
        return MaskScores(share, share, apart, apart, apart, *volumes)
    overlap = int(np.count_nonzero(masks[0] & (arrays[1][boxes[0]] == label)))
    surfaces = [
        surface_of(mask, spacing_mm, tuple(s.start for s in box))
        for mask, box in zip(masks, boxes, strict=True)
        if mask is not None
    ]
    ways = [(distances(surfaces[0], surfaces[1]), surfaces[0].areas), (distances(*surfaces[::-1]), surfaces[1].areas)]
    lengths, areas = (np.concatenate(parts) for parts in zip(*ways, strict=True))
    return MaskScores(
        dice_from_counts(overlap, predicted, wanted, empty=empty),
        float(areas[lengths <= tolerance_mm].sum() / areas.sum()),
        max(weighted_percentile(*way, 95) for way in ways),
        float(lengths.max()),
        float((lengths * areas).sum() / areas.sum()),
        *volumes,
    )
