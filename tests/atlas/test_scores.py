"""Uncertainty, consistency and overlap of arrays whose scores are known."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import entropy

from suprem.atlas.importance import Weights, expected_centre, importance, robust_z
from suprem.atlas.label_set import LabelSet, Provenance
from suprem.atlas.predictions import Prediction, write_prediction
from suprem.atlas.regions import Votes, find_regions, reason
from suprem.atlas.scores import LABELS, StructureScores, related, score_case
from suprem.errors import ConfigurationError, VolumeError

SHAPE, AFFINE = (30, 24, 20), np.diag([2.0, 2.0, 2.0, 1.0])
VOXEL_ML = 0.008
CUBE = 9**3 * VOXEL_ML
"""The cube in which a score is summed up: 18 mm, the odd number of voxels next to 20 mm."""
Boxes = Mapping[str, tuple[slice, slice, slice]]
A = np.s_[4:14, 4:14, 4:14]
B = np.s_[16:26, 4:14, 4:14]


def _mask(box: tuple[slice, slice, slice]) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[box] = True
    return mask


def _labels(**boxes: tuple[slice, slice, slice]) -> LabelSet:
    masks = {name: _mask(box) for name, box in boxes.items()}
    return LabelSet.from_masks(masks.items(), SHAPE, AFFINE, dict.fromkeys(masks, Provenance("pseudo", "m", 1)))


def _model(folder: Path, exclusive: bool = False, **values: np.ndarray) -> Prediction:
    write_prediction(folder, values.items(), exclusive=exclusive, info={})
    return Prediction.open(folder)


def _sure(*boxes: tuple[slice, slice, slice]) -> np.ndarray:
    return np.uint8(255) * np.logical_or.reduce([_mask(box) for box in boxes])


def test_uncertainty_is_the_mean_entropy(tmp_path: Path) -> None:
    first, second = np.where(_mask(A), 51, 0), np.where(_mask(A), 102, 0)  # 0.2 and 0.4
    models = {n: _model(tmp_path / n, liver=p.astype(np.uint8)) for n, p in (("a", first), ("b", second))}
    found = score_case(models, _labels(liver=A), ("liver",))
    bits = np.mean([entropy([0.2, 0.8], base=2), entropy([0.4, 0.6], base=2)])
    assert found.structures["liver"].uncertainty_ml == pytest.approx(CUBE * bits**2, rel=0.01)
    assert found.structures["liver"].volumes_ml == {"a": 0.0, "b": 0.0, LABELS: 8.0}


def test_certain_and_alike_is_nothing(tmp_path: Path) -> None:
    models = {n: _model(tmp_path / n, liver=_sure(A)) for n in "ab"}
    found = score_case(models, _labels(liver=A), ("liver", "spleen"))
    assert list(found.structures) == ["liver"]  # nobody knows the spleen
    scores = found.structures["liver"]
    assert (scores.uncertainty_ml, scores.consistency_ml, scores.overlap_ml) == (0, 0, 0)
    assert not found.attention.any()
    assert not found.strongest.any()
    assert scores.centre == (8.5, 8.5, 8.5)


@pytest.mark.parametrize(("seeing", "expected"), [(0, 0.0), (1, 8 / 9), (2, 8 / 9), (3, 1.0), (4, 0.0)])
def test_consistency_of_models_and_labels(tmp_path: Path, seeing: int, expected: float) -> None:
    boxes = [(A,) if number < seeing else () for number in range(4)]  # three models and the labels
    empty = np.zeros(SHAPE, dtype=np.uint8)
    models = {str(n): _model(tmp_path / str(n), liver=_sure(*b) if b else empty) for n, b in enumerate(boxes[:3])}
    nowhere = np.s_[0:0, 0:0, 0:0]
    found = score_case(models, _labels(liver=boxes[3][0] if boxes[3] else nowhere), ("liver",))
    assert found.structures["liver"].consistency_ml == pytest.approx(CUBE * expected**2, rel=0.01)
    assert found.attention[A].min() == found.attention.max() == round(255 * expected)


def test_an_error_of_the_labels_is_seen_though_models_agree(tmp_path: Path) -> None:
    models = {n: _model(tmp_path / n, liver=_sure(A), spleen=_sure(B)) for n in "abc"}
    labels = _labels(liver=A, spleen=np.s_[0:0, 0:0, 0:0])
    found = score_case(models, labels, ("spleen", "liver"))
    assert found.structures["spleen"].consistency_ml == pytest.approx(CUBE, rel=0.01)
    assert found.structures["liver"].consistency_ml == 0
    (region,) = find_regions(found, models, labels)
    assert (region.structure, region.volume_ml) == ("spleen", pytest.approx(8.0))
    assert region.reason == "3 of 3 models see spleen here, the label does not"
    assert _mask(B)[region.x, region.y, region.z]


def test_a_shifted_outline_is_within_tolerance(tmp_path: Path) -> None:
    shifted = np.s_[5:15, 4:14, 4:14]  # by one voxel
    models = {"a": _model(tmp_path / "a", liver=_sure(A)), "b": _model(tmp_path / "b", liver=_sure(shifted))}
    found = score_case(models, _labels(liver=A), ("liver",), tolerance_mm=2.0)
    assert found.structures["liver"].consistency_ml == 0
    far = {**models, "c": _model(tmp_path / "c", liver=_sure(np.s_[10:20, 4:14, 4:14]))}
    # Six planes are of a and b alone, five of c alone; four of each would be thick enough.
    found = score_case(far, _labels(liver=A), ("liver",), tolerance_mm=2.0)
    assert found.structures["liver"].consistency_ml > 0


@pytest.mark.parametrize(
    ("ends", "planes", "expected"),
    [
        # Where each of three models and the labels ends along x; the least is 14. The tolerance is one voxel.
        ((14, 14, 14, 16), 2, 1.0),  # plane 15 is beyond it, plane 14 beside that
        ((14, 14, 14, 15), 0, 0.0),
        ((14, 14, 15, 16), 0, 0.0),  # plane 15 is near one model
        ((14, 14, 18, 14), 4, 8 / 9),  # one of three models, four tolerances thick
        ((14, 14, 17, 14), 0, 0.0),
    ],
)
def test_outlines_differ_within_tolerance_or_beyond(
    tmp_path: Path, ends: tuple[int, ...], planes: int, expected: float
) -> None:
    boxes = [np.s_[4:end, 4:14, 4:14] for end in ends]
    models = {str(n): _model(tmp_path / str(n), liver=_sure(box)) for n, box in enumerate(boxes[:3])}
    found = score_case(models, _labels(liver=boxes[3]), ("liver",), tolerance_mm=2.0)
    attention = np.zeros(SHAPE)
    attention[14 : 14 + planes, 4:14, 4:14] = round(255 * expected)
    assert np.array_equal(found.attention, attention)
    volume = planes * 9 * 9 * VOXEL_ML  # of the worst cube
    assert found.structures["liver"].consistency_ml == pytest.approx(volume * expected**2, rel=0.01)


def test_models_may_differ_in_probability_only(tmp_path: Path) -> None:
    values = (51, 102, 102)  # 0.2, 0.4 and 0.4: none of them sees it
    models = {str(n): _model(tmp_path / str(n), liver=np.uint8(v) * _mask(A)) for n, v in enumerate(values)}
    found = score_case(models, _labels(liver=np.s_[0:0, 0:0, 0:0]), ("liver",))
    spread = round(255 * 4 * np.var([0.2, 0.4, 0.4])) / 255
    assert found.structures["liver"].consistency_ml == pytest.approx(CUBE * spread**2, rel=0.01)


def test_labels_against_a_single_model(tmp_path: Path) -> None:
    model = {"a": _model(tmp_path / "a", liver=_sure(A))}
    assert score_case(model, _labels(liver=A), ("liver",)).structures["liver"].consistency_ml == 0
    assert score_case(model, _labels(liver=B), ("liver",)).structures["liver"].consistency_ml == pytest.approx(CUBE)


def test_overlap_but_not_of_a_lesion_in_its_organ(tmp_path: Path) -> None:
    shared = np.s_[10:20, 4:14, 4:14]
    values = {"liver": _sure(A), "stomach": _sure(shared), "liver_tumor": _sure(np.s_[5:9, 5:12, 5:12])}
    models = {n: _model(tmp_path / n, **values) for n in "ab"}
    labels = _labels(liver=A, stomach=np.s_[14:20, 4:14, 4:14], liver_tumor=np.s_[5:9, 5:12, 5:12])
    found = score_case(models, labels, tuple(values), tolerance_mm=2.0).structures
    both = 4 * 9 * 9 * VOXEL_ML * (2 / 3) ** 2  # two of three voters claim four planes twice
    assert found["liver"].overlap_ml == found["stomach"].overlap_ml == pytest.approx(both, rel=0.01)
    assert found["liver_tumor"].overlap_ml == 0
    alone = score_case(models, labels, ("liver",), beside=("stomach",), tolerance_mm=2.0)
    assert list(alone.structures) == ["liver"]
    assert alone.structures["liver"].overlap_ml == found["liver"].overlap_ml
    (region,) = find_regions(alone, models, labels, beside=("stomach",))
    assert region.reason == "liver and stomach are both marked here"


def test_exclusive_classes_do_not_overlap(tmp_path: Path) -> None:
    soft = {"liver": (_mask(A) * 150).astype(np.uint8), "stomach": (_mask(A) * 100).astype(np.uint8)}
    models = {n: _model(tmp_path / n, exclusive=True, **soft) for n in "ab"}
    found = score_case(models, _labels(liver=A, stomach=B), ("liver", "stomach")).structures
    assert found["liver"].overlap_ml == found["stomach"].overlap_ml == 0
    assert found["liver"].volumes_ml["a"] == 8.0
    assert found["stomach"].consistency_ml == pytest.approx(CUBE, rel=0.01)  # no model has it in B


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("slab", [1, 3, 7, 16])
def test_slabs_equal_the_whole(tmp_path: Path, slab: int, exclusive: bool) -> None:
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (3, 2, 15, 12, 10), dtype=np.uint8) // (1 + exclusive)
    values = coarse.repeat(2, 2).repeat(2, 3).repeat(2, 4)
    names = ("liver", "stomach")
    models = {
        str(n): _model(tmp_path / str(n), exclusive, **dict(zip(names, v, strict=True))) for n, v in enumerate(values)
    }
    labels = _labels(liver=A, stomach=B)
    whole = score_case(models, labels, names, tolerance_mm=2.0, slab=SHAPE[0])
    parts = score_case(models, labels, names, tolerance_mm=2.0, slab=slab)
    assert whole.attention.any()
    for name in ("attention", "strongest", "cause"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))
    assert [s.centre for s in parts.structures.values()] == [s.centre for s in whole.structures.values()]
    assert {n: tuple(s.volumes_ml.items()) for n, s in whole.structures.items()} == {
        n: tuple(s.volumes_ml.items()) for n, s in parts.structures.items()
    }
    for score in ("uncertainty_ml", "consistency_ml", "overlap_ml"):
        assert [getattr(s, score) for s in parts.structures.values()] == pytest.approx(
            [getattr(s, score) for s in whole.structures.values()]
        )


def test_what_cannot_be_scored(tmp_path: Path) -> None:
    model = {"a": _model(tmp_path / "a", liver=_sure(A))}
    with pytest.raises(ConfigurationError, match="no prediction"):
        score_case({}, _labels(liver=A), ("liver",))
    with pytest.raises(ConfigurationError, match="slab 0"):
        score_case(model, _labels(liver=A), ("liver",), slab=0)
    other = LabelSet.from_masks([], (3, 3, 3), AFFINE, {})
    with pytest.raises(VolumeError, match="predict with a again"):
        score_case(model, other, ("liver",))


def test_related() -> None:
    assert related("kidney_tumor", "kidney_left")
    assert related("my organ", "liver")  # nothing is known about it
    assert not related("kidney_left", "kidney_right")


def test_reasons() -> None:
    assert reason("spleen", "consistency", Votes(3, 1, None)) == "1 of 3 models sees spleen here"
    swapped = Votes(3, 3, False, "kidney_right", None)
    assert reason("kidney_left", "consistency", swapped) == (
        "3 of 3 models see kidney left here, the label does not, but kidney right"
    )
    leaked = Votes(3, 0, True, None, "stomach")
    assert reason("liver", "consistency", leaked) == "0 of 3 models see liver here, the label does; most see stomach"
    assert reason("liver", "overlap", Votes(2, 2, True, "stomach")) == "liver and stomach are both marked here"
    assert "unsure about liver" in reason("liver", "uncertainty", Votes(3, 2, True))


def test_robust_z() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 20.0, np.nan]
    # Median 4.5, absolute deviations 0.5 0.5 1.5 1.5 2.5 2.5 3.5 15.5: their median is 2.
    z = robust_z(values, floor=0.0)
    assert z[7] == pytest.approx(15.5 / (1.4826 * 2.0))
    assert z[0] == z[8] == 0
    assert robust_z([0.0] * 20 + [1.0], floor=0.5)[-1] == 2.0
    few = np.array([9.5, 4.5])  # too few to say what is usual, so all structures do
    assert robust_z(few, np.array(values), floor=0.0) == pytest.approx([5.0 / (1.4826 * 2.0), 0.0])


def _scores(consistency: float, *, present: bool = True) -> StructureScores:
    return StructureScores(0.0, consistency, 0.0, 0.0, {LABELS: 30.0 if present else 0.0})


def test_large_and_fuzzy_structures_do_not_lead() -> None:
    rng = np.random.default_rng(2)
    cases = {f"c{n}": {"colon": _scores(rng.uniform(2, 6)), "spleen": _scores(rng.uniform(0, 0.2))} for n in range(30)}
    cases["c7"]["spleen"] = _scores(3.0)
    found = importance(cases)
    assert max(found, key=lambda case: found[case].value) == "c7"
    assert next(iter(found["c7"].structures)) == "spleen"


def test_absent_where_it_is_common() -> None:
    cases = {
        f"c{n}": {"spleen": _scores(0.0, present=n != 3), "liver_tumor": _scores(0.0, present=n % 2 == 0)}
        for n in range(20)
    }
    found = importance(cases)
    assert found["c3"].missing == ("spleen",)
    assert found["c3"].value > 0
    assert not any(one.missing for case, one in found.items() if case != "c3")


def test_exchanged_sides() -> None:
    def case(right: float, left: float) -> dict[str, StructureScores]:
        places = {"kidney_right": right, "kidney_left": left, "my organ_left": 3.0}
        return {name: StructureScores(0, 0, 0, 0, {LABELS: 30.0}, (x, 5.0, 5.0)) for name, x in places.items()}

    cases = {f"c{n}": case(20.0 + n, 10.0) for n in range(19)}
    found = importance({**cases, "other": case(10.0, 30.0)})
    assert found["other"].exchanged == ("kidney_right", "kidney_left")
    assert found["other"].value == found["other"].structures["kidney_left"] == pytest.approx(np.log2(22 / 2))
    assert not any(one.value or one.exchanged for case, one in found.items() if case != "other")
    half = {f"o{n}": case(10.0, 30.0) for n in range(9)}  # too many to be a surprise
    assert not any(one.exchanged for one in importance({**cases, **half}).values())


def test_where_a_missing_structure_should_be() -> None:
    def case(shift: float, *, present: bool = True) -> dict[str, StructureScores]:
        places = {"liver": (10.0 + shift, 20.0, 30.0), "aorta": (0.0, 5.0 + shift, 0.0), "spleen": (1.0, 2.0, 3.0)}
        gone = () if present else ("spleen",)
        return {n: StructureScores(0, 0, 0, 0, {}, None if n in gone else p) for n, p in places.items()}

    cases = {"a": case(0.0), "b": case(1.0), "c": case(2.0), "d": case(11.0, present=False)}
    # From the liver the spleen is at -10, -18, -27, from the aorta at 1, -4, 3: the median of a, b and c.
    expected = np.mean([np.add((21, 20, 30), (-10, -18, -27)), np.add((0, 16, 0), (1, -4, 3))], axis=0)
    assert expected_centre(cases, "d", "spleen") == pytest.approx(expected)
    assert expected_centre({"d": cases["d"]}, "d", "spleen") is None


def test_weights() -> None:
    cases = {"a": {"liver": _scores(5.0)}, "b": {"liver": StructureScores(5.0, 0.0, 0.0, 0.0, {})}}
    assert importance(cases, Weights(0.0, 1.0, 0.0))["b"].value == 0
    assert importance(cases, Weights(2.0, 1.0, 0.0))["b"].value == 2 * importance(cases)["b"].value
    with pytest.raises(ConfigurationError, match="one must be positive"):
        Weights(0.0, 0.0, 0.0)
    with pytest.raises(ConfigurationError, match="none may be negative"):
        Weights(-1.0, 1.0, 1.0)


def test_broken_where_it_is_rare() -> None:
    def case(liver: float, stomach: float) -> dict[str, StructureScores]:
        amounts = {"liver": liver, "stomach": stomach}
        return {name: StructureScores(0, 0, 0, ml, {LABELS: 30.0}) for name, ml in amounts.items()}

    cases = {f"c{n}": case(0.0, 5.0 * (n % 3 == 0)) for n in range(29)}  # a common thing
    found = importance({**cases, "other": case(4.0, 0.0)})
    assert found["other"].broken == ("liver",)
    assert found["other"].value == found["other"].structures["liver"] == pytest.approx(np.log2(32 / 2))
    assert not any(one.value or one.broken for key, one in found.items() if key != "other")
