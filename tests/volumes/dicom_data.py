"""DICOM CT series made at run time; every defect that a test needs is an argument or an edit of the datasets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

STUDY_UID = generate_uid(entropy_srcs=["suprem tests: study"])
FRAME_UID = generate_uid(entropy_srcs=["suprem tests: frame of reference"])


def make_slices(
    hu: npt.NDArray[np.int16],
    *,
    spacing_mm: tuple[float, float, float] = (1.5, 1.0, 2.0),
    origin_lps: Sequence[float] = (-20.0, -30.0, 40.0),
    row: Sequence[float] = (1.0, 0.0, 0.0),
    column: Sequence[float] = (0.0, 1.0, 0.0),
    slope: float = 1.0,
    intercept: float = -1024.0,
    series: str = "1",
    number: int = 2,
    description: str = "portal venous",
    modality: str = "CT",
) -> list[Dataset]:
    """Datasets of ``hu`` (columns, rows, slices): index axes along ``row``, ``column`` and their cross product."""
    normal = np.cross(row, column)
    slices = []
    for k in range(hu.shape[2]):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = CTImageStorage
        data.SOPInstanceUID = generate_uid(entropy_srcs=["suprem tests: image", series, str(k)])
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.SeriesInstanceUID = generate_uid(entropy_srcs=["suprem tests: series", series])
        data.StudyInstanceUID, data.FrameOfReferenceUID = STUDY_UID, FRAME_UID
        data.Modality, data.SeriesNumber, data.SeriesDescription = modality, number, description
        data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.PatientName, data.PatientID, data.PatientSex, data.PatientBirthDate = "Phantom^CT", "P1", "O", ""
        data.StudyDate, data.StudyTime, data.StudyID, data.AccessionNumber = "20240102", "030405", "1", "A1"
        data.ReferringPhysicianName, data.Manufacturer, data.PositionReferenceIndicator = "", "suprem tests", ""
        data.PatientPosition, data.KVP, data.InstanceNumber = "HFS", "120", k + 1
        data.ImageOrientationPatient = [float(v) for v in (*row, *column)]
        position = np.asarray(origin_lps) + normal * spacing_mm[2] * k
        data.ImagePositionPatient = [round(float(v), 6) for v in position]
        data.SliceThickness = spacing_mm[2]
        data.PixelSpacing = [spacing_mm[1], spacing_mm[0]]
        data.RescaleSlope, data.RescaleIntercept, data.RescaleType = slope, intercept, "HU"
        data.WindowCenter, data.WindowWidth = 40, 400
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
        set_pixels(data, hu[:, :, k])
        slices.append(data)
    return slices


def set_pixels(data: Dataset, hu: npt.NDArray[Any]) -> None:
    """Stores ``hu`` (columns, rows) under the dataset's own rescaling."""
    stored = np.rint((hu - float(data.RescaleIntercept)) / float(data.RescaleSlope)).astype(np.int16).T
    data.Rows, data.Columns = stored.shape
    data.PixelData = stored.tobytes()


def save_slices(slices: Sequence[Dataset], folder: Path, *, prefix: str = "IM", shuffle: bool = True) -> list[Path]:
    """Writes one file per dataset; file names do not follow the slice order, as on a real export."""
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(3).permutation(len(slices)) if shuffle else np.arange(len(slices))
    paths = []
    for name, data in zip(order, slices, strict=True):
        path = folder / f"{prefix}{name:04d}.dcm"
        data.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def random_hu(shape: tuple[int, int, int] = (12, 10, 8), seed: int = 0) -> npt.NDArray[np.int16]:
    """(columns, rows, slices) of whole HU between -1000 and 1000."""
    return np.random.default_rng(seed).integers(-1000, 1000, shape).astype(np.int16)
