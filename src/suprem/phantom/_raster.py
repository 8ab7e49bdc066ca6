"""From shapes to voxels: pose, warp, surface roughness, and painting slab by slab."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from suprem.phantom._anatomy import Part
from suprem.phantom._shapes import Ellipsoid, Solid, rotation_matrix
from suprem.phantom._tissues import TISSUES, tissue_index

__all__ = ["Pose", "WaveField", "paint", "settle"]

Array = npt.NDArray[Any]

_SLAB_VOXELS = 4_000_000
_PROBE_MM = np.arange(-18.0, 18.1, 3.0)
_LEAST_MM3 = 600.0


@dataclass(frozen=True, eq=False)
class WaveField:
    """A smooth random scalar field: a sum of products of cosines along the axes, at most about 1 in size.

    Attributes:
        waves: (K, 3) angular frequencies, 1/mm.
        phases: (K, 3) radians.
    """

    waves: Array
    phases: Array

    @classmethod
    def draw(cls, rng: np.random.Generator, wavelengths_mm: tuple[float, float], terms: int) -> "WaveField":
        """Random directions, wavelengths within the given range along each axis."""
        lengths = rng.uniform(*wavelengths_mm, (terms, 3))
        return cls(2 * np.pi / lengths, rng.uniform(0, 2 * np.pi, (terms, 3)))

    def on(self, x: Array, y: Array, z: Array) -> Array:
        """Values float32 (X, Y, Z) on the grid with these coordinates along its axes, mm."""
        total = np.zeros((len(x), len(y), len(z)), dtype=np.float32)
        for wave, phase in zip(self.waves, self.phases, strict=True):
            fx, fy, fz = (np.cos(c * w + p).astype(np.float32) for c, w, p in zip((x, y, z), wave, phase, strict=True))
            total += (fx[:, None] * fy)[:, :, None] * fz
        total *= np.float32(1.4 / np.sqrt(len(self.waves)))
        return total


@dataclass(frozen=True, eq=False)
class Pose:
    """How the anatomy lies on the table: ``anatomical = matrix @ (patient - shift) + warp(patient)``.

    Attributes:
        matrix: (3, 3) rotation and scaling.
        shift: (3,) mm.
        size: (3,) scale of the patient along the anatomical axes.
        warp: three fields, one per anatomical axis.
        warp_mm: amplitude of the warp.
        surface: fields that roughen surfaces.
    """

    matrix: Array
    shift: Array
    size: Array
    warp: tuple[WaveField, WaveField, WaveField]
    warp_mm: float
    surface: tuple[WaveField, ...]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Pose":
        """A random pose: turns within 16 degrees, sizes within 17 %, shifts within 10 mm."""
        turn = rotation_matrix(np.clip(rng.normal(0, 1, 3), -2, 2) * (3.5, 3.5, 8.0))
        size = np.clip(rng.normal(1.0, 0.03), 0.94, 1.06) * (
            1.0 + np.clip(rng.normal(0, 1, 3), -2, 2) * (0.04, 0.05, 0.05)
        )
        warp = tuple(WaveField.draw(rng, (180.0, 400.0), 4) for _ in range(3))
        surface = tuple(WaveField.draw(rng, (34.0, 80.0), 8) for _ in range(3))
        shift = np.clip(rng.normal(0, 5, 3), -10, 10)
        warp_mm = float(rng.uniform(6.0, 14.0))
        return cls(turn / size[:, None], shift, size, (warp[0], warp[1], warp[2]), warp_mm, surface)

    def anatomical(self, x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
        """Anatomical coordinates float32 (X, Y, Z) of the grid points, mm."""
        px, py, pz = x - self.shift[0], y - self.shift[1], z - self.shift[2]
        result = []
        for row, field in zip(self.matrix, self.warp, strict=True):
            values = field.on(x, y, z)
            values *= np.float32(self.warp_mm / 1.4)
            values += (row[0] * px).astype(np.float32)[:, None, None]
            values += (row[1] * py).astype(np.float32)[:, None]
            values += (row[2] * pz).astype(np.float32)
            result.append(values)
        return result[0], result[1], result[2]

    def patient_point(self, point: Array) -> Array:
        """Patient coordinates (3,) of an anatomical point (3,), mm."""
        inverse = np.linalg.inv(self.matrix)
        found = inverse @ point + self.shift
        for _ in range(20):  # the warp is a contraction almost everywhere; half a millimetre would do
            reached = np.array([float(v[0, 0, 0]) for v in self.anatomical(*(found[i : i + 1] for i in range(3)))])
            found = found + inverse @ (point - reached)
        return np.asarray(found)

    def patient_box(self, low: Array, high: Array, margin_mm: float) -> tuple[Array, Array]:
        """A box of patient coordinates that holds an anatomical box widened by a margin and the warp."""
        inverse = np.linalg.inv(self.matrix)
        reach = self.warp_mm * 2.0  # four unit waves, scaled by 1 / sqrt(4)
        middle = inverse @ ((low + high) / 2) + self.shift
        half = np.abs(inverse) @ ((high - low) / 2 + margin_mm + reach)
        return middle - half, middle + half


def paint(parts: Sequence[Part], pose: Pose, axes: tuple[Array, Array, Array]) -> npt.NDArray[np.uint8]:
    """Tissue index at every grid point, later parts over earlier ones where they may.

    Every point is decided by its own position alone, so grids of any spacing sample the same patient.

    Args:
        parts: what to paint, in order.
        pose: patient -> anatomical coordinates.
        axes: coordinates in mm of the grid points along each axis, ascending.

    Returns:
        uint8 (X, Y, Z), an index into :data:`suprem.phantom._tissues.TISSUES`.
    """
    x, y, z = axes
    tissues = np.zeros((len(x), len(y), len(z)), dtype=np.uint8)
    allowed = [np.array([t.name in part.over for t in TISSUES]) for part in parts]
    boxes = [[_box(pose, solid, part) for solid in part.solids] for part in parts]
    depth = max(1, _SLAB_VOXELS // (len(x) * len(y)))
    for start in range(0, len(z), depth):
        inner = slice(start, min(start + depth, len(z)))
        slab = _Slab(pose, (x, y, z[inner]), tissues[:, :, inner])
        for part, free, part_boxes in zip(parts, allowed, boxes, strict=True):
            for solid, box in zip(part.solids, part_boxes, strict=True):
                slab.paint(part, solid, box, free)
    return tissues


def settle(parts: Sequence[Part], pose: Pose) -> list[Part]:
    """Moves every lesion that other organs hide to the first of its alternative places where it shows.

    What shows is probed on a small grid of its own, so the result does not depend on the scan's spacing.
    """
    settled = list(parts)
    for index, part in enumerate(parts):
        places = iter(part.alternatives)
        while part.alternatives and not _shows(settled, index, pose):
            centre = next(places, None)
            if centre is None:
                settled[index] = part
                break
            settled[index] = replace(
                part, solids=tuple(replace(cast(Ellipsoid, s), centre=centre) for s in part.solids)
            )
    return settled


def _shows(parts: Sequence[Part], index: int, pose: Pose) -> bool:
    """Whether a part is left with a share of its surroundings after all parts have been painted."""
    low, high = parts[index].solids[0].bounds()
    middle = pose.patient_point((low + high) / 2)
    x, y, z = (c + _PROBE_MM for c in middle)
    painted = paint(parts, pose, (x, y, z)) == tissue_index(parts[index].tissue)
    return bool(np.count_nonzero(painted) * np.diff(_PROBE_MM)[0] ** 3 >= _LEAST_MM3)


def _box(pose: Pose, solid: Solid, part: Part) -> tuple[Array, Array]:
    # A surface field of eight unit waves scaled by 1.4 / sqrt(8) stays below 4.
    return pose.patient_box(*solid.bounds(), margin_mm=4.0 * part.roughness_mm)


class _Slab:
    """A few slices of the grid with their anatomical coordinates."""

    def __init__(self, pose: Pose, axes: tuple[Array, Array, Array], tissues: Array) -> None:
        self.axes = axes
        self.tissues = tissues
        self.x, self.y, self.z = pose.anatomical(*axes)
        self.surface = [field.on(*axes) for field in pose.surface]

    def _window(self, box: tuple[Array, Array]) -> tuple[slice, slice, slice] | None:
        found = []
        for axis, low, high in zip(self.axes, *box, strict=True):
            first, last = np.searchsorted(axis, low), np.searchsorted(axis, high, side="right")
            if first >= last:
                return None
            found.append(slice(int(first), int(last)))
        return found[0], found[1], found[2]

    def paint(self, part: Part, solid: Solid, box: tuple[Array, Array], free: Array) -> None:
        """Paints one solid of a part."""
        window = self._window(box)
        if window is None:
            return
        level = solid.level(self.x[window], self.y[window], self.z[window])
        if part.roughness_mm:
            level += np.float32(part.roughness_mm) * self.surface[part.field][window]
        here = self.tissues[window]
        here[(level > 0) & free[here]] = tissue_index(part.tissue)
