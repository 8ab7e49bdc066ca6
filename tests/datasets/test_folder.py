"""Data of one's own: dataset.yaml, nnU-Net's raw format, and what is wrong with either."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from suprem.datasets import DatasetSpec, dataset
from suprem.datasets._labels import harmonise_labels
from suprem.datasets._own import EXAMPLE
from suprem.errors import ConfigurationError, SupremError, UnknownNameError
from suprem.volumes import Volume
from tests.datasets.trees import touch


def _yaml(root: Path, **content: Any) -> DatasetSpec:
    base = {"image": "images/{case}.nii.gz", "label": "labels/{case}.nii.gz", "labels": {1: "liver"}}
    root.mkdir(exist_ok=True)
    (root / "dataset.yaml").write_text(yaml.safe_dump({**base, **content}), encoding="utf-8")
    return dataset("folder").at(root)


def _nnunet(root: Path, **content: Any) -> None:
    base = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}, "file_ending": ".nii.gz"}
    root.mkdir(exist_ok=True)
    (root / "dataset.json").write_text(json.dumps({**base, **content}), encoding="utf-8")


def test_the_example_that_is_shown_works(tmp_path: Path) -> None:
    (tmp_path / "dataset.yaml").write_text(EXAMPLE, encoding="utf-8")
    for name in ("anna 1", "b.2"):
        touch(tmp_path / f"images/{name}.nii.gz")
        touch(tmp_path / f"labels/{name}.nii.gz")
    spec = dataset("folder").at(tmp_path)
    table = spec.label_map("own")
    assert spec.title == "Livers of our clinic"
    assert table.values[2].structures == {"liver_tumor", "liver"}
    assert table.values[3].targets == ("kidney_right", "kidney_left")
    assert table.values[4].op == "drop"
    assert table.ignore == {255}
    assert table.annotated == {"liver", "liver_tumor", "kidney_right", "kidney_left"}
    found = dataset("folder").cases(tmp_path)
    assert [(files.case, files.label_map, files.dataset) for files in found] == [
        ("anna 1", "own", "folder"),
        ("b.2", "own", "folder"),
    ]


def test_the_tree_need_not_look_like_the_example(tmp_path: Path) -> None:
    _yaml(tmp_path, image="{case}/scan/CT.nrrd", label="{case}/seg.nrrd")
    touch(tmp_path / "p1/scan/CT.nrrd")
    touch(tmp_path / "p1/seg.nrrd")
    touch(tmp_path / "p2/scan/CT.nrrd")
    result = dataset("folder").discover(tmp_path)
    assert [(files.case, files.image.name) for files in result.cases] == [("p1", "CT.nrrd")]
    assert [problem.case for problem in result.problems] == ["p2"]


def test_scans_without_label_can_be_there_on_purpose(tmp_path: Path) -> None:
    for place in ("images/one", "labels/one", "images/two"):
        touch(tmp_path / f"{place}.nii.gz")
    _yaml(tmp_path, partly_labelled=True)
    result = dataset("folder").discover(tmp_path)
    assert [(files.case, files.labelled) for files in result.cases] == [("one", True), ("two", False)]
    assert not result.problems
    with pytest.raises(ConfigurationError, match="partly_labelled is 'yes'"):
        _yaml(tmp_path, partly_labelled="yes")


def test_one_mask_per_structure(tmp_path: Path) -> None:
    labels = {"Leber": "liver", "Tumor": "liver tumour", "both_kidneys": {"split": "kidney"}, "doubt": "ignore"}
    spec = _yaml(tmp_path, label="masks/{case}/{structure}.nii.gz", labels=labels)
    touch(tmp_path / "images/a.nii.gz")
    for name in ("Leber", "Tumor", "both_kidneys"):
        touch(tmp_path / f"masks/a/{name}.nii.gz")
    (found,) = dataset("folder").cases(tmp_path)
    assert found.label_format == "masks"
    assert sorted(found.masks) == ["Leber", "Tumor", "both_kidneys"]
    table = spec.label_map("own")
    assert {rule.name: rule.structures for rule in table.values.values()} == {
        "Leber": {"liver"},
        "Tumor": {"liver_tumor", "liver"},
        "both_kidneys": {"kidney_right", "kidney_left"},
        "doubt": frozenset(),
    }
    assert table.ignore == {4}


def test_a_tumour_is_part_of_its_organ_only_where_the_organ_is_labelled(tmp_path: Path) -> None:
    alone = _yaml(tmp_path, labels={1: "liver_tumor"}).label_map("own")
    assert alone.annotated == alone.structures == {"liver_tumor"}
    sides = _yaml(tmp_path, labels={1: "kidney_left", 2: "kidney_right", 3: "kidney_tumor"}).label_map("own")
    assert sides.values[3].pairs == (("kidney_right", "kidney_left"),)
    one = _yaml(tmp_path, labels={1: "kidney_left", 3: "kidney_tumor"}).label_map("own")
    assert one.annotated == {"kidney_left", "kidney_tumor"}  # not the right kidney, which nobody drew


def test_a_split_tumour_is_read_on_its_side(tmp_path: Path) -> None:
    table = _yaml(tmp_path, labels={1: "kidney_left", 2: "kidney_right", 3: "kidney_tumor"}).label_map("own")
    array = np.zeros((20, 10, 10), dtype=np.int16)
    array[2:6, 2:8, 2:8], array[14:18, 2:8, 2:8] = 1, 2
    array[3:5, 3:5, 3:5] = 3
    ct = Volume(np.full((20, 10, 10), 40, dtype=np.int16), np.diag([3.0, 3.0, 3.0, 1.0]), "ct")
    result = harmonise_labels(Volume(array, ct.affine, "labels"), ct, table)
    assert result.mask("kidney_left").sum() == 4 * 6 * 6
    assert result.mask("kidney_tumor").sum() == 8
    # That no tumour lies on the right says nothing about the right kidney.
    assert result.mask("kidney_right").sum() == 4 * 6 * 6
    assert result.flags == ()


def test_names_of_ones_own_have_to_be_declared(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown structure 'livr'; did you mean 'liver'\? A name of your own"):
        _yaml(tmp_path, labels={1: "livr"})
    spec = _yaml(tmp_path, labels={1: "my_implant", 2: "spleen"}, structures=["my_implant"])
    assert spec.label_map("own").annotated == {"my_implant", "spleen"}
    assert spec.annotated == ("spleen", "my_implant")


def test_annotated_may_be_less_than_what_is_labelled(tmp_path: Path) -> None:
    spec = _yaml(tmp_path, labels={1: "liver", 2: "spleen"}, annotated=["liver"])
    assert spec.label_map("own").annotated == {"liver"}
    with pytest.raises(ConfigurationError, match=r"annotated lists \['aorta'\], which no label means"):
        _yaml(tmp_path, labels={1: "liver"}, annotated=["liver", "aorta"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"lables": {1: "liver"}}, "Unknown key 'lables'; did you mean 'labels'"),
        ({"labels": {}}, "does not say labels"),
        ({"label": None}, "does not say label"),
        ({"image": "ct.nii.gz"}, r"'ct.nii.gz' must be a path below the folder with \{case\} in it"),
        ({"image": "/etc/{case}"}, "must be a path below the folder"),
        ({"label": "../{case}.nii"}, "must be a path below the folder"),
        ({"labels": {0: "liver"}}, "under labels stands 0"),
        ({"labels": {"1": "liver"}}, "under labels stands '1'"),
        ({"labels": {True: "liver"}}, "under labels stands True"),
        ({"labels": {1: {"splitt": "kidney"}}}, "label 1 means {'splitt': 'kidney'}"),
        ({"labels": {1: 3}}, "label 1 means 3"),
        ({"labels": ["liver"]}, "holds list where names and values are expected"),
        ({"labels": {1: {"split": "liver"}}}, "Unknown structure 'liver_right'"),
        ({"label": "m/{case}/{structure}.nii", "labels": {1: "liver"}}, "the name of a mask file is needed"),
        ({"image": "{patient}/{case}.nii"}, r"undeclared fields \['patient'\]"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    with pytest.raises(SupremError, match=message):
        _yaml(tmp_path, **content)


@pytest.mark.parametrize("text", ["labels: [", "- a", "\x00", ""])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"dataset\.yaml"):
        dataset("folder").at(tmp_path)


def test_yaml_cannot_run_code(tmp_path: Path) -> None:
    (tmp_path / "dataset.yaml").write_text("title: !!python/object/apply:os.system ['touch pwned']\n")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        dataset("folder").at(tmp_path)


def test_a_folder_without_description_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"neither dataset.yaml nor nnU-Net's dataset.json") as caught:
        dataset("folder").cases(tmp_path)
    assert EXAMPLE in str(caught.value)


def test_nnunet_raw_data_of_version_2(tmp_path: Path) -> None:
    _nnunet(tmp_path, labels={"background": 0, "right kidney": 1, "left kidney": 2, "kidney tumor": 3, "ignore": 4})
    for case in ("case_1", "case_2", "case_10"):
        touch(tmp_path / f"imagesTr/{case}_0000.nii.gz")
        touch(tmp_path / f"labelsTr/{case}.nii.gz")
    touch(tmp_path / "imagesTs/case_3_0000.nii.gz")
    found = dataset("folder").cases(tmp_path)
    assert [(files.case, files.split, files.labelled) for files in found] == [
        ("case_1", "train", True),
        ("case_2", "train", True),
        ("case_3", "test", False),
        ("case_10", "train", True),
    ]
    table = dataset("folder").at(tmp_path).label_map("own")
    assert table.values[1].targets == ("kidney_right",)
    assert table.values[3].structures == {"kidney_tumor", "kidney_right", "kidney_left"}
    assert table.ignore == {4}
    assert table.annotated == {"kidney_right", "kidney_left", "kidney_tumor"}


def test_regions_of_nnunet_unite_values(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "suprem"):
        _nnunet(tmp_path, labels={"background": 0, "liver": [1, 2], "odd lesions": [2, 3], "liver_tumor": 2})
        table = dataset("folder").at(tmp_path).label_map("own")
    assert {value: rule.structures for value, rule in table.values.items()} == {
        1: {"liver"},
        2: {"liver", "odd_lesions", "liver_tumor"},
        3: {"odd_lesions"},
    }
    assert "'odd lesions' is none of the known structures" in caplog.text


def test_decathlon_and_nnunet_version_1(tmp_path: Path) -> None:
    old = {
        "channel_names": None,
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "spleen"},
        "name": "Spleen",
    }
    _nnunet(tmp_path, **old)
    for case in ("spleen_2", "spleen_10"):
        touch(tmp_path / f"imagesTr/{case}.nii.gz")
        touch(tmp_path / f"imagesTr/._{case}.nii.gz")
        touch(tmp_path / f"labelsTr/{case}.nii.gz")
    spec = dataset("folder").at(tmp_path)
    assert spec.title == "Spleen"
    assert spec.label_map("own").values[1].targets == ("spleen",)
    assert [files.case for files in dataset("folder").cases(tmp_path)] == ["spleen_2", "spleen_10"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"channel_names": {"0": "T1", "1": "T2"}}, "one CT is needed"),
        ({"channel_names": {"0": "MRI"}}, "one CT is needed"),
        ({"channel_names": {}}, "one CT is needed"),
        ({"labels": {"liver": "one"}}, "label 'liver' has the values 'one'; integers are needed"),
        ({"labels": {"background": 0}}, "needs at least one"),
        ({"labels": None}, "holds NoneType"),
    ],
)
def test_nnunet_data_that_cannot_be_used_are_refused(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    _nnunet(tmp_path, **content)
    with pytest.raises(ConfigurationError, match=message):
        dataset("folder").cases(tmp_path)


def test_dataset_yaml_counts_more_than_dataset_json(tmp_path: Path) -> None:
    _nnunet(tmp_path, labels={"background": 0, "spleen": 1})
    assert _yaml(tmp_path, labels={1: "liver"}).label_map("own").values[1].targets == ("liver",)
