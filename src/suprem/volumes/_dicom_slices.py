"""The header of one DICOM slice, and whether a set of slices is one regular stack."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from suprem.errors import DicomError, brief
from suprem.volumes._dicom_elements import lengths_fit

if TYPE_CHECKING:
    import SimpleITK as sitk  # noqa: N813 (its documented alias)

__all__ = ["Slice", "Stack", "read_slices", "stack_slices"]

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT_STORAGE = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
_MAX_SHEAR = 1e-3  # of the stack's length, for the sideways drift of slices
_GDCM_LOCK = threading.Lock()
_LOCALIZER = ("LOCALIZER", "LOCALISER", "SCOUT", "TOPOGRAM")


@dataclass(frozen=True)
class Slice:
    """What is needed to put one image file into a stack; texts are stripped, absent ones empty."""

    path: Path
    series_uid: str
    series_number: str
    series_description: str
    modality: str
    sop_class: str
    sop_uid: str
    image_type: str
    size: tuple[int, ...]
    components: int
    orientation: str
    position: str
    pixel_spacing: str
    rows: str
    columns: str
    slope: str
    intercept: str

    @property
    def is_localizer(self) -> bool:
        """A scout image, or one that is not a CT slice at all, such as a dose report."""
        marks = self.image_type.upper().split("\\")
        other = self.modality == "CT" and self.sop_class not in ("", CT_STORAGE, *ENHANCED_CT_STORAGE)
        return other or any(mark in marks for mark in _LOCALIZER)

    def numbers(self, text: str, count: int, what: str) -> tuple[float, ...]:
        """The finite numbers in a multi-valued text.

        Raises:
            DicomError: absent or malformed; the message names the file and ``what``.
        """
        try:
            values = tuple(float(v) for v in text.split("\\"))
        except ValueError:
            values = ()
        if len(values) != count or not np.isfinite(values).all():
            raise DicomError(f"{self.path} has no usable {what} ({brief(text)}); export the series again.")
        return values


@dataclass(frozen=True)
class Stack:
    """Slices in the order of their positions.

    Attributes:
        slices: ordered along the normal of the image plane.
        affine_lps: float64 (4, 4): (column, row, slice) index -> LPS millimetres.
    """

    slices: tuple[Slice, ...]
    affine_lps: npt.NDArray[np.float64]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Millimetres between columns, rows and slices."""
        x, y, z = np.linalg.norm(self.affine_lps[:3, :3], axis=0)
        return float(x), float(y), float(z)


def read_slices(files: list[Path]) -> tuple[list[Slice], list[Path], list[Path]]:
    """Headers of the DICOM images among ``files``; then DICOM files without an image; then all others.

    Raises:
        DicomError: a CT slice is damaged.
    """
    import SimpleITK as sitk  # noqa: N813

    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    slices: list[Slice] = []
    no_image: list[Path] = []
    foreign: list[Path] = []
    with _without_gdcm_warnings():
        for path in files:
            slice_ = _read_slice(reader, path)
            if slice_ is not None:
                slices.append(slice_)
            elif not has_dicom_mark(path):
                foreign.append(path)
            elif _claims_ct(path):
                raise DicomError(f"{path} is a CT slice that cannot be read, probably truncated; copy it again.")
            else:
                no_image.append(path)
    return slices, no_image, foreign


@contextmanager
def _without_gdcm_warnings() -> Iterator[None]:
    """GDCM prints a warning about every file that is not DICOM; its switch is global, hence the lock."""
    import SimpleITK as sitk  # noqa: N813

    with _GDCM_LOCK:
        shown = sitk.ProcessObject.GetGlobalWarningDisplay()
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
        try:
            yield
        finally:
            sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def has_dicom_mark(path: Path) -> bool:
    """The file carries the four letters of a DICOM file after its preamble."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _claims_ct(path: Path) -> bool:
    """The class named in the file's meta information is CT: losing the file would lose a slice."""
    with path.open("rb") as file:
        return CT_STORAGE.encode() + b"\0" in file.read(2048)


def _read_slice(reader: "sitk.ImageFileReader", path: Path) -> Slice | None:
    if not lengths_fit(path):
        return None
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None
    keys = set(reader.GetMetaDataKeys())

    def text(tag: str) -> str:
        if tag not in keys:
            return ""
        return str(reader.GetMetaData(tag)).encode("utf-8", "replace").decode().strip(" \0")

    return Slice(
        path=path,
        series_uid=text("0020|000e"),
        series_number=text("0020|0011"),
        series_description=text("0008|103e"),
        modality=text("0008|0060"),
        sop_class=text("0008|0016"),
        sop_uid=text("0008|0018"),
        image_type=text("0008|0008"),
        size=tuple(reader.GetSize()),
        components=int(reader.GetNumberOfComponents()),
        orientation=text("0020|0037"),
        position=text("0020|0032"),
        pixel_spacing=text("0028|0030"),
        rows=text("0028|0010"),
        columns=text("0028|0011"),
        slope=text("0028|1053"),
        intercept=text("0028|1052"),
    )


def stack_slices(slices: list[Slice], name: str) -> tuple[Stack, tuple[str, ...]]:
    """Orders slices by position and checks that they form one regular grid.

    Returns:
        The stack, and a warning for each exact copy of a slice that was left out.

    Raises:
        DicomError: slices differ in size, spacing or direction, or one is missing, doubled, or displaced.
    """
    slices, warnings = _without_copies(slices)
    _check_uniform(slices, name)
    first = slices[0]
    if len(slices) < 2:
        raise DicomError(f"{name} has a single slice ({first.path.name}); give the folder of a whole CT series.")
    cosines = np.array(first.numbers(first.orientation, 6, "ImageOrientationPatient")).reshape(2, 3)
    if not np.allclose(cosines @ cosines.T, np.eye(2), atol=1e-3):
        raise DicomError(f"{first.path} has an ImageOrientationPatient of non-perpendicular axes; export it again.")
    rows, columns = first.numbers(first.pixel_spacing, 2, "PixelSpacing")
    if min(rows, columns) <= 0:
        raise DicomError(
            f"{first.path} has PixelSpacing ({rows:g}, {columns:g}) mm; it must be positive. Export again."
        )
    normal = np.cross(cosines[0], cosines[1])
    positions = np.array([s.numbers(s.position, 3, "ImagePositionPatient") for s in slices])
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    ordered = tuple(slices[i] for i in order)
    step = _regular_step(along[order], ordered, name)
    _check_drift(positions[order], normal, min(rows, columns), name)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = cosines[0] * columns, cosines[1] * rows, normal * step
    affine[:3, 3] = positions[order[0]]
    return Stack(ordered, affine), warnings


def _without_copies(slices: list[Slice]) -> tuple[list[Slice], tuple[str, ...]]:
    kept: dict[str, Slice] = {}
    warnings = []
    for item in slices:
        twin = kept.setdefault(item.sop_uid or str(item.path), item)
        if twin is not item:
            warnings.append(f"{item.path} is a copy of {twin.path.name} and is ignored.")
    return list(kept.values()), tuple(warnings)


def _check_uniform(slices: list[Slice], name: str) -> None:
    first = slices[0]
    for item in slices:
        if item.sop_class in ENHANCED_CT_STORAGE or (len(item.size) > 2 and item.size[2] > 1):
            raise DicomError(
                f"{item.path} is an enhanced, multi-frame CT; convert it to NIfTI with dcm2niix and give that file."
            )
        if item.components != 1:
            raise DicomError(f"{item.path} is a colour image; remove it or choose the CT series by its number.")
        _check_values(item)
        for what, a, b in (
            ("size", first.size, item.size),
            ("PixelSpacing", first.pixel_spacing, item.pixel_spacing),
            ("ImageOrientationPatient", first.orientation, item.orientation),
        ):
            if a != b and not (isinstance(a, str) and isinstance(b, str) and _same_numbers(a, b)):
                raise DicomError(
                    f"{name} mixes slices of different {what}: {first.path.name} has {_shown(a)}, {item.path.name} "
                    f"has {_shown(b)}; put each stack into its own folder."
                )


def _check_values(item: Slice) -> None:
    """What GDCM takes as it comes: a size of several numbers, and a scaling to HU that loses them."""
    found = item.numbers(item.rows, 1, "Rows") + item.numbers(item.columns, 1, "Columns")
    if found != (item.size[1], item.size[0]):
        raise DicomError(
            f"{item.path} claims {found[0]:g} x {found[1]:g} pixels and has {_shown(item.size)}; export it again."
        )
    slope = item.numbers(item.slope, 1, "RescaleSlope")[0] if item.slope else 1.0
    if item.intercept:
        item.numbers(item.intercept, 1, "RescaleIntercept")
    if not slope:
        raise DicomError(f"{item.path} has RescaleSlope 0, which leaves no HU; export the series again.")


def _same_numbers(a: str, b: str) -> bool:
    try:
        x, y = ([float(v) for v in text.split("\\")] for text in (a, b))
    except ValueError:
        return False
    return len(x) == len(y) and bool(np.allclose(x, y, atol=1e-4))


def _shown(value: str | tuple[int, ...]) -> str:
    return brief(value.replace("\\", ", "))[1:-1] if isinstance(value, str) else " x ".join(str(v) for v in value[:2])


def _regular_step(along: npt.NDArray[np.float64], slices: tuple[Slice, ...], name: str) -> float:
    """The distance between neighbours, if it is the same everywhere (up to rounding of the stored positions)."""
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    doubled = int(np.argmin(gaps))
    if gaps[doubled] < max(1e-3, 0.01 * usual):
        raise DicomError(
            f"{name} has two slices at one position, {slices[doubled].path.name} and {slices[doubled + 1].path.name}; "
            "keep one of them (or one phase, if the series holds several)."
        )
    widest = int(np.argmax(gaps))
    if gaps[widest] > 1.75 * usual:
        raise DicomError(
            f"{name} misses slices: {gaps[widest]:g} mm lie between {slices[widest].path.name} and "
            f"{slices[widest + 1].path.name}, {usual:g} mm elsewhere; copy or export the whole series again."
        )
    step = float((along[-1] - along[0]) / (len(along) - 1))
    astray = np.abs(along - (along[0] + step * np.arange(len(along))))
    worst = int(np.argmax(astray))
    if astray[worst] > 0.1 * step:
        raise DicomError(
            f"{name} has irregular slice distances of {gaps.min():g} to {gaps.max():g} mm ({slices[worst].path.name} "
            f"is {astray[worst]:.2g} mm off an even grid); resample it, with dcm2niix or 3D Slicer, to even distances."
        )
    return step


def _check_drift(
    positions: npt.NDArray[np.float64], normal: npt.NDArray[np.float64], pixel_mm: float, name: str
) -> None:
    """Slices of a tilted gantry are displaced within their plane, so the stack is sheared."""
    path = positions[-1] - positions[0]
    sideways = path - (path @ normal) * normal
    drift = float(np.linalg.norm(sideways))
    if drift > max(_MAX_SHEAR * float(np.linalg.norm(path)), 0.1 * pixel_mm):
        angle = float(np.degrees(np.arctan2(drift, abs(float(path @ normal)))))
        raise DicomError(
            f"{name} was scanned with a gantry tilt of {angle:.1f} degrees, so its slices do not form a box; correct "
            "it with dcm2niix (its output named '_Tilt') or 3D Slicer and give the result."
        )
    straight = positions[0] + np.outer((positions - positions[0]) @ normal, normal)
    rest = np.linalg.norm(positions - straight, axis=1)
    if rest.max() > max(0.5 * pixel_mm, drift + 0.1 * pixel_mm):
        raise DicomError(f"{name} has slices that are shifted sideways by up to {rest.max():.2g} mm; export it again.")
