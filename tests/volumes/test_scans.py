"""Inputs of a run: files, DICOM folders, folders, case trees."""

from pathlib import Path

import pytest

from suprem.errors import ConfigurationError
from suprem.volumes.scans import find_scans
from tests.volumes.dicom_data import make_slices, random_hu, save_slices


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(*inputs: Path) -> dict[str, tuple[Path, str]]:
    return {scan.case_id: (scan.path, scan.kind) for scan in find_scans(inputs)}


def test_single_files(tmp_path: Path) -> None:
    touch(tmp_path / "a.nii.gz", tmp_path / "B.NRRD", tmp_path / "case_7" / "ct.nii.gz")
    assert found(tmp_path / "a.nii.gz", tmp_path / "B.NRRD", tmp_path / "case_7" / "ct.nii.gz") == {
        "a": (tmp_path / "a.nii.gz", "file"),
        "B": (tmp_path / "B.NRRD", "file"),
        "case_7": (tmp_path / "case_7" / "ct.nii.gz", "file"),
    }
    assert find_scans(tmp_path / "a.nii.gz") == find_scans([str(tmp_path / "a.nii.gz")])


def test_folder_of_scans_skips_what_is_none(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("b.nii.gz", "a.mha", "._a.mha", "notes.txt", "sub/mask.nii.gz")))
    assert list(found(tmp_path)) == ["a", "b"]


def test_case_tree(tmp_path: Path) -> None:
    touch(
        tmp_path / "BDMAP_2" / "ct.nii.gz",
        tmp_path / "BDMAP_2" / "segmentations" / "liver.nii.gz",
        tmp_path / "BDMAP_2" / "combined_labels.nii.gz",
        tmp_path / "BDMAP_1" / "ct.nii.gz",
        tmp_path / "part" / "BDMAP_1" / "ct.nii.gz",
    )
    assert found(tmp_path) == {
        "BDMAP_1": (tmp_path / "BDMAP_1" / "ct.nii.gz", "file"),
        "BDMAP_2": (tmp_path / "BDMAP_2" / "ct.nii.gz", "file"),
        "part_BDMAP_1": (tmp_path / "part" / "BDMAP_1" / "ct.nii.gz", "file"),
    }
    assert list(found(tmp_path / "BDMAP_1")) == ["BDMAP_1"]


def test_dicom_folders(tmp_path: Path) -> None:
    save_slices(make_slices(random_hu((4, 4, 3))), tmp_path / "p1" / "DICOM")
    save_slices(make_slices(random_hu((4, 4, 3))), tmp_path / "p2" / "DICOM")
    assert found(tmp_path) == {
        "p1_DICOM": (tmp_path / "p1" / "DICOM", "dicom"),
        "p2_DICOM": (tmp_path / "p2" / "DICOM", "dicom"),
    }
    assert found(tmp_path / "p1" / "DICOM") == {"DICOM": (tmp_path / "p1" / "DICOM", "dicom")}


def test_links_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    touch(tmp_path / "real" / "case" / "ct.nii.gz")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "linked").symlink_to(tmp_path / "real" / "case")
    (tmp_path / "tree" / "circle").symlink_to(tmp_path / "tree")
    assert list(found(tmp_path / "tree")) == ["linked"]


def test_one_name_twice(tmp_path: Path) -> None:
    touch(tmp_path / "x" / "a.nii.gz", tmp_path / "y" / "a.nii.gz")
    with pytest.raises(ConfigurationError, match="would both be called 'a'"):
        find_scans([tmp_path / "x", tmp_path / "y"])
    assert len(find_scans([tmp_path / "x", tmp_path / "x" / "a.nii.gz"])) == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [("absent.nii.gz", "does not exist"), ("a.png", "not an image that is read"), ("a.dcm", "folder of its DICOM")],
)
def test_paths_that_are_no_scan(tmp_path: Path, name: str, words: str) -> None:
    touch(tmp_path / "a.png", tmp_path / "a.dcm")
    with pytest.raises(ConfigurationError, match=words):
        find_scans(tmp_path / name)


def test_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no scan"):
        find_scans(tmp_path)
    with pytest.raises(ConfigurationError, match="No input"):
        find_scans([])
