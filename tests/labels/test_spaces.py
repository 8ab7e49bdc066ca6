"""Numberings against the published ones, and conversion between them."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from suprem.errors import ConfigurationError, LabelSpaceError, UnknownNameError
from suprem.labels import LabelSpace, canonical_name, convert, label_space, list_label_spaces

# fmt: off
UNIVERSAL = (
    "spleen", "kidney_right", "kidney_left", "gall_bladder", "esophagus", "liver", "stomach", "aorta", "postcava",
    "portal_vein_and_splenic_vein", "pancreas", "adrenal_gland_right", "adrenal_gland_left", "duodenum",
    "hepatic_vessel", "lung_right", "lung_left", "colon", "intestine", "rectum", "bladder", "prostate", "femur_left",
    "femur_right", "celiac_trunk", "kidney_tumor", "liver_tumor", "pancreas_tumor", "hepatic_vessel_tumor",
    "lung_tumor", "colon_tumor", "kidney_cyst",
)
ATLAS = (
    "aorta", "gall_bladder", "kidney_left", "kidney_right", "liver", "pancreas", "postcava", "spleen", "stomach",
    "adrenal_gland_left", "adrenal_gland_right", "bladder", "celiac_trunk", "colon", "duodenum", "esophagus",
    "femur_left", "femur_right", "hepatic_vessel", "intestine", "lung_left", "lung_right",
    "portal_vein_and_splenic_vein", "prostate", "rectum",
)
# fmt: on
UNIVERSAL_TO_ATLAS = dict(
    zip(
        range(1, 26),
        (8, 4, 3, 2, 16, 5, 9, 1, 7, 23, 6, 11, 10, 15, 19, 22, 21, 14, 20, 25, 12, 24, 17, 18, 13),
        strict=True,
    )
)
# Single facts of numberings that are easily mixed up.
FACTS = {
    "totalsegmentator_v1": {
        5: "liver",
        7: "aorta",
        8: "postcava",
        18: "vertebrae_L5",
        41: "vertebrae_C1",
        104: "bladder",
    },
    "totalsegmentator_v1_organs": {7: "aorta", 17: "lung_lower_lobe_right"},
    "totalsegmentator_v1_cardiac": {3: "heart_myocardium", 14: "intestine", 17: "bladder", 18: "face"},
    "totalsegmentator_v1_muscles": {1: "humerus_left", 12: "gluteus_maximus_left", 21: "iliopsoas_right"},
    "totalsegmentator_v1_vertebrae": {1: "vertebrae_L5", 5: "vertebrae_L1", 6: "vertebrae_T12", 24: "vertebrae_C1"},
    "totalsegmentator_v1_ribs": {1: "rib_left_1", 12: "rib_left_12", 13: "rib_right_1", 24: "rib_right_12"},
    "totalsegmentator_v2": {7: "pancreas", 21: "bladder", 52: "aorta", 63: "postcava", 117: "costal_cartilages"},
    "totalsegmentator_v2_vertebrae": {1: "sacrum", 3: "vertebrae_L5", 26: "vertebrae_C1"},
    "dap_atlas": {13: "liver", 15: "kidney_left", 67: "rib_left_1", 68: "rib_right_1", 117: "postcava"},
    "btcv": {1: "spleen", 2: "kidney_right", 6: "liver", 9: "postcava", 13: "adrenal_gland_left"},
    "word": {1: "liver", 3: "kidney_left", 11: "intestine", 12: "adrenal_glands", 15: "femur_left"},
    "amos22": {8: "aorta", 10: "pancreas", 15: "prostate_or_uterus"},
    "flare22": {1: "liver", 2: "kidney_right", 13: "kidney_left"},
    "jhh_pancreas": {1: "pancreas", 3: "pancreas_pdac", 4: "pancreas_cyst", 5: "pancreas_pnet"},
    "jhh_pancreas_training": {2: "pancreas_pdac", 3: "pancreas_cyst", 4: "pancreas_pnet"},
    "imagecas": {1: "coronary_artery"},
}
SIZES = {
    "universal_32": 32,
    "abdomenatlas_1_0": 9,
    "abdomenatlas_1_1": 25,
    "totalsegmentator_v1": 104,
    "totalsegmentator_v1_organs": 17,
    "totalsegmentator_v1_vertebrae": 24,
    "totalsegmentator_v1_cardiac": 18,
    "totalsegmentator_v1_muscles": 21,
    "totalsegmentator_v1_ribs": 24,
    "totalsegmentator_v2": 117,
    "totalsegmentator_v2_organs": 24,
    "totalsegmentator_v2_vertebrae": 26,
    "totalsegmentator_v2_cardiac": 18,
    "totalsegmentator_v2_muscles": 23,
    "totalsegmentator_v2_ribs": 26,
    "dap_atlas": 142,
    "btcv": 13,
    "word": 16,
    "amos22": 15,
    "flare22": 13,
    "jhh_pancreas": 4,
    "jhh_pancreas_training": 4,
    "imagecas": 1,
}


def _files(name: str) -> dict[int, str]:
    """Number -> name as the source spells it, apart from characters that do not belong in a file name."""
    space = label_space(name)
    return {number: space.file_name(known) for number, known in space.numbers.items()}


def test_sizes_of_all_spaces() -> None:
    assert {name: len(label_space(name).numbers) for name in list_label_spaces()} == SIZES


def test_numberings_of_the_checkpoints_and_of_the_atlas() -> None:
    assert dict(label_space("universal_32").numbers) == dict(enumerate(UNIVERSAL, start=1))
    assert dict(label_space("abdomenatlas_1_1").numbers) == dict(enumerate(ATLAS, start=1))
    assert dict(label_space("abdomenatlas_1_0").numbers) == dict(enumerate(ATLAS[:9], start=1))
    assert label_space("universal_32").overlapping
    assert not label_space("abdomenatlas_1_1").overlapping


@pytest.mark.parametrize("name", FACTS)
def test_single_numbers(name: str) -> None:
    numbers = label_space(name).numbers
    assert {number: numbers[number] for number in FACTS[name]} == FACTS[name]


def test_names_are_canonical_and_numbers_sorted() -> None:
    for name in list_label_spaces():
        space = label_space(name)
        assert list(space.numbers) == sorted(space.numbers)
        assert space.names == tuple(space.numbers[number] for number in sorted(space.numbers))
        assert [canonical_name(known) for known in space.names] == list(space.names)
        assert [space.number(known) for known in space.names] == list(space.numbers)
        assert space.title
        assert space.source


def test_groups_of_totalsegmentator_partition_the_whole() -> None:
    for version in ("v1", "v2"):
        parts = [n for n in list_label_spaces() if n.startswith(f"totalsegmentator_{version}_")]
        names = [known for part in parts for known in label_space(part).names]
        assert len(parts) == 5
        assert sorted(names) == sorted(label_space(f"totalsegmentator_{version}").names)


def test_class_maps_of_the_facts(shared_folder: Path) -> None:
    facts = json.loads((shared_folder / "spec" / "class_maps.json").read_text())
    for name in ("universal_32", "abdomenatlas_1_0", "abdomenatlas_1_1", "imagecas"):
        assert dict(label_space(name).numbers) == {c["label"]: c["name"] for c in facts[name]["classes"]}
    assert dict(label_space("btcv").numbers) == {
        c["label"]: c["name"] for c in facts["btcv_14"]["classes"] if c["label"]
    }
    for group, values in facts["totalsegmentator_v1"]["groups"].items():
        space = label_space(f"totalsegmentator_v1_{group}")
        assert _files(space.name) == {c["label"]: c["name"] for c in values["classes"]}
        for entry in values["classes"]:
            known = entry["same_structure_in_universal_32"]
            assert (space.numbers[entry["label"]] in UNIVERSAL) == (known is not None)
            assert known is None or space.numbers[entry["label"]] == known
    jhh = facts["jhh_pancreas"]
    assert _files("jhh_pancreas") == {number: name for name, number in jhh["on_disk_combined_labels"].items()}
    training = {c["label"]: c["name"] for c in jhh["training_labels_softmax"] if c["label"]}
    assert _files("jhh_pancreas_training") == training


def test_target_class_maps_of_the_facts(shared_folder: Path) -> None:
    facts = json.loads((shared_folder / "spec" / "target_class_maps.json").read_text())
    for name in ("totalsegmentator_v1", "totalsegmentator_v2", "dap_atlas"):
        classes = {int(k): v.replace(" ", "_") for k, v in facts[name]["classes"].items()}
        assert _files(name) == classes
        for text, rule in facts[name]["to_suprem"].items():
            if rule["op"] == "copy":
                assert canonical_name(text) == rule["suprem"]
            else:
                assert canonical_name(text) != rule["suprem"]
        for part, values in facts[name].get("parts", {}).items():
            assert _files(f"{name}_{part}") == {int(k): v for k, v in values.items()}
    assert sorted(label_space("dap_atlas").ignored) == [int(k) for k in facts["dap_atlas"]["reserved"] if k != "0"]


def test_challenges_of_the_facts(shared_folder: Path) -> None:
    datasets = {d["slug"]: d for d in json.loads((shared_folder / "spec" / "datasets.json").read_text())}
    for slug, name in {"btcv": "btcv", "word": "word", "amos22": "amos22", "flare22_labelled": "flare22"}.items():
        values = datasets[slug]["labels"][0]["values"]
        numbers = label_space(name).numbers
        assert set(numbers) == {int(k) for k in values} - {0}
        for key, entry in values.items():
            if entry["op"] == "copy":
                assert [numbers[int(key)]] == entry["suprem"]
            elif key != "0":
                assert numbers[int(key)] not in UNIVERSAL


def test_conversion_goes_by_name() -> None:
    source, target = label_space("universal_32"), label_space("abdomenatlas_1_1")
    array = np.arange(26, dtype=np.uint8).reshape(2, 13, 1)
    result = convert(array, source, target)
    assert result.dtype == np.uint8
    assert result.shape == array.shape
    assert result.ravel().tolist() == [0, *UNIVERSAL_TO_ATLAS.values()]
    assert np.array_equal(convert(result, target, source), array)


@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (3, 4, 5)])
def test_conversion_of_any_shape_and_of_views(shape: tuple[int, ...]) -> None:
    array = np.full(shape, 6, dtype=np.int32)
    source, target = label_space("universal_32"), label_space("abdomenatlas_1_0")
    assert np.array_equal(convert(array, source, target), np.full(shape, 5))
    view = np.zeros((4, 4, 4), dtype=np.uint8)
    view[1, 2, 3] = 8
    turned = view.transpose(2, 0, 1)[::-1]
    assert np.array_equal(convert(turned, source, target), (turned == 8) * 1)


def test_conversion_of_spellings() -> None:
    array = np.array([4, 8, 55, 104], dtype=np.uint8)
    result = convert(array, label_space("totalsegmentator_v1"), label_space("universal_32"))
    assert [UNIVERSAL[number - 1] for number in result] == ["gall_bladder", "postcava", "intestine", "bladder"]


def test_missing_structures_are_named_or_become_background() -> None:
    source, target = label_space("universal_32"), label_space("abdomenatlas_1_1")
    array = np.array([6, 27, 32, 0], dtype=np.uint8)
    with pytest.raises(LabelSpaceError, match=r"abdomenatlas_1_1.*liver_tumor, kidney_cyst"):
        convert(array, source, target)
    assert convert(array, source, target, missing="background").tolist() == [5, 0, 0, 0]
    # Only what the array holds counts: a map without lesions converts although the source has lesion classes.
    assert convert(array[:1], source, target).tolist() == [5]


def test_sides_of_cysts_are_not_merged() -> None:
    array = np.array([23, 24], dtype=np.uint8)
    with pytest.raises(LabelSpaceError, match="kidney_cyst_left, kidney_cyst_right"):
        convert(array, label_space("totalsegmentator_v2"), label_space("universal_32"))


def test_not_annotated_is_neither_structure_nor_silent() -> None:
    source, target = label_space("dap_atlas"), label_space("universal_32")
    array = np.array([1, 13], dtype=np.uint8)
    with pytest.raises(LabelSpaceError, match="1 \\(not annotated\\)"):
        convert(array, source, target)
    assert convert(array, source, target, missing="background").tolist() == [0, 6]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([0, 26], dtype=np.uint8), "26, which 'abdomenatlas_1_1' does not know"),
        (np.array([0.0, 1.0]), "holds integers"),
        (np.array([-1000, 200], dtype=np.int16), "-1000 to 200"),
        (np.array([70000], dtype=np.int64), "between 0 and 65535"),
    ],
)
def test_values_that_are_no_labels(array: "np.ndarray", message: str) -> None:
    with pytest.raises(LabelSpaceError, match=message):
        convert(array, label_space("abdomenatlas_1_1"), label_space("universal_32"))


def test_missing_option_is_checked() -> None:
    space = label_space("btcv")
    with pytest.raises(ConfigurationError, match="'drop'"):
        convert(np.zeros(1, dtype=np.uint8), space, space, missing="drop")  # type: ignore[arg-type]


def test_large_numbers_need_16_bits() -> None:
    source = LabelSpace.from_classes("few", ["liver", "spleen"])
    target = LabelSpace("sparse", "sparse", {300: "liver", 7: "spleen"})
    result = convert(np.array([0, 1, 2], dtype=np.uint8), source, target)
    assert result.dtype == np.uint16
    assert result.tolist() == [0, 300, 7]


@pytest.mark.parametrize(("number", "dtype"), [(255, np.uint8), (256, np.uint16), (65535, np.uint16)])
def test_the_type_is_the_smallest_that_holds_the_numbers(number: int, dtype: type) -> None:
    source = LabelSpace("sparse", "sparse", {number: "liver", 1: "spleen"})
    array = np.array([0, 1, number], dtype=np.uint16)
    same = convert(array, source, source)
    assert same.dtype == dtype
    assert same.tolist() == [0, 1, number]
    assert convert(array, source, LabelSpace("low", "low", {1: "liver", 2: "spleen"})).tolist() == [0, 2, 1]


def test_many_unknown_values_are_not_all_listed() -> None:
    space = LabelSpace("one", "one", {1: "liver"})
    with pytest.raises(LabelSpaceError, match=r"holds 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, which"):
        convert(np.arange(14), space, space)
    with pytest.raises(LabelSpaceError, match=r"12, 13 and 1 more, which"):
        convert(np.arange(15), space, space)


def test_from_classes_keeps_order_and_foreign_names() -> None:
    space = LabelSpace.from_classes("mine", ["spleen", "Left Kidney", "my lesion"])
    assert dict(space.numbers) == {1: "spleen", 2: "kidney_left", 3: "my lesion"}
    assert space.number("my lesion") == 3
    assert space.file_name("my lesion") == "my_lesion"
    assert space.file_name("../../etc/passwd") == "etc_passwd"


def test_spaces_are_read_only_and_can_be_pickled() -> None:
    space = label_space("totalsegmentator_v2")
    with pytest.raises(TypeError):
        space.numbers[1] = "liver"  # type: ignore[index]
    with pytest.raises(TypeError):
        space.spellings["liver"] = "Leber"  # type: ignore[index]
    copy = pickle.loads(pickle.dumps(space))
    assert copy == space
    assert hash(copy) == hash(space)
    assert copy.file_name("intestine") == "small_bowel"


def test_bad_spaces_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="two numbers"):
        LabelSpace("x", "x", {1: "liver", 2: "liver"})
    with pytest.raises(ConfigurationError, match="outside 1 to 65535"):
        LabelSpace("x", "x", {0: "liver"})
    with pytest.raises(ConfigurationError, match="outside 1 to 65535"):
        LabelSpace("x", "x", {65536: "liver"})
    with pytest.raises(ConfigurationError, match="two numbers"):
        LabelSpace.from_classes("x", ["postcava", "IVC"])


def test_unknown_names_are_refused_with_a_hint() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'universal_32'"):
        label_space("universal32")
    with pytest.raises(LabelSpaceError, match=r"'abdomenatlas_1_0' has no 'colon'\. Unknown structure 'colon'"):
        label_space("abdomenatlas_1_0").number("colon")
