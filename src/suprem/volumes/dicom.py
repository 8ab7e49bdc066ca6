"""DICOM folders: which CT series they hold, and one of them as a volume."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from suprem.errors import DicomError
from suprem.volumes._claims import MAX_VOXELS, check_claim
from suprem.volumes._dicom_slices import Slice, Stack, has_dicom_mark, read_slices, stack_slices
from suprem.volumes.geometry import Array, Volume

__all__ = ["Series", "is_dicom_folder", "list_series", "read_series", "select_series"]

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_NOT_DICOM = (".nii", ".gz", ".nrrd", ".mha", ".mhd", ".json", ".csv", ".txt", ".png", ".jpg", ".xml", ".zip")


@dataclass(frozen=True)
class Series:
    """One series of a DICOM folder.

    Attributes:
        uid: SeriesInstanceUID.
        number: SeriesNumber as text, empty if absent.
        description: SeriesDescription, empty if absent.
        modality: ``"CT"``, ``"MR"``...
        files: its images, without localizers; in file name order until the series is read.
        localizers: scout images and screenshots that share the series.
    """

    uid: str
    number: str
    description: str
    modality: str
    files: tuple[Path, ...]
    localizers: tuple[Path, ...] = ()

    def __str__(self) -> str:
        number = self.number or "without number"
        return f"{number} {self.description!r} ({self.modality}, {len(self.files)} images, uid {self.uid})"


def _visible_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))


def is_dicom_folder(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` is a folder that directly holds a DICOM file."""
    folder = Path(path)
    if not folder.is_dir():
        return False
    files = (p for p in _visible_files(folder) if p.suffix.lower() not in _NOT_DICOM)
    return any(p.suffix.lower() in (".dcm", ".ima") or has_dicom_mark(p) for p in files)


def list_series(folder: str | os.PathLike[str]) -> tuple[Series, ...]:
    """All series with images in a DICOM folder, of any modality, ordered by number; sub-folders are not entered.

    Raises:
        DicomError: the folder holds no DICOM image.
    """
    return tuple(_as_series(group) for group in _grouped(Path(folder))[0])


def _as_series(slices: list[Slice]) -> Series:
    first = slices[0]
    return Series(
        first.series_uid,
        first.series_number,
        first.series_description,
        first.modality,
        tuple(s.path for s in slices if not s.is_localizer),
        tuple(s.path for s in slices if s.is_localizer),
    )


def _grouped(folder: Path) -> tuple[list[list[Slice]], tuple[str, ...]]:
    files = _visible_files(folder)
    slices, no_image, foreign = read_slices(files)
    if not slices:
        inside = sorted(p.name for p in folder.iterdir() if p.is_dir() and is_dicom_folder(p))
        hint = f"; its sub-folders do, so give one of them: {_some(inside)}" if inside else ""
        what = "is empty" if not files and not inside else "holds no DICOM image"
        raise DicomError(f"{folder} {what}{hint or '; check the path'}.")
    warnings = []
    if foreign:
        warnings.append(f"{folder} holds {len(foreign)} files that are not DICOM, ignored: {_names(foreign)}.")
    other = [p for p in no_image if p.name.upper() != "DICOMDIR"]
    if other:
        warnings.append(f"{folder} holds {len(other)} DICOM files without a readable image, ignored: {_names(other)}.")
    groups: dict[str, list[Slice]] = {}
    for item in slices:
        groups.setdefault(item.series_uid, []).append(item)
    ordered = sorted(groups.values(), key=lambda g: (len(g[0].series_number), g[0].series_number, g[0].series_uid))
    return ordered, tuple(warnings)


def _some(texts: Iterable[str], limit: int = 5) -> str:
    texts = list(texts)
    return ", ".join(texts[:limit]) + (f" and {len(texts) - limit} more" if len(texts) > limit else "")


def _names(paths: Iterable[Path]) -> str:
    return _some(p.name for p in paths)


def select_series(folder: str | os.PathLike[str], series: str | int | None = None) -> Series:
    """The CT series to read: the only one, or the one that ``series`` names; its files ordered by position.

    Args:
        folder: Holds the files directly.
        series: UID, number, or description (upper and lower case are equal).

    Raises:
        DicomError: no CT, none or several that fit, or the slices are not one regular stack.
    """
    stack, chosen, _ = _select(Path(folder), series)
    return Series(
        chosen.uid,
        chosen.number,
        chosen.description,
        chosen.modality,
        tuple(s.path for s in stack.slices),
        chosen.localizers,
    )


def _select(folder: Path, wanted: str | int | None) -> tuple[Stack, Series, tuple[str, ...]]:
    groups, warnings = _grouped(folder)
    listed = [_as_series(group) for group in groups]
    chosen = _matching(folder, listed, wanted)
    if chosen.modality != "CT":
        raise DicomError(f"{folder} holds {chosen.modality or 'unknown'} images, series {chosen}; a CT is needed.")
    slices = next(g for g in groups if g[0].series_uid == chosen.uid)
    stack, copies = stack_slices([s for s in slices if not s.is_localizer], str(folder))
    left = [s for s in listed if s is not chosen and s.files]
    if left and wanted is None:
        warnings = (*warnings, f"{folder} holds other series, ignored: {'; '.join(str(s) for s in left)}.")
    scouts = [p for s in listed if s is chosen or not s.files for p in s.localizers]
    if scouts:
        warnings = (*warnings, f"{folder} holds {len(scouts)} localizers or screenshots, ignored: {_names(scouts)}.")
    return stack, chosen, (*warnings, *copies)


def _matching(folder: Path, listed: list[Series], wanted: str | int | None) -> Series:
    usable = [s for s in listed if s.files]
    if not usable:
        raise DicomError(f"{folder} holds only localizers: {_names(listed[0].localizers)}; give the CT series itself.")
    if wanted is not None:
        text = str(wanted).strip()
        found = [s for s in usable if text in (s.uid, s.number) or text.lower() == s.description.lower()]
        if len(found) == 1:
            return found[0]
        what = "no series that fits" if not found else f"{len(found)} series that fit"
        raise DicomError(f"{folder} has {what} {text!r}; choose one by its uid: {_listing(found or usable)}.")
    scans = [s for s in usable if s.modality == "CT"]
    if len(scans) > 1:
        # A single image is a forgotten scout, not a scan, where there are real stacks beside it.
        scans = [s for s in scans if len(s.files) > 1] or scans
    if len(scans) > 1:
        raise DicomError(f"{folder} holds {len(scans)} CT series; choose one with series=: {_listing(scans)}.")
    return (scans or usable)[0]


def _listing(series: list[Series]) -> str:
    return "; ".join(f"{s}{_spacing(s)}" for s in series)


def _spacing(series: Series) -> str:
    """The spacing for a listing, left out where the series is not a regular stack."""
    try:
        stack, _ = stack_slices(read_slices(list(series.files))[0], series.uid)
    except DicomError:
        return ""
    return ", {:.3g} x {:.3g} x {:.3g} mm".format(*stack.spacing_mm)


def read_series(
    folder: str | os.PathLike[str], *, series: str | int | None = None, max_voxels: int = MAX_VOXELS
) -> Volume:
    """One CT series as a volume in HU; each slice with its own rescale slope and intercept.

    Returns:
        Array (columns, rows, slices) in the smallest of int16, int32, float32 and float64 that holds every value.

    Raises:
        DicomError: see :func:`select_series`; or a slice cannot be decoded.
    """
    path = Path(folder)
    stack, _, warnings = _select(path, series)
    columns, rows = stack.slices[0].size[:2]
    shape = (len(stack.slices), rows, columns)
    # Slices may be compressed by any factor, so only the number of voxels can be judged here.
    check_claim(str(path), shape, 0, 0, compressed=True, max_voxels=max_voxels)
    array: Array = np.zeros(shape, dtype=np.int16)
    for index, item in enumerate(stack.slices):
        pixels = _pixels(item)
        array = array.astype(np.promote_types(array.dtype, _smallest(pixels)), copy=False)
        array[index] = pixels
    return Volume(array.T, _LPS_TO_RAS @ stack.affine_lps, str(path), warnings=warnings)


def _pixels(item: Slice) -> Array:
    """(rows, columns) in HU."""
    import SimpleITK as sitk  # noqa: N813

    try:
        image = sitk.ReadImage(str(item.path), imageIO="GDCMImageIO")
    except RuntimeError as error:
        raise DicomError(
            f"{item.path} cannot be decoded: it is truncated, or compressed in a way that is not supported. Copy it "
            "again, or decompress it with gdcmconv --raw."
        ) from error
    return np.asarray(sitk.GetArrayFromImage(image)).reshape(image.GetHeight(), image.GetWidth())


def _smallest(pixels: Array) -> np.dtype[np.generic]:
    if pixels.dtype.kind == "f":
        return np.dtype(np.float32)
    for kind in (np.int16, np.int32):
        limits = np.iinfo(kind)
        if limits.min <= pixels.min() and pixels.max() <= limits.max:
            return np.dtype(kind)
    return np.dtype(np.float64)
