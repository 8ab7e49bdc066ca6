import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from scipy import stats

from suprem.transfer.run_table import Result
from suprem.transfer.study import Study, study_from
from suprem.transfer.summary import Cell, summarise, verdict


def plan(**changes: Any) -> Study:
    values: dict[str, Any] = {
        "stores": ["pool"],
        "groups": {"organ": ["liver", "spleen"]},
        "models": {"net": {"backbone": "segresnet_tiny", "initialisations": {"scratch": None, "ours": "x"}}},
        "shots": [1, 5],
        "seeds": [0, 1, 2, 3],
    }
    return study_from({**values, **changes}, "plan")


def results(study: Study, scores: Mapping[tuple[str, str], list[float]]) -> list[Result]:
    """``scores``: (starting point, shots) -> mean DSC for each seed; spleen is 0.1 above and liver 0.1 below it."""
    found = []
    for run in study.runs():
        values = scores.get((run.initialisation, run.shown_shots))
        if values is not None and run.seed < len(values):
            dsc = {"liver": values[run.seed] - 0.1, "spleen": values[run.seed] + 0.1}
            found.append(Result(run, dsc, dict(dsc), {}))
    return found


SCRATCH, OURS = [0.50, 0.53, 0.48, 0.55], [0.60, 0.66, 0.61, 0.64]


def cell(cells: tuple[Cell, ...], start: str, shots: str) -> Cell:
    return next(c for c in cells if (c.initialisation, c.shots) == (start, shots))


def test_means_deviations_and_tests_are_those_of_scipy() -> None:
    study = plan()
    scores = {("scratch", "1"): SCRATCH, ("ours", "1"): OURS, ("scratch", "5"): OURS, ("ours", "5"): SCRATCH[::-1]}
    cells = summarise(study, results(study, scores))
    ours = cell(cells, "ours", "1")
    assert ours.mean == pytest.approx(np.mean(OURS))
    assert ours.deviation == pytest.approx(np.std(OURS, ddof=1))
    assert ours.difference == pytest.approx(np.mean(OURS) - np.mean(SCRATCH))
    welch = [stats.ttest_ind(OURS, SCRATCH, equal_var=False).pvalue]
    welch.append(stats.ttest_ind(SCRATCH[::-1], OURS, equal_var=False).pvalue)
    assert [ours.p_welch, cell(cells, "ours", "5").p_welch] == pytest.approx(welch)
    assert ours.p_paired == pytest.approx(stats.ttest_rel(OURS, SCRATCH).pvalue)
    # Holm, two comparisons: the smaller one doubled, the larger one at least as large.
    assert ours.p_welch_holm == pytest.approx(min(1.0, max(2 * min(welch), 0 if welch[0] < welch[1] else welch[0])))


def test_the_seeds_are_paired_by_number_not_by_place() -> None:
    study = plan(shots=[1])
    found = results(study, {("scratch", "1"): SCRATCH, ("ours", "1"): OURS})
    found = [r for r in found if not (r.run.initialisation == "scratch" and r.run.seed == 1)]
    ours = cell(summarise(study, found), "ours", "1")
    kept = [0, 2, 3]
    expected = stats.ttest_rel([OURS[i] for i in kept], [SCRATCH[i] for i in kept]).pvalue
    assert ours.p_paired == pytest.approx(expected)


def test_one_seed_gives_no_test_and_says_why() -> None:
    study = plan(shots=[1], seeds=[0])
    cells = summarise(study, results(study, {("scratch", "1"): SCRATCH, ("ours", "1"): OURS}))
    ours = cell(cells, "ours", "1")
    assert math.isnan(ours.p_welch)
    assert math.isnan(ours.deviation)
    assert "1 seed" in ours.note
    assert "none could be tested" in verdict(study, cells)[0]


def test_equal_values_give_no_test_and_say_why() -> None:
    study = plan(shots=[1])
    cells = summarise(study, results(study, {("scratch", "1"): [0.5] * 4, ("ours", "1"): [0.5] * 4}))
    assert "no spread" in cell(cells, "ours", "1").note


def test_a_missing_baseline_is_told() -> None:
    study = plan(shots=[1])
    cells = summarise(study, results(study, {("ours", "1"): OURS}))
    assert cell(cells, "ours", "1").note == "no finished run of scratch"


def test_without_a_baseline_nothing_is_tested() -> None:
    study = plan(baseline=None)
    cells = summarise(study, results(study, {("scratch", "1"): SCRATCH, ("ours", "1"): OURS}))
    assert {c.note for c in cells} == {"no baseline was named"}


def test_structures_are_compared_one_by_one() -> None:
    study = plan(shots=[1])
    cells = summarise(study, results(study, {("scratch", "1"): SCRATCH, ("ours", "1"): OURS}), scope="structure")
    liver = next(c for c in cells if (c.structure, c.initialisation) == ("liver", "ours"))
    assert liver.mean == pytest.approx(np.mean(OURS) - 0.1)
    assert liver.p_welch_holm == pytest.approx(min(2 * liver.p_welch, 1))


def test_other_strategies_are_compared_with_random_weights_trained_whole() -> None:
    study = plan(shots=[1], strategies=["full", "lora"])
    cells = summarise(study, results(study, {("scratch", "1"): SCRATCH, ("ours", "1"): OURS}))
    lora = next(c for c in cells if c.strategy == "lora")
    assert lora.difference == pytest.approx(np.mean(OURS) - np.mean(SCRATCH))


@pytest.mark.parametrize(
    ("ours", "words"),
    [
        (OURS, "pre-training helped here"),
        ([0.51, 0.52, 0.50, 0.54], "pre-training did not help here"),
        ([0.30, 0.33, 0.31, 0.32], "pre-training did harm here"),
    ],
)
def test_the_verdict_follows_from_the_tests(ours: list[float], words: str) -> None:
    study = plan(shots=[1])
    cells = summarise(study, results(study, {("scratch", "1"): SCRATCH, ("ours", "1"): ours}))
    assert words in verdict(study, cells)[0]
