"""Tests, intervals and corrections against SciPy, statsmodels and simulation."""

from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW, ttest_ind

from suprem.errors import ConfigurationError
from suprem.evaluation import statistics as s

RNG = np.random.default_rng(3)
A, B = RNG.normal(0.3, 1, 25), RNG.normal(0, 2, 25)


def test_t_tests_equal_statsmodels() -> None:
    t, p, _ = DescrStatsW(A - B).ttest_mean(0)
    paired = s.paired_t(A, B)
    assert (float(paired.statistic), float(paired.p_value)) == pytest.approx((t, p))
    assert float(paired.effect) == pytest.approx(t / 5)
    t, p, _ = ttest_ind(A, B[:20], usevar="unequal")
    welch = s.welch_t(A, B[:20])
    assert (float(welch.statistic), float(welch.p_value)) == pytest.approx((t, p))


def test_rank_tests_equal_scipy_and_pairwise_counts() -> None:
    assert float(s.wilcoxon_signed_rank(A, B).p_value) == pytest.approx(stats.wilcoxon(A, B).pvalue)
    u = s.mann_whitney(A, B[:20])
    assert float(u.p_value) == pytest.approx(stats.mannwhitneyu(A, B[:20]).pvalue)
    assert float(u.effect) == pytest.approx(np.sign(A[:, None] - B[None, :20]).mean())
    assert float(s.wilcoxon_signed_rank([3, 1, 2, 5], [0, 2, 2, 1]).effect) == pytest.approx((2 + 3 - 1) / 6)


def test_holm_equals_statsmodels() -> None:
    p = RNG.uniform(0, 0.2, (4, 7))
    for row, adjusted in zip(p, s.holm(p), strict=True):
        np.testing.assert_allclose(adjusted, multipletests(row, method="holm")[1])


@pytest.mark.parametrize("test", [s.paired_t, s.wilcoxon_signed_rank, s.welch_t, s.mann_whitney])
def test_false_positive_rate(test: Any) -> None:
    first, second = np.random.default_rng(11).normal(size=(2, 2000, 30))
    assert (test(first, second).p_value < 0.05).mean() == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_bootstrap_is_seeded_and_close_to_the_t_interval(method: Any) -> None:
    values = np.random.default_rng(5).normal(2, 1, 200)
    found = s.bootstrap_interval(values, method=method)
    assert found == s.bootstrap_interval(values, method=method)
    expected = stats.t.interval(0.95, 199, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("test", [s.paired_t, s.wilcoxon_signed_rank, s.welch_t, s.mann_whitney])
def test_refusals(test: Any) -> None:
    with pytest.raises(ConfigurationError, match="at least 2"):
        test([1.0], [2.0])
    with pytest.raises(ConfigurationError, match="identical"):
        test([1.0, 1.0], [1.0, 1.0])
    with pytest.raises(ConfigurationError, match="NaN"):
        test([1.0, np.nan], [1.0, 2.0])
    with pytest.raises(ConfigurationError, match="at least 2"):
        s.bootstrap_interval([1.0])


def test_the_interval_of_a_mean_needs_sums_alone() -> None:
    values = np.random.default_rng(6).uniform(0, 1, 9)
    found = s.mean_interval(float(values.sum()), float((values**2).sum()), 9)
    assert found is not None
    expected = stats.t.interval(0.95, 8, values.mean(), stats.sem(values))
    assert (found.estimate, found.low, found.high) == pytest.approx((values.mean(), *expected))
    assert s.mean_interval(0.5, 0.25, 1) is None
