"""Scores of patients or cases against a yes-or-no truth: ROC curve, area under it, and rates at a threshold.

Definitions and conventions are explained in ``docs/explanation/metric-conventions.md``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from suprem.errors import ConfigurationError
from suprem.evaluation.statistics import Interval, TestResult

__all__ = [
    "ProportionMethod",
    "Rates",
    "RocCurve",
    "auc",
    "auc_bootstrap_interval",
    "auc_interval",
    "compare_aucs",
    "one_vs_rest",
    "rates",
    "rates_at_threshold",
    "roc_curve",
]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
ProportionMethod = Literal["wilson", "exact"]

_BATCH = 4_000_000  # numbers that a bootstrap holds at once


@dataclass(frozen=True)
class RocCurve:
    """Rates at every threshold; a case is positive if its score is at least the threshold.

    Attributes:
        thresholds: float64 (T,), falling, the first infinite: nothing is positive.
        false_positive_rate: float64 (T,).
        sensitivity: float64 (T,).
    """

    thresholds: Floats
    false_positive_rate: Floats
    sensitivity: Floats


@dataclass(frozen=True)
class Rates:
    """Decisions against the truth; each share with its interval, all NaN where it has no cases.

    Attributes:
        true_positives: number.
        false_positives: number.
        true_negatives: number.
        false_negatives: number.
        sensitivity: of the positive cases, those decided so.
        specificity: of the negative cases, those decided so.
        ppv: of those decided positive, the ones that are (positive predictive value).
        npv: of those decided negative, the ones that are.
    """

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    sensitivity: Interval
    specificity: Interval
    ppv: Interval
    npv: Interval


def _truth(truth: npt.ArrayLike, length: int) -> Bools:
    values = np.asarray(truth)
    if values.shape != (length,):
        raise ConfigurationError(f"There are {length} cases, but truth is {values.shape}; give one value per case.")
    if not np.isin(values, (0, 1)).all():
        raise ConfigurationError(f"truth holds {np.unique(values)[:5].tolist()}; only 0 and 1, or booleans, are known.")
    return values.astype(bool)


def _checked(scores: npt.ArrayLike, truth: npt.ArrayLike) -> tuple[Floats, Bools]:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1:
        raise ConfigurationError(f"scores is {values.shape}; give one score per case.")
    if np.isnan(values).any():
        raise ConfigurationError(f"{int(np.isnan(values).sum())} of {len(values)} scores are NaN; leave these out.")
    positive = _truth(truth, len(values))
    if positive.all() or not positive.any():
        raise ConfigurationError(
            f"{int(positive.sum())} of {len(positive)} cases are positive; an ROC curve needs both kinds."
        )
    return values, positive


def _level(level: float) -> None:
    if not 0 < level < 1:
        raise ConfigurationError(f"level is {level}; it must lie in (0, 1), such as 0.95.")


def auc(scores: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Area under the ROC curve.

    That is the share of pairs of a positive and a negative case in which the positive one scores higher; a tie counts
    one half (the Mann-Whitney statistic over the number of pairs).

    Args:
        scores: (N,), higher for positive.
        truth: (N,) bool or 0/1.

    Raises:
        ConfigurationError: lengths differ, a score is NaN, or all cases are of one kind.

    Example:
        >>> auc([0.1, 0.4, 0.4, 0.9], [0, 0, 1, 1])
        0.875
    """
    values, positive = _checked(scores, truth)
    return float(_placements(values, positive)[0].mean())


def _placements(values: Floats, positive: Bools) -> tuple[Floats, Floats]:
    """For each positive case the share of negative ones below it, for each negative that of positive ones above it."""
    n, m = np.count_nonzero(positive), np.count_nonzero(~positive)
    ranks = stats.rankdata(values)
    above = (ranks[positive] - stats.rankdata(values[positive])) / m
    below = 1 - (ranks[~positive] - stats.rankdata(values[~positive])) / n
    return above, below


def _delong(scores: Sequence[Floats], positive: Bools) -> tuple[Floats, Floats]:
    """Areas (K,) of K scores of the same cases, and their covariance (K, K)."""
    pairs = [_placements(values, positive) for values in scores]
    sides = [np.stack([pair[side] for pair in pairs]) for side in (0, 1)]
    covariance = np.zeros((len(scores), len(scores)))
    for side in sides:
        if side.shape[1] < 2:
            raise ConfigurationError(
                f"DeLong's variance needs at least 2 positive and 2 negative cases, there are {positive.sum()} and "
                f"{(~positive).sum()}; take auc_bootstrap_interval, or more cases."
            )
        covariance += np.cov(side).reshape(covariance.shape) / side.shape[1]
    return sides[0].mean(axis=1), covariance


def auc_interval(scores: npt.ArrayLike, truth: npt.ArrayLike, *, level: float = 0.95) -> Interval:
    """Area under the ROC curve with DeLong's normal interval, cut at 0 and 1.

    With perfect separation its width is 0, whatever the number of cases: it says nothing then.

    Args:
        scores: as for :func:`auc`.
        truth: the same.
        level: coverage, in (0, 1).

    Raises:
        ConfigurationError: as :func:`auc`, or fewer than 2 cases of a kind.

    References:
        DeLong et al., Biometrics 44, 1988; by ranks as in Sun and Xu, IEEE Signal Processing Letters 21, 2014.
    """
    _level(level)
    values, positive = _checked(scores, truth)
    areas, covariance = _delong([values], positive)
    half = float(stats.norm.ppf((1 + level) / 2)) * math.sqrt(covariance[0, 0])
    area = float(areas[0])
    return Interval(area, max(0.0, area - half), min(1.0, area + half))


def compare_aucs(first: npt.ArrayLike, second: npt.ArrayLike, truth: npt.ArrayLike) -> TestResult:
    """DeLong's test of the areas of two scores of the same cases.

    The statistic is normal under the null; the effect is the first area minus the second.

    Args:
        first: (N,) scores.
        second: (N,) scores of the same cases in the same order.
        truth: (N,) bool or 0/1.

    Raises:
        ConfigurationError: as :func:`auc`, fewer than 2 cases of a kind, or scores that rank all pairs alike.
    """
    one, positive = _checked(first, truth)
    two, _ = _checked(second, truth)
    areas, covariance = _delong([one, two], positive)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    if variance <= np.finfo(np.float64).eps:
        raise ConfigurationError("Both scores rank the cases alike; there is no spread to test against.")
    difference = areas[0] - areas[1]
    statistic = difference / math.sqrt(variance)
    return TestResult(*(np.asarray(v) for v in (statistic, 2 * stats.norm.sf(abs(statistic)), difference)))


def auc_bootstrap_interval(
    scores: npt.ArrayLike, truth: npt.ArrayLike, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Area under the ROC curve with a percentile bootstrap interval; positive and negative cases are drawn apart.

    Args:
        scores: as for :func:`auc`.
        truth: the same.
        level: coverage, in (0, 1).
        resamples: their number.
        seed: the same seed gives the same interval.

    Raises:
        ConfigurationError: as :func:`auc`, or an argument is out of range.
    """
    _level(level)
    if resamples < 1:
        raise ConfigurationError(f"resamples is {resamples}; at least one is needed.")
    values, positive = _checked(scores, truth)
    rng = np.random.default_rng(seed)
    distinct, place = np.unique(values, return_inverse=True)
    shares = [
        np.bincount(place[kind], minlength=len(distinct)) / np.count_nonzero(kind) for kind in (positive, ~positive)
    ]
    sizes = (int(positive.sum()), int((~positive).sum()))
    batch, areas = max(1, _BATCH // len(distinct)), []
    for start in range(0, resamples, batch):
        count = min(batch, resamples - start)
        drawn, others = (rng.multinomial(n, share, size=count) / n for n, share in zip(sizes, shares, strict=True))
        below = np.cumsum(others, axis=1) - others / 2
        areas.append((drawn * below).sum(axis=1))
    low, high = np.quantile(np.concatenate(areas), [(1 - level) / 2, (1 + level) / 2])
    return Interval(auc(values, positive), float(low), float(high))


def roc_curve(scores: npt.ArrayLike, truth: npt.ArrayLike) -> RocCurve:
    """All points of the ROC curve, one for each distinct score.

    Args:
        scores: as for :func:`auc`.
        truth: the same.

    Raises:
        ConfigurationError: as :func:`auc`.

    Example:
        >>> roc_curve([0.1, 0.4, 0.4, 0.9], [0, 0, 1, 1]).sensitivity.tolist()
        [0.0, 0.5, 1.0, 1.0]
    """
    values, positive = _checked(scores, truth)
    distinct, place = np.unique(values, return_inverse=True)
    rates = [
        np.concatenate([[0.0], np.cumsum(np.bincount(place[kind], minlength=len(distinct))[::-1]) / kind.sum()])
        for kind in (~positive, positive)
    ]
    return RocCurve(np.concatenate([[math.inf], distinct[::-1]]), rates[0], rates[1])


def rates_at_threshold(
    scores: npt.ArrayLike,
    truth: npt.ArrayLike,
    threshold: float,
    *,
    level: float = 0.95,
    method: ProportionMethod = "wilson",
) -> Rates:
    """Rates of the decision ``score >= threshold``; arguments and errors as for :func:`auc` and :func:`rates`.

    Example:
        >>> rates_at_threshold([0.1, 0.4, 0.4, 0.9], [0, 0, 1, 1], 0.4).specificity.estimate
        0.5
    """
    values, positive = _checked(scores, truth)
    if math.isnan(threshold):
        raise ConfigurationError("threshold is NaN; give a number.")
    return rates(values >= threshold, positive, level=level, method=method)


def rates(
    decisions: npt.ArrayLike, truth: npt.ArrayLike, *, level: float = 0.95, method: ProportionMethod = "wilson"
) -> Rates:
    """Sensitivity, specificity and predictive values of yes-or-no decisions.

    Args:
        decisions: (N,) bool or 0/1.
        truth: (N,) bool or 0/1.
        level: coverage of the intervals, in (0, 1).
        method: ``"wilson"``, or ``"exact"`` for Clopper and Pearson's, which is wider.

    Raises:
        ConfigurationError: lengths differ, values other than 0 and 1, or an argument is out of range.
    """
    _level(level)
    if method not in ("wilson", "exact"):
        raise ConfigurationError(f"method is {method!r}; it must be 'wilson' or 'exact'.")
    shape = np.shape(decisions)
    if len(shape) != 1:
        raise ConfigurationError(f"decisions is {shape}; give one decision per case.")
    decided, positive = _truth(decisions, shape[0]), _truth(truth, shape[0])
    tp, fp, tn, fn = (
        int(np.count_nonzero(both))
        for both in (decided & positive, decided & ~positive, ~decided & ~positive, ~decided & positive)
    )
    pairs = ((tp, tp + fn), (tn, tn + fp), (tp, tp + fp), (tn, tn + fn))
    return Rates(tp, fp, tn, fn, *(_proportion(part, whole, level, method) for part, whole in pairs))


def _proportion(part: int, whole: int, level: float, method: ProportionMethod) -> Interval:
    if not whole:
        return Interval(math.nan, math.nan, math.nan)
    limits = stats.binomtest(part, whole).proportion_ci(level, method=method)
    return Interval(part / whole, float(limits.low), float(limits.high))


def one_vs_rest(
    scores: npt.ArrayLike, kinds: Sequence[str], names: Sequence[str], *, level: float = 0.95
) -> dict[str, Interval]:
    """Area under the ROC curve of each kind against all others, with DeLong's interval.

    Args:
        scores: (N, K), one column per name.
        kinds: (N,) what each case is.
        names: K kinds in the order of the columns.
        level: coverage, in (0, 1).

    Raises:
        ConfigurationError: shapes or names do not fit, a score is NaN, or a kind has fewer than 2 cases, or all.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != (len(kinds), len(names)):
        raise ConfigurationError(
            f"scores is {values.shape}; {len(kinds)} cases and {len(names)} names need ({len(kinds)}, {len(names)})."
        )
    unknown = sorted(set(kinds) - set(names))
    if unknown or len(set(names)) != len(names):
        raise ConfigurationError(f"names is {list(names)}; each must stand there once, and {unknown} are missing.")
    truth = np.asarray(kinds)
    found = {}
    for column, name in enumerate(names):
        try:
            found[name] = auc_interval(values[:, column], truth == name, level=level)
        except ConfigurationError as error:
            raise ConfigurationError(f"{name} against the rest: {error}") from error
    return found
