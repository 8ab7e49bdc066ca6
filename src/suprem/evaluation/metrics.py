"""Overlap, surface distances and volume error of masks on one grid.

Definitions, conventions and where other packages differ are explained in ``docs/explanation/metric-conventions.md``.
"""

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from suprem._workers import usable_processors
from suprem.errors import ConfigurationError
from suprem.evaluation._cells import Spacing, cell_areas
from suprem.evaluation._surface import Surface, box_of, profile, slowest_first, surfaces_of

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

_SMALL = 1_000_000  # voxels, below which threads cost more than they save


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
    pair = (prediction.astype(bool).view(np.uint8), reference.astype(bool).view(np.uint8))
    return compare_labels(*pair, spacing_mm, {1: tolerance_mm}, empty=empty)[1]


def compare_labels(
    prediction: npt.NDArray[Any],
    reference: npt.NDArray[Any],
    spacing_mm: Spacing,
    tolerances_mm: Mapping[int, float],
    *,
    empty: EmptyConvention = "absent",
    threads: int | None = None,
) -> dict[int, MaskScores]:
    """Scores of every structure of two label arrays: one pass over each array, then each structure by its surface.

    Args:
        prediction: Integer (X, Y, Z), 0 is background.
        reference: The same shape, on the same grid.
        spacing_mm: Voxel size along each axis.
        tolerances_mm: Labels to compare, each with the tolerance of its NSD.
        empty: Convention for a structure that neither array holds, see :data:`EMPTY_CONVENTIONS` and
            :data:`EMPTY_DISTANCES`.
        threads: That share the work; ``None`` takes one for each core that the process may use.

    Raises:
        ConfigurationError: shapes, types, spacing, labels, tolerances, threads or the convention cannot work.

    References:
        Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy", 2021 (NSD).
    """
    _check(prediction, reference, spacing_mm, tolerances_mm, empty, threads)
    labels, spacing = list(tolerances_mm), (float(spacing_mm[0]), float(spacing_mm[1]), float(spacing_mm[2]))
    numbers, maps = dict(zip(labels, labels, strict=True)), [prediction, reference]
    with ThreadPoolExecutor(threads or (1 if prediction.size < _SMALL else int(usable_processors()))) as pool:
        if not prediction.dtype == reference.dtype == np.uint8 or max(labels, default=0) > np.iinfo(np.uint8).max:
            numbers = {label: number for number, label in enumerate(labels, 1)}
            maps = list(pool.map(lambda array: _numbered(array, labels), maps))
        surfaces = [surfaces_of(array, max(numbers.values(), default=0), pool) for array in maps]
        pairs = {label: (surfaces[0][n - 1], surfaces[1][n - 1]) for label, n in numbers.items()}
        # The largest first: a thread that begins with it does not end long after the others.
        futures = {
            label: pool.submit(_scores, maps, numbers[label], pairs[label], spacing, tolerances_mm[label], empty)
            for label in sorted(labels, key=lambda label: -sum(len(surface) for surface in pairs[label]))
        }
    return {label: futures[label].result() for label in labels}


def _check(
    prediction: npt.NDArray[Any],
    reference: npt.NDArray[Any],
    spacing_mm: Spacing,
    tolerances_mm: Mapping[int, float],
    empty: EmptyConvention,
    threads: int | None,
) -> None:
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
    if threads is not None and threads < 1:
        raise ConfigurationError(f"threads is {threads}; at least one is needed.")


def _numbered(array: npt.NDArray[Any], labels: list[int]) -> npt.NDArray[Any]:
    """The labels replaced by 1, 2, ... in their order, all others by 0; unsigned, in the same memory order."""
    highest = max(labels, default=0)
    table = np.zeros(highest + 1, dtype=np.uint8 if len(labels) <= np.iinfo(np.uint8).max else np.uint16)
    table[labels] = np.arange(1, len(labels) + 1)
    axes = slowest_first(array)
    turned = array.transpose(axes)
    numbered = np.empty(turned.shape, dtype=table.dtype)
    for plane, values in zip(numbered, turned, strict=True):  # at once, the index of every voxel would take 8 bytes
        plane[...] = table[np.where((values < 0) | (values > highest), 0, values)]
    return numbered.transpose(np.argsort(axes))


def _scores(
    maps: list[npt.NDArray[Any]],
    number: int,
    surfaces: tuple[Surface, Surface],
    spacing_mm: Spacing,
    tolerance_mm: float,
    empty: EmptyConvention,
) -> MaskScores:
    boxes = [box_of(surface) for surface in surfaces]
    masks = [None if box is None else array[box] == number for array, box in zip(maps, boxes, strict=True)]
    predicted, wanted = (0 if mask is None else int(np.count_nonzero(mask)) for mask in masks)
    error = predicted - wanted
    relative = error / wanted if wanted else (math.inf if predicted else math.nan)
    volumes = (error * math.prod(spacing_mm) / 1000, relative)
    if masks[0] is None or masks[1] is None:
        both = predicted + wanted == 0
        apart = EMPTY_DISTANCES[empty] if both else math.inf
        share = EMPTY_CONVENTIONS[empty] if both else 0.0
        return MaskScores(share, share, apart, apart, apart, *volumes)
    overlap = int(np.count_nonzero(masks[0] & (maps[1][boxes[0]] == number)))
    areas = cell_areas(spacing_mm)
    ways = [profile(*pair, spacing_mm, areas) for pair in (surfaces, surfaces[::-1])]
    whole = sum(float(way.areas.sum()) for way in ways)
    return MaskScores(
        dice_from_counts(overlap, predicted, wanted, empty=empty),
        sum(way.within(tolerance_mm) for way in ways) / whole,
        max(way.percentile(95) for way in ways),
        max(float(way.lengths.max()) for way in ways),
        sum(float(way.lengths @ way.areas) for way in ways) / whole,
        *volumes,
    )
