"""Every rule finds the defect that it is for, and says nothing about clean phantoms."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from suprem.atlas.label_set import LabelSet, Provenance
from suprem.atlas.rules import RULES, Profiles, check_case
from suprem.errors import VolumeError
from suprem.phantom import PhantomCase, generate
from tests.atlas.check_cases import BoolArray, labels_of, masks_of

Masks = dict[str, BoolArray]


@pytest.fixture(scope="module")
def case() -> PhantomCase:
    return generate(5, spacing_mm=(6.0, 6.0, 6.0))


def _found(case: PhantomCase, masks: Masks) -> set[tuple[str, str]]:
    return {(doubt.structure, doubt.rule) for doubt in check_case(labels_of(masks, case.ct.affine), case.ct.array)}


@pytest.mark.parametrize("seed", range(1, 5))
def test_clean_phantoms(seed: int) -> None:
    case = generate(seed, spacing_mm=(6.0, 6.0, 6.0))
    assert not {found for found in _found(case, masks_of(case)) if found[1] in RULES}


def _z(mask: BoolArray) -> npt.NDArray[np.intp]:
    return np.flatnonzero(mask.any(axis=(0, 1)))


def _outside(masks: Masks) -> str:
    masks["liver"] = masks["liver"] & ~masks["liver_tumor"]
    return "liver_tumor"


def _overlap(masks: Masks) -> str:
    masks["spleen"] = masks["spleen"] | np.roll(masks["stomach"], 1, axis=0)
    return "spleen" if masks["spleen"].sum() < masks["stomach"].sum() else "stomach"


def _apart(masks: Masks) -> str:
    masks["gall_bladder"] = np.roll(masks["gall_bladder"], -30, axis=2)
    return "gall_bladder"


def _order(masks: Masks) -> str:
    masks["bladder"], masks["prostate"] = masks["prostate"], masks["bladder"]
    return "bladder"


def _across(masks: Masks) -> str:
    right = masks["kidney_right"]
    part = right.copy()
    part[:, :, : int(_z(right).mean())] = False
    masks["kidney_left"], masks["kidney_right"] = masks["kidney_left"] | part, right & ~part
    return "kidney_left" if part.sum() < masks["kidney_left"].sum() / 2 else "kidney_right"


def _gap(masks: Masks) -> str:
    middle = int(_z(masks["aorta"]).mean())
    masks["aorta"] = masks["aorta"].copy()
    masks["aorta"][:, :, middle : middle + 3] = False
    return "aorta"


def _jump(masks: Masks) -> str:
    """A good third of the area is left in the upper half."""
    spleen = masks["spleen"].copy()
    middle = int(_z(spleen).mean())
    kept = np.cumsum(spleen[:, :, middle].sum(axis=1)) <= 0.4 * spleen[:, :, middle].sum()
    spleen[~kept, :, middle:] = False
    masks["spleen"] = spleen
    return "spleen"


def _end(masks: Masks) -> str:
    liver = masks["liver"].copy()
    liver[:, :, int(np.argmax(liver.sum(axis=(0, 1)))) + 1 :] = False
    masks["liver"] = liver
    return "liver"


def _cavity(masks: Masks) -> str:
    spleen = masks["spleen"].copy()
    x, y, z = (int(axis.mean()) for axis in np.nonzero(spleen))
    spleen[x - 1 : x + 2, y - 1 : y + 2, z - 1 : z + 2] = False
    masks["spleen"] = spleen
    return "spleen"


_DEFECTS: dict[str, Callable[[Masks], str]] = {
    "outside": _outside, "overlap": _overlap, "apart": _apart, "order": _order, "across": _across, "gap": _gap,
    "jump": _jump, "end": _end, "cavity": _cavity,
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_planted_defects(case: PhantomCase, rule: str) -> None:
    masks = masks_of(case)
    structure = _DEFECTS[rule](masks)
    assert (structure, rule) in _found(case, masks)


def test_swapped_sides_and_missing_organs_are_found_by_the_quality_flags(case: PhantomCase) -> None:
    masks = masks_of(case)
    masks["kidney_left"], masks["kidney_right"] = masks["kidney_right"], masks["kidney_left"]
    masks["spleen"] = np.zeros_like(masks["spleen"])
    found = _found(case, masks)
    assert {("kidney_left", "side"), ("kidney_right", "side"), ("spleen", "missing")} <= found


def test_the_slice_is_where_the_defect_is(case: PhantomCase) -> None:
    masks = masks_of(case)
    middle = int(_z(masks["aorta"]).mean())
    structure = _gap(masks)
    doubts = check_case(labels_of(masks, case.ct.affine), case.ct.array)
    assert [d.slice for d in doubts if (d.structure, d.rule) == (structure, "gap")] == [middle + 1]
    masks = masks_of(case)
    liver = masks["liver"]
    liver[3:10, 3:10, 5:12] = True  # a part of its own, widest in slice 8
    liver[2:11, 2:11, 8] = True
    doubts = check_case(labels_of(masks, case.ct.affine), case.ct.array)
    assert [d.slice for d in doubts if (d.structure, d.rule) == ("liver", "parts")] == [8]


def test_what_is_not_annotated_is_not_judged(case: PhantomCase) -> None:
    masks = {name: mask for name, mask in masks_of(case).items() if name != "liver"}
    assert not {found for found in _found(case, masks) if found[1] in RULES}
    masks["own structure"] = masks["spleen"]
    assert not {found for found in _found(case, masks) if found[0] == "own structure"}


def test_profiles_count_what_the_masks_hold(case: PhantomCase) -> None:
    masks = masks_of(case)
    profiles = Profiles(labels_of(masks, case.ct.affine))
    for name in ("liver", "hepatic_vessel", "liver_tumor"):
        assert np.array_equal(profiles.z(name), masks[name].sum(axis=(0, 1)))
        assert np.array_equal(profiles.x(name), masks[name].sum(axis=(1, 2)))
    assert profiles.ml(profiles.z("liver")) == pytest.approx(masks["liver"].sum() * 0.216)
    assert ("liver", "liver_tumor") in profiles.pairs()


def test_another_grid() -> None:
    labels = LabelSet(np.zeros((2, 2, 2), np.uint8), (frozenset(),), np.eye(4), {"liver": Provenance("expert", "x")})
    with pytest.raises(VolumeError, match="one grid"):
        check_case(labels, np.zeros((2, 2, 3), np.int16))
