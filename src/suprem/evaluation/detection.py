"""Detection of lesions: which connected parts of the reference are found, and which predicted parts are right.

Definitions and conventions are explained in ``docs/explanation/metric-conventions.md``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import cc3d
import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from suprem.errors import ConfigurationError
from suprem.evaluation.statistics import Interval

__all__ = [
    "Connectivity",
    "DetectionCounts",
    "DetectionRule",
    "DetectionSummary",
    "Matching",
    "Overlap",
    "count_detections",
    "pool_detections",
]

Overlap = Literal["any", "coverage", "dice", "iou"]
Matching = Literal["one_to_one", "many_to_many"]
Connectivity = Literal[6, 18, 26]
Floats = npt.NDArray[np.float64]
Summed = npt.NDArray[np.int64]

_FEWEST = 2  # cases of an interval
_SHARES = ("sensitivity", "precision", "f1")


@dataclass(frozen=True)
class DetectionRule:
    """When a predicted part and a part of the reference are the same lesion.

    Attributes:
        overlap: What is compared with the threshold: ``"any"`` asks for one common voxel; ``"coverage"`` is the share
            of the reference's voxels that are predicted, ``"dice"`` and ``"iou"`` are those of the two parts.
        threshold: Least overlap, in (0, 1]; ``"any"`` has none.
        matching: ``"one_to_one"`` gives every part at most one partner, so that as many pairs as possible form and,
            among those, the ones that overlap most; ``"many_to_many"`` counts a lesion as found if any predicted part
            fulfils the rule, and a predicted part as right if it does so for any lesion.
        connectivity: Neighbours by which voxels are one part: 6 share a face, 18 also an edge, 26 also a corner.
        min_volume_mm3: Smaller predicted parts do not exist. Smaller lesions of the reference are not counted, and
            neither is a prediction that fulfils the rule for such lesions only.

    Raises:
        ConfigurationError: a value makes no sense.
    """

    overlap: Overlap = "any"
    threshold: float | None = None
    matching: Matching = "one_to_one"
    connectivity: Connectivity = 26
    min_volume_mm3: float = 0.0

    def __post_init__(self) -> None:
        for name, kind in (("overlap", Overlap), ("matching", Matching), ("connectivity", Connectivity)):
            if getattr(self, name) not in get_args(kind):
                choices = ", ".join(map(repr, get_args(kind)))
                raise ConfigurationError(f"{name} is {getattr(self, name)!r}; it must be one of {choices}.")
        if self.overlap == "any" and self.threshold is not None:
            raise ConfigurationError(f"threshold is {self.threshold}, but overlap 'any' has none; leave it out.")
        if self.overlap != "any" and (self.threshold is None or not 0 < self.threshold <= 1):
            raise ConfigurationError(f"threshold is {self.threshold}; overlap {self.overlap!r} needs one in (0, 1].")
        if not 0 <= self.min_volume_mm3 < math.inf:
            raise ConfigurationError(f"min_volume_mm3 is {self.min_volume_mm3}; it must not be negative.")


@dataclass(frozen=True)
class DetectionCounts:
    """Lesions of one case, or of several together.

    Attributes:
        reference: lesions that are there.
        predicted: parts that were predicted.
        found: lesions with a prediction that fulfils the rule (true positives).
        right: predicted parts that fulfil it; as many as ``found`` where the matching is one to one.
    """

    reference: int
    predicted: int
    found: int
    right: int

    @property
    def missed(self) -> int:
        """False negatives."""
        return self.reference - self.found

    @property
    def false(self) -> int:
        """False positives."""
        return self.predicted - self.right

    @property
    def sensitivity(self) -> float:
        """Share of the lesions that were found; NaN where there are none."""
        return self.found / self.reference if self.reference else math.nan

    @property
    def precision(self) -> float:
        """Share of the predictions that are right; NaN where there are none."""
        return self.right / self.predicted if self.predicted else math.nan

    @property
    def f1(self) -> float:
        """Harmonic mean of the two; 0 where nothing was found, NaN where nothing is there and nothing predicted."""
        if not self.reference and not self.predicted:
            return math.nan
        if not self.found:
            return 0.0
        return 2 * self.sensitivity * self.precision / (self.sensitivity + self.precision)


@dataclass(frozen=True)
class DetectionSummary:
    """Detection over several cases, with the lesions of all cases in one count.

    Attributes:
        cases: number.
        counts: sums over the cases.
        false_per_case: mean number of false positives.
        sensitivity: of the sums, with the limits of a bootstrap over cases; NaN limits for fewer than 2 cases.
        precision: the same.
        f1: the same.
    """

    cases: int
    counts: DetectionCounts
    false_per_case: float
    sensitivity: Interval
    precision: Interval
    f1: Interval


def count_detections(
    prediction: npt.NDArray[Any],
    reference: npt.NDArray[Any],
    spacing_mm: tuple[float, float, float],
    rule: DetectionRule | None = None,
) -> DetectionCounts:
    """Compares the connected parts of two masks.

    Args:
        prediction: bool or 0/1 (X, Y, Z).
        reference: the same shape, on the same grid.
        spacing_mm: voxel size along each axis.
        rule: when two parts are the same lesion; ``None`` takes that of :class:`DetectionRule`.

    Raises:
        ConfigurationError: shapes or spacing cannot work.

    Example:
        >>> mask = np.zeros((6, 6, 6), dtype=bool)
        >>> mask[1:3, 1:3, 1:3] = True
        >>> count_detections(mask, np.roll(mask, 1, axis=0), (1.0, 1.0, 1.0)).sensitivity
        1.0
    """
    rule = rule or DetectionRule()
    if prediction.shape != reference.shape or prediction.ndim != 3:
        raise ConfigurationError(
            f"prediction is {prediction.shape} and reference {reference.shape}; compare (X, Y, Z) on the same grid."
        )
    if len(spacing_mm) != 3 or not all(0 < size < math.inf for size in spacing_mm):
        raise ConfigurationError(f"spacing_mm is {spacing_mm}; give three positive sizes in mm.")
    ours, theirs = (_parts(mask, rule.connectivity) for mask in (prediction, reference))
    fits, iou = _fits(ours, theirs, rule)
    # A part of exactly the least volume counts, whatever rounding does to the product.
    least = rule.min_volume_mm3 / math.prod(spacing_mm) * (1 - 1e-9)
    large = np.bincount(ours.ravel())[1:] >= least
    fits, iou = fits[large], iou[large]
    counted = np.bincount(theirs.ravel())[1:] >= least
    to_counted, to_ignored = fits[:, counted], fits[:, ~counted]
    found, right = _matched(to_counted, iou[:, counted], rule.matching)
    ignored = ~right & to_ignored.any(axis=1)
    return DetectionCounts(
        int(np.count_nonzero(counted)),
        int(np.count_nonzero(~ignored)),
        int(np.count_nonzero(found)),
        int(np.count_nonzero(right)),
    )


def _parts(mask: npt.NDArray[Any], connectivity: Connectivity) -> npt.NDArray[Any]:
    dense = np.ascontiguousarray(mask.astype(bool))
    labels: npt.NDArray[Any] = cc3d.connected_components(dense, connectivity=connectivity, binary_image=True)
    return labels


def _fits(
    ours: npt.NDArray[Any], theirs: npt.NDArray[Any], rule: DetectionRule
) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Which pairs fulfil the rule, (predicted, reference), and their intersection over union."""
    sizes = [np.bincount(labels.ravel())[1:] for labels in (ours, theirs)]
    shape = (len(sizes[0]), len(sizes[1]))
    both = (ours > 0) & (theirs > 0)
    pairs = (ours[both].astype(np.int64) - 1) * shape[1] + theirs[both] - 1
    common = np.bincount(pairs, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
    total = (sizes[0][:, None] + sizes[1][None]).astype(np.float64)
    iou = common / (total - common)
    if rule.threshold is None:
        return common > 0, iou
    share = {"iou": iou, "dice": 2 * common / total, "coverage": common / sizes[1][None]}[rule.overlap]
    return share >= rule.threshold, iou


def _matched(
    fits: npt.NDArray[np.bool_], iou: Floats, matching: Matching
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which lesions are found, and which predicted parts are right."""
    if matching == "many_to_many":
        return np.asarray(fits.any(axis=0)), np.asarray(fits.any(axis=1))
    # Every pair is worth 1, so that their number counts first, and a little more if it overlaps more.
    worth = np.where(fits, 1 + iou / (min(fits.shape) + 1), 0.0)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    real = fits[rows, columns]
    found, right = np.zeros(fits.shape[1], dtype=bool), np.zeros(fits.shape[0], dtype=bool)
    found[columns[real]] = True
    right[rows[real]] = True
    return found, right


def pool_detections(
    cases: Sequence[DetectionCounts], *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> DetectionSummary:
    """Sensitivity, precision and F1 of all lesions of several cases.

    The intervals are percentiles of a bootstrap that draws whole cases, since the lesions of one patient are not
    independent. Resamples in which a share is not defined are left out of its interval.

    Args:
        cases: counts of each case.
        level: coverage of the intervals, in (0, 1).
        resamples: their number.
        seed: the same seed gives the same intervals.

    Raises:
        ConfigurationError: there are no cases, or an argument is out of range.
    """
    if not cases or not 0 < level < 1 or resamples < 1:
        raise ConfigurationError(
            f"There are {len(cases)} cases, level is {level}, resamples {resamples}; at least one case, a level in "
            "(0, 1) and at least one resample are needed."
        )
    table = np.array([(case.reference, case.predicted, case.found, case.right) for case in cases], dtype=np.int64)
    sums = table.sum(axis=0)
    counts = DetectionCounts(*(int(value) for value in sums))
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(cases), np.full(len(cases), 1 / len(cases)), size=resamples) @ table
    limits = []
    for estimate, values in zip(_shares(sums[None]), _shares(drawn), strict=True):
        defined = values[np.isfinite(values)]
        low = high = math.nan
        if len(cases) >= _FEWEST and len(defined):
            low, high = (float(v) for v in np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]))
        limits.append(Interval(float(estimate[0]), low, high))
    return DetectionSummary(len(cases), counts, counts.false / len(cases), *limits)


def _shares(counts: Summed) -> tuple[Floats, Floats, Floats]:
    """Sensitivity, precision and F1 of rows of counts, with the conventions of :class:`DetectionCounts`."""
    rows = [DetectionCounts(*(int(value) for value in row)) for row in counts]
    sensitivity, precision, f1 = (np.array([getattr(r, name) for r in rows]) for name in _SHARES)
    return sensitivity, precision, f1
