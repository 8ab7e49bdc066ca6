"""Reads one case of a dataset: its CT, and its labels in the palette that all datasets share."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from suprem.datasets._labels import HarmonisedLabels, harmonise_labels, harmonise_masks
from suprem.datasets._layout import CaseFiles
from suprem.datasets._png import read_mask_slices
from suprem.datasets._spec import DatasetSpec
from suprem.errors import VolumeError
from suprem.volumes.dicom import select_series
from suprem.volumes.geometry import Volume, to_ras
from suprem.volumes.io import read_ct, read_volume

__all__ = ["SourceCase", "read_case"]


@dataclass(frozen=True, eq=False)
class SourceCase:
    """A case as it was published.

    Attributes:
        ct: HU (X, Y, Z), on the index axes of the file.
        labels: palette indices in RAS, otherwise on the grid of the CT; ``None`` without annotation.
    """

    ct: Volume
    labels: HarmonisedLabels | None


def read_case(spec: DatasetSpec, files: CaseFiles, *, trust_grid: bool = False) -> SourceCase:
    """Reads the CT and the labels of a case.

    Args:
        spec: The dataset, as found in its folder (see :meth:`DatasetSpec.at`).
        files: One of its cases.
        trust_grid: Where only the affines of CT and labels disagree, take voxels of equal index to belong together.

    Raises:
        VolumeError: a file is missing or damaged, or CT and labels do not lie on the same grid.
        DicomError: the folder does not hold one complete CT series.
        LabelSpaceError: a label has a value that the dataset's numbering does not know.
    """
    ct = read_ct(files.image)
    if files.label_map is None:
        return SourceCase(ct, None)
    label_map = spec.label_map(files.label_map)
    if files.label_format == "masks":
        return SourceCase(ct, harmonise_masks(_masks(files), ct, label_map, trust_grid=trust_grid))
    if files.label is None:
        return SourceCase(ct, None)
    if files.label_format == "png":
        labels = read_mask_slices(files.label, select_series(files.image).files, ct)
    else:
        labels = _placed(read_volume(files.label), ct, files)
    return SourceCase(ct, harmonise_labels(labels, ct, label_map, trust_grid=trust_grid))


def _masks(files: CaseFiles) -> Iterator[tuple[str, Volume]]:
    for name, path in files.masks.items():
        yield name, read_volume(path)


def _placed(labels: Volume, ct: Volume, files: CaseFiles) -> Volume:
    """The labels where they belong: the headers of two of the label sets of Pancreas-CT are known to be wrong."""
    if files.dataset != "pancreas_ct" or files.image_format != "dicom":
        return labels
    if files.variant == "official":
        # Right axes, wrong origin.
        upright, scan = to_ras(labels)[0], to_ras(ct)[0]
    else:
        # Voxels in the order of the DICOM pixels and of rising position; the header counts for nothing.
        upright, scan = labels, _rising(ct)
    if upright.shape != scan.shape:
        raise VolumeError(
            f"{labels.name} has {upright.shape} voxels and its CT {ct.name} {scan.shape}; they do not belong together. "
            "Check that image and label are of the same case and release."
        )
    return replace(upright, affine=scan.affine, stored_geometry=None)


def _rising(ct: Volume) -> Volume:
    """The CT with slices ordered from the feet to the head."""
    step = ct.affine[:3, 2]
    if step[2] > 0:
        return ct
    affine = ct.affine.copy()
    affine[:3, 2] = -step
    affine[:3, 3] += step * (ct.shape[2] - 1)
    return Volume(np.flip(ct.array, 2), affine, ct.name)
