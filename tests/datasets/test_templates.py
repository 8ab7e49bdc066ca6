"""Path templates: what they find, and what they write."""

import os
from pathlib import Path

import pytest

from suprem.datasets._templates import Field, Template, digits, natural_key, one_of
from suprem.errors import ConfigurationError
from tests.datasets.trees import touch


def _found(template: Template, top: Path) -> list[tuple[dict[str, str], str]]:
    return [(values, path.relative_to(top).as_posix()) for values, path in template.find(top)]


def test_fields_are_read_from_folder_and_file_names(tmp_path: Path) -> None:
    for path in ("a/p_001/x-1.nii", "a/p_002/x-2.nii", "a/p_03/x-3.nii", "b/p_004/x-4.nii", "a/p_005"):
        touch(tmp_path / path)
    template = Template("a/p_{n}/x-{k}.nii", {"n": digits("001"), "k": one_of(1, 2, 3)})
    assert _found(template, tmp_path) == [
        ({"n": "001", "k": "1"}, "a/p_001/x-1.nii"),
        ({"n": "002", "k": "2"}, "a/p_002/x-2.nii"),
    ]


def test_a_field_that_occurs_twice_has_one_value(tmp_path: Path) -> None:
    for path in ("s1/s1.nii", "s1/s2.nii", "s3/s3_s3.nii", "s3/s3_s4.nii"):
        touch(tmp_path / path)
    fields = {"n": Field(r"\d", "1")}
    assert [path for _, path in _found(Template("s{n}/s{n}.nii", fields), tmp_path)] == ["s1/s1.nii"]
    assert [path for _, path in _found(Template("s3/s{n}_s{n}.nii", fields), tmp_path)] == ["s3/s3_s3.nii"]


def test_names_are_matched_as_a_whole_and_literally(tmp_path: Path) -> None:
    for path in ("volume-1.nii", "volume-1.nii.gz", "test-volume-2.nii", "volume-3xnii", "volume-12.nii"):
        touch(tmp_path / path)
    template = Template("volume-{n}.nii", {"n": one_of(1, 2, 3)})
    assert [path for _, path in _found(template, tmp_path)] == ["volume-1.nii"]


def test_hidden_twins_of_macos_archives_are_skipped(tmp_path: Path) -> None:
    for path in ("imagesTr/liver_0.nii.gz", "imagesTr/._liver_0.nii.gz", "__MACOSX/liver_1.nii.gz"):
        touch(tmp_path / path)
    template = Template("*/{n}_{k}.nii.gz", {"n": Field(".*liver", "liver"), "k": Field(r"\d", "0")})
    assert [path for _, path in _found(template, tmp_path)] == ["imagesTr/liver_0.nii.gz"]


def test_numbers_are_sorted_by_value(tmp_path: Path) -> None:
    for n in (10, 2, 1, 21):
        touch(tmp_path / f"spleen_{n}.nii")
    template = Template("spleen_{n}.nii", {"n": Field(r"\d+", "2")})
    assert [values["n"] for values, _ in _found(template, tmp_path)] == ["1", "2", "10", "21"]
    assert sorted(["a²", "a10", "a9", "A1"], key=natural_key) == ["A1", "a9", "a10", "a²"]


def test_a_star_fits_any_part_of_one_name(tmp_path: Path) -> None:
    for path in ("Training Batch 1/volume-0.nii", "Training_Batch2/volume-1.nii", "x/Training Batch 3/volume-2.nii"):
        touch(tmp_path / path)
    template = Template("Training*Batch*/volume-{n}.nii", {"n": Field(r"\d+", "0")})
    assert [values["n"] for values, _ in _found(template, tmp_path)] == ["0", "1"]


def test_literal_names_cost_no_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "imagesTr" / "a_1.nii")
    listed = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: listed.append(Path(folder).name) or real(folder))
    assert len(_found(Template("imagesTr/a_{n}.nii", {"n": Field(r"\d", "1")}), tmp_path)) == 1
    assert listed == ["imagesTr"]
    assert _found(Template("imagesVa/a_{n}.nii", {"n": Field(r"\d", "1")}), tmp_path) == []
    assert listed == ["imagesTr"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_is_said(tmp_path: Path) -> None:
    closed = tmp_path / "imagesTr"
    closed.mkdir(mode=0o000)
    with pytest.raises(ConfigurationError, match="imagesTr cannot be listed: Permission denied"):
        _found(Template("imagesTr/a_{n}.nii", {"n": Field(r"\d", "1")}), tmp_path)


def test_filling_is_the_inverse_of_finding(tmp_path: Path) -> None:
    template = Template("{a}/*/img{n}.nii", {"a": Field("[xy]", "x"), "n": digits("0007")})
    path = template.fill(a="y", n="0012")
    assert path == "y/any/img0012.nii"
    touch(tmp_path / path)
    assert _found(template, tmp_path) == [({"a": "y", "n": "0012"}, path)]
    assert template.fill() == "x/any/img0007.nii"


def test_leading_folders_end_at_the_first_field() -> None:
    fields = {"n": Field(r"\d", "1")}
    assert Template("Train_Sets/CT/{n}/DICOM_anon", fields).leading == ("Train_Sets", "CT")
    assert Template("{n}.nii", fields).leading == ()
    assert Template("imagesTr/ct.nii", fields).leading == ("imagesTr",)


def test_an_example_must_fit_its_pattern() -> None:
    with pytest.raises(ConfigurationError, match="'abc'"):
        Field(r"\d+", "abc")
    assert one_of(range(9, 12), 100, width=3).pattern == "009|010|011|100"
