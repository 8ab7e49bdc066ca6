"""Reading one case: masks per structure, PNG slices, and the label sets whose headers are known to be wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

from suprem.datasets import dataset
from suprem.datasets._reading import SourceCase, read_case
from suprem.errors import LabelSpaceError, VolumeError
from suprem.volumes import Volume, read_ct, write_volume
from suprem.volumes.geometry import to_ras
from tests.volumes.dicom_data import make_slices, random_hu, save_slices

SHAPE = (12, 10, 8)  # columns, rows, slices


def _blob() -> npt.NDArray[np.bool_]:
    """(columns, rows, slices) without any symmetry."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:5, 3:9, 1:3] = True
    mask[7, 1, 6] = True
    return mask


def _hu(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int16]:
    """Air, and 300 HU under the mask: the CT itself tells where the label has to be."""
    return np.where(mask, 300, random_hu(SHAPE) // 10 - 700).astype(np.int16)


def _write_chaos(root: Path, *, left_out: int = 0, size: tuple[int, int] = SHAPE[:2]) -> None:
    """Case 1, its files named neither in the order of the position nor like each other."""
    mask = _blob()
    slices = make_slices(_hu(mask))
    order = np.random.default_rng(5).permutation(SHAPE[2])
    images, masks = root / "Train_Sets/CT/1/DICOM_anon", root / "Train_Sets/CT/1/Ground"
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    for rank, position in enumerate(order):
        # i9 before i10, as people count
        slices[position].save_as(images / f"i{rank + 5},0000b.dcm", enforce_file_format=True)
        if rank >= left_out:
            pixels = np.zeros(size[::-1], np.uint8)
            pixels[: SHAPE[1], : SHAPE[0]] = (255 * mask[:, :, position].T)[: size[1], : size[0]]
            sitk.WriteImage(sitk.GetImageFromArray(pixels), str(masks / f"liver_GT_{rank:03d}.png"))


def _read(name: str, root: Path, variant: str | None = None, **options: Any) -> SourceCase:
    spec = dataset(name).at(root)
    (files,) = spec.cases(root, variant)
    return read_case(spec, files, **options)


def _assert_liver_is_bright(case: SourceCase, name: str = "liver") -> None:
    assert case.labels is not None
    np.testing.assert_array_equal(case.labels.mask(name), to_ras(case.ct)[0].array == 300)
    assert case.labels.mask(name).sum() == _blob().sum()


def test_png_masks_follow_the_slices_wherever_the_names_put_them(tmp_path: Path) -> None:
    _write_chaos(tmp_path)
    case = _read("chaos_ct", tmp_path)
    _assert_liver_is_bright(case)
    assert case.labels is not None
    assert case.labels.annotated == {"liver"}


def test_png_masks_that_cannot_be_paired_are_refused(tmp_path: Path) -> None:
    _write_chaos(tmp_path / "short", left_out=1)
    with pytest.raises(VolumeError, match="7 PNG masks for the 8 slices"):
        _read("chaos_ct", tmp_path / "short")
    _write_chaos(tmp_path / "wide", size=(13, 10))
    with pytest.raises(VolumeError, match="13 x 10 pixels, its CT slice 12 x 10"):
        _read("chaos_ct", tmp_path / "wide")


def test_a_damaged_png_is_named(tmp_path: Path) -> None:
    _write_chaos(tmp_path)
    path = tmp_path / "Train_Sets/CT/1/Ground/liver_GT_003.png"
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(VolumeError, match=r"liver_GT_003\.png cannot be read"):
        _read("chaos_ct", tmp_path)


def _write_pancreas(root: Path) -> Path:
    """The series as published: rows run to the front, so the normal of its slices points to the feet."""
    series = root / "Pancreas-CT/PANCREAS_0001/study/series"
    save_slices(make_slices(_hu(_blob()), column=(0.0, -1.0, 0.0)), series)
    return series


def test_official_labels_of_pancreas_ct_lie_on_the_scan_despite_their_origin(tmp_path: Path) -> None:
    ct = read_ct(_write_pancreas(tmp_path))
    assert ct.orientation == "LAI"
    wrong = ct.affine.copy()
    wrong[:3, 3] = 0
    label = tmp_path / "TCIA_pancreas_labels-02-05-2017/label0001.nii.gz"
    write_volume(Volume(_blob().astype(np.uint8), wrong), label)
    _assert_liver_is_bright(_read("pancreas_ct", tmp_path, "official"), "pancreas")
    write_volume(Volume(np.ones((12, 10, 7), np.uint8), wrong), label)
    with pytest.raises(VolumeError, match="do not belong together"):
        _read("pancreas_ct", tmp_path, "official")


def test_zenodo_labels_of_pancreas_ct_count_slices_from_the_feet(tmp_path: Path) -> None:
    _write_pancreas(tmp_path)
    # By rising position the stack runs against its normal.
    label = 11 * _blob()[:, :, ::-1].astype(np.uint8)
    path = tmp_path / "label_tcia_multiorgan/label0001.nii.gz"
    write_volume(Volume(label, np.eye(4)), path)
    _assert_liver_is_bright(_read("pancreas_ct", tmp_path, "zenodo_multiorgan_labels"), "pancreas")


def _own(root: Path, label: str, labels: str) -> None:
    (root / "dataset.yaml").write_text(
        f"image: images/{{case}}.nii.gz\nlabel: {label}\nlabels: {labels}\n", encoding="utf-8"
    )
    write_volume(Volume(_hu(_blob()), np.diag([1.0, 1.0, 2.0, 1.0])), root / "images/a.nii.gz")


def test_masks_per_structure_may_overlap(tmp_path: Path) -> None:
    _own(tmp_path, "masks/{case}/{structure}.nii.gz", "{leber: liver, knoten: liver_tumor}")
    tumour = _blob() & (np.arange(SHAPE[2]) == 6)
    for name, mask in (("leber", _blob()), ("knoten", tumour)):
        write_volume(Volume(mask, np.diag([1.0, 1.0, 2.0, 1.0])), tmp_path / f"masks/a/{name}.nii.gz")
    case = _read("folder", tmp_path)
    _assert_liver_is_bright(case)
    assert case.labels is not None
    np.testing.assert_array_equal(case.labels.mask("liver_tumor"), tumour)


def test_an_unknown_value_is_named(tmp_path: Path) -> None:
    _own(tmp_path, "labels/{case}.nii.gz", "{1: liver}")
    write_volume(Volume(_blob() * np.uint8(9), np.diag([1.0, 1.0, 2.0, 1.0])), tmp_path / "labels/a.nii.gz")
    with pytest.raises(LabelSpaceError, match="values 9"):
        _read("folder", tmp_path)


def test_a_case_without_annotation_has_no_labels(tmp_path: Path) -> None:
    images = tmp_path / "Test_Sets/CT/3/DICOM_anon"
    save_slices(make_slices(random_hu()), images)
    assert _read("chaos_ct", tmp_path).labels is None
