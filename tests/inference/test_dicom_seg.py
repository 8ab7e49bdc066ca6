"""DICOM SEG, read back with highdicom and pydicom and compared with the NIfTI masks."""

import builtins
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from suprem.errors import ConfigurationError, DicomError
from suprem.inference import Predictor, load_network
from suprem.inference.dicom_seg import check_available, write_dicom_seg
from suprem.inference.folder import predict_folder
from suprem.labels import structure
from suprem.volumes.dicom import select_series
from suprem.volumes.geometry import Volume
from suprem.volumes.io import read_ct
from suprem.volumes.scans import find_scans
from tests.inference.tiny_model import CLASSES, save_tiny_model, tiny_hu
from tests.volumes.dicom_data import make_slices, save_slices

hd = pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")

TURN = np.array([[0.995, 0.0998, 0.0], [-0.0998, 0.995, 0.0], [0.0, 0.0, 1.0]])


class Masks:
    """What a segmentation offers to the writer."""

    def __init__(self, scan: Volume, masks: dict[str, np.ndarray]) -> None:
        self.scan, self._masks = scan, masks
        self.classes = tuple(masks)

    def mask(self, name: str) -> np.ndarray:
        return self._masks[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    slices = make_slices(tiny_hu(), spacing_mm=(5.0, 5.0, 6.0), row=TURN[0], column=TURN[1])
    save_slices(slices, tmp_path / "dicom")
    return tmp_path / "dicom"


def test_masks_equal_the_nifti_ones(folder: Path, tmp_path: Path) -> None:
    predictor = Predictor(load_network(save_tiny_model(tmp_path / "model")), device="cpu", overlap=0.25)
    result = predict_folder(find_scans(folder), predictor, tmp_path / "out", output_format="dicom-seg")
    assert [case.error for case in result.cases] == [None]
    case = tmp_path / "out" / "dicom"
    masks = {n: np.asarray(nib.load(case / "segmentations" / f"{n}.nii.gz").dataobj) == 1 for n in CLASSES}
    found = {}
    for path in case.glob("segmentation*.dcm"):
        seg = hd.seg.segread(path)
        for number in seg.segment_numbers:
            name = seg.get_segment_description(number).segment_label
            frames = seg.get_pixels_by_source_instance(
                [pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID for p in select_series(folder).files],
                segment_numbers=[number],
                ignore_spatial_locations=True,
                assert_missing_frames_are_empty=True,
            )
            found[name] = frames[..., 0].T.astype(bool)
    assert set(found) == {name for name, mask in masks.items() if mask.any()}
    assert found
    for name, mask in found.items():
        np.testing.assert_array_equal(mask, masks[name], err_msg=name)


def test_geometry_codes_and_references(folder: Path, tmp_path: Path) -> None:
    scan = read_ct(folder)
    masks = {
        name: np.zeros(scan.shape, bool) for name in ("kidney_left", "kidney_right", "liver_tumor", "empty", "own")
    }
    masks["kidney_left"][2:5, 3:6, 4:9] = True
    masks["kidney_right"][10:15, 3:6, 4:9] = True
    masks["liver_tumor"][7:9, 7:9, 0:2] = True
    masks["own"][20:22, 1:3, 17] = True
    series = select_series(folder)
    paths = write_dicom_seg(Masks(scan, masks), series, tmp_path, model="tiny")  # type: ignore[arg-type]
    assert [p.name for p in paths] == ["segmentation.dcm"]
    data = pydicom.dcmread(paths[0])
    image = pydicom.dcmread(series.files[0])
    for tag in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert data[tag].value == image[tag].value
    assert data.SeriesInstanceUID != image.SeriesInstanceUID
    assert data.Modality == "SEG"
    assert data.SegmentationType == "BINARY"
    described = {s.SegmentLabel: s for s in data.SegmentSequence}
    assert list(described) == ["kidney_left", "kidney_right", "liver_tumor", "own"]
    left = described["kidney_left"].SegmentedPropertyTypeCodeSequence[0]
    assert (left.CodingSchemeDesignator, left.CodeValue) == ("SCT", structure("kidney_left").code.value)
    assert left.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    tumour = described["liver_tumor"]
    assert tumour.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == "Morphologically Abnormal Structure"
    assert tumour.AnatomicRegionSequence[0].CodeValue == structure("liver").code.value
    assert described["own"].SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator == "99SUPREM"
    assert described["own"].SegmentAlgorithmName == "tiny"
    # Voxel to patient: the file's own affine (LPS) and the scan's (RAS) put the same voxel in one place.
    found = hd.seg.segread(paths[0]).get_volume(combine_segments=True)
    index = np.argwhere(found.array == 3)[0]
    lps = (found.affine @ (*index, 1))[:3]
    ijk = np.round(np.linalg.solve(scan.affine, (*(lps * (-1, -1, 1)), 1)))[:3].astype(int)
    assert masks["liver_tumor"][tuple(ijk)]


def test_overlapping_structures_go_into_several_files(folder: Path, tmp_path: Path) -> None:
    scan = read_ct(folder)
    liver, tumour, spleen = (np.zeros(scan.shape, bool) for _ in range(3))
    liver[2:12, 2:12, 2:12] = True
    tumour[4:6, 4:6, 4:6] = True
    spleen[15:20, 2:12, 2:12] = True
    masks = {"liver": liver, "liver_tumor": tumour, "spleen": spleen}
    paths = write_dicom_seg(Masks(scan, masks), select_series(folder), tmp_path, model="x")  # type: ignore[arg-type]
    assert [p.name for p in paths] == ["segmentation_1.dcm", "segmentation_2.dcm"]
    one, two = (pydicom.dcmread(p) for p in paths)
    assert [s.SegmentLabel for s in one.SegmentSequence] == ["liver", "spleen"]
    assert [s.SegmentLabel for s in two.SegmentSequence] == ["liver_tumor"]
    assert one.SeriesInstanceUID == two.SeriesInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID


def test_nothing_found_writes_nothing(folder: Path, tmp_path: Path) -> None:
    scan = read_ct(folder)
    masks = {"liver": np.zeros(scan.shape, bool)}
    assert write_dicom_seg(Masks(scan, masks), select_series(folder), tmp_path, model="x") == ()  # type: ignore[arg-type]


def test_incomplete_series_is_one_sentence(tmp_path: Path) -> None:
    slices = make_slices(tiny_hu(), spacing_mm=(5.0, 5.0, 6.0))
    for data in slices:
        del data.FrameOfReferenceUID
    save_slices(slices, tmp_path / "dicom")
    scan = read_ct(tmp_path / "dicom")
    masks = {"liver": np.ones(scan.shape, bool)}
    with pytest.raises(DicomError, match="cannot carry a segmentation") as caught:
        write_dicom_seg(Masks(scan, masks), select_series(tmp_path / "dicom"), tmp_path, model="x")  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_highdicom_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: object, **kwargs: object) -> object:
        if name.split(".")[0] == "highdicom":
            raise ModuleNotFoundError("No module named 'highdicom'", name="highdicom")
        return real(name, *args, **kwargs)  # type: ignore[arg-type]

    check_available()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError, match=r"pip install 'suprem\[dicom\]'"):
        check_available()
