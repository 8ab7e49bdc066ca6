"""DICOM folders generated at run time, with every defect that an export can have."""

import copy
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless, RLELossless, generate_uid
from scipy.spatial.transform import Rotation

from suprem.errors import DicomError
from suprem.volumes.dicom import is_dicom_folder, list_series, read_series, select_series
from suprem.volumes.io import read_ct
from tests.volumes.dicom_data import make_slices, random_hu, save_slices, set_pixels

HU = random_hu()


def refused(folder: Path, words: str, **options: object) -> str:
    with pytest.raises(DicomError) as caught:
        read_ct(folder, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert re.search(words, message), message
    assert str(folder) in message
    assert "\n" not in message
    assert message.endswith(".")
    return message


@pytest.mark.parametrize("angles", [None, (0, 90, 0), (90, 0, 90), (10, -20, 35)])
def test_geometry_follows_the_tags(tmp_path: Path, angles: tuple[int, int, int] | None) -> None:
    """Affine from the standard's own equation (C.7.6.2.1-1), evaluated with the written tags."""
    turn = Rotation.from_euler("xyz", angles or (0, 0, 0), degrees=True).as_matrix()
    slices = make_slices(HU, row=turn[:, 0], column=turn[:, 1])
    save_slices(slices, tmp_path / "ct")
    volume = read_ct(tmp_path / "ct")
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, HU)
    np.testing.assert_allclose(volume.spacing_mm, (1.5, 1.0, 2.0), atol=1e-6)
    for k, data in enumerate(slices):
        row, column = np.reshape(data.ImageOrientationPatient, (2, 3)).astype(float)
        between_rows, between_columns = (float(v) for v in data.PixelSpacing)
        for i, j in ((0, 0), (11, 3), (4, 9)):
            lps = np.array(data.ImagePositionPatient, float) + row * between_columns * i + column * between_rows * j
            np.testing.assert_allclose((volume.affine @ (i, j, k, 1))[:3], lps * (-1, -1, 1), atol=1e-4)


def test_slices_are_sorted_by_position_whatever_their_names_and_numbers(tmp_path: Path) -> None:
    slices = make_slices(HU)
    for data, number in zip(slices, (5, 1, 8, 2, 2, 7, 3, 0), strict=True):
        data.InstanceNumber = number
    save_slices(slices[::-1], tmp_path / "ct")
    np.testing.assert_array_equal(read_ct(tmp_path / "ct").array, HU)
    positions = [dcmread(p).ImagePositionPatient[2] for p in select_series(tmp_path / "ct").files]
    assert positions == sorted(positions)


def test_positions_rounded_by_the_scanner_are_accepted(tmp_path: Path) -> None:
    slices = make_slices(HU, spacing_mm=(1.0, 1.0, 0.625))
    for data in slices:
        data.ImagePositionPatient = [round(float(v), 1) for v in data.ImagePositionPatient]
    save_slices(slices, tmp_path / "ct")
    assert read_ct(tmp_path / "ct").spacing_mm[2] == pytest.approx(0.625, abs=0.01)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, -1000.0), (0.5, -10.25)])
def test_each_slice_has_its_own_rescaling(tmp_path: Path, slope: float, intercept: float) -> None:
    slices = make_slices(HU)
    slices[2].RescaleSlope, slices[2].RescaleIntercept = slope, intercept
    set_pixels(slices[2], HU[:, :, 2])
    expected = np.stack([d.pixel_array.T * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in slices], axis=2)
    save_slices(slices, tmp_path / "ct")
    volume = read_ct(tmp_path / "ct")
    np.testing.assert_array_equal(volume.array, expected)
    assert volume.array.dtype == (np.int16 if intercept == -1000 else np.float32)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, RLELossless, JPEGLSLossless])
def test_transfer_syntaxes(tmp_path: Path, syntax: str) -> None:
    slices = make_slices(HU)
    for data in slices:
        if syntax == ImplicitVRLittleEndian:
            data.file_meta.TransferSyntaxUID = syntax
        else:
            data.compress(syntax, generate_instance_uid=False)
    save_slices(slices, tmp_path / "ct")
    np.testing.assert_array_equal(read_ct(tmp_path / "ct").array, HU)


def test_unsigned_pixels_and_values_beyond_int16(tmp_path: Path) -> None:
    slices = make_slices(HU, intercept=0.0)
    for data in slices:
        data.PixelRepresentation = 0
        data.PixelData = np.full((10, 12), 60000, np.uint16).tobytes()
    slices[0].PixelData = np.zeros((10, 12), np.uint16).tobytes()
    save_slices(slices, tmp_path / "ct")
    assert read_series(tmp_path / "ct").array.max() == 60000
    assert read_ct(tmp_path / "ct").array.dtype == np.float32


def remove_one(slices: list[Dataset]) -> list[Dataset]:
    return slices[:3] + slices[4:]


def double_position(slices: list[Dataset]) -> list[Dataset]:
    slices[3].ImagePositionPatient = slices[4].ImagePositionPatient
    return slices


def irregular(slices: list[Dataset]) -> list[Dataset]:
    for k, data in enumerate(slices):
        data.ImagePositionPatient = [0, 0, 2.0 * k + 0.3 * k * (k > 3)]
    return slices


def tilted(slices: list[Dataset]) -> list[Dataset]:
    """The gantry leans by 14 degrees; slices still follow the table."""
    c, s = np.cos(np.radians(14)), np.sin(np.radians(14))
    for k, data in enumerate(slices):
        data.ImageOrientationPatient = [1, 0, 0, 0, round(c, 6), round(-s, 6)]
        data.ImagePositionPatient = [0, 0, 2.0 * k]
    return slices


def sideways(slices: list[Dataset]) -> list[Dataset]:
    slices[4].ImagePositionPatient[0] += 30
    return slices


def turned(slices: list[Dataset]) -> list[Dataset]:
    slices[4].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    return slices


def other_size(slices: list[Dataset]) -> list[Dataset]:
    set_pixels(slices[4], HU[:8, :, 4])
    return slices


def other_pixels(slices: list[Dataset]) -> list[Dataset]:
    slices[4].PixelSpacing = [1.0, 1.6]
    return slices


def without_position(slices: list[Dataset]) -> list[Dataset]:
    del slices[4].ImagePositionPatient
    return slices


def zero_pixels(slices: list[Dataset]) -> list[Dataset]:
    for data in slices:
        data.PixelSpacing = [1.0, 0.0]
    return slices


def colour(slices: list[Dataset]) -> list[Dataset]:
    slices[4].SamplesPerPixel, slices[4].PhotometricInterpretation, slices[4].PlanarConfiguration = 3, "RGB", 0
    slices[4].PixelData *= 3
    return slices


def no_slope(slices: list[Dataset]) -> list[Dataset]:
    slices[4].RescaleSlope = "0"
    return slices


def endless(slices: list[Dataset]) -> list[Dataset]:
    slices[4].RescaleIntercept = "inf"
    return slices


def many_columns(slices: list[Dataset]) -> list[Dataset]:
    for data in slices:
        data.Columns = [data.Columns, 7]
    return slices


def single(slices: list[Dataset]) -> list[Dataset]:
    return slices[:1]


def magnetic(slices: list[Dataset]) -> list[Dataset]:
    for data in slices:
        data.Modality = "MR"
    return slices


def enhanced(slices: list[Dataset]) -> list[Dataset]:
    for data in slices:
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    return slices


def scouts(slices: list[Dataset]) -> list[Dataset]:
    for data in slices:
        data.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    return slices


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (remove_one, r"misses slices: 4 mm lie between IM\d+.dcm and IM\d+.dcm, 2 mm elsewhere"),
        (double_position, r"two slices at one position, IM\d+.dcm and IM\d+.dcm"),
        (irregular, "irregular slice distances"),
        (tilted, r"gantry tilt of 14\.0 degrees.*dcm2niix"),
        (sideways, "shifted sideways by up to 30 mm"),
        (turned, "different ImageOrientationPatient"),
        (other_size, "different size: .*12 x 10.*8 x 10|different size: .*8 x 10.*12 x 10"),
        (other_pixels, "different PixelSpacing"),
        (without_position, "no usable ImagePositionPatient"),
        (zero_pixels, "must be positive"),
        (colour, "colour image"),
        (single, "single slice"),
        (no_slope, "RescaleSlope 0"),
        (endless, r"no usable RescaleIntercept \('inf'\)"),
        (many_columns, "no usable Columns"),
        (magnetic, "holds MR images"),
        (enhanced, "multi-frame"),
        (scouts, "only localizers"),
    ],
)
def test_defects(tmp_path: Path, change: Callable[[list[Dataset]], list[Dataset]], words: str) -> None:
    save_slices(change(make_slices(HU)), tmp_path / "ct")
    refused(tmp_path / "ct", words)


@pytest.mark.parametrize("which", [0, 3, 7])
def test_a_truncated_slice_is_never_dropped(tmp_path: Path, which: int) -> None:
    paths = save_slices(make_slices(HU), tmp_path / "ct")
    paths[which].write_bytes(paths[which].read_bytes()[:-50])
    assert paths[which].name in refused(tmp_path / "ct", "cannot be read|cannot be decoded")


def test_a_small_tilt_within_rounding_is_accepted(tmp_path: Path) -> None:
    slices = make_slices(HU)
    for k, data in enumerate(slices):
        data.ImagePositionPatient[1] += 0.001 * k
    save_slices(slices, tmp_path / "ct")
    assert read_ct(tmp_path / "ct").shape == HU.shape


def test_two_ct_series_must_be_chosen_from(tmp_path: Path) -> None:
    venous, arterial = make_slices(HU), make_slices(HU[:, :, ::-1], series="2", number=30, description="arterial")
    save_slices(venous + arterial, tmp_path / "ct")
    message = refused(tmp_path / "ct", "holds 2 CT series")
    for part in ("'portal venous'", "'arterial'", "8 images", "1.5 x 1 x 2 mm", venous[0].SeriesInstanceUID):
        assert part in message
    for key in (arterial[0].SeriesInstanceUID, "30", 30, "Arterial"):
        volume = read_ct(tmp_path / "ct", series=key)
        np.testing.assert_array_equal(volume.array, HU[:, :, ::-1])
        assert volume.warnings == ()
    refused(tmp_path / "ct", "no series that fits 'delayed'.*'arterial'", series="delayed")
    arterial[0].SeriesNumber = 2
    for data in arterial:
        data.SeriesNumber = 2
    shutil.rmtree(tmp_path / "ct")
    save_slices(venous + arterial, tmp_path / "ct")
    refused(tmp_path / "ct", "2 series that fit '2'", series=2)


def test_the_only_ct_is_read_and_the_rest_named(tmp_path: Path) -> None:
    scout = make_slices(HU[:, :, :1], series="3", number=1, description="scout")[0]
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    report = make_slices(HU[:, :, :1], series="4", number=99, description="dose")[0]
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    inside = make_slices(HU[:, :, :1])[0]
    inside.ImageType, inside.SOPInstanceUID = ["DERIVED", "SECONDARY", "LOCALIZER"], generate_uid()
    inside.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    save_slices(make_slices(HU), tmp_path / "ct")
    save_slices(make_slices(HU, series="2", modality="MR"), tmp_path / "ct", prefix="MR")
    save_slices([scout, report, inside], tmp_path / "ct", prefix="XX", shuffle=False)
    twin = copy.deepcopy(make_slices(HU)[5])
    twin.save_as(tmp_path / "ct" / "ZZ.dcm", enforce_file_format=True)
    (tmp_path / "ct" / "notes.txt").write_text("hello")
    (tmp_path / "ct" / ".hidden").write_text("hello")
    volume = read_ct(tmp_path / "ct")
    np.testing.assert_array_equal(volume.array, HU)
    text = "\n".join(volume.warnings)
    for part in ("1 files that are not DICOM, ignored: notes.txt", "(MR, 8 images", "ZZ.dcm is a copy of IM"):
        assert part in text
    for name in ("XX0000.dcm", "XX0001.dcm", "XX0002.dcm"):
        assert name in text
    assert ".hidden" not in text


def test_dicom_without_an_image_is_ignored(tmp_path: Path) -> None:
    save_slices(make_slices(HU), tmp_path / "ct")
    report = Dataset()
    report.file_meta = FileMetaDataset()
    report.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    report.SOPInstanceUID = report.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    report.Modality = "SR"
    for name in ("report.dcm", "DICOMDIR"):
        report.save_as(tmp_path / "ct" / name, enforce_file_format=True)
    warnings = read_ct(tmp_path / "ct").warnings
    assert len(warnings) == 1
    assert warnings[0].endswith("ignored: report.dcm.")


def test_folders_without_dicom(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "is empty")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("x")
    refused(tmp_path / "text", "holds no DICOM image")
    save_slices(make_slices(HU), tmp_path / "study" / "series_a")
    refused(tmp_path / "study", "its sub-folders do.*series_a")


def test_description_in_latin_letters(tmp_path: Path) -> None:
    slices = make_slices(HU, description="Abdomen spät")
    for data in slices:
        data.SpecificCharacterSet = "ISO_IR 100"
    save_slices(slices, tmp_path / "ct")
    assert list_series(tmp_path / "ct")[0].description.startswith("Abdomen sp")


def test_is_dicom_folder(tmp_path: Path) -> None:
    paths = save_slices(make_slices(HU), tmp_path / "ct")
    assert is_dicom_folder(tmp_path / "ct")
    assert not is_dicom_folder(paths[0])
    assert not is_dicom_folder(tmp_path)
    assert not is_dicom_folder(tmp_path / "absent")
    (tmp_path / "plain").mkdir()
    shutil.copy(paths[0], tmp_path / "plain" / "IM_0001")
    assert is_dicom_folder(tmp_path / "plain")


def test_list_series(tmp_path: Path) -> None:
    save_slices(make_slices(HU) + make_slices(HU[:, :, :3], series="2", number=10, modality="MR"), tmp_path / "a")
    found = list_series(tmp_path / "a")
    assert [(s.number, s.modality, len(s.files)) for s in found] == [("2", "CT", 8), ("10", "MR", 3)]


def test_too_many_voxels(tmp_path: Path) -> None:
    save_slices(make_slices(HU), tmp_path / "ct")
    with pytest.raises(ValueError, match="limit of 959"):
        read_ct(tmp_path / "ct", max_voxels=959)
    assert read_ct(tmp_path / "ct", max_voxels=960).shape == HU.shape
