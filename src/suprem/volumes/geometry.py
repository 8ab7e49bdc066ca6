"""Grids in space: orientation, spacing, and resampling along the axes.

Arrays are ``(X, Y, Z)``; an affine maps indices to millimetres in RAS (right, anterior, superior). The conversion from
SimpleITK's LPS ``(z, y, x)`` happens in :mod:`suprem.volumes.io` and nowhere else.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from suprem.errors import VolumeError

__all__ = [
    "Reorientation",
    "Volume",
    "corner_distance_mm",
    "nearest_index",
    "resample_linear",
    "resampled_affine",
    "resampled_shape",
    "same_grid",
    "to_ras",
]

Array = npt.NDArray[Any]
_SAME = 0.1  # of a voxel
_AXIS_CODES = (("L", "R"), ("P", "A"), ("I", "S"))


@dataclass(frozen=True, eq=False)
class Volume:
    """A scan or a label map on its grid.

    Attributes:
        array: (X, Y, Z), any dtype; intensities are HU for a CT.
        affine: float64 (4, 4), index -> RAS millimetres. May be oblique or left-handed, never singular.
        name: what messages call it, usually the file's path.
        warnings: what a user should know about how it was read; each a sentence.
        stored_geometry: the file format's own orientation record, which :func:`suprem.volumes.io.write_volume` writes
            again, digit for digit, as long as it means ``affine``.
    """

    array: Array
    affine: npt.NDArray[np.float64]
    name: str = "volume"
    warnings: tuple[str, ...] = ()
    stored_geometry: object = None

    def __post_init__(self) -> None:
        if self.array.ndim != 3:
            raise VolumeError(
                f"{self.name} has shape {self.array.shape}; one three-dimensional image is needed. "
                "Split it into single volumes."
            )
        if 0 in self.array.shape:
            raise VolumeError(f"{self.name} has shape {self.array.shape}, without a single voxel; export it again.")
        if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all():
            raise VolumeError(f"{self.name} has no usable affine: {self.affine.tolist()}; export it again.")
        if min(self.spacing_mm) <= 0 or abs(np.linalg.det(self._directions())) < 1e-3:
            raise VolumeError(
                f"{self.name} has spacing {self.spacing_mm} mm; spacing must be positive along three independent "
                "axes. Export it again with a valid header."
            )

    def _directions(self) -> npt.NDArray[np.float64]:
        matrix = self.affine[:3, :3]
        return np.asarray(matrix / np.maximum(np.linalg.norm(matrix, axis=0), 1e-12))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along the three index axes."""
        x, y, z = self.array.shape
        return x, y, z

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Millimetres between neighbours along the three index axes."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def orientation(self) -> str:
        """Where the index axes point, to the closest patient axis, e.g. ``"RAS"`` or ``"LPS"``."""
        axes, signs = _closest_axes(self.affine)
        return "".join(_AXIS_CODES[a][s > 0] for a, s in zip(axes, signs, strict=True))


def _closest_axes(affine: npt.NDArray[np.float64]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """For each index axis: the patient axis it follows most closely, and the sign, each patient axis once."""
    matrix = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    # The nearest rotation decides, not the raw cosines: sheared axes could otherwise claim one patient axis twice.
    u, _, vt = np.linalg.svd(matrix)
    rotation = u @ vt
    axes, signs = [0, 0, 0], [1, 1, 1]
    left = np.abs(rotation)
    for _ in range(3):
        patient, index = np.unravel_index(np.argmax(left), left.shape)
        axes[index] = int(patient)
        signs[index] = 1 if rotation[patient, index] >= 0 else -1
        left[patient, :] = -1
        left[:, index] = -1
    return tuple(axes), tuple(signs)


@dataclass(frozen=True)
class Reorientation:
    """A permutation and flips of index axes that can be undone exactly.

    Attributes:
        axes: output axis i is input axis ``axes[i]``.
        flips: output axis i runs against its input axis.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def apply(self, array: Array) -> Array:
        """(X, Y, Z) on the original index axes -> the re-oriented view."""
        view = array.transpose(self.axes)
        return view[tuple(slice(None, None, -1 if f else 1) for f in self.flips)]

    def invert(self, array: Array) -> Array:
        """The re-oriented (X, Y, Z) -> a view on the original index axes."""
        view = array[tuple(slice(None, None, -1 if f else 1) for f in self.flips)]
        return view.transpose(tuple(int(i) for i in np.argsort(self.axes)))


def to_ras(volume: Volume) -> tuple[Volume, Reorientation]:
    """The same voxels with index axes that grow (closest) to the right, the front and the head.

    Only axes are permuted and flipped, so an oblique direction stays oblique and nothing is interpolated.

    Returns:
        The re-oriented volume (its array is a view) and the step that :meth:`Reorientation.invert` undoes.
    """
    axes, signs = _closest_axes(volume.affine)
    order = tuple(int(i) for i in np.argsort(axes))
    flips = tuple(signs[i] < 0 for i in order)
    step = Reorientation((order[0], order[1], order[2]), (flips[0], flips[1], flips[2]))
    affine = np.eye(4)
    affine[:3, 3] = volume.affine[:3, 3]
    for out, (source, flip) in enumerate(zip(order, flips, strict=True)):
        column = volume.affine[:3, source]
        affine[:3, out] = -column if flip else column
        if flip:
            affine[:3, 3] += column * (volume.shape[source] - 1)
    return Volume(step.apply(volume.array), affine, volume.name, volume.warnings), step


def corner_distance_mm(a: Volume, b: Volume) -> float:
    """Largest distance in mm between corners of equal index, of two volumes with the same shape."""
    ends = [(0, n - 1) for n in a.shape]
    corners = np.array([(x, y, z, 1) for x in ends[0] for y in ends[1] for z in ends[2]])
    apart = corners @ (a.affine - b.affine).T
    return float(np.linalg.norm(apart[:, :3], axis=1).max())


def same_grid(a: Volume, b: Volume) -> bool:
    """Whether two volumes have the same shape and their corners lie within a tenth of a voxel of ``b``."""
    return a.shape == b.shape and corner_distance_mm(a, b) <= _SAME * min(b.spacing_mm)


def resampled_shape(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], target_mm: tuple[float, float, float]
) -> tuple[int, int, int]:
    """Voxels per axis after resampling, first voxel centres aligned (the rule of MONAI's ``Spacing``).

    Example:
        >>> resampled_shape((512, 512, 100), (0.8, 0.8, 5.0), (1.5, 1.5, 1.5))
        (274, 274, 331)
    """
    x, y, z = (
        max(1, int(np.around((n - 1) * s / t + 1.0))) for n, s, t in zip(shape, spacing_mm, target_mm, strict=True)
    )
    return x, y, z


def resampled_affine(affine: npt.NDArray[np.float64], target_mm: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """The affine with the same directions and origin and another spacing."""
    result = affine.copy()
    result[:3, :3] *= np.asarray(target_mm) / np.linalg.norm(affine[:3, :3], axis=0)
    return result


def nearest_index(n_in: int, n_out: int, step: float) -> npt.NDArray[np.intp]:
    """Index of the input voxel nearest to each output voxel along one axis.

    Args:
        n_in: Input voxels along the axis.
        n_out: Output voxels along the axis.
        step: Output spacing divided by input spacing.
    """
    index: npt.NDArray[np.intp] = np.clip(np.rint(np.arange(n_out) * step), 0, n_in - 1).astype(np.intp)
    return index


def resample_linear(
    array: Array, shape: tuple[int, int, int], steps: tuple[float, float, float]
) -> npt.NDArray[np.float32]:
    """Trilinear interpolation along the axes, values beyond the last voxel repeated.

    The interpolation is separable, so each axis is done in turn, the one that shrinks most first; the largest
    temporary is one float32 array of the input with that axis already at its new length.

    Args:
        array: (X, Y, Z), any real dtype.
        shape: Output voxels per axis.
        steps: Output spacing divided by input spacing, per axis.

    Returns:
        float32 array of ``shape``.
    """
    # In the order of the memory, so that the last axis is the contiguous one whatever the array's layout.
    layout = np.argsort([-abs(stride) for stride in array.strides], kind="stable")
    result = array.transpose(tuple(layout))
    lengths, ratios = [shape[a] for a in layout], [steps[a] for a in layout]
    for axis in sorted(range(3), key=lambda a: lengths[a] / result.shape[a]):
        if lengths[axis] != result.shape[axis] or ratios[axis] != 1.0:
            result = _resample_axis(result, axis, lengths[axis], ratios[axis])
    return np.ascontiguousarray(result.transpose(tuple(np.argsort(layout))), dtype=np.float32)


def _resample_axis(array: Array, axis: int, length: int, step: float) -> npt.NDArray[np.float32]:
    """Linear interpolation along one axis, plane by plane: a plane fits the cache, its rows are gathered at once."""
    last = array.shape[axis] - 1
    position = np.clip(np.arange(length) * step, 0, last)
    low = np.minimum(position.astype(np.intp), max(last - 1, 0))
    high = np.minimum(low + 1, last)
    weight = (position - low).astype(np.float32)
    out = np.empty((*array.shape[:axis], length, *array.shape[axis + 1 :]), dtype=np.float32)
    if axis == 0:
        for index in range(length):
            out[index] = _mix(array[low[index]].astype(np.float32), array[high[index]], weight[index])
        return out
    weight = weight if axis == 2 else weight[:, None]
    for index in range(array.shape[0]):
        plane = array[index].astype(np.float32)
        out[index] = _mix(plane.take(low, axis=axis - 1), plane.take(high, axis=axis - 1), weight)
    return out


def _mix(near: npt.NDArray[np.float32], far: Array, weight: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """``near + weight * (far - near)``, in place where that saves a temporary."""
    difference: npt.NDArray[np.float32] = far - near
    difference *= weight
    near += difference
    return near
