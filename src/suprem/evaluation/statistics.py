"""Intervals, tests and effect sizes for scores per case; all work along the last axis of arrays of any shape."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from suprem.errors import ConfigurationError

__all__ = [
    "Interval",
    "TestResult",
    "bootstrap_interval",
    "holm",
    "mann_whitney",
    "mean_interval",
    "one_sample_t",
    "paired_t",
    "welch_t",
    "wilcoxon_signed_rank",
]

Floats = npt.NDArray[np.float64]
Statistic = Callable[..., Any]


@dataclass(frozen=True)
class Interval:
    """A statistic with the limits of its confidence interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class TestResult:
    """Statistic, two-sided p-value and effect size, float64 arrays of the samples' leading shape."""

    __test__ = False  # the name is not that of a test case

    statistic: Floats
    p_value: Floats
    effect: Floats


def _sample(name: str, values: npt.ArrayLike) -> Floats:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim == 0 or sample.shape[-1] < 2:
        raise ConfigurationError(f"{name} has shape {sample.shape}; at least 2 observations are needed.")
    if not np.isfinite(sample).all():
        raise ConfigurationError(f"{name} holds NaN or infinite values; leave these cases out first.")
    return sample


def _varied(name: str, sample: Floats) -> Floats:
    if (np.ptp(sample, axis=-1) == 0).any():
        raise ConfigurationError(f"All observations of {name} are identical; there is no spread to test against.")
    return sample


def _differences(first: npt.ArrayLike, second: npt.ArrayLike) -> Floats:
    one, two = _sample("first", first), _sample("second", second)
    if one.shape != two.shape:
        raise ConfigurationError(f"first is {one.shape} and second {two.shape}; paired tests need the same cases.")
    return _varied("first - second", one - two)


def _result(outcome: Any, effect: Any) -> TestResult:
    parts = (outcome.statistic, outcome.pvalue, effect)
    return TestResult(*(np.asarray(part, dtype=np.float64) for part in parts))


def mean_interval(total: float, squares: float, count: int, *, level: float = 0.95) -> Interval | None:
    """Confidence interval of a mean (Student's t) of which only sums are known.

    That is so where several processes count the observations.

    Args:
        total: sum of the observations.
        squares: sum of their squares.
        count: their number.
        level: confidence.

    Returns:
        ``None`` for fewer than 2 observations, whose spread is unknown.
    """
    if count < 2:
        return None
    mean = total / count
    variance = max(squares - count * mean**2, 0.0) / (count - 1)
    half = float(stats.t.ppf((1 + level) / 2, count - 1)) * (variance / count) ** 0.5
    return Interval(mean, mean - half, mean + half)


def bootstrap_interval(
    values: npt.ArrayLike,
    *,
    statistic: Statistic = np.mean,
    method: Literal["percentile", "bca"] = "bca",
    level: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> Interval:
    """Bootstrap confidence interval of a statistic of one sample.

    Args:
        values: (N,) observations, one per independent case.
        statistic: Takes an array and ``axis``, as :func:`numpy.mean` does.
        method: ``"bca"`` corrects bias and skewness; ``"percentile"`` does not.
        level: Coverage, in (0, 1).
        resamples: Number of resamples.
        seed: The same seed gives the same interval.

    Raises:
        ConfigurationError: fewer than 2 or identical observations, or an argument out of range.

    Example:
        >>> bootstrap_interval([1.0, 2.0, 3.0]).estimate
        2.0
    """
    sample = _varied("values", _sample("values", values))
    if sample.ndim != 1 or not 0 < level < 1 or resamples < 1 or method not in ("percentile", "bca"):
        raise ConfigurationError(
            f"values has shape {sample.shape}, level is {level}, resamples {resamples}, method {method!r}; values must"
            " be (N,), level in (0, 1), resamples at least 1 and method 'percentile' or 'bca'."
        )
    found = stats.bootstrap(
        (sample,),
        statistic,
        n_resamples=resamples,
        batch=max(1, 2_000_000 // sample.size),
        vectorized=True,
        confidence_level=level,
        method="BCa" if method == "bca" else "percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(statistic(sample, axis=-1)), float(found.low), float(found.high))


def one_sample_t(values: npt.ArrayLike, mean: float = 0.0) -> TestResult:
    """Student's t-test of a sample (..., N) against a fixed mean; the effect is Cohen's d.

    Raises:
        ConfigurationError: fewer than 2, identical or non-finite observations.
    """
    sample = _varied("values", _sample("values", values))
    effect = (sample.mean(axis=-1) - mean) / sample.std(axis=-1, ddof=1)
    return _result(stats.ttest_1samp(sample, mean, axis=-1), effect)


def paired_t(first: npt.ArrayLike, second: npt.ArrayLike) -> TestResult:
    """Paired t-test of two samples (..., N) of the same cases; the effect is Cohen's dz.

    Raises:
        ConfigurationError: other shapes, or fewer than 2, identical or non-finite differences.
    """
    return one_sample_t(_differences(first, second))


def wilcoxon_signed_rank(first: npt.ArrayLike, second: npt.ArrayLike) -> TestResult:
    """Wilcoxon's signed-rank test of samples (..., N) of the same cases; the effect is the rank-biserial correlation.

    Pairs without a difference are left out. The effect is positive where ``first`` is larger, in [-1, 1].

    Raises:
        ConfigurationError: other shapes, or fewer than 2, identical or non-finite differences.
    """
    difference = _differences(first, second)
    outcome = stats.wilcoxon(difference, axis=-1, zero_method="wilcox")
    size = np.where(difference == 0, np.nan, np.abs(difference))
    ranks = stats.rankdata(size, axis=-1, nan_policy="omit")
    effect = np.nansum(ranks * np.sign(difference), axis=-1) / np.nansum(ranks, axis=-1)
    return _result(outcome, effect)


def welch_t(first: npt.ArrayLike, second: npt.ArrayLike) -> TestResult:
    """Welch's t-test of independent samples (..., N) and (..., M); the effect is Cohen's d with the pooled deviation.

    Raises:
        ConfigurationError: fewer than 2, identical or non-finite observations.
    """
    one, two = _varied("first", _sample("first", first)), _varied("second", _sample("second", second))
    n, m = one.shape[-1], two.shape[-1]
    pooled = ((n - 1) * one.var(axis=-1, ddof=1) + (m - 1) * two.var(axis=-1, ddof=1)) / (n + m - 2)
    effect = (one.mean(axis=-1) - two.mean(axis=-1)) / np.sqrt(pooled)
    return _result(stats.ttest_ind(one, two, axis=-1, equal_var=False), effect)


def mann_whitney(first: npt.ArrayLike, second: npt.ArrayLike) -> TestResult:
    """Mann-Whitney U test of independent samples (..., N) and (..., M); the effect is the rank-biserial correlation.

    Raises:
        ConfigurationError: fewer than 2 or non-finite observations, or all of both samples identical.
    """
    one, two = _sample("first", first), _sample("second", second)
    _varied("both samples", np.concatenate([one, two], axis=-1))
    outcome = stats.mannwhitneyu(one, two, axis=-1, alternative="two-sided")
    return _result(outcome, 2 * outcome.statistic / (one.shape[-1] * two.shape[-1]) - 1)


def holm(p_values: npt.ArrayLike) -> Floats:
    """Holm's adjusted p-values (..., K), which keep the family-wise error rate.

    Raises:
        ConfigurationError: no values, or values outside [0, 1].

    Example:
        >>> holm([0.01, 0.04]).tolist()
        [0.02, 0.04]
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim == 0 or p.shape[-1] == 0 or not ((p >= 0) & (p <= 1)).all():
        raise ConfigurationError(f"p_values is {p.tolist()}; a list of numbers in [0, 1] is needed.")
    order = np.argsort(p, axis=-1, kind="stable")
    scaled = np.take_along_axis(p, order, axis=-1) * np.arange(p.shape[-1], 0, -1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(scaled, axis=-1), 1.0), axis=-1)
    return adjusted
