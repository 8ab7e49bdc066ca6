"""The rule that turns voxels into a decision on the patient."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from suprem.errors import ConfigurationError
from suprem.evaluation.patients import PANCREAS_LESIONS, LesionType, PhaseScan, decide_patient, valid_lesions

SHAPE = (20, 18, 16)
NAMES = tuple(kind.name for kind in PANCREAS_LESIONS)


def _box(low: tuple[int, int, int], size: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[tuple(slice(a, a + n) for a, n in zip(low, size, strict=True))] = True
    return mask


ORGAN = _box((2, 2, 2), (6, 6, 6))  # voxels 2 to 7
EMPTY = np.zeros(SHAPE, dtype=bool)


def _scans(lesions: dict[str, Any], probabilities: dict[str, dict[str, Any]] | None = None) -> dict[str, PhaseScan]:
    masks = {name: lesions.get(name, EMPTY) for name in NAMES}
    return {phase: PhaseScan(ORGAN, masks, (probabilities or {}).get(phase, {})) for phase in ("venous", "arterial")}


def test_size_and_contact() -> None:
    touching, apart = _box((8, 2, 2), (2, 4, 4)), _box((9, 2, 2), (2, 4, 4))
    assert valid_lesions(touching, ORGAN, 32) == 1
    assert valid_lesions(touching, ORGAN, 33) == 0
    assert valid_lesions(apart, ORGAN, 1) == 0
    # Over a corner alone: the cube of 3 x 3 x 3 reaches there.
    assert valid_lesions(_box((8, 8, 8), (2, 2, 2)), ORGAN, 8) == 1
    assert valid_lesions(EMPTY, ORGAN, 1) == valid_lesions(touching, EMPTY, 1) == 0


def test_parts_are_connected_by_faces_and_the_organ_is_its_largest_part() -> None:
    over_an_edge = _box((8, 2, 2), (2, 2, 2)) | _box((10, 4, 2), (2, 2, 2))
    assert valid_lesions(over_an_edge, ORGAN, 16) == 0
    assert valid_lesions(over_an_edge, ORGAN, 8) == 1  # the second does not touch
    second = _box((14, 12, 10), (3, 3, 3))
    lesion = _box((17, 12, 10), (2, 3, 3))
    assert valid_lesions(lesion, second, 1) == 1
    assert valid_lesions(lesion, second | ORGAN, 1) == 0


@pytest.mark.parametrize("seed", range(10))
def test_equals_the_rule_written_with_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    organ, lesion = (ndimage.gaussian_filter(rng.normal(size=SHAPE), 1.5) > 0.12 for _ in range(2))
    labels, _ = ndimage.label(organ)
    largest = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    near = ndimage.maximum_filter(largest, 3)
    parts, count = ndimage.label(lesion)
    expected = sum(bool((near & (parts == n)).any()) and (parts == n).sum() >= 30 for n in range(1, count + 1))
    assert valid_lesions(lesion, organ, 30) == expected


def test_each_type_counts_in_its_phase_and_confusion_is_no_error() -> None:
    lesion = _box((8, 2, 2), (2, 4, 5))  # 40 voxels
    for name in NAMES:
        found = decide_patient(_scans({name: lesion}))
        assert found.positive
        assert found.lesions == {other: int(other == name) for other in NAMES}
        assert found.score is None
    scans = _scans({})
    assert not decide_patient(scans).positive
    # A neuroendocrine tumour in the venous scan alone does not count.
    venous = PhaseScan(ORGAN, scans["venous"].lesions | {"pancreas_pnet": lesion})
    assert not decide_patient(scans | {"venous": venous}).positive
    arterial = PhaseScan(ORGAN, scans["arterial"].lesions | {"pancreas_pnet": lesion})
    assert decide_patient(scans | {"arterial": arterial}).positive
    small = _box((8, 2, 2), (1, 5, 6))  # 30 voxels: enough for pdac, too few for a cyst
    assert [decide_patient(_scans({name: small})).positive for name in NAMES] == [True, False, False]


def test_score_is_the_largest_over_types_organ_and_phases() -> None:
    lesion, zero = _box((8, 2, 2), (2, 4, 4)), np.zeros(SHAPE)

    def scored(phase: str, lesions: dict[str, Any], **places: tuple[tuple[int, int, int], float]) -> float | None:
        maps = {name: zero.copy() for name in NAMES}
        for name, (voxel, value) in places.items():
            maps[f"pancreas_{name}"][voxel] = value
        both = {other: dict.fromkeys(NAMES, zero) for other in ("venous", "arterial")} | {phase: maps}
        return decide_patient(_scans(lesions, both)).score

    pdac = {"pancreas_pdac": lesion}
    assert scored("venous", pdac, pdac=((8, 3, 3), 0.75)) == 0.75
    assert scored("venous", pdac, cyst=((8, 3, 3), 0.75)) == 0  # not in voxels of a cyst
    assert scored("venous", {}, pdac=((3, 3, 3), 0.5)) == 0.25  # mean of both types in the organ
    assert scored("venous", {}, pdac=((3, 3, 3), 0.5), cyst=((3, 3, 3), 0.25)) == 0.375
    assert scored("arterial", {}, pnet=((3, 3, 3), 0.5)) == 0.5  # the only type of its phase
    assert scored("arterial", {}, pdac=((3, 3, 3), 0.5)) == 0
    assert scored("venous", pdac, pdac=((15, 15, 15), 0.9)) == 0


def test_sizes_on_another_grid() -> None:
    kind = LesionType("pancreas_pdac", "venous", 30)
    assert kind.at_spacing((0.5, 0.5, 0.5)) == kind
    assert kind.at_spacing((0.5, 0.5, 1.0)).minimum_voxels == 15
    assert kind.at_spacing((0.7, 0.7, 1.0)).minimum_voxels == math.ceil(3.75 / 0.49)
    assert kind.at_spacing((4.0, 4.0, 4.0)).minimum_voxels == 1


def test_refusals() -> None:
    scans = _scans({})
    with pytest.raises(ConfigurationError, match="pancreas_pnet is decided in the arterial phase"):
        decide_patient({"venous": scans["venous"]})
    with pytest.raises(ConfigurationError, match="no mask of pancreas_pdac"):
        decide_patient(scans | {"venous": PhaseScan(ORGAN, {})})
    with pytest.raises(ConfigurationError, match="types is empty"):
        decide_patient(scans, ())
    with pytest.raises(ConfigurationError, match="same grid"):
        valid_lesions(EMPTY[1:], ORGAN, 1)
    with pytest.raises(ConfigurationError, match="at least one"):
        valid_lesions(EMPTY, ORGAN, 0)
    zero = np.zeros(SHAPE)
    full = dict.fromkeys(NAMES, zero)
    for maps, message in (
        ({"pancreas_pdac": zero}, "no probabilities of pancreas_cyst"),
        (full | {"pancreas_cyst": zero[1:]}, "the organ is"),
        (full | {"pancreas_cyst": zero + 255}, r"\[0, 1\]"),
        (full | {"pancreas_cyst": zero + math.nan}, r"\[0, 1\]"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            decide_patient(_scans({}, {"venous": maps, "arterial": full}))
