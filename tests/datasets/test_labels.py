"""Label operations: every rule on small arrays, in any orientation, and what happens to what is not known."""

from collections.abc import Callable
from itertools import permutations, product

import numpy as np
import numpy.typing as npt
import pytest

from suprem.datasets import dataset
from suprem.datasets._labels import HarmonisedLabels, harmonise_labels, harmonise_masks
from suprem.datasets._rules import LabelMap, ambiguous, copy, drop, split
from suprem.errors import LabelSpaceError, VolumeError
from suprem.volumes import Volume

SHAPE = (40, 24, 30)
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
AFFINE[:3, 3] = (-40.0, -20.0, 100.0)

_Array = npt.NDArray[np.int16]


def _scan(shape: tuple[int, int, int] = SHAPE) -> Volume:
    """A body that fills the field of view but for a rim of air."""
    ct = np.full(shape, -1000, dtype=np.int16)
    ct[1:-1, 1:-1] = 40
    return Volume(ct, AFFINE, "ct")


def _labels(array: npt.NDArray[np.generic]) -> Volume:
    return Volume(array, AFFINE, "labels")


def _empty() -> _Array:
    return np.zeros(SHAPE, dtype=np.int16)


def _kidneys() -> _Array:
    """KiTS: a tumour and a cyst in the left kidney, a tumour that is all there is of the right one's lower pole."""
    array = _empty()
    array[5:13, 8:16, 8:22] = 1
    array[6:9, 9:12, 10:14] = 2
    array[9:12, 12:15, 16:19] = 3
    array[27:35, 8:16, 12:22] = 1
    array[27:35, 8:16, 8:12] = 2
    return array


def _in_orientation(volume: Volume, axes: tuple[int, ...], flips: tuple[bool, ...]) -> Volume:
    """The same voxels in the same place, stored along other axes."""
    array = volume.array.transpose(axes)
    affine = np.eye(4)
    affine[:3, 3] = volume.affine[:3, 3]
    for out, axis in enumerate(axes):
        column = volume.affine[:3, axis]
        affine[:3, out] = -column if flips[out] else column
        if flips[out]:
            affine[:3, 3] += column * (volume.shape[axis] - 1)
            array = np.flip(array, axis=out)
    return Volume(array, affine, volume.name)


def test_lesions_count_as_the_organ_on_their_side() -> None:
    array = _kidneys()
    result = harmonise_labels(_labels(array), _scan(), dataset("kits").label_map("kits23"))
    x = np.arange(SHAPE[0])[:, None, None]
    np.testing.assert_array_equal(result.mask("kidney_left"), (array > 0) & (x < 20))
    np.testing.assert_array_equal(result.mask("kidney_right"), (array > 0) & (x >= 20))
    np.testing.assert_array_equal(result.mask("kidney_tumor"), array == 2)
    np.testing.assert_array_equal(result.mask("kidney_cyst"), array == 3)
    assert result.annotated == {"kidney_left", "kidney_right", "kidney_tumor", "kidney_cyst"}
    assert (result.flags, result.ignore, result.volume.array.dtype) == ((), None, np.uint8)
    assert {frozenset(), frozenset({"kidney_tumor", "kidney_right"}), frozenset({"kidney_left"})} <= set(result.table)
    assert len(set(result.table)) == len(result.table)


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_the_answer_does_not_depend_on_how_voxels_are_stored(axes: tuple[int, ...]) -> None:
    table = dataset("kits").label_map("kits23")
    expected = harmonise_labels(_labels(_kidneys()), _scan(), table)
    for flips in product((False, True), repeat=3):
        labels = _in_orientation(_labels(_kidneys()), axes, flips)
        for ct in (_scan(), _in_orientation(_scan(), axes, flips)):
            result = harmonise_labels(labels, ct, table)
            np.testing.assert_array_equal(result.volume.array, expected.volume.array)
            np.testing.assert_allclose(result.volume.affine, AFFINE, atol=1e-9)
            assert (result.table, result.annotated) == (expected.table, expected.annotated)


def test_cysts_that_were_not_told_apart_are_unknown() -> None:
    array = _kidneys()
    array[array == 3] = 1
    result = harmonise_labels(_labels(array), _scan(), dataset("kits").label_map("kits19"))
    assert "kidney_cyst" not in result.annotated
    with pytest.raises(LabelSpaceError, match="'kidney_cyst' is not annotated in ct"):
        result.mask("kidney_cyst")


def test_a_removed_kidney_is_absent_and_flagged() -> None:
    array = _kidneys()
    array[27:] = 0
    result = harmonise_labels(_labels(array), _scan(), dataset("kits").label_map("kits23"))
    assert "kidney_right" in result.annotated
    assert not result.mask("kidney_right").any()
    assert result.flags == ("kidney_right: nothing there; taken as absent",)


def test_a_kidney_out_of_view_is_unknown() -> None:
    array, ct = _kidneys(), _scan()
    array[27:] = 0
    ct.array[:4] = 40
    ct.array[14:] = -1000  # only the left flank is in the body's mask: its middle lies inside the kidney
    shifted = np.zeros_like(array)
    shifted[0:8] = array[5:13]  # the kidney begins at the rim, its mirror image lies beyond it
    ct.array[8:14] = -1000
    ct.array[30:] = 40
    result = harmonise_labels(_labels(array), ct, dataset("kits").label_map("kits23"))
    assert result.annotated >= {"kidney_tumor"}
    # The largest connected part is on the far side, around 34: the mirror image of 5 to 12 would lie at 56 to 63.
    assert "kidney_right" not in result.annotated
    assert result.flags == ("kidney_right: outside the field of view; unknown here",)


def test_a_horseshoe_kidney_leaves_both_sides_unknown_but_not_the_tumour() -> None:
    array = _kidneys()
    array[13:27, 9:14, 8:12] = 1
    result = harmonise_labels(_labels(array), _scan(), dataset("kits").label_map("kits23"))
    assert result.annotated == {"kidney_tumor", "kidney_cyst"}
    np.testing.assert_array_equal(result.mask("kidney_tumor"), array == 2)
    assert not any({"kidney_left", "kidney_right"} & result.table[i] for i in np.unique(result.volume.array))
    volume_ml = (array > 0).sum() * 8 / 1000
    assert result.flags == (
        f"kidney_right and kidney_left: {volume_ml:.1f} ml cross the midline; both are unknown here",
    )


def test_lungs_that_touch_are_cut_while_kidneys_of_the_same_scan_are_told_apart() -> None:
    array = _empty()
    array[4:36, 6:18, 20:28] = 3
    array[6:12, 8:14, 2:10] = 4
    array[28:34, 8:14, 2:10] = 4
    array[14:20, 8:14, 12:18] = 1
    result = harmonise_labels(_labels(array), _scan(), dataset("ct_org").label_map("official"))
    x = np.arange(SHAPE[0])[:, None, None]
    np.testing.assert_array_equal(result.mask("lung_left"), (array == 3) & (x < 20))
    np.testing.assert_array_equal(result.mask("lung_right"), (array == 3) & (x >= 20))
    np.testing.assert_array_equal(result.mask("kidney_right"), (array == 4) & (x >= 20))
    np.testing.assert_array_equal(result.mask("liver"), array == 1)
    assert result.flags == ("lung_right and lung_left: connected, cut at the midline",)


def test_adrenal_glands_stay_known_as_a_pair_when_their_sides_are_not() -> None:
    table = dataset("word").label_map("official")
    array = _empty()
    array[16:24, 10:14, 10:14] = 12
    result = harmonise_labels(_labels(array), _scan(), table)
    assert not {"adrenal_gland_left", "adrenal_gland_right"} & result.annotated
    np.testing.assert_array_equal(result.mask("adrenal_glands"), array == 12)
    assert {"femur_left", "liver"} <= result.annotated


def test_bone_is_background_and_the_brain_is_not() -> None:
    array = _empty()
    array[2:4] = 5
    array[8:10] = 6
    result = harmonise_labels(_labels(array), _scan(), dataset("ct_org").label_map("official"))
    assert not result.volume.array[2:4].any()
    np.testing.assert_array_equal(result.mask("brain"), array == 6)


def test_an_ambiguous_value_is_a_positive_of_none_of_its_candidates() -> None:
    array = _empty()
    array[10:14] = 15
    array[20:22] = 14
    result = harmonise_labels(_labels(array), _scan(), dataset("amos22").label_map("official"))
    assert not {"prostate", "uterus"} & result.annotated
    np.testing.assert_array_equal(result.mask("prostate_or_uterus"), array == 15)
    assert not result.mask("bladder")[10:14].any()
    assert result.known().all()


def test_ignored_voxels_say_nothing_about_any_structure() -> None:
    array = _empty()
    array[5:9] = 13
    array[9:12] = 1
    result = harmonise_labels(_labels(array), _scan(), dataset("dap_atlas").label_map("official"))
    np.testing.assert_array_equal(result.known(), array != 1)
    np.testing.assert_array_equal(result.mask("liver"), array == 13)
    assert result.ignore is not None
    assert (result.volume.array[9:12] == result.ignore).all()
    assert result.table[result.ignore] == frozenset()
    assert len(result.annotated) == 145


def test_lobes_make_up_the_lungs() -> None:
    array = _empty()
    for value, x in ((13, 2), (14, 6), (15, 30), (16, 33), (17, 36)):
        array[x : x + 2] = value
    result = harmonise_labels(_labels(array), _scan(), dataset("totalsegmentator_v1").label_map("official"))
    np.testing.assert_array_equal(result.mask("lung_left"), np.isin(array, (13, 14)))
    np.testing.assert_array_equal(result.mask("lung_right"), np.isin(array, (15, 16, 17)))
    np.testing.assert_array_equal(result.mask("lung_middle_lobe_right"), array == 16)


@pytest.mark.parametrize(
    ("values", "annotated"),
    [
        ((1, 2, 5, 13), 13),
        ((5,), 13),
        ((1, 3), 5),
        ((1, 14), 5),
        ((14,), 0),
        ((), 0),
    ],
)
def test_what_flare23_annotates_is_told_by_its_values(values: tuple[int, ...], annotated: int) -> None:
    array = _empty()
    for rank, value in enumerate(values):
        array[3 * rank + 2] = value
    result = harmonise_labels(_labels(array), _scan(), dataset("flare23").label_map("official"))
    assert len(result.annotated) == annotated
    np.testing.assert_array_equal(result.known(), array != 14)
    assert ("no labelled voxel" in result.flags) == (not values)


@pytest.mark.parametrize("value", [1, 255])
def test_a_binary_mask_is_read_whatever_its_value(value: int) -> None:
    array = _empty()
    array[3:5] = value
    result = harmonise_labels(_labels(array), _scan(), dataset("chaos_ct").label_map("official"))
    np.testing.assert_array_equal(result.mask("liver"), array > 0)


def test_the_table_is_the_same_for_every_case() -> None:
    table = dataset("kits").label_map("kits23")
    only_left = _kidneys()
    only_left[20:] = 0
    first = harmonise_labels(_labels(_kidneys()), _scan(), table)
    second = harmonise_labels(_labels(only_left), _scan(), table)
    assert first.table == second.table
    np.testing.assert_array_equal(first.volume.array[:20], second.volume.array[:20])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int64, np.float32, np.float64, bool])
def test_labels_may_be_stored_in_any_type_that_holds_them(dtype: type) -> None:
    array = (_kidneys() > 0).astype(dtype)
    result = harmonise_labels(_labels(array), _scan(), LabelMap("t", {1: copy("liver")}))
    np.testing.assert_array_equal(result.mask("liver"), _kidneys() > 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.astype(np.float32) + 0.5, "not whole"),
        (lambda a: np.where(a == 1, np.nan, a), "not whole"),
        (lambda a: a - 1, "values from -1 to 2"),
        (lambda a: a + 7, "holds the values 7, 8, 9, 10; label map 'kits23' knows only 1, 2, 3"),
        (lambda a: a.astype(np.int32) * 40000, "Is it a CT"),
    ],
)
def test_arrays_that_are_no_label_map_are_refused(change: Callable[[_Array], _Array], message: str) -> None:
    with pytest.raises(LabelSpaceError, match=message):
        harmonise_labels(_labels(change(_kidneys())), _scan(), dataset("kits").label_map("kits23"))


def test_labels_of_another_scan_are_refused() -> None:
    table = dataset("kits").label_map("kits23")
    with pytest.raises(VolumeError, match=r"labels has \(40, 24, 29\) voxels in RAS, its CT ct has \(40, 24, 30\)"):
        harmonise_labels(_labels(_kidneys()[:, :, 1:]), _scan(), table)
    moved = AFFINE.copy()
    moved[2, 3] += 1.0
    with pytest.raises(VolumeError, match=r"up to 1\.0 mm apart.*trust_grid"):
        harmonise_labels(Volume(_kidneys(), moved, "labels"), _scan(), table)
    nearly = AFFINE.copy()
    nearly[2, 3] += 0.1
    result = harmonise_labels(Volume(_kidneys(), nearly, "labels"), _scan(), table)
    np.testing.assert_array_equal(result.volume.affine, AFFINE)


def test_the_index_grid_is_trusted_only_when_told_and_loudly(caplog: pytest.LogCaptureFixture) -> None:
    table = dataset("kits").label_map("kits23")
    expected = harmonise_labels(_labels(_kidneys()), _scan(), table)
    # A header that claims the opposite direction, as some converters write.
    wrong = Volume(_kidneys(), np.diag([-2.0, -2.0, 2.0, 1.0]), "labels")
    with pytest.raises(VolumeError, match="apart"):
        harmonise_labels(wrong, _scan(), table)
    result = harmonise_labels(wrong, _scan(), table, trust_grid=True)
    np.testing.assert_array_equal(result.volume.array, expected.volume.array)
    assert "labels: its affine differs from that of ct; the index grid is trusted." in caplog.text
    caplog.clear()
    # Stored in another orientation, but in the same place: there is nothing to trust.
    stored = _in_orientation(_labels(_kidneys()), (0, 1, 2), (True, False, True))
    result = harmonise_labels(stored, _scan(), table, trust_grid=True)
    np.testing.assert_array_equal(result.volume.array, expected.volume.array)
    assert caplog.text == ""


# One mask per structure.


def _mask(*slices: slice) -> Volume:
    array = np.zeros(SHAPE, dtype=np.uint8)
    array[slices] = 1
    return _labels(array)


def _from_masks(masks: dict[str, Volume], table: LabelMap) -> HarmonisedLabels:
    return harmonise_masks(masks.items(), _scan(), table)


def test_overlapping_masks_keep_both_structures() -> None:
    table = LabelMap("t", {1: copy("liver"), 2: copy("hepatic_vessel"), 3: copy("spleen")})
    masks = {
        "liver": _mask(slice(2, 12)),
        "hepatic_vessel": _mask(slice(8, 14)),
        "spleen": _mask(slice(30, 33)),
    }
    result = _from_masks(masks, table)
    for name, mask in masks.items():
        np.testing.assert_array_equal(result.mask(name), mask.array > 0)
    assert set(result.table) == {
        frozenset(),
        frozenset({"liver"}),
        frozenset({"hepatic_vessel"}),
        frozenset({"liver", "hepatic_vessel"}),
        frozenset({"spleen"}),
    }
    assert result.annotated == {"liver", "hepatic_vessel", "spleen"}


def test_random_overlaps_come_back_mask_by_mask() -> None:
    rng = np.random.default_rng(3)
    names = ("liver", "spleen", "pancreas", "stomach", "aorta", "colon", "bladder")
    table = LabelMap("t", {value: copy(name) for value, name in enumerate(names, start=1)})
    masks = {name: _labels((rng.random(SHAPE) < 0.4).astype(np.uint8)) for name in names}
    result = _from_masks(masks, table)
    for name, mask in masks.items():
        np.testing.assert_array_equal(result.mask(name), mask.array > 0)
    assert len(result.table) == 2 ** len(names)
    assert result.volume.array.dtype == np.uint8


def test_more_than_256_combinations_need_a_wider_palette() -> None:
    rng = np.random.default_rng(4)
    names = ("liver", "spleen", "pancreas", "stomach", "aorta", "colon", "bladder", "rectum", "prostate")
    table = LabelMap("t", {value: copy(name) for value, name in enumerate(names, start=1)})
    masks = {name: _labels((rng.random(SHAPE) < 0.5).astype(np.uint8)) for name in names}
    result = _from_masks(masks, table)
    assert len(result.table) == 512
    assert result.volume.array.dtype == np.uint16
    np.testing.assert_array_equal(result.mask("prostate"), masks["prostate"].array > 0)


def test_the_masks_of_both_kidneys_and_their_tumour_are_split_as_one() -> None:
    pair = ("kidney_right", "kidney_left")
    table = LabelMap("t", {1: split("kidneys", "kidney"), 2: copy("tumour", "kidney_tumor", part_of=pair)})
    array = _kidneys()
    # The cyst counts as kidney here, and the tumours are cut out of the kidneys' mask.
    masks = {"kidneys": _labels(np.isin(array, (1, 3))), "tumour": _labels((array == 2).astype(np.float32))}
    result = _from_masks(masks, table)
    x = np.arange(SHAPE[0])[:, None, None]
    np.testing.assert_array_equal(result.mask("kidney_right"), (array > 0) & (x >= 20))
    np.testing.assert_array_equal(result.mask("kidney_left"), (array > 0) & (x < 20))


def test_a_structure_counts_as_annotated_when_all_its_masks_are_there() -> None:
    table = dataset("totalsegmentator_v2").label_map("official")
    lobes = ("lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right", "lung_upper_lobe_left")
    result = _from_masks({name: _mask(slice(2, 4)) for name in lobes}, table)
    assert result.annotated == {*lobes, "lung_right"}


def test_an_empty_mask_is_an_absence() -> None:
    result = _from_masks({"liver": _mask(slice(0, 0))}, LabelMap("t", {1: copy("liver")}))
    assert result.annotated == {"liver"}
    assert not result.mask("liver").any()
    assert result.table == (frozenset(),)
    assert result.flags == ("no labelled voxel",)


def test_ignored_masks_win_over_structures() -> None:
    table = LabelMap("t", {1: copy("liver"), 2: drop("unclear")}, ignore=frozenset({2}))
    result = _from_masks({"liver": _mask(slice(2, 10)), "unclear": _mask(slice(8, 12))}, table)
    x = np.broadcast_to(np.arange(SHAPE[0])[:, None, None], SHAPE)
    np.testing.assert_array_equal(result.known(), ~((x >= 8) & (x < 12)))
    np.testing.assert_array_equal(result.mask("liver"), (x >= 2) & (x < 8))


def test_masks_may_be_stored_in_another_orientation_than_the_scan() -> None:
    table = LabelMap("t", {1: copy("liver"), 2: copy("spleen")})
    masks = {"liver": _labels(_kidneys()), "spleen": _mask(slice(20, 22), slice(3, 9))}
    expected = _from_masks(masks, table)
    turned = {
        "liver": _in_orientation(masks["liver"], (2, 0, 1), (True, False, True)),
        "spleen": _in_orientation(masks["spleen"], (1, 0, 2), (False, True, False)),
    }
    result = _from_masks(turned, table)
    np.testing.assert_array_equal(result.volume.array, expected.volume.array)


def test_unknown_mask_names_are_refused() -> None:
    with pytest.raises(LabelSpaceError, match="no structure called 'livr'; it has liver"):
        _from_masks({"livr": _mask(slice(2, 4))}, LabelMap("t", {1: copy("liver")}))


def test_nothing_is_split_without_need() -> None:
    # Without a pair to tell apart the CT's values are not even looked at.
    air = Volume(np.full(SHAPE, -1000, dtype=np.int16), AFFINE, "ct")
    array = _empty()
    array[3:9] = 1
    table = LabelMap("t", {1: copy("liver"), 2: ambiguous("bowel", ("colon", "intestine"))})
    assert harmonise_labels(_labels(array), air, table).mask("liver").sum() == (array == 1).sum()
    with pytest.raises(VolumeError, match="shows no body"):
        harmonise_labels(_labels(array), air, LabelMap("t", {1: split("lungs", "lung")}))
