"""The header of a NIfTI file: its fields, and what they say about the grid."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from suprem.errors import VolumeError
from suprem.volumes.geometry import Volume

__all__ = ["NiftiGeometry", "geometry_of", "header_dtype", "stored_affine"]

_FIELDS_1: list[tuple[Any, ...]] = [
    ("sizeof_hdr", "i4"), ("unused", "V35"), ("dim_info", "u1"), ("dim", "i2", 8), ("intent", "V12"),
    ("intent_code", "i2"), ("datatype", "i2"), ("bitpix", "i2"), ("slice_start", "i2"), ("pixdim", "f4", 8),
    ("vox_offset", "f4"), ("scl_slope", "f4"), ("scl_inter", "f4"), ("slice_end", "i2"), ("slice_code", "u1"),
    ("xyzt_units", "u1"), ("display", "V24"), ("descrip", "S80"), ("aux_file", "S24"), ("qform_code", "i2"),
    ("sform_code", "i2"), ("quatern", "f4", 3), ("qoffset", "f4", 3), ("srow", "f4", (3, 4)),
    ("intent_name", "S16"), ("magic", "V4"),
]  # fmt: skip
_FIELDS_2: list[tuple[Any, ...]] = [
    ("sizeof_hdr", "i4"), ("magic", "V8"), ("datatype", "i2"), ("bitpix", "i2"), ("dim", "i8", 8), ("intent", "V24"),
    ("pixdim", "f8", 8), ("vox_offset", "i8"), ("scl_slope", "f8"), ("scl_inter", "f8"), ("display", "V48"),
    ("descrip", "S80"), ("aux_file", "S24"), ("qform_code", "i4"), ("sform_code", "i4"), ("quatern", "f8", 3),
    ("qoffset", "f8", 3), ("srow", "f8", (3, 4)), ("slice_code", "i4"), ("xyzt_units", "i4"), ("intent_code", "i4"),
    ("intent_name", "S16"), ("dim_info", "u1"), ("unused", "V15"),
]  # fmt: skip
_LAST_CODE = 5  # NIFTI_XFORM_TEMPLATE_OTHER
_LENGTH_UNITS = {1: "metres", 3: "micrometres"}


def header_dtype(version: int, order: str) -> np.dtype[Any]:
    """The record of NIfTI ``version`` 1 or 2 in byte order ``"<"`` or ``">"``."""
    fields = _FIELDS_1 if version == 1 else _FIELDS_2
    return np.dtype([(name, order + kind if kind[1:] != "1" else kind, *size) for name, kind, *size in fields])


@dataclass(frozen=True)
class NiftiGeometry:
    """The stored orientation fields, kept so that a mask carries the very same ones.

    Attributes:
        affine: float64 (4, 4), what they mean; they are only reused for exactly this affine.
        pixdim: four numbers: handedness of the quaternion, then spacing in mm.
        qform_code: 0 means that the quaternion is unset.
        sform_code: 0 means that ``srow`` is unset.
        quatern: b, c, d.
        qoffset: millimetres.
        srow: (3, 4).
    """

    affine: npt.NDArray[np.float64]
    pixdim: tuple[float, ...]
    qform_code: int
    sform_code: int
    quatern: tuple[float, ...]
    qoffset: tuple[float, ...]
    srow: tuple[tuple[float, ...], ...]


def stored_affine(
    header: np.void, shape: tuple[int, int, int], name: str
) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    """The affine by nibabel's rule (sform, else qform, else unoriented), and what is odd about it.

    Raises:
        VolumeError: the spacing is not positive, or not in millimetres; or a code is not one of the format's.
    """
    spacing = header["pixdim"][1:4].astype(np.float64)
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        shown = ", ".join(f"{v:g}" for v in spacing)
        raise VolumeError(f"{name} has spacing ({shown}) mm; spacing must be positive. Export it again.")
    unit = _LENGTH_UNITS.get(int(header["xyzt_units"]) & 7)
    if unit:
        raise VolumeError(f"{name} measures lengths in {unit}; export it with millimetres.")
    sform, qform = (_is_set(header, field, name) for field in ("sform_code", "qform_code"))
    from_sform, from_qform = np.eye(4), np.eye(4)
    from_sform[:3] = header["srow"]
    if qform:
        from_qform = _from_quaternion(header, spacing)
    if not (sform or qform):
        # nibabel's (and so MONAI's) reading of a file without orientation; the published weights were trained on it.
        affine = np.diag([-spacing[0], spacing[1], spacing[2], 1.0])
        affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
        return affine, (f"{name} stores no orientation (sform and qform codes are 0); left and right may be swapped.",)
    if not sform:
        return from_qform, ()
    reach = np.abs((from_sform - from_qform)[:3, :3]) @ (np.array(shape) - 1) + np.abs(from_sform - from_qform)[:3, 3]
    if qform and (reach > 0.1 * spacing.min()).any():
        return from_sform, (f"{name} has a qform that disagrees with its sform; the sform is used.",)
    return from_sform, ()


def _is_set(header: np.void, field: str, name: str) -> bool:
    """Programs disagree on what a code beyond the table means, and with it on left and right."""
    code = int(header[field])
    if not 0 <= code <= _LAST_CODE:
        raise VolumeError(f"{name} has {field} {code}; NIfTI knows 0 to {_LAST_CODE}, so export it again.")
    return code > 0


def _from_quaternion(header: np.void, spacing: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    b, c, d = (float(v) for v in header["quatern"])
    a = max(0.0, 1.0 - (b * b + c * c + d * d)) ** 0.5
    scale = 2.0 / (a * a + b * b + c * c + d * d)
    affine = np.eye(4)
    affine[:3, :3] = [
        [1 - scale * (c * c + d * d), scale * (b * c - d * a), scale * (b * d + c * a)],
        [scale * (b * c + d * a), 1 - scale * (b * b + d * d), scale * (c * d - b * a)],
        [scale * (b * d - c * a), scale * (c * d + b * a), 1 - scale * (b * b + c * c)],
    ]
    affine[:3, :3] *= spacing * (1, 1, -1 if header["pixdim"][0] < 0 else 1)
    affine[:3, 3] = header["qoffset"]
    return affine


def geometry_of(volume: Volume) -> NiftiGeometry:
    """The fields the scan came with where they still hold, else sform and the nearest qform, both 'scanner'."""
    stored = volume.stored_geometry
    if isinstance(stored, NiftiGeometry) and np.array_equal(stored.affine, volume.affine):
        return stored
    from scipy.spatial.transform import Rotation

    u, _, vt = np.linalg.svd(volume.affine[:3, :3] / volume.spacing_mm)
    rotation = u @ vt
    handedness = 1.0 if np.linalg.det(rotation) > 0 else -1.0
    rotation[:, 2] *= handedness
    b, c, d, a = Rotation.from_matrix(rotation).as_quat()
    sign = -1.0 if a < 0 else 1.0
    return NiftiGeometry(
        affine=volume.affine,
        pixdim=(handedness, *volume.spacing_mm),
        qform_code=1,
        sform_code=1,
        quatern=(sign * b, sign * c, sign * d),
        qoffset=tuple(volume.affine[:3, 3]),
        srow=tuple(tuple(row) for row in volume.affine[:3]),
    )
