"""Checks of the grid: orientation, obliqueness, voxel size."""

from collections.abc import Iterator

import numpy as np

from suprem.volumes._scan_look import Look
from suprem.volumes._scan_table import SCAN_CHECKS
from suprem.volumes.symptoms import Symptom

__all__ = ["grid_symptoms"]

_OBLIQUE_DEGREES = 5.0
_LEAST_MM, _MOST_MM = 0.15, 20.0
_PIXEL_MM, _SLICE_MM = 5.0, 8.0
_LEAST_FIELD_MM, _MOST_FIELD_MM = 60.0, 2500.0


def grid_symptoms(look: Look) -> Iterator[Symptom]:
    """Symptoms that the header alone shows."""
    scan = look.scan
    for text in scan.warnings:
        yield Symptom.of(SCAN_CHECKS, "reading", text)
    if np.linalg.det(scan.affine[:3, :3]) < 0:
        yield Symptom.of(SCAN_CHECKS, "left-handed", f"The index axes {scan.orientation} are left-handed.")
    angle = _tilt_degrees(scan.affine)
    if angle > _OBLIQUE_DEGREES:
        yield Symptom.of(
            SCAN_CHECKS, "oblique", f"An index axis is turned by {angle:.0f} degrees against the patient's axes."
        )
    yield from _spacing(look)


def _tilt_degrees(affine: np.ndarray) -> float:
    """The largest angle between an index axis and the patient axis closest to it."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.degrees(np.arccos(np.clip(np.abs(directions).max(axis=0), 0, 1))).max())


def _spacing(look: Look) -> Iterator[Symptom]:
    smallest, middle, largest = sorted(look.spacing_mm)
    shown = " x ".join(f"{size:.3g}" for size in look.spacing_mm) + " mm"
    field = [size * count for size, count in zip(look.spacing_mm, look.array.shape, strict=True)]
    if smallest < _LEAST_MM or largest > _MOST_MM:
        yield Symptom.of(SCAN_CHECKS, "spacing", f"Voxels measure {shown}, which no CT of a patient has.")
    elif sorted(field)[1] < _LEAST_FIELD_MM or max(field) > _MOST_FIELD_MM:
        size = " x ".join(f"{length:.0f}" for length in field)
        yield Symptom.of(SCAN_CHECKS, "spacing", f"The scan measures {size} mm, which no CT of a patient does.")
    elif middle > _PIXEL_MM or largest > _SLICE_MM:
        limits = f"{_PIXEL_MM:g} mm within and {_SLICE_MM:g} mm between slices"
        yield Symptom.of(SCAN_CHECKS, "coarse", f"Voxels measure {shown}; more than {limits} is coarse.")
