"""Labels and their CT lie on one grid, or an error says why not."""

import logging

from suprem.errors import VolumeError
from suprem.volumes.geometry import Volume, corner_distance_mm, to_ras

__all__ = ["TRUSTED", "same_grid"]

logger = logging.getLogger(__name__)

TRUSTED = "the affine of the labels was another one; voxels of equal index were taken to belong together"
"""What is noted with a case when that was allowed."""

_TOLERANCE = 0.1
"""Fraction of a voxel by which the corners of two grids may differ and still be the same."""


def same_grid(labels: Volume, ct: Volume, *, trust_grid: bool = False) -> tuple[Volume, Volume]:
    """Both in RAS, after checking that voxels of equal index lie in the same place.

    Args:
        labels: Label map or mask, in any orientation.
        ct: The scan it belongs to, in any orientation.
        trust_grid: Where only the affines disagree, take voxels of equal stored index to belong together.

    Returns:
        Labels and CT with the same shape and the CT's affine; the labels carry a warning if they were trusted.

    Raises:
        VolumeError: the shapes differ, or the affines do and ``trust_grid`` is not set.
    """
    upright, scan = to_ras(labels)[0], to_ras(ct)[0]
    tolerance = _TOLERANCE * min(scan.spacing_mm)
    if upright.shape == scan.shape and corner_distance_mm(upright, scan) <= tolerance:
        return Volume(upright.array, scan.affine, labels.name), scan
    if upright.shape != scan.shape and labels.shape != ct.shape:
        raise VolumeError(
            f"{labels.name} has {upright.shape} voxels in RAS, its CT {ct.name} has {scan.shape}; they do not belong "
            "together. Check the file names, or exclude the case."
        )
    if labels.shape != ct.shape or not trust_grid:
        apart = corner_distance_mm(upright, scan) if upright.shape == scan.shape else corner_distance_mm(labels, ct)
        trusting = " If voxels of equal index belong together all the same, say so with trust_grid."
        raise VolumeError(
            f"The affines of {labels.name} and its CT {ct.name} put equal voxels up to {apart:.1f} mm apart. Correct "
            f"the header, or exclude the case.{trusting if labels.shape == ct.shape else ''}"
        )
    logger.warning("%s: its affine differs from that of %s; the index grid is trusted.", labels.name, ct.name)
    trusted = to_ras(Volume(labels.array, ct.affine, labels.name))[0].array
    return Volume(trusted, scan.affine, labels.name, warnings=(TRUSTED,)), scan
