"""Parts apart from their structure and cavities in it, as voxels, score and region."""

from pathlib import Path

import numpy as np
import pytest

from suprem.atlas._topology import stray
from suprem.atlas.label_set import LabelSet, Provenance
from suprem.atlas.predictions import Prediction, write_prediction
from suprem.atlas.regions import find_regions
from suprem.atlas.scores import LABELS, score_case

SHAPE, AFFINE = (40, 24, 20), np.diag([2.0, 2.0, 2.0, 1.0])
ORGAN, APART, CAVITY = np.s_[2:20, 2:20, 2:18], np.s_[24:32, 4:9, 4:9], np.s_[7:12, 7:13, 7:13]
SPECK, AT_BORDER = np.s_[34:38, 16:20, 10:14], np.s_[35:40, 2:9, 2:9]
ML = {"apart": 8 * 5 * 5 * 0.008, "cavity": 5 * 6 * 6 * 0.008}


def _labels(name: str, **more: np.ndarray) -> LabelSet:
    mask = np.zeros(SHAPE, dtype=bool)
    for box in (ORGAN, APART, SPECK, AT_BORDER):
        mask[box] = True
    mask[CAVITY] = False
    masks = {name: mask, **more}
    return LabelSet.from_masks(masks.items(), SHAPE, AFFINE, dict.fromkeys(masks, Provenance("pseudo", "m", 1)))


def test_a_part_apart_and_a_cavity() -> None:
    found = stray("liver", _labels("liver"))
    assert found is not None
    whole, expected = np.zeros(SHAPE, dtype=np.uint8), np.zeros(SHAPE, dtype=np.uint8)
    whole[found[0]] = found[1]
    expected[APART] = expected[CAVITY] = 255
    assert np.array_equal(whole, expected)


def test_a_lesion_fills_its_cavity() -> None:
    lesion = np.zeros(SHAPE, dtype=bool)
    lesion[CAVITY] = True
    found = stray("liver", _labels("liver", liver_tumor=lesion))
    assert found is not None
    assert np.count_nonzero(found[1]) == 8 * 5 * 5


@pytest.mark.parametrize("name", ["liver_tumor", "hepatic_vessel", "my organ"])
def test_what_may_have_several_parts(name: str) -> None:
    assert stray(name, _labels(name)) is None


def test_nothing_to_say() -> None:
    solid = np.zeros(SHAPE, dtype=bool)
    solid[ORGAN] = True
    labels = _labels("liver", spleen=solid, stomach=np.zeros(SHAPE, dtype=bool))
    for name in ("spleen", "stomach", "pancreas"):  # whole, absent, not annotated
        assert stray(name, labels) is None


@pytest.mark.parametrize("slab", [None, 3])
def test_score_and_regions(tmp_path: Path, slab: int | None) -> None:
    labels = _labels("liver")
    sure = np.uint8(255) * labels.mask("liver")
    write_prediction(tmp_path / "a", [("liver", sure)], exclusive=False, info={})
    models = {"a": Prediction.open(tmp_path / "a")}
    found = score_case(models, labels, ("liver",), slab=slab)
    scores = found.structures["liver"]
    assert (scores.uncertainty_ml, scores.consistency_ml, scores.overlap_ml) == (0, 0, 0)
    assert scores.topology_ml == pytest.approx(max(ML.values()), rel=0.01)  # 18 mm: never both in one cube
    assert scores.volumes_ml[LABELS] > sum(ML.values())
    reasons = {region.reason: region.volume_ml for region in find_regions(found, models, labels)}
    assert {region.cause for region in find_regions(found, models, labels)} == {"topology"}
    assert reasons == {
        "this part of liver lies apart from the rest; 1 of 1 models sees liver here": pytest.approx(ML["apart"]),
        "the label of liver has a cavity; 0 of 1 models see liver here": pytest.approx(ML["cavity"]),
    }
