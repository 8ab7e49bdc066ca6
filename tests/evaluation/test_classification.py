"""ROC curves, areas, DeLong's variance and rates against scikit-learn, SciPy, statsmodels and simulation."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn
from statsmodels.stats.proportion import proportion_confint

from suprem.errors import ConfigurationError
from suprem.evaluation import classification as c


def _sample(seed: int, ties: bool = False, size: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random(size) < 0.4
    truth[:4] = (True, True, False, False)
    scores = rng.normal(size=size) + truth
    return (scores.round(0) if ties else scores), truth


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("ties", [False, True])
def test_curve_and_area_equal_scikit_learn(seed: int, ties: bool) -> None:
    scores, truth = _sample(seed, ties)
    assert c.auc(scores, truth) == pytest.approx(sklearn.roc_auc_score(truth, scores))
    curve = c.roc_curve(scores, truth)
    expected = sklearn.roc_curve(truth, scores, drop_intermediate=False)
    for ours, theirs in zip((curve.false_positive_rate, curve.sensitivity, curve.thresholds), expected, strict=True):
        np.testing.assert_allclose(ours, theirs)
    u = stats.mannwhitneyu(scores[truth], scores[~truth]).statistic
    assert c.auc(scores, truth) == pytest.approx(u / (truth.sum() * (~truth).sum()))


def _delong_by_pairs(scores: list[np.ndarray], truth: np.ndarray) -> np.ndarray:
    """DeLong et al. 1988, equations of the structural components written out over all pairs of cases."""
    kernels = [np.heaviside(s[truth][:, None] - s[~truth][None], 0.5) for s in scores]
    ten = np.stack([k.mean(axis=1) for k in kernels]) - np.array([[k.mean()] for k in kernels])
    one = np.stack([k.mean(axis=0) for k in kernels]) - np.array([[k.mean()] for k in kernels])
    n, m = ten.shape[1], one.shape[1]
    return np.asarray(ten @ ten.T / (n - 1) / n + one @ one.T / (m - 1) / m)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("ties", [False, True])
def test_delong_equals_its_definition(seed: int, ties: bool) -> None:
    first, truth = _sample(seed, ties)
    second = 0.5 * first + np.random.default_rng(seed + 100).normal(size=len(first))
    covariance = _delong_by_pairs([first, second], truth)
    found = c.auc_interval(first, truth, level=0.9)
    half = stats.norm.ppf(0.95) * math.sqrt(covariance[0, 0])
    assert found.high - found.estimate == pytest.approx(min(half, 1 - found.estimate))
    assert found.estimate - found.low == pytest.approx(half)
    test = c.compare_aucs(first, second, truth)
    areas = [sklearn.roc_auc_score(truth, scores) for scores in (first, second)]
    z = (areas[0] - areas[1]) / math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert (float(test.effect), float(test.statistic)) == pytest.approx((areas[0] - areas[1], z))
    assert float(test.p_value) == pytest.approx(2 * stats.norm.sf(abs(z)))
    back = c.compare_aucs(second, first, truth)
    assert (float(back.effect), float(back.p_value)) == pytest.approx((-float(test.effect), float(test.p_value)))


def test_delong_keeps_its_level_under_the_null() -> None:
    rng, rejected = np.random.default_rng(9), 0
    truth = np.arange(120) < 50
    for _ in range(2000):
        common = rng.normal(size=120) + truth
        scores = [common + rng.normal(size=120) for _ in range(2)]
        rejected += float(c.compare_aucs(scores[0], scores[1], truth).p_value) < 0.05
    assert rejected / 2000 == pytest.approx(0.05, abs=0.015)


def test_intervals_cover_the_true_area() -> None:
    rng, inside, drawn = np.random.default_rng(10), 0, 0
    truth, true = np.arange(90) < 40, stats.norm.cdf(1 / math.sqrt(2))
    for trial in range(300):
        scores = rng.normal(size=90) + truth
        found = c.auc_interval(scores, truth)
        inside += found.low <= true <= found.high
        resampled = c.auc_bootstrap_interval(scores, truth, resamples=200, seed=trial)
        drawn += resampled.low <= true <= resampled.high
    assert inside / 300 == pytest.approx(0.95, abs=0.03)
    assert drawn / 300 == pytest.approx(0.94, abs=0.04)


def test_the_bootstrap_is_seeded_and_equals_resampling_of_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, truth = _sample(1, ties=True, size=80)
    found = c.auc_bootstrap_interval(scores, truth, resamples=4000, seed=5)
    assert found.estimate == c.auc(scores, truth)
    rng, kernel = np.random.default_rng(0), np.heaviside(scores[truth][:, None] - scores[~truth][None], 0.5)
    areas = [kernel[np.ix_(*(rng.integers(0, n, n) for n in kernel.shape))].mean() for _ in range(4000)]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(areas, [0.025, 0.975])), abs=0.01)
    assert found == c.auc_bootstrap_interval(scores, truth, resamples=4000, seed=5)
    assert found != c.auc_bootstrap_interval(scores, truth, resamples=4000, seed=6)
    monkeypatch.setattr(c, "_BATCH", 500)
    batched = c.auc_bootstrap_interval(scores, truth, resamples=4000, seed=5)
    assert (batched.low, batched.high) == pytest.approx((found.low, found.high), abs=0.01)


def test_perfect_and_useless_scores() -> None:
    truth = [0, 0, 0, 1, 1, 1]
    assert c.auc([1, 2, 3, 4, 5, 6], truth) == 1
    assert c.auc([6, 5, 4, 3, 2, 1], truth) == 0
    assert c.auc([0] * 6, truth) == 0.5
    perfect = c.auc_interval([1, 2, 3, 4, 5, math.inf], truth)
    assert (perfect.low, perfect.estimate, perfect.high) == (1, 1, 1)


@pytest.mark.parametrize(("method", "theirs"), [("wilson", "wilson"), ("exact", "beta")])
def test_rates_equal_scikit_learn_and_statsmodels(method: Any, theirs: str) -> None:
    scores, truth = _sample(3)
    found = c.rates_at_threshold(scores, truth, 0.4, method=method)
    tn, fp, fn, tp = sklearn.confusion_matrix(truth, scores >= 0.4).ravel()
    counts = (found.true_negatives, found.false_positives, found.false_negatives, found.true_positives)
    assert counts == (tn, fp, fn, tp)
    pairs = {
        "sensitivity": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "ppv": (tp, tp + fp),
        "npv": (tn, tn + fn),
    }
    for name, (part, whole) in pairs.items():
        share = getattr(found, name)
        assert share.estimate == pytest.approx(part / whole)
        assert (share.low, share.high) == pytest.approx(proportion_confint(part, whole, method=theirs), abs=1e-6)
    assert found.sensitivity.estimate == pytest.approx(sklearn.recall_score(truth, scores >= 0.4))
    assert found.ppv.estimate == pytest.approx(sklearn.precision_score(truth, scores >= 0.4))


def test_a_score_at_the_threshold_is_positive_and_empty_shares_are_nan() -> None:
    found = c.rates_at_threshold([0.2, 0.5], [0, 1], 0.5)
    assert (found.true_positives, found.true_negatives) == (1, 1)
    none = c.rates([0, 0, 0], [0, 1, 1])
    assert math.isnan(none.ppv.estimate)
    assert math.isnan(none.ppv.low)
    assert none.sensitivity.estimate == 0
    assert 0 < none.sensitivity.high < 1


def test_one_against_the_rest_equals_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    names = ["cyst", "pdac", "pnet"]
    kinds = [names[i] for i in rng.integers(0, 3, 70)]
    scores = rng.random((70, 3)) + 0.5 * (np.array(kinds)[:, None] == np.array(names)[None])
    found = c.one_vs_rest(scores, kinds, names)
    shares = scores / scores.sum(axis=1, keepdims=True)
    shared = c.one_vs_rest(shares, kinds, names)
    macro = sklearn.roc_auc_score(kinds, shares, multi_class="ovr", average="macro", labels=names)
    assert np.mean([interval.estimate for interval in shared.values()]) == pytest.approx(macro)
    for column, name in enumerate(names):
        assert found[name] == c.auc_interval(scores[:, column], [kind == name for kind in kinds])


def test_refusals() -> None:
    for arguments, message in (
        (([0.1, math.nan, 0.3], [0, 1, 1]), "1 of 3 scores are NaN"),
        (([0.1, 0.2], [1, 1]), "2 of 2 cases are positive"),
        (([0.1, 0.2], [0, 1, 1]), "2 cases"),
        (([0.1, 0.2], [0, 2]), "only 0 and 1"),
        (([0.1, 0.2], [0, math.nan]), "only 0 and 1"),
        (([[0.1, 0.2]], [0, 1]), "one score per case"),
        (([], []), "0 of 0"),
    ):
        for function in (c.auc, c.roc_curve, c.auc_interval, c.auc_bootstrap_interval):
            with pytest.raises(ConfigurationError, match=message):
                function(*arguments)  # type: ignore[operator]
    with pytest.raises(ConfigurationError, match="1 and 2; take auc_bootstrap_interval"):
        c.auc_interval([0.1, 0.2, 0.3], [0, 1, 0])
    with pytest.raises(ConfigurationError, match="alike"):
        c.compare_aucs([1, 2, 3, 4], [10, 20, 30, 40], [0, 1, 0, 1])
    with pytest.raises(ConfigurationError, match="level"):
        c.auc_interval([1, 2, 3, 4], [0, 1, 0, 1], level=95)
    with pytest.raises(ConfigurationError, match="resamples"):
        c.auc_bootstrap_interval([1, 2, 3, 4], [0, 1, 0, 1], resamples=0)
    with pytest.raises(ConfigurationError, match="'wilson'"):
        c.rates([0, 1], [0, 1], method="wald")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="threshold is NaN"):
        c.rates_at_threshold([1, 2], [0, 1], math.nan)
    with pytest.raises(ConfigurationError, match="one decision per case"):
        c.rates(1, 1)
    with pytest.raises(ConfigurationError, match=r"\(3, 2\)"):
        c.one_vs_rest(np.zeros((2, 2)), ["a", "b", "a"], ["a", "b"])
    with pytest.raises(ConfigurationError, match="missing"):
        c.one_vs_rest(np.zeros((3, 2)), ["a", "b", "c"], ["a", "b"])
    with pytest.raises(ConfigurationError, match="b against the rest: 0 of 4"):
        c.one_vs_rest(np.zeros((4, 3)), ["a", "c", "a", "c"], ["a", "b", "c"])
