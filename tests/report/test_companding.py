"""One byte per voxel: what comes back is what the page states."""

import numpy as np
import pytest

from suprem.report.companding import SEGMENTS, compand, describe, expand, representatives

# As the documentation states them: first HU, last HU, step.
STATED = ((-1023, -160, 16), (-159, 239, 3), (240, 1039, 20), (1040, 3069, 70))


@pytest.mark.parametrize(("low", "high", "step"), STATED)
def test_whole_hu_come_back_within_half_a_step(low: int, high: int, step: int) -> None:
    hu = np.arange(low, high + 1, dtype=np.int16)
    error = np.abs(expand(compand(hu)) - hu)
    assert error.max() <= (step - 1) / 2
    assert error.max() > (step - 1) / 2 - 1  # the step is not stated larger than it is


@pytest.mark.parametrize(("low", "high", "step"), STATED)
def test_fractions_come_back_within_half_a_step(low: int, high: int, step: int) -> None:
    hu = np.random.default_rng(0).uniform(low - 0.49, high + 0.49, 5000).astype(np.float32)
    assert np.abs(expand(compand(hu)) - hu).max() <= step / 2 + 1e-3


def test_all_256_codes_are_used_in_order() -> None:
    codes = compand(np.arange(-1023, 3070))
    assert codes.dtype == np.uint8
    assert np.unique(codes).tolist() == list(range(256))
    assert (np.diff(codes.astype(int)) >= 0).all()
    assert (np.diff(representatives()) > 0).all()
    np.testing.assert_array_equal(compand(representatives().round()), np.arange(256))


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_beyond_the_range_are_the_ends(dtype: type) -> None:
    assert compand(np.array([-32768, -1024, 3071, 32767], dtype=dtype)).tolist() == [0, 0, 255, 255]


def test_what_is_no_number_is_air() -> None:
    assert compand(np.array([np.nan, np.inf, -np.inf])).tolist() == [0, 255, 0]


def test_the_sentence_says_the_steps() -> None:
    assert [step for _, step in SEGMENTS] == [step for *_, step in STATED]
    for low, _, step in STATED:
        assert f"{step} HU" in describe()
        assert low == -1023 or str(low - 1) in describe() or str(low) in describe()
