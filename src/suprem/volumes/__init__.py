"""Scans and label maps on their grids: finding, reading, writing, and changing the grid."""

from suprem.volumes.dicom import is_dicom_folder, list_series
from suprem.volumes.geometry import Volume
from suprem.volumes.io import read_ct, read_volume, write_volume
from suprem.volumes.scans import ScanInput, find_scans

__all__ = [
    "ScanInput",
    "Volume",
    "find_scans",
    "is_dicom_folder",
    "list_series",
    "read_ct",
    "read_volume",
    "write_volume",
]
