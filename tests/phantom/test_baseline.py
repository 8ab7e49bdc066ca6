"""The per-voxel classifier."""

from pathlib import Path

import numpy as np
import pytest

from suprem.errors import CheckpointError, UnknownNameError
from suprem.phantom import generate, phantom_table
from suprem.phantom.baseline import BaselinePrediction, PositionBaseline
from suprem.volumes.geometry import Volume, to_ras

SPACING = (4.0, 4.0, 4.0)


def _index(*names: str) -> int:
    return phantom_table().index(frozenset(names))


def _case() -> tuple[np.ndarray, np.ndarray]:
    """Muscle everywhere in a box of air; a bright block is liver on one side and spleen on the other."""
    image = np.full((48, 32, 64), -1000, dtype=np.int16)
    image[4:-4, 4:-4] = 20
    labels = np.zeros(image.shape, dtype=np.uint8)
    for where, name in ((slice(28, 40), "liver"), (slice(8, 20), "spleen")):
        image[where, 8:24, 16:48] = 120
        labels[where, 8:24, 16:48] = _index(name)
    return image, labels


def test_separates_by_value_and_by_position() -> None:
    image, labels = _case()
    baseline = PositionBaseline.fit([(image, labels)], SPACING)
    found = baseline.predict(Volume(image, np.diag([*SPACING, 1.0])))
    for name in ("liver", "spleen"):
        truth = labels == _index(name)
        overlap = 2 * (found.mask(name) & truth).sum() / (found.mask(name).sum() + truth.sum())
        assert overlap > 0.97


def test_position_is_that_in_the_body_box_not_in_the_image() -> None:
    image, labels = _case()
    baseline = PositionBaseline.fit([(image, labels)], SPACING)
    shifted = np.pad(image, ((9, 0), (0, 5), (0, 0)), constant_values=-1000)
    found = baseline.predict(Volume(shifted, np.diag([*SPACING, 1.0]))).labels
    assert np.array_equal(found[9:, :-5], baseline.predict(Volume(image, np.diag([*SPACING, 1.0]))).labels)


def test_orientation_does_not_matter() -> None:
    baseline = PositionBaseline.bundled()
    ras, lps = (generate(3, spacing_mm=(6.0, 6.0, 6.0), orientation=o).ct for o in ("RAS", "LPS"))
    labels = baseline.predict(lps).labels
    assert labels.shape == lps.shape
    back, _ = to_ras(Volume(labels, lps.affine))
    # Resampling starts from another corner, so voxels at a border may differ.
    assert np.mean(back.array == baseline.predict(ras).labels) > 0.9


def test_bundled_one_knows_lungs_but_not_the_organs_between_soft_tissue() -> None:
    case = generate(4, spacing_mm=(5.0, 5.0, 5.0))
    found = PositionBaseline.bundled().predict(case.ct)

    def score(name: str) -> float:
        truth, guess = case.mask(name), found.mask(name)
        return float(2 * (truth & guess).sum() / (truth.sum() + guess.sum()))

    assert score("lung_left") > 0.9
    hard = ("pancreas", "duodenum", "gall_bladder", "adrenal_gland_left", "hepatic_vessel", "kidney_tumor")
    assert np.mean([score(name) for name in hard]) < 0.35


def test_save_and_load(tmp_path: Path) -> None:
    baseline = PositionBaseline.fit([_case()], SPACING)
    baseline.save(tmp_path / "b.npz")
    with np.load(tmp_path / "b.npz") as stored:
        again = PositionBaseline(stored["winners"], tuple(stored["spacing_mm"]))
    assert np.array_equal(again.winners, baseline.winners)
    assert again.spacing_mm == SPACING


def test_wrong_tables_and_names_are_refused() -> None:
    baseline = PositionBaseline.bundled()
    with pytest.raises(CheckpointError, match="refit"):
        PositionBaseline(baseline.winners[:-1], SPACING)
    with pytest.raises(CheckpointError, match="refit"):
        PositionBaseline(np.full_like(baseline.winners, 255), SPACING)
    with pytest.raises(UnknownNameError, match="liver"):
        BaselinePrediction(np.zeros((2, 2, 2), dtype=np.uint8)).mask("livr")
