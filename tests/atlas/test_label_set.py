"""Labels with provenance, and probabilities on disk."""

import json
from pathlib import Path

import numpy as np
import pytest

from suprem.atlas.label_set import LabelSet, Provenance
from suprem.atlas.predictions import Prediction, write_prediction
from suprem.errors import ConfigurationError, UnknownNameError, VolumeError

SHAPE = (11, 9, 7)


def _masks(names: tuple[str, ...], seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.random(SHAPE) < 0.4 for name in names}


def test_overlapping_masks_come_back_from_disk(tmp_path: Path) -> None:
    masks = {**_masks(("spleen", "liver", "aorta")), "stomach": np.zeros(SHAPE, dtype=bool)}
    provenance = {name: Provenance("pseudo", "a model", 1) for name in masks}
    LabelSet.from_masks(masks.items(), SHAPE, np.diag([2.0, 2.0, 3.0, 1.0]), provenance).write(tmp_path)
    found = LabelSet.read(tmp_path)
    assert found.structures == ("spleen", "liver", "stomach", "aorta")
    assert all(np.array_equal(found.mask(name), mask) for name, mask in masks.items())
    assert found.provenance == provenance
    assert len(found.table) == 8  # every combination of three, none of the empty fourth
    with pytest.raises(UnknownNameError, match="pancreas"):
        found.mask("pancreas")


def test_masks_without_provenance_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="provenance of nothing"):
        LabelSet.from_masks(_masks(("liver",)).items(), SHAPE, np.eye(4), {})
    with pytest.raises(ConfigurationError, match="guess"):
        Provenance("guess", "nobody")  # type: ignore[arg-type]
    wrong = {"liver": np.zeros((2, 2, 2), dtype=bool)}
    with pytest.raises(VolumeError, match="liver"):
        LabelSet.from_masks(wrong.items(), SHAPE, np.eye(4), {"liver": Provenance("expert", "x")})


@pytest.mark.parametrize("change", ["shape", "table", "provenance", "format"])
def test_damaged_labels(tmp_path: Path, change: str) -> None:
    masks = _masks(("liver",))
    LabelSet.from_masks(masks.items(), SHAPE, np.eye(4), {"liver": Provenance("expert", "x")}).write(tmp_path)
    path = tmp_path / "labels.json"
    content = json.loads(path.read_text())
    content[change] = {"shape": [1, 2, 3], "table": [[]], "provenance": {"liver": {"source": "x"}}, "format": 9}[change]
    path.write_text(json.dumps(content))
    with pytest.raises((ConfigurationError, VolumeError)):
        LabelSet.read(tmp_path)


def test_sigmoid_prediction(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    values = {name: rng.integers(0, 256, SHAPE, dtype=np.uint8) for name in ("liver", "spleen")}
    write_prediction(tmp_path / "p", values.items(), exclusive=False, info={"model": "m"})
    found = Prediction.open(tmp_path / "p")
    box = (slice(2, 9), slice(None), slice(3, 6))
    assert np.array_equal(found.probability("spleen"), values["spleen"])
    masks = found.masks(["spleen"], box)
    assert list(masks) == ["spleen"]
    assert np.array_equal(masks["spleen"], values["spleen"][box] > 127)
    with pytest.raises(UnknownNameError, match="aorta"):
        found.probability("aorta")


def test_softmax_prediction_takes_the_likeliest(tmp_path: Path) -> None:
    names = ("liver", "spleen", "aorta")
    rng = np.random.default_rng(2)
    shares = rng.dirichlet(np.ones(4), SHAPE)  # the last is background
    values = {name: np.floor(255 * shares[..., i]).astype(np.uint8) for i, name in enumerate(names)}
    write_prediction(tmp_path / "p", values.items(), exclusive=True, info={})
    masks = Prediction.open(tmp_path / "p").masks(names)
    winner, clear = shares.argmax(-1), np.diff(np.sort(shares, -1)[..., -2:], axis=-1)[..., 0] > 0.02
    for index, name in enumerate(names):
        assert np.array_equal(masks[name] & clear, (winner == index) & clear)
    assert not any((a & b).any() for a, b in ((masks["liver"], masks["spleen"]), (masks["spleen"], masks["aorta"])))


def test_prediction_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="predict again"):
        Prediction.open(tmp_path)
