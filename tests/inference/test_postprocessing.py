"""The rules on synthetic organs with planted mistakes."""

import json

import numpy as np
import pytest

from suprem.errors import UnknownNameError
from suprem.inference.grid import ModelGrid
from suprem.inference.postprocessing import list_postprocess, postprocess
from suprem.inference.segmentation import Segmentation
from suprem.inference.store import BitStore, IndexStore
from suprem.labels import label_space
from suprem.volumes import Volume

SHAPE = (48, 40, 44)
SPACING = 1.5


def box(*ranges):
    """A mask of one box, given as start and stop per axis."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[tuple(slice(*r) for r in ranges)] = True
    return mask


def cube(corner, edge):
    return box(*((c, c + edge) for c in corner))


def segmentation(masks, *, exclusive=False, spacing=SPACING):
    scan = Volume(np.zeros(SHAPE, dtype=np.int16), np.diag([spacing] * 3 + [1.0]), "synthetic")
    grid = ModelGrid.of(scan, None)
    store = (IndexStore if exclusive else BitStore)(len(masks), SHAPE)
    result = Segmentation(tuple(masks), scan, grid, store, {})
    for name, mask in masks.items():
        result.set_grid_mask(name, mask)
    return result


def repaired(masks, profile="suprem", **options):
    result = segmentation(masks, **options)
    records = postprocess(result, profile)
    json.dumps(records)
    return {name: result.grid_mask(name) for name in masks}, records


ORGAN = box((5, 20), (5, 20), (5, 20))
LARGEST_ONLY = [
    *("spleen", "kidney_right", "kidney_left", "gall_bladder", "esophagus", "liver", "stomach", "aorta", "postcava"),
    *("pancreas", "adrenal_gland_right", "adrenal_gland_left", "duodenum", "colon", "intestine", "rectum", "bladder"),
    *("prostate", "femur_left", "femur_right", "celiac_trunk"),
]


def test_every_structure_of_the_checkpoints_has_the_rule_of_the_reference():
    """Numbers 1-9, 11-14 and 18-25 keep their largest part; 10 and 15 alone stay as they are."""
    fragments = ORGAN | cube((30, 30, 30), 9)
    lungs = ("lung_left", "lung_right")
    masks = {name: fragments for name in label_space("universal_32").names if name not in lungs}
    result, records = repaired(masks)
    changed = {name for name in masks if (result[name] != fragments).any()}
    assert changed >= set(LARGEST_ONLY)
    assert len(LARGEST_ONLY) == 21
    for name in LARGEST_ONLY:
        np.testing.assert_array_equal(result[name], ORGAN)
    assert {r["classes"][0] for r in records if r["rule"] == "KeepLargest"} == set(LARGEST_ONLY)
    np.testing.assert_array_equal(result["hepatic_vessel"], fragments)
    for name in ("liver_tumor", "kidney_tumor", "hepatic_vessel_tumor", "lung_tumor", "kidney_cyst"):
        assert name in {r["classes"][0] for r in records if r["rule"] == "KeepLesions"}


def test_parts_that_touch_at_a_corner_are_one():
    chain = cube((5, 5, 5), 4) | cube((9, 9, 9), 4) | cube((20, 20, 20), 4)
    result, records = repaired({"liver": chain})
    np.testing.assert_array_equal(result["liver"], chain & ~cube((20, 20, 20), 4))
    assert (records[0]["removed_voxels"], records[0]["added_voxels"]) == (64, 0)


@pytest.mark.parametrize(
    ("name", "count", "voxels"),
    [
        ("pancreas_tumor", 1, 100),
        ("hepatic_vessel_tumor", 10, 80),
        ("lung_tumor", 10, 30),
        ("colon_tumor", 3, 100),
        ("kidney_cyst", 20, 20),
    ],
)
def test_lesions_keep_so_many_parts_of_more_than_so_many_voxels(name, count, voxels):
    corners = [(x, y, z) for x in range(0, 42, 8) for y in range(0, 34, 8) for z in (0, 8)]
    many, expected = np.zeros(SHAPE, dtype=bool), np.zeros(SHAPE, dtype=bool)
    for i, corner in enumerate(corners[: count + 2]):
        many |= cube(corner, 6 if i < count else 5)
        expected |= cube(corner, 6) if i < count else False
    np.testing.assert_array_equal(repaired({name: many})[0][name], expected)
    for size in (voxels, voxels + 1):
        lesion, room = np.zeros(SHAPE, dtype=bool), np.zeros((5, 5, 8), dtype=bool)
        room.ravel()[:size] = True
        lesion[20:25, 20:25, 20:28] = room
        assert repaired({name: lesion})[0][name].sum() == (size if size > voxels else 0)


def test_sizes_follow_the_spacing():
    lesion = cube((10, 10, 10), 4)  # 64 voxels: 216 mm3 at 1.5 mm, 1728 mm3 at 3 mm
    assert not repaired({"pancreas_tumor": lesion})[0]["pancreas_tumor"].any()
    assert repaired({"pancreas_tumor": lesion}, spacing=3.0)[0]["pancreas_tumor"].sum() == 64


def test_liver_tumor_outside_the_liver_goes():
    liver = box((5, 30), (5, 30), (5, 30)) | cube((38, 30, 34), 6)
    inside, at_the_rim, outside = cube((10, 10, 10), 5), box((31, 34), (10, 15), (10, 15)), cube((40, 5, 5), 5)
    in_a_fragment = cube((39, 31, 35), 4)
    result, _ = repaired({"liver": liver, "liver_tumor": inside | at_the_rim | outside | in_a_fragment})
    # The margin of two voxels around the organ takes in one of the three layers at the rim.
    rim = at_the_rim.copy()
    rim[32:] = False
    np.testing.assert_array_equal(result["liver_tumor"], inside | rim)


def test_kidney_tumors_stay_in_either_kidney():
    left, right = box((5, 15), (10, 20), (10, 30)), box((33, 43), (10, 20), (10, 30))
    in_left, in_right, between = cube((7, 12, 15), 5), cube((35, 12, 15), 5), cube((22, 12, 15), 5)
    masks = {"kidney_left": left, "kidney_right": right, "kidney_tumor": in_left | in_right | between}
    np.testing.assert_array_equal(repaired(masks)[0]["kidney_tumor"], in_left | in_right)
    # In a softmax model the tumour is a hole of its kidney, not part of it.
    exclusive = {
        "kidney_left": left & ~in_left,
        "kidney_right": right & ~in_right,
        "kidney_tumor": masks["kidney_tumor"],
    }
    np.testing.assert_array_equal(repaired(exclusive, exclusive=True)[0]["kidney_tumor"], in_left | in_right)


def test_a_missing_parent_is_recorded():
    _, records = repaired({"kidney_left": ORGAN, "kidney_tumor": cube((10, 10, 10), 6)})
    record = next(r for r in records if r["classes"] == ["kidney_tumor"])
    assert "kidney_right not predicted" in record["remark"]


def test_portal_vein_ends_at_the_lowest_slice_of_the_pancreas():
    pancreas = box((10, 20), (10, 20), (20, 30)) | cube((40, 30, 2), 3)  # the fragment below must not count
    vein = box((14, 16), (14, 16), (5, 40))
    result, _ = repaired({"pancreas": pancreas, "portal_vein_and_splenic_vein": vein})
    np.testing.assert_array_equal(result["portal_vein_and_splenic_vein"], vein & box((0, 48), (0, 40), (20, 44)))
    assert repaired({"portal_vein_and_splenic_vein": vein})[1] == []
    empty = {"pancreas": np.zeros(SHAPE, dtype=bool), "portal_vein_and_splenic_vein": vein}
    result, records = repaired(empty)
    np.testing.assert_array_equal(result["portal_vein_and_splenic_vein"], vein)
    assert (records[-1]["status"], records[-1]["remark"]) == ("skipped", "pancreas was not found")


def test_lungs_swapped_and_spilled_are_put_right():
    left, right = box((4, 20), (8, 30), (8, 40)), box((26, 44), (8, 30), (8, 40))
    cavity = cube((10, 15, 20), 3)
    masks = {"lung_left": right | cube((5, 9, 9), 4), "lung_right": left & ~cavity & ~cube((5, 9, 9), 4)}
    result, records = repaired(masks)
    np.testing.assert_array_equal(result["lung_left"], left)
    np.testing.assert_array_equal(result["lung_right"], right)
    assert records[0]["status"] == "done"


def test_filled_lungs_leave_other_structures_of_a_softmax_model_alone():
    left, right = box((4, 20), (8, 30), (8, 40)), box((26, 44), (8, 30), (8, 40))
    tumor, gap = cube((10, 15, 20), 4), cube((10, 15, 30), 2)
    masks = {"lung_left": left & ~tumor & ~gap, "lung_right": right, "lung_tumor": tumor}
    result, _ = repaired(masks, exclusive=True)
    np.testing.assert_array_equal(result["lung_tumor"], tumor)
    np.testing.assert_array_equal(result["lung_left"], left & ~tumor)


def test_lungs_that_cannot_be_parted_are_left_and_recorded():
    block = box((4, 44), (8, 30), (8, 40))
    half = box((0, 24), (0, 40), (0, 44))
    result, records = repaired({"lung_left": block & half, "lung_right": block & ~half})
    np.testing.assert_array_equal(result["lung_left"], block & half)
    assert records[0]["status"] == "failed"
    assert "did not part" in records[0]["remark"]


def test_largest_profile_spares_lesions_and_unknown_classes_are_organs():
    fragments = ORGAN | cube((30, 30, 30), 5)
    result, _ = repaired({"heart": fragments, "liver_tumor": fragments, "my own": fragments}, "largest")
    np.testing.assert_array_equal(result["heart"], ORGAN)
    np.testing.assert_array_equal(result["my own"], ORGAN)
    np.testing.assert_array_equal(result["liver_tumor"], fragments)


def test_no_profile_changes_nothing():
    fragments = ORGAN | cube((30, 30, 30), 5)
    result, records = repaired({"liver": fragments}, "none")
    np.testing.assert_array_equal(result["liver"], fragments)
    assert records == []


@pytest.mark.parametrize("profile", list_postprocess())
def test_empty_predictions_pass_every_profile(profile):
    masks = {name: np.zeros(SHAPE, dtype=bool) for name in label_space("universal_32").names}
    result, records = repaired(masks, profile)
    assert not any(mask.any() for mask in result.values())
    assert all(record["status"] != "failed" for record in records)


def test_unknown_profile_is_refused():
    with pytest.raises(UnknownNameError, match="'largest'"):
        repaired({"liver": ORGAN}, "largst")
