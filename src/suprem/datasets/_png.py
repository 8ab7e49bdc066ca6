"""Masks that are stored as one PNG per slice of a DICOM series."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suprem.datasets._templates import natural_key
from suprem.errors import VolumeError
from suprem.volumes.geometry import Volume

__all__ = ["read_mask_slices"]


def read_mask_slices(folder: Path, slices: Sequence[Path], ct: Volume) -> Volume:
    """The masks of a folder, stacked like the slices of the CT.

    Images and masks are paired by the natural order of their file names, and the pairs then put in the order of the
    CT: the names follow neither each other nor the position.

    Args:
        folder: Holds one PNG per slice, with the rows and columns of the DICOM image.
        slices: The DICOM files in the order in which the CT stacks them.
        ct: The CT, (columns, rows, slices).

    Returns:
        uint8 or uint16 on the grid of ``ct``.

    Raises:
        VolumeError: another number of masks than slices, another size, colours, or a file that cannot be read.
    """
    paths = [path for path in folder.iterdir() if path.suffix.lower() == ".png" and not path.name.startswith(".")]
    if len(paths) != len(slices):
        raise VolumeError(
            f"{folder} holds {len(paths)} PNG masks for the {len(slices)} slices of {ct.name}, so they cannot be "
            "paired. Copy the case again, or exclude it."
        )
    masks = sorted(paths, key=lambda path: natural_key(path.name))
    images = sorted(slices, key=lambda path: natural_key(path.name))
    mask_of = dict(zip(images, masks, strict=True))
    columns, rows, _ = ct.shape
    stack = [_read(mask_of[path], (columns, rows)) for path in slices]
    return Volume(np.stack(stack).T, ct.affine, str(folder))


def _read(path: Path, size: tuple[int, int]) -> npt.NDArray[Any]:
    """(rows, columns); the size is compared before memory is allocated."""
    import SimpleITK as sitk  # noqa: N813

    reader = sitk.ImageFileReader()
    reader.SetImageIO("PNGImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        found, components = tuple(reader.GetSize()), reader.GetNumberOfComponents()
        if found[:2] != size:
            raise VolumeError(f"{path} has {found[0]} x {found[1]} pixels, its CT slice {size[0]} x {size[1]}.")
        if components != 1:
            raise VolumeError(f"{path} has {components} values per pixel (colour?); a grey mask is needed.")
        image = reader.Execute()
    except RuntimeError as error:
        raise VolumeError(f"{path} cannot be read ({str(error).strip().splitlines()[-1]}); copy it again.") from error
    return np.asarray(sitk.GetArrayFromImage(image)).reshape(size[1], size[0])
