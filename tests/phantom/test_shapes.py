"""Solids against closed-form volumes."""

import math

import numpy as np
import pytest

from suprem.phantom._shapes import Capsule, Column, Ellipsoid, Solid, rotation_matrix, tube


def sampled_volume(*solids: Solid, half_mm: float = 30.0, step_mm: float = 0.5) -> float:
    axis = np.arange(-half_mm, half_mm, step_mm) + step_mm / 2
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    inside = np.zeros((len(axis),) * 3, dtype=bool)
    for solid in solids:
        inside |= solid.level(x, y, z) > 0
    return float(inside.sum() * step_mm**3)


def test_rotated_ellipsoid() -> None:
    turn = rotation_matrix(np.array([20.0, -35.0, 50.0]))
    solid = Ellipsoid(np.array([2.0, -1.0, 3.0]), np.array([20.0, 12.0, 8.0]), turn)
    assert sampled_volume(solid) == pytest.approx(4 / 3 * math.pi * 20 * 12 * 8, rel=2e-3)


def test_superellipsoid_of_large_exponent_approaches_a_box() -> None:
    solid = Ellipsoid(np.zeros(3), np.array([20.0, 12.0, 8.0]), np.eye(3), exponent=60.0)
    assert sampled_volume(solid) == pytest.approx(8 * 20 * 12 * 8, rel=0.05)


def test_capsule_with_equal_radii() -> None:
    solid = Capsule(np.array([-10.0, 0, 0]), np.array([10.0, 5, 5]), (6.0, 6.0))
    length = math.sqrt(400 + 25 + 25)
    assert sampled_volume(solid) == pytest.approx(math.pi * 36 * length + 4 / 3 * math.pi * 216, rel=1e-2)


def test_level_of_a_capsule_is_the_distance_to_its_surface() -> None:
    solid = Capsule(np.zeros(3), np.array([10.0, 0, 0]), (4.0, 2.0))
    x, y, z = np.array([0.0, 5.0, 10.0, -7.0]), np.array([0.0, 5.0, 1.0, 0.0]), np.zeros(4)
    assert solid.level(x, y, z) == pytest.approx([4.0, -2.0, 1.0, -3.0])


def test_column_is_an_elliptic_cylinder_between_equal_knots() -> None:
    solid = Column(np.array([[-20.0, 2, 18, 10], [20.0, 2, 18, 10]]), exponent=2.0, inset=2.0)
    assert sampled_volume(solid) == pytest.approx(math.pi * 16 * 8 * 40, rel=5e-3)


def test_straight_tube_is_a_capsule() -> None:
    points = np.array([(-20.0, 0, 0, 5), (20.0, 0, 0, 5)])
    expected = math.pi * 25 * 40 + 4 / 3 * math.pi * 125
    assert sampled_volume(*tube(points, step_mm=8.0), step_mm=0.7) == pytest.approx(expected, rel=1e-2)


def test_ripple_modulates_the_radius_with_its_wavelength() -> None:
    points = np.array([(-20.0, 0, 0, 5), (20.0, 0, 0, 5)])
    radii = [piece.radii[0] for piece in tube(points, step_mm=1.0, ripple=0.2, ripple_mm=10.0)]
    assert radii == pytest.approx(5 * (1 + 0.2 * np.cos(2 * np.pi * np.arange(40) / 10)))


def test_tube_passes_through_its_way_points() -> None:
    points = np.array([(-15.0, 0, 0, 3), (0.0, 10, 5, 4), (12.0, -4, 8, 3), (20.0, 0, -6, 2)])
    pieces = tube(points, step_mm=4.0)
    for x, y, z, radius in points:
        best = max(float(p.level(np.array(x), np.array(y), np.array(z))) for p in pieces)
        assert best == pytest.approx(radius, abs=0.35)


@pytest.mark.parametrize(
    "solid",
    [
        Ellipsoid(np.array([3.0, 4, -5]), np.array([14.0, 5, 8]), rotation_matrix(np.array([30.0, 40, 50])), 2.5),
        Capsule(np.array([-8.0, 3, 1]), np.array([9.0, -4, 2]), (3.0, 6.0)),
        Column(np.array([[-12.0, 1, 9, 6], [0, 3, 12, 7], [14, -2, 10, 8]])),
    ],
)
def test_bounds_hold_everything_inside(solid: Solid) -> None:
    axis = np.arange(-25, 25, 0.5)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    inside = solid.level(x, y, z) > 0
    low, high = solid.bounds()
    for coordinate, a, b in zip((x, y, z), low, high, strict=True):
        assert coordinate[inside].min() >= a
        assert coordinate[inside].max() <= b


def test_rotation_is_orthonormal_and_turns_about_z_last() -> None:
    turn = rotation_matrix(np.array([10.0, 20.0, 30.0]))
    assert turn @ turn.T == pytest.approx(np.eye(3))
    assert np.linalg.det(turn) == pytest.approx(1.0)
    assert rotation_matrix(np.array([0.0, 0, 90])) @ [1, 0, 0] == pytest.approx([0, 1, 0])
