"""The estimate of experiments/quality: calibration by hand, and that no phantom judges itself."""

import numpy as np
import pytest

from experiments.quality.trust import (
    bins,
    calibration_error,
    flag_rows,
    from_flags,
    from_measurements,
    probabilities,
    shares,
)


def _row(seed: int, dsc: float, **changes: str) -> dict[str, str]:
    plain = {"seed": str(seed), "structure": "liver", "dsc": str(dsc), "volume_ml": "1500", "border_share": "0"}
    plain |= {"largest_share": "1", "undecided_share": "0.2", "undecided_mm": "1", "flags": ""}
    return plain | changes


def _good(rows: list[dict[str, str]]) -> np.ndarray:
    return np.array([float(row["dsc"]) >= 0.7 for row in rows], dtype=float)


def test_calibration_by_hand() -> None:
    predicted, good = np.array([0.1, 0.15, 0.95, 1.0]), np.array([0.0, 1.0, 1.0, 1.0])
    first, last = bins(predicted, good)
    assert first == pytest.approx((0.125, 0.5, 2))
    assert last == pytest.approx((0.975, 1.0, 2))
    assert calibration_error(predicted, good) == pytest.approx((2 * 0.375 + 2 * 0.025) / 4)


def test_flags_divide_the_masks() -> None:
    rows = [_row(1, 0.9), _row(1, 0.3, flags="cut parts"), _row(1, 0.5, flags="parts"), _row(1, 0.0, volume_ml="0")]
    table = {flag: entries for flag, *entries in flag_rows(rows)}
    assert table["parts"] == [2, "0.400", 1, "0.900", "0.000", "1.000"]
    assert table["cut"] == [1, "0.300", 2, "0.700", "0.000", "0.500"]
    assert table["any"][0] == 2
    assert table["side"] == [0, "", 3, "0.567", "", "0.333"]


def _sample() -> list[dict[str, str]]:
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(4):
        for share in rng.uniform(0.05, 1.5, 20):
            flags = "undecided" if share > 0.5 else ""
            rows.append(_row(seed, 0.9 if share + rng.normal(0, 0.1) < 0.5 else 0.4, flags=flags))
            rows[-1]["undecided_share"] = f"{share:.3f}"
    return rows


@pytest.mark.parametrize("features", [from_flags, from_measurements])
def test_a_phantom_does_not_judge_itself(features) -> None:  # type: ignore[no-untyped-def]
    rows = _sample()
    good = _good(rows)
    before = probabilities(rows, good, features)
    assert np.mean((before > 0.5) == good) > 0.85
    own = np.array([row["seed"] == "2" for row in rows])
    after = probabilities(rows, np.where(own, 1 - good, good), features)
    np.testing.assert_allclose(after[own], before[own])
    assert not np.allclose(after[~own], before[~own])


def test_shares_leave_the_own_phantom_out() -> None:
    rows = [_row(1, 0.9), _row(2, 0.9), _row(2, 0.1), _row(2, 0.9, structure="spleen")]
    found = shares(rows, _good(rows), lambda row: row["structure"])
    assert found == pytest.approx([(1 + 1) / (2 + 2), (1 + 1) / (2 + 1), (1 + 1) / (2 + 1), 1 / 2])
