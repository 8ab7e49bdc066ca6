"""Predictions against each other: paired tests, their families, effects, and ranks."""

import math

import numpy as np
import pytest
from scipy import stats

from suprem.errors import ConfigurationError
from suprem.evaluation.comparison import compare_evaluations, rank_evaluations
from suprem.evaluation.metrics import MaskScores
from suprem.evaluation.scores import METRICS, CaseScore, Evaluation
from suprem.evaluation.statistics import holm

NAMES = ["liver", "spleen", "aorta"]


def evaluation(name: str, dice: dict[str, list[float]], hd95: dict[str, list[float]] | None = None) -> Evaluation:
    scores = [
        CaseScore(f"c{n}", structure, 1.0, MaskScores(value, value / 2, distance, 1.0, 1.0, 0.0, 0.0))
        for structure, values in dice.items()
        for n, (value, distance) in enumerate(zip(values, (hd95 or dice)[structure], strict=True))
    ]
    return Evaluation(name, tuple(scores), (), (), (), ())


def methods(count: int) -> tuple[list[Evaluation], np.ndarray]:
    """Evaluations with values (method, structure, case)."""
    rng = np.random.default_rng(3)
    values = rng.uniform(0.6, 0.9, (3, 12)) + rng.normal(
        np.linspace(0.05, 0, count)[:, None, None], 0.02, (count, 3, 12)
    )
    named = [dict(zip(NAMES, map(list, rows), strict=True)) for rows in values]
    return [evaluation(f"m{n}", rows) for n, rows in enumerate(named)], values


def test_every_metric_is_tested_case_by_case_with_both_effects() -> None:
    (first, second), values = methods(2)
    found = compare_evaluations(first, second)
    assert [(row.metric, row.structure) for row in found] == [(m, n) for m in METRICS for n in NAMES]
    for row in found:
        scale = 0.5 if row.metric == "nsd" else 1.0
        ours, theirs = (scale * values[i, NAMES.index(row.structure)] for i in (0, 1))
        difference = ours - theirs
        assert row.difference == pytest.approx(difference.mean())
        assert row.p_t == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)
        assert row.p_wilcoxon == pytest.approx(stats.wilcoxon(difference).pvalue)
        assert row.cohen_dz == pytest.approx(difference.mean() / difference.std(ddof=1))
        ranks = stats.rankdata(abs(difference))
        assert row.rank_biserial == pytest.approx((ranks * np.sign(difference)).sum() / ranks.sum())


@pytest.mark.parametrize("count", [2, 4])
def test_the_family_spans_all_structures_and_all_others_of_one_metric(count: int) -> None:
    found = compare_evaluations(*methods(count)[0])
    for metric in METRICS:
        rows = [row for row in found if row.metric == metric]
        assert len(rows) == 3 * (count - 1)
        assert {row.family for row in rows} == {len(rows)}
        assert [row.p_t_holm for row in rows] == pytest.approx(holm([row.p_t for row in rows]))
        assert [row.p_wilcoxon_holm for row in rows] == pytest.approx(holm([row.p_wilcoxon for row in rows]))


def test_no_test_where_there_is_nothing_to_test() -> None:
    nan = float("nan")
    same = evaluation("a", {"liver": [0.5, 0.6], "spleen": [0.7], "aorta": [nan, 0.1], "colon": [nan]})
    other = evaluation("b", {"liver": [0.5, 0.6], "spleen": [0.6], "aorta": [0.3, 0.2], "colon": [0.3]})
    notes = {row.structure: row for row in compare_evaluations(same, other) if row.metric == "dsc"}
    assert notes["liver"].note == "the same difference in all cases"
    assert notes["spleen"].note == "1 case: nothing to test"
    assert notes["aorta"].note == "1 case: nothing to test"
    assert notes["colon"].note == "no case: nothing to test"
    assert math.isnan(notes["spleen"].p_t)
    assert notes["spleen"].difference == pytest.approx(0.1)
    with pytest.raises(ConfigurationError, match="no structure in common"):
        compare_evaluations(same, evaluation("c", {"pancreas": [0.1]}))


def test_what_was_not_tested_is_in_no_family() -> None:
    values = [0.5, 0.7, 0.65, 0.4]
    first = evaluation("a", {"liver": values, "spleen": values})
    second = evaluation("b", {"liver": values, "spleen": [0.4, 0.65, 0.6, 0.41]})
    rows = {row.structure: row for row in compare_evaluations(first, second) if row.metric == "dsc"}
    assert (rows["spleen"].family, rows["liver"].family) == (1, 0)
    assert rows["spleen"].p_t_holm == rows["spleen"].p_t


def test_infinite_distances_are_left_out_and_counted() -> None:
    dice = {"liver": [0.5, 0.6, 0.7, 0.8]}
    first = evaluation("a", dice, {"liver": [math.inf, 2.0, 3.0, 5.0]})
    second = evaluation("b", dice, {"liver": [1.0, 1.0, 2.5, math.inf]})
    row = next(row for row in compare_evaluations(first, second) if row.metric == "hd95_mm")
    assert (row.cases, row.infinite) == (2, 2)
    assert row.difference == pytest.approx(0.75)


def test_ranks_go_pair_by_pair_and_distances_the_other_way() -> None:
    # In the liver a, b, c; in the spleen b first, a and c tie; infinite comes last.
    first = evaluation("a", {"liver": [0.9], "spleen": [0.5]}, {"liver": [1.0], "spleen": [4.0]})
    second = evaluation("b", {"liver": [0.8], "spleen": [0.6]}, {"liver": [2.0], "spleen": [3.0]})
    third = evaluation("c", {"liver": [0.7], "spleen": [0.5]}, {"liver": [math.inf], "spleen": [4.0]})
    rows = {(row.metric, row.predictions): row for row in rank_evaluations([third, second, first])}
    expected = {"a": (1 + 2.5) / 2, "b": 1.5, "c": (3 + 2.5) / 2}
    for metric in METRICS:
        assert {name: rows[metric, name].mean_rank for name in "abc"} == expected
        assert [rows[metric, name].place for name in "bac"] == [1, 2, 3]
    assert rows["dsc", "a"].mean == pytest.approx(0.7)
    assert (rows["hd95_mm", "c"].mean, rows["hd95_mm", "c"].infinite) == (4.0, 1)


def test_ranks_are_of_what_all_have() -> None:
    first = evaluation("a", {"liver": [0.9, 0.1], "spleen": [0.5]})
    second = evaluation("b", {"liver": [0.8]})
    rows = [row for row in rank_evaluations([first, second]) if row.metric == "dsc"]
    assert [(row.predictions, row.place, row.pairs, row.mean) for row in rows] == [("a", 1, 1, 0.9), ("b", 2, 1, 0.8)]
    third = evaluation("c", {"liver": [0.9]})
    assert [row.place for row in rank_evaluations([first, third]) if row.metric == "dsc"] == [1, 1]


def test_one_outlier_weighs_little_in_a_mean_rank() -> None:
    steady = evaluation("steady", {"liver": [0.8] * 5})
    brittle = evaluation("brittle", {"liver": [0.82] * 4 + [0.0]})
    rows = {row.predictions: row for row in rank_evaluations([steady, brittle]) if row.metric == "dsc"}
    assert rows["brittle"].place == 1
    assert rows["brittle"].mean < rows["steady"].mean
