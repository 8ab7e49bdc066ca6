"""Images in and out: NIfTI, NRRD, MetaImage and DICOM folders.

This is the only place where SimpleITK's LPS ``(z, y, x)`` meets the package's RAS ``(X, Y, Z)``.
"""

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from suprem._files import atomic_path
from suprem.errors import ConfigurationError, VolumeError
from suprem.volumes._claims import MAX_VOXELS, check_dimensions, check_metaimage, check_nrrd
from suprem.volumes._nifti import read_nifti, write_nifti
from suprem.volumes.geometry import Array, Volume

if TYPE_CHECKING:
    import SimpleITK as sitk  # noqa: N813 (its documented alias)

__all__ = ["IMAGE_SUFFIXES", "LPS_TO_RAS", "MAX_VOXELS", "image_suffix", "read_ct", "read_itk_image", "read_volume"]
__all__ += ["write_volume"]

_log = logging.getLogger(__name__)

#: File name endings that can be read and written.
IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")

#: Changes the signs between the two frames; its own inverse.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

_MAX_SHEAR = 1e-3


def image_suffix(path: str | os.PathLike[str]) -> str | None:
    """The ending of ``path`` among :data:`IMAGE_SUFFIXES`, in lower case, or ``None``.

    Example:
        >>> image_suffix("scans/A.NII.GZ")
        '.nii.gz'
    """
    name = os.fspath(path).lower()
    return next((suffix for suffix in IMAGE_SUFFIXES if name.endswith(suffix)), None)


def read_volume(
    path: str | os.PathLike[str], *, series: str | int | None = None, max_voxels: int = MAX_VOXELS
) -> Volume:
    """Reads an image file or a DICOM folder as stored: no value is changed except by the file's own rescaling.

    What the header claims is checked against the file's size before memory is allocated. Non-perpendicular axes beyond
    rounding (cosine 0.001) are refused: no step of the package can handle a sheared grid.

    Args:
        path: ``.nii``, ``.nii.gz``, ``.nrrd``, ``.mha``, ``.mhd`` or a folder with one DICOM CT series.
        series: DICOM only: UID, number or description of the series, where the folder holds several.
        max_voxels: Larger images are refused.

    Returns:
        The image: array (X, Y, Z) on its own index axes, affine to RAS millimetres, warnings.

    Raises:
        VolumeError: the file is missing, damaged, or not one scalar three-dimensional image.
        DicomError: the folder does not hold one complete, regular CT series, or ``series`` does not choose one.
    """
    source = Path(path)
    name = str(source)
    try:
        if source.is_dir():
            from suprem.volumes.dicom import read_series

            return _checked(read_series(source, series=series, max_voxels=max_voxels))
        if series is not None:
            raise ConfigurationError(f"series={series!r} was given, but {name} is not a DICOM folder; leave it out.")
        return _checked(_read_file(source, name, max_voxels))
    except OSError as error:
        raise VolumeError(f"{name} cannot be read: {error.strerror or error}; check the path.") from error
    except MemoryError as error:
        raise VolumeError(f"{name} does not fit into memory; crop it or use a larger machine.") from error


def _read_file(source: Path, name: str, max_voxels: int) -> Volume:
    if not source.exists():
        raise VolumeError(f"{name} does not exist; check the path.")
    if source.stat().st_size == 0:
        raise VolumeError(f"{name} is empty; copy or export it again.")
    suffix = image_suffix(source)
    if suffix is None:
        hint = " Give the folder of a DICOM series, not one of its files." if source.suffix.lower() == ".dcm" else ""
        raise VolumeError(f"{name} is not an image that is read ({', '.join(IMAGE_SUFFIXES)}, DICOM folder).{hint}")
    if suffix in (".nii", ".nii.gz"):
        return read_nifti(source, name, max_voxels)
    _check_header(source, name, max_voxels)
    return _read_itk(source, name)


def _check_header(path: Path, name: str, max_voxels: int) -> None:
    check = check_nrrd if image_suffix(path) == ".nrrd" else check_metaimage
    check(path, name, max_voxels)


def _read_itk(source: Path, name: str) -> Volume:
    image = _itk_image(source, name)
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise VolumeError(
            f"{name} has {image.GetNumberOfComponentsPerPixel()} values per voxel (colour?); export it as grey values."
        )
    check_dimensions(name, image.GetSize())
    while image.GetDimension() > 3:
        image = image[..., 0]
    return from_itk(image, name)


def _itk_image(source: Path, name: str) -> "sitk.Image":
    import SimpleITK as sitk  # noqa: N813

    try:
        return sitk.ReadImage(str(source))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise VolumeError(f"{name} cannot be read ({reason}); export it again.") from error


def read_itk_image(source: Path) -> tuple[Array, npt.NDArray[np.float64], dict[str, str]]:
    """An image whose claims were checked, with all of its components and header fields.

    Returns:
        (X, Y, Z), or (C, X, Y, Z) where a voxel has several values; affine to RAS mm; the fields.

    Raises:
        VolumeError: damaged, or not three-dimensional.
    """
    import SimpleITK as sitk  # noqa: N813

    image = _itk_image(source, str(source))
    if image.GetDimension() != 3:
        raise VolumeError(f"{source} has {image.GetDimension()} spatial axes; save a three-dimensional image.")
    # A name that is not UTF-8 comes with surrogates, and SimpleITK does not take it back.
    keys = [key for key in image.GetMetaDataKeys() if key == key.encode("utf-8", "replace").decode()]
    facts = {key: image.GetMetaData(key) for key in keys}
    return sitk.GetArrayFromImage(image).T, _itk_affine(image), facts


def _itk_affine(image: "sitk.Image") -> npt.NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    result: npt.NDArray[np.float64] = LPS_TO_RAS @ affine
    return result


def from_itk(image: "sitk.Image", name: str) -> Volume:
    """A scalar 3-D SimpleITK image as a volume (a copy: views of SimpleITK's memory do not keep it alive)."""
    import SimpleITK as sitk  # noqa: N813

    if min(image.GetSpacing()) <= 0:
        raise VolumeError(f"{name} has spacing {image.GetSpacing()} mm; spacing must be positive. Export it again.")
    return Volume(sitk.GetArrayFromImage(image).T, _itk_affine(image), name)


def to_itk(volume: Volume) -> "sitk.Image":
    """The volume as a SimpleITK image (a copy)."""
    import SimpleITK as sitk  # noqa: N813

    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.array.T))
    affine = LPS_TO_RAS @ volume.affine
    image.SetSpacing(volume.spacing_mm)
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / volume.spacing_mm).ravel().tolist())
    return image


def _checked(volume: Volume) -> Volume:
    directions = volume.affine[:3, :3] / volume.spacing_mm
    shear = np.abs(np.triu(directions.T @ directions, 1)).max()
    if shear > _MAX_SHEAR:
        raise VolumeError(
            f"{volume.name} has sheared axes (the cosine between two of them is {shear:.4f}, not 0), as after gantry "
            "tilt or an affine registration; resample it to perpendicular axes first."
        )
    for warning in volume.warnings:
        _log.warning(warning)
    return volume


def read_ct(path: str | os.PathLike[str], *, series: str | int | None = None, max_voxels: int = MAX_VOXELS) -> Volume:
    """Reads a CT in HU: like :func:`read_volume`, and checks that it can be one.

    Returns:
        Array (X, Y, Z), int16 where all values are whole numbers that fit (nearly every CT), float32 otherwise.

    Raises:
        VolumeError: also for a single slice, a constant image, and NaN or infinite intensities.
    """
    volume = read_volume(path, series=series, max_voxels=max_voxels)
    if min(volume.shape) < 2:
        raise VolumeError(f"{volume.name} has shape {volume.shape}, a single slice; a three-dimensional CT is needed.")
    array = _compact(volume.array, volume.name)
    low, high = float(array.min()), float(array.max())
    if low == high:
        raise VolumeError(f"{volume.name} has the value {low:g} in every voxel; export the scan again.")
    warnings = volume.warnings
    if low >= 0:
        text = f"{volume.name} has no value below 0; a CT in HU has air near -1000, so check its rescaling."
        _log.warning(text)
        warnings = (*warnings, text)
    return replace(volume, array=array, warnings=warnings)


def _compact(array: Array, name: str) -> Array:
    """int16 if nothing is lost by it, else float32; refuses what neither can hold. Looks at one slab at a time."""
    slabs = [array[:, :, z : z + 16] for z in range(0, array.shape[2], 16)]
    limits, largest = np.iinfo(np.int16), np.finfo(np.float32).max
    if array.dtype.kind == "f":
        bad = sum(int(np.count_nonzero(~(np.abs(slab) <= largest))) for slab in slabs)
        if bad:
            raise VolumeError(
                f"{name} has {bad} voxels that are NaN, infinite or beyond {largest:.2g}; replace them, with -1024 "
                "(air) for example."
            )
    fits = all(
        slab.min() >= limits.min
        and slab.max() <= limits.max
        and (array.dtype.kind in "iu" or bool((slab == np.rint(slab)).all()))
        for slab in slabs
    )
    return array.astype(np.int16 if fits else np.float32, copy=False)


def write_volume(volume: Volume, path: str | os.PathLike[str], *, description: str = "") -> None:
    """Writes ``.nii.gz``, ``.nii``, ``.nrrd`` or ``.mha``, completely or not at all.

    Args:
        volume: What to write; a boolean array becomes uint8.
        path: Where to; the ending decides the format. Missing folders are made, an existing file is replaced.
        description: Stored in the header (NIfTI ``descrip``, 79 characters at most).

    Raises:
        ConfigurationError: the ending is not one that is written.
        OutputError: the disk is full, or the place cannot be written.
        VolumeError: the array's dtype cannot be stored.
    """
    target = Path(path)
    suffix = image_suffix(target)
    if suffix is None or suffix == ".mhd":
        raise ConfigurationError(f"{target} has an ending that is not written; use .nii.gz, .nii, .nrrd or .mha.")
    dtype = np.dtype(np.uint8) if volume.array.dtype == np.bool_ else volume.array.dtype
    if dtype.kind not in "iuf" or (dtype.kind == "f" and dtype.itemsize not in (4, 8)):
        raise VolumeError(f"{target} cannot hold {dtype} voxels; convert them to int16, uint8 or float32.")
    stored = replace(volume, array=volume.array.astype(dtype.newbyteorder("="), copy=False))
    with atomic_path(target) as temporary:
        if suffix in (".nii", ".nii.gz"):
            write_nifti(stored, temporary, description, compress=suffix == ".nii.gz")
        else:
            _write_itk(stored, temporary, description)


def _write_itk(volume: Volume, path: Path, description: str) -> None:
    import SimpleITK as sitk  # noqa: N813

    image = to_itk(volume)
    if description:
        image.SetMetaData("description", description)
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise OSError(str(error).strip().splitlines()[-1]) from error
    try:
        _check_header(path, str(path), MAX_VOXELS)
    except VolumeError as error:
        raise OSError("the file is incomplete, probably because the disk is full") from error
