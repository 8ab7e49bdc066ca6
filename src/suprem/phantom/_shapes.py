"""Solid shapes in millimetres, each with a level function (positive inside, roughly the distance to the surface)."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Block", "Capsule", "Column", "Ellipsoid", "Solid", "rotation_matrix", "tube"]

Array = npt.NDArray[Any]
Box = tuple[Array, Array]


class Solid(Protocol):
    """What can be painted: a box that contains it, and a level function."""

    def bounds(self) -> Box:
        """Lower and upper corner (3,), mm."""

    def level(self, x: Array, y: Array, z: Array) -> Array:
        """Signed pseudo-distance in mm at broadcastable coordinates in mm, positive inside."""


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """A rotated superellipsoid ``|x/a|^n + |y/b|^n + |z/c|^n <= 1``.

    Attributes:
        centre: (3,) mm.
        radii: (3,) mm along the rotated axes.
        rotation: (3, 3), rows are the rotated axes.
        exponent: n; 2 is an ellipsoid, larger is boxier.
    """

    centre: Array
    radii: Array
    rotation: Array
    exponent: float = 2.0

    def bounds(self) -> Box:
        """Lower and upper corner (3,), mm."""
        half = np.abs(self.rotation.T) @ self.radii
        return self.centre - half, self.centre + half

    def level(self, x: Array, y: Array, z: Array) -> Array:
        """See :meth:`Solid.level`."""
        dx, dy, dz = x - self.centre[0], y - self.centre[1], z - self.centre[2]
        total: Any = 0.0
        for row, radius in zip(self.rotation, self.radii, strict=True):
            ratio = np.abs(dx * row[0] + dy * row[1] + dz * row[2]) / radius
            total = total + (ratio * ratio if self.exponent == 2.0 else ratio**self.exponent)
        return np.asarray((1.0 - total ** (1.0 / self.exponent)) * self.radii.min(), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Capsule:
    """A straight segment with round ends whose radius changes linearly.

    Attributes:
        start: (3,) mm.
        end: (3,) mm.
        radii: radius at the start and at the end, mm.
    """

    start: Array
    end: Array
    radii: tuple[float, float]

    def bounds(self) -> Box:
        """Lower and upper corner (3,), mm."""
        reach = max(self.radii)
        return np.minimum(self.start, self.end) - reach, np.maximum(self.start, self.end) + reach

    def level(self, x: Array, y: Array, z: Array) -> Array:
        """See :meth:`Solid.level`."""
        axis = self.end - self.start
        dx, dy, dz = x - self.start[0], y - self.start[1], z - self.start[2]
        length2 = max(float(axis @ axis), 1e-6)
        along = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) / length2, 0.0, 1.0)
        dx, dy, dz = dx - along * axis[0], dy - along * axis[1], dz - along * axis[2]
        radius = self.radii[0] + along * (self.radii[1] - self.radii[0])
        return np.asarray(radius - np.sqrt(dx * dx + dy * dy + dz * dz), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Column:
    """A trunk along z whose superelliptic cross-section is interpolated between knots.

    Attributes:
        knots: (K, 4): z, centre y, half width (x), half depth (y), mm, z ascending.
        exponent: of the cross-section.
        inset: mm taken off the half width and half depth everywhere.
    """

    knots: Array
    exponent: float = 2.4
    inset: float = 0.0

    def bounds(self) -> Box:
        """Lower and upper corner (3,), mm."""
        width, depth = self.knots[:, 2].max(), self.knots[:, 3].max()
        low = np.array([-width, (self.knots[:, 1]).min() - depth, self.knots[0, 0]])
        return low, np.array([width, self.knots[:, 1].max() + depth, self.knots[-1, 0]])

    def level(self, x: Array, y: Array, z: Array) -> Array:
        """See :meth:`Solid.level`."""
        heights = self.knots[:, 0]
        middle, width, depth = (np.interp(z, heights, self.knots[:, i]).astype(np.float32) for i in (1, 2, 3))
        width, depth = np.maximum(width - self.inset, 1.0), np.maximum(depth - self.inset, 1.0)
        ratio = np.abs(x / width) ** self.exponent + np.abs((y - middle) / depth) ** self.exponent
        level = (1.0 - ratio ** (1.0 / self.exponent)) * np.minimum(width, depth)
        inside = np.minimum(z - heights[0], heights[-1] - z)
        return np.asarray(np.minimum(level, inside), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Block:
    """A box with the same level everywhere, which only a rough surface field can lift above zero: random patches.

    Attributes:
        low: (3,) mm.
        high: (3,) mm.
        depth_mm: how far below zero the level is.
    """

    low: Array
    high: Array
    depth_mm: float

    def bounds(self) -> Box:
        """Lower and upper corner (3,), mm."""
        return self.low, self.high

    def level(self, x: Array, y: Array, z: Array) -> Array:
        """See :meth:`Solid.level`."""
        outside = np.zeros(np.broadcast_shapes(x.shape, y.shape, z.shape), dtype=bool)
        for values, low, high in zip((x, y, z), self.low, self.high, strict=True):
            outside |= (values < low) | (values > high)
        return np.where(outside, np.float32(-np.inf), np.float32(-self.depth_mm))


def rotation_matrix(angles_deg: Array) -> Array:
    """Rotation about x, then y, then z by the given angles, float64 (3, 3)."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.deg2rad(angles_deg)), np.sin(np.deg2rad(angles_deg))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def _spline(points: Array, step_mm: float) -> tuple[Array, Array]:
    """Catmull-Rom curve through (M, D) points (x, y, z first), a knot about every ``step_mm``.

    Returns:
        The knots (K, D) and the length in mm up to each, (K,).
    """
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    pieces = []
    for a, b, c, d in zip(padded[:-3], padded[1:-2], padded[2:-1], padded[3:], strict=True):
        count = max(1, int(np.ceil(np.linalg.norm((c - b)[:3]) / step_mm)))
        t = (np.arange(count) / count)[:, None]
        pieces.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    knots = np.concatenate([*pieces, points[-1:]])
    steps = np.linalg.norm(np.diff(knots[:, :3], axis=0), axis=1)
    return knots, np.concatenate([[0.0], np.cumsum(steps)])


def tube(points: Array, *, step_mm: float = 8.0, ripple: float = 0.0, ripple_mm: float = 30.0) -> tuple[Capsule, ...]:
    """A smooth tube through points.

    Args:
        points: (M, 4): x, y, z, radius, mm.
        step_mm: Length of one straight piece.
        ripple: Relative modulation of the radius along the tube (haustra of the colon).
        ripple_mm: Wavelength of that modulation.
    """
    knots, lengths = _spline(np.asarray(points, dtype=np.float64), step_mm)
    radii = np.maximum(knots[:, 3], 1.0) * (1.0 + ripple * np.cos(2 * np.pi * lengths / ripple_mm))
    return tuple(
        Capsule(knots[i, :3], knots[i + 1, :3], (float(radii[i]), float(radii[i + 1]))) for i in range(len(knots) - 1)
    )
