"""Dice coefficient against analytic shapes and scikit-learn."""

import math
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from suprem.errors import ConfigurationError
from suprem.evaluation.metrics import dice, dice_from_counts


def test_shifted_cubes() -> None:
    first, second = np.zeros((2, 30, 30, 30), dtype=bool)
    first[5:15, 5:15, 5:15] = True
    second[8:18, 5:15, 5:15] = True
    assert dice(first, second) == pytest.approx(0.7)


def test_nested_spheres_approach_the_ratio_of_their_volumes() -> None:
    x, y, z = np.mgrid[-40:41, -40:41, -40:41]
    radius = np.sqrt(x**2 + y**2 + z**2)
    expected = 2 * 24**3 / (24**3 + 36**3)
    assert dice(radius < 24, radius < 36) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
def test_equals_f1_score(seed: int, dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.random((2, 9, 8, 7)) < rng.uniform(0.05, 0.9)
    expected = f1_score(second.ravel(), first.ravel())
    assert dice(first.astype(dtype), second.astype(dtype)) == pytest.approx(expected, rel=1e-12)


def test_symmetric_and_one_for_equal_masks_even_of_one_voxel() -> None:
    single = np.zeros((4, 4, 4), dtype=bool)
    single[1, 2, 3] = True
    whole = np.ones_like(single)
    assert dice(single, single) == 1.0
    assert dice(single, whole) == dice(whole, single) == pytest.approx(2 / 65)


@pytest.mark.parametrize(("empty", "expected"), [("absent", math.nan), ("one", 1.0), ("zero", 0.0)])
def test_conventions_for_two_empty_masks(empty: Any, expected: float) -> None:
    nothing = np.zeros((3, 3, 3), dtype=bool)
    something = nothing.copy()
    something[0, 0, 0] = True
    assert dice(nothing, nothing, empty=empty) == pytest.approx(expected, nan_ok=True)
    assert dice(nothing, something, empty=empty) == 0.0
    assert dice(something, nothing, empty=empty) == 0.0


def test_default_convention_leaves_absent_structures_out_of_means() -> None:
    nothing, something = np.zeros((2, 2, 2)), np.ones((2, 2, 2))
    scores = [dice(nothing, nothing), dice(something, something), dice(nothing, something)]
    assert np.nanmean(scores) == 0.5


def test_counts_and_bad_arguments() -> None:
    assert dice_from_counts(3, 5, 7) == 0.5
    with pytest.raises(ConfigurationError, match="same grid"):
        dice(np.zeros((2, 2, 2)), np.zeros((2, 2, 3)))
    with pytest.raises(ConfigurationError, match="'absent'"):
        dice_from_counts(0, 0, 0, empty="nan")  # type: ignore[arg-type]
