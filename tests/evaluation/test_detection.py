"""Lesions found and missed: arrangements that can be counted by hand, SciPy's bipartite matching, conventions."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from suprem.errors import ConfigurationError
from suprem.evaluation.detection import DetectionCounts, DetectionRule, count_detections, pool_detections

SPACING = (1.0, 1.0, 2.0)


def _boxes(*starts: tuple[int, int, int], size: int = 3) -> np.ndarray:
    mask = np.zeros((24, 24, 24), dtype=bool)
    for x, y, z in starts:
        mask[x : x + size, y : y + size, z : z + size] = True
    return mask


def test_found_missed_and_false() -> None:
    reference = _boxes((1, 1, 1), (10, 1, 1), (1, 10, 1))
    prediction = _boxes((2, 1, 1), (10, 1, 1), (20, 20, 20), (20, 2, 20))
    found = count_detections(prediction, reference, SPACING)
    assert (found.found, found.missed, found.false) == (2, 1, 2)
    assert (found.sensitivity, found.precision) == (2 / 3, 0.5)
    assert found.f1 == pytest.approx(2 * 2 / (2 * 2 + 2 + 1))


@pytest.mark.parametrize(("overlap", "value"), [("iou", 0.5), ("dice", 2 / 3), ("coverage", 2 / 3)])
def test_the_threshold_itself_is_enough(overlap: Any, value: float) -> None:
    reference, prediction = _boxes((4, 4, 4)), _boxes((4, 4, 4))
    prediction[4] = False  # 18 of 27 voxels
    if overlap == "iou":
        reference, prediction = np.zeros((2, 8, 8, 8), dtype=bool)
        reference[0, 0, :3] = prediction[0, 0, 1:4] = True  # 2 common ones of 4
    expected = {"iou": 0.5, "dice": 0.8, "coverage": 2 / 3}[overlap]
    assert expected >= value
    assert count_detections(prediction, reference, SPACING, DetectionRule(overlap, expected)).found == 1
    assert count_detections(prediction, reference, SPACING, DetectionRule(overlap, min(1, expected + 1e-6))).found == 0


def test_one_part_over_two_lesions_and_two_parts_in_one() -> None:
    reference = _boxes((1, 1, 1), (1, 6, 1))
    joined = reference.copy()
    joined[1:4, 1:9, 1:4] = True
    single = count_detections(joined, reference, SPACING)
    assert (single.found, single.missed, single.right, single.false) == (1, 1, 1, 0)
    many = count_detections(joined, reference, SPACING, DetectionRule(matching="many_to_many"))
    assert (many.found, many.missed, many.right, many.false) == (2, 0, 1, 0)
    assert many.f1 == 1
    single = count_detections(reference, joined, SPACING)
    assert (single.found, single.missed, single.false) == (1, 0, 1)
    many = count_detections(reference, joined, SPACING, DetectionRule(matching="many_to_many"))
    assert (many.found, many.right, many.false) == (1, 2, 0)


@pytest.mark.parametrize("seed", range(25))
def test_one_to_one_forms_as_many_pairs_as_any_matching(seed: int) -> None:
    rng = np.random.default_rng(seed)
    masks = [ndimage.gaussian_filter(rng.normal(size=(14, 13, 12)), 1.2) > 0.22 for _ in range(2)]
    parts = [ndimage.label(mask, structure=np.ones((3, 3, 3)))[0] for mask in masks]
    counts = [int(part.max()) for part in parts]
    edges = np.zeros(counts, dtype=int)
    both = masks[0] & masks[1]
    edges[parts[0][both] - 1, parts[1][both] - 1] = 1
    best = int((maximum_bipartite_matching(csr_array(edges)) >= 0).sum())
    found = count_detections(*masks, SPACING)
    assert (found.predicted, found.reference, found.found, found.right) == (*counts, best, best)


@pytest.mark.parametrize(("connectivity", "number"), [(6, 3), (18, 2), (26, 1)])
def test_connectivity(connectivity: Any, number: int) -> None:
    mask = np.zeros((5, 5, 5), dtype=np.uint8)
    mask[0, 0, 0] = mask[1, 1, 0] = mask[2, 2, 1] = 1  # over an edge, then over a corner
    found = count_detections(mask, mask, SPACING, DetectionRule(connectivity=connectivity))
    assert found == DetectionCounts(number, number, number, number)


def test_small_lesions_are_neither_missed_nor_found() -> None:
    reference = _boxes((1, 1, 1), size=3) | _boxes((12, 12, 12), size=2)  # 54 and 16 mm3
    rule = DetectionRule(min_volume_mm3=54.0)
    assert count_detections(_boxes((1, 1, 1)), reference, SPACING, rule) == DetectionCounts(1, 1, 1, 1)
    # A large prediction on a small lesion is not false; elsewhere it is; a small one does not exist.
    assert count_detections(_boxes((12, 12, 12)), reference, SPACING, rule) == DetectionCounts(1, 0, 0, 0)
    assert count_detections(_boxes((18, 1, 1)), reference, SPACING, rule) == DetectionCounts(1, 1, 0, 0)
    assert count_detections(_boxes((18, 1, 1), size=2), reference, SPACING, rule) == DetectionCounts(1, 0, 0, 0)


def test_without_lesions() -> None:
    nothing, something = _boxes(), _boxes((3, 3, 3))
    none = count_detections(nothing, nothing, SPACING)
    assert all(math.isnan(value) for value in (none.sensitivity, none.precision, none.f1))
    missed = count_detections(nothing, something, SPACING)
    assert (missed.sensitivity, missed.f1, missed.missed) == (0, 0, 1)
    assert math.isnan(missed.precision)
    false = count_detections(something, nothing, SPACING)
    assert (false.precision, false.f1, false.false) == (0, 0, 1)
    assert math.isnan(false.sensitivity)


def test_pooling_counts_lesions_and_draws_cases() -> None:
    cases = [DetectionCounts(2, 3, 2, 2), DetectionCounts(0, 1, 0, 0), DetectionCounts(4, 2, 1, 1)] * 8
    pooled = pool_detections(cases)
    assert (pooled.cases, pooled.false_per_case) == (24, 1)
    assert pooled.sensitivity.estimate == pytest.approx(3 / 6)
    assert pooled.precision.estimate == pytest.approx(3 / 6)
    assert pooled == pool_detections(cases)
    for interval in (pooled.sensitivity, pooled.precision, pooled.f1):
        assert 0 < interval.low < interval.estimate < interval.high < 1
    wider = pool_detections(cases, level=0.99)
    assert wider.sensitivity.low < pooled.sensitivity.low
    one = pool_detections(cases[:1])
    assert one.sensitivity.estimate == 1
    assert math.isnan(one.sensitivity.low)


def test_the_bootstrap_over_cases_covers_the_true_sensitivity() -> None:
    rng, inside = np.random.default_rng(4), 0
    for trial in range(120):
        chance = rng.beta(6, 2, 40)  # a case in which one lesion is found is likely to have the others found
        lesions = rng.integers(1, 5, 40)
        hits = rng.binomial(lesions, chance)
        cases = [DetectionCounts(int(n), int(h), int(h), int(h)) for n, h in zip(lesions, hits, strict=True)]
        found = pool_detections(cases, resamples=400, seed=trial).sensitivity
        inside += found.low <= 0.75 <= found.high
    assert inside / 120 == pytest.approx(0.94, abs=0.06)


def test_refusals() -> None:
    mask = _boxes((1, 1, 1))
    for arguments, message in (
        ({"overlap": "volume"}, "'coverage'"),
        ({"matching": "greedy"}, "'one_to_one'"),
        ({"connectivity": 8}, "26"),
        ({"threshold": 0.5}, "leave it out"),
        ({"overlap": "iou"}, "needs one"),
        ({"overlap": "dice", "threshold": 1.5}, "needs one"),
        ({"min_volume_mm3": math.nan}, "negative"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            DetectionRule(**arguments)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="same grid"):
        count_detections(mask, mask[1:], SPACING)
    with pytest.raises(ConfigurationError, match="positive sizes"):
        count_detections(mask, mask, (1.0, 1.0, math.nan))
    with pytest.raises(ConfigurationError, match="at least one case"):
        pool_detections([])
