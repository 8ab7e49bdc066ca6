"""Fusion of several models, against what can be worked out by hand."""

from pathlib import Path

import numpy as np
import pytest

from suprem.atlas.fusion import FUSIONS, Fusion, fused_masks
from suprem.atlas.predictions import Prediction, write_prediction
from suprem.errors import ConfigurationError

SHAPE = (34, 30, 28)


def _ball(x: int = 16, radius: int = 7) -> np.ndarray:
    grid = np.indices(SHAPE)
    return (grid[0] - x) ** 2 + (grid[1] - 14) ** 2 + (grid[2] - 14) ** 2 < radius**2


def _sure(mask: np.ndarray, inside: int = 230, outside: int = 10) -> np.ndarray:
    return np.where(mask, inside, outside).astype(np.uint8)


def _prediction(folder: Path, exclusive: bool = False, **values: np.ndarray) -> Prediction:
    write_prediction(folder, values.items(), exclusive=exclusive, info={})
    return Prediction.open(folder)


def _fused(predictions: list[Prediction], fusion: Fusion, name: str = "liver") -> np.ndarray:
    (found,) = fused_masks(predictions, [name], fusion)
    assert found[0] == name
    return found[1]


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_models_that_agree_are_right(tmp_path: Path, fusion: Fusion, count: int) -> None:
    predictions = [_prediction(tmp_path / str(i), liver=_sure(_ball())) for i in range(count)]
    assert np.array_equal(_fused(predictions, fusion), _ball())


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("wrong", [_ball(25), _ball(radius=2), np.zeros(SHAPE, bool), np.ones(SHAPE, bool)])
def test_one_bad_model_is_outvoted(tmp_path: Path, fusion: Fusion, wrong: np.ndarray) -> None:
    masks = (_ball(), wrong, _ball())
    predictions = [_prediction(tmp_path / str(i), liver=_sure(mask, 200, 40)) for i, mask in enumerate(masks)]
    assert np.array_equal(_fused(predictions, fusion), _ball())


def test_staple_trusts_the_better_models_where_votes_are_even(tmp_path: Path) -> None:
    """Two models that agree with each other, and two that are noise: votes tie, STAPLE finds out who is who."""
    rng = np.random.default_rng(0)
    masks = (_ball(), _ball(), rng.random(SHAPE) < 0.5, rng.random(SHAPE) < 0.5)
    predictions = [_prediction(tmp_path / str(i), liver=_sure(mask)) for i, mask in enumerate(masks)]
    assert np.array_equal(_fused(predictions, "staple"), _ball())
    assert not np.array_equal(_fused(predictions, "majority"), _ball())


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("mask", [np.zeros(SHAPE, bool), np.ones(SHAPE, bool)])
def test_nothing_and_everything(tmp_path: Path, fusion: Fusion, mask: np.ndarray) -> None:
    predictions = [_prediction(tmp_path / str(i), liver=_sure(mask)) for i in range(3)]
    assert np.array_equal(_fused(predictions, fusion), mask)


def test_a_tie_goes_to_the_mean_of_the_probabilities(tmp_path: Path) -> None:
    first, second = np.full(SHAPE, 200, np.uint8), np.full(SHAPE, 54, np.uint8)
    second[0], second[1], second[2] = 55, 56, 220  # sums of 255, 256 and 420, elsewhere of 254; one half is 255
    predictions = [_prediction(tmp_path / str(i), liver=values) for i, values in enumerate((first, second))]
    found = _fused(predictions, "majority")
    assert np.array_equal(found, _fused(predictions, "mean"))
    assert [bool(found[x].all()) for x in range(4)] == [False, True, True, False]
    assert [bool(found[x].any()) for x in range(4)] == [False, True, True, False]


def test_mean_is_that_of_the_probabilities(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(0, 256, (5, *SHAPE), dtype=np.uint8)
    predictions = [_prediction(tmp_path / str(i), liver=one) for i, one in enumerate(values)]
    assert np.array_equal(_fused(predictions, "mean"), values.mean(axis=0) > 127.5)
    assert np.array_equal(_fused(predictions, "majority"), (values > 127).sum(axis=0) >= 3)


def test_each_structure_is_fused_over_those_that_know_it(tmp_path: Path) -> None:
    spleen = _ball(25, 4)
    predictions = [
        _prediction(tmp_path / "a", liver=_sure(_ball()), spleen=_sure(spleen)),
        _prediction(tmp_path / "b", liver=_sure(_ball(15))),
        _prediction(tmp_path / "c", liver=_sure(_ball(17))),
    ]
    found = dict(fused_masks(predictions, ["spleen", "liver", "aorta"], "majority"))
    assert list(found) == ["spleen", "liver"]
    assert np.array_equal(found["spleen"], spleen)
    votes = np.sum([_ball(15), _ball(16), _ball(17)], axis=0)
    assert np.array_equal(found["liver"], votes >= 2)


def test_exclusive_models_vote_for_their_likeliest_class(tmp_path: Path) -> None:
    names = ("liver", "spleen")
    rng = np.random.default_rng(2)
    shares = rng.dirichlet(np.ones(3), SHAPE)
    values = {name: np.floor(255 * shares[..., i]).astype(np.uint8) for i, name in enumerate(names)}
    prediction = _prediction(tmp_path / "a", exclusive=True, **values)
    winner = shares.argmax(-1)
    clear = np.diff(np.sort(shares, -1)[..., -2:], axis=-1)[..., 0] > 0.02
    for index, name in enumerate(names):
        found = _fused([prediction], "majority", name)
        assert np.array_equal(found & clear, (winner == index) & clear)
        assert np.array_equal(found, prediction.masks(names)[name])


def test_what_cannot_be_fused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="majority, staple, mean"):
        list(fused_masks([], ["liver"], "vote"))  # type: ignore[arg-type]
    one = _prediction(tmp_path / "a", liver=_sure(_ball()))
    other = _prediction(tmp_path / "b", liver=_sure(_ball())[1:])
    with pytest.raises(ConfigurationError, match="another grid"):
        list(fused_masks([one, other], ["liver"], "majority"))
