"""Brings a case onto the grid of a store: one orientation, one spacing, one range of intensities."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from suprem.datasets._reading import SourceCase
from suprem.errors import VolumeError
from suprem.volumes.geometry import (
    Array,
    Volume,
    nearest_index,
    resample_linear,
    resampled_affine,
    resampled_shape,
    to_ras,
)
from suprem.volumes.store import StoreSettings

__all__ = ["harmonise"]

_SAME_STEP = 1e-5
"""Spacings that differ by less come from rounding in a header; over 1,000 voxels it shifts by 1% of a voxel."""


def harmonise(case: SourceCase, settings: StoreSettings) -> SourceCase:
    """The case in RAS at the store's spacing, CT as int16 HU; both are resampled onto the very same grid.

    The CT is interpolated linearly, labels take the nearest voxel; first voxel centres stay where they are.

    Args:
        case: As read.
        settings: Spacing, ``None`` to keep the scan's own, and the range to which HU are clipped.

    Raises:
        VolumeError: CT and labels do not lie on the same grid.

    Example:
        >>> ct = Volume(np.full((4, 4, 4), 5000, np.int16), np.diag([2.0, 2.0, 2.0, 1.0]))
        >>> stored = harmonise(SourceCase(ct, None), StoreSettings((1.0, 1.0, 1.0))).ct
        >>> stored.shape, int(stored.array.max())
        ((7, 7, 7), 3071)
    """
    ct = to_ras(case.ct)[0]
    labels = case.labels
    _check(ct, labels.volume if labels else None)
    if settings.spacing_mm is None:
        affine, shape, steps = ct.affine, ct.shape, (1.0, 1.0, 1.0)
    else:
        affine = resampled_affine(ct.affine, settings.spacing_mm)
        shape = resampled_shape(ct.shape, ct.spacing_mm, settings.spacing_mm)
        x, y, z = (_step(t / s) for t, s in zip(settings.spacing_mm, ct.spacing_mm, strict=True))
        steps = (x, y, z)
    kept = shape == ct.shape and steps == (1.0, 1.0, 1.0)
    hu = ct.array if kept else resample_linear(ct.array, shape, steps)
    image = Volume(_whole(hu, settings.hu_range), affine, ct.name, ct.warnings)
    if labels is None:
        return SourceCase(image, None)
    array = labels.volume.array if kept else _nearest(labels.volume.array, shape, steps)
    moved = Volume(np.ascontiguousarray(array), affine, labels.volume.name)
    _check(image, moved)
    before, after = (labels.structures_in(a) for a in (labels.volume.array, moved.array))
    lost = tuple(f"{name}: too small for this spacing, no voxel is left" for name in sorted(before - after))
    return SourceCase(image, replace(labels, volume=moved, flags=(*labels.flags, *lost)))


def _step(ratio: float) -> float:
    return 1.0 if abs(ratio - 1.0) < _SAME_STEP else float(ratio)


def _nearest(array: Array, shape: tuple[int, int, int], steps: tuple[float, float, float]) -> Array:
    index = (nearest_index(n_in, n_out, step) for n_in, n_out, step in zip(array.shape, shape, steps, strict=True))
    return array[np.ix_(*index)]


def _whole(hu: Array, hu_range: tuple[int, int]) -> npt.NDArray[np.int16]:
    """int16, clipped and rounded plane by plane: a float copy of the whole scan would be twice its size."""
    result = np.empty(hu.shape, dtype=np.int16)
    for plane, out in zip(hu, result, strict=True):
        clipped = np.clip(plane.astype(np.float32), *hu_range)
        out[...] = np.rint(clipped)
    return result


def _check(ct: Volume, labels: Volume | None) -> None:
    if labels is None:
        return
    if labels.shape != ct.shape or not np.allclose(labels.affine, ct.affine, rtol=0, atol=1e-4):
        raise VolumeError(
            f"{labels.name} has {labels.shape} voxels in RAS and its CT {ct.name} has {ct.shape}, or their affines "
            "differ; read them together."
        )
