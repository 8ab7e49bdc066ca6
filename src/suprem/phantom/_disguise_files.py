"""Writes a volume as the files that a scanner or an annotator leaves: DICOM slices and PNG masks."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suprem.volumes.geometry import Volume

__all__ = ["write_mask_slices", "write_series"]


def write_series(ct: Volume, folder: Path) -> list[Path]:
    """One uncompressed DICOM CT file per slice along the last axis; names follow the index.

    Args:
        ct: HU (columns, rows, slices); the slices must run along the normal of the first two axes, as in LPS or LAI.
        folder: Made when it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k in range(ct.shape[2]):
        data = _slice(ct, k)
        path = folder / f"i{k:04d},0000b.dcm"
        data.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _slice(ct: Volume, k: int) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    to_lps = np.diag([-1.0, -1.0, 1.0])
    column, row, width = (float(s) for s in ct.spacing_mm)
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = CTImageStorage
    data.SOPInstanceUID = generate_uid(entropy_srcs=[ct.name, "image", str(k)])
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.SeriesInstanceUID = generate_uid(entropy_srcs=[ct.name, "series"])
    data.StudyInstanceUID = generate_uid(entropy_srcs=[ct.name, "study"])
    data.FrameOfReferenceUID = generate_uid(entropy_srcs=[ct.name, "frame"])
    data.Modality, data.SeriesNumber, data.InstanceNumber = "CT", 1, k + 1
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.PatientName, data.PatientID = "Phantom", "phantom"
    directions = to_lps @ (ct.affine[:3, :2] / [column, row])
    data.ImageOrientationPatient = [float(v) for v in directions.T.ravel()]
    position = to_lps @ (ct.affine[:3, 3] + k * ct.affine[:3, 2])
    data.ImagePositionPatient = [round(float(v), 6) for v in position]
    data.PixelSpacing, data.SliceThickness = [row, column], width
    data.RescaleSlope, data.RescaleIntercept, data.RescaleType = 1.0, -1024.0, "HU"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    stored = (ct.array[:, :, k].astype(np.int32) + 1024).astype(np.int16).T
    data.Rows, data.Columns = stored.shape
    data.PixelData = stored.tobytes()
    return data


def write_mask_slices(mask: npt.NDArray[np.bool_], folder: Path) -> list[Path]:
    """One PNG of 0 and 255 per slice of a mask (columns, rows, slices), named like those of CHAOS."""
    import SimpleITK as sitk  # noqa: N813

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k in range(mask.shape[2]):
        path = folder / f"liver_GT_{k:03d}.png"
        sitk.WriteImage(sitk.GetImageFromArray((255 * mask[:, :, k].T).astype(np.uint8)), str(path))
        paths.append(path)
    return paths
