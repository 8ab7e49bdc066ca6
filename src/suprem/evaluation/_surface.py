"""Surface elements of a binary mask: where they lie, how large they are, and how far two surfaces are apart.

Between every 2x2x2 neighbouring voxels lies one cell. A cell whose voxels are neither all inside nor all outside holds
one surface element; its area is that of the polygons through the midpoints of its crossed edges.
"""

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

Floats = npt.NDArray[np.float64]
Spacing = tuple[float, float, float]

_CORNERS = tuple(itertools.product((0, 1), repeat=3))
_CYCLE = ((0, 0), (0, 1), (1, 1), (1, 0))
_HALF = 4  # of the voxels of a cell
_Edge = tuple[int, int]


def _faces() -> list[tuple[int, ...]]:
    """The six faces of a cell, each as its four corners in cyclic order."""
    faces = []
    for axis, side in itertools.product(range(3), (0, 1)):
        corners = [list(pair) for pair in _CYCLE]
        for corner in corners:
            corner.insert(axis, side)
        faces.append(tuple(_CORNERS.index((c[0], c[1], c[2])) for c in corners))
    return faces


def _links(code: int) -> dict[_Edge, list[_Edge]]:
    """For every crossed edge of a cell the two crossed edges that its surface polygon continues to."""
    links: dict[_Edge, list[_Edge]] = {}
    for face in _faces():
        inside = [bool(code >> corner & 1) for corner in face]
        edges = [(min(pair), max(pair)) for pair in zip(face, face[1:] + face[:1], strict=True)]
        crossed = [i for i in range(4) if inside[i] != inside[(i + 1) % 4]]
        # Two diagonal corners inside are ambiguous: they are kept apart, each behind its own cut.
        pairs = (
            [(i - 1, i) for i in range(4) if inside[i]] if len(crossed) == 4 else [tuple(crossed)] if crossed else []
        )
        for pair in pairs:
            first, second = edges[pair[0]], edges[pair[1]]
            links.setdefault(first, []).append(second)
            links.setdefault(second, []).append(first)
    return links


def _loops(code: int) -> list[list[_Edge]]:
    links = _links(code)
    loops: list[list[_Edge]] = []
    while links:
        loop = [next(iter(links))]
        while True:
            following = [edge for edge in links.pop(loop[-1]) if edge in links]
            if not following:
                break
            loop.append(following[0])
        loops.append(loop)
    return loops


def _fans(points: Floats) -> Floats:
    """Area of a closed polygon, which may be bent, cut into a fan of triangles from each of its points."""
    areas = []
    for start in range(len(points)):
        turned = np.roll(points, -start, axis=0)
        crosses = np.cross(turned[1:-1] - turned[0], turned[2:] - turned[0])
        areas.append(0.5 * float(np.linalg.norm(crosses, axis=1).sum()))
    return np.array(areas)


@lru_cache(maxsize=64)
def cell_areas(spacing_mm: Spacing) -> Floats:
    """Surface area in mm2 for each of the 256 ways to fill a cell; bit ``4x + 2y + z`` is voxel (x, y, z).

    Two choices are open, and made as in the tables of DeepMind's ``surface-distance``, with which NSD was defined: a
    cell with more than four voxels inside has the surface of its complement, and a bent polygon is cut into the fan
    that is largest when voxels are cubes.
    """
    cube = np.asarray(_CORNERS, dtype=np.float64)
    corners = cube * np.asarray(spacing_mm)
    areas = np.zeros(256)
    for code in range(1, 255):
        sparse = code if code.bit_count() <= _HALF else 255 - code
        for loop in _loops(sparse):
            unit, real = (np.array([(c[a] + c[b]) / 2 for a, b in loop]) for c in (cube, corners))
            largest = int(np.argmax(_fans(unit).round(9)))  # rounded, so that equal fans are equal
            areas[code] += _fans(real)[largest]
    areas.setflags(write=False)
    return areas


@dataclass(frozen=True)
class Surface:
    """Elements of a surface: ``points`` float64 (N, 3) in mm from the first voxel, ``areas`` float64 (N,) mm2."""

    points: Floats
    areas: Floats


def surface_of(mask: npt.NDArray[np.bool_], spacing_mm: Spacing, offset: tuple[int, ...] = (0, 0, 0)) -> Surface:
    """Surface of a bool (X, Y, Z) mask cut from a larger grid at ``offset``; all outside the cut is background."""
    padded: npt.NDArray[np.uint8] = np.pad(mask, 1).astype(np.uint8)
    shape = [n - 1 for n in padded.shape]
    codes = np.zeros(shape, dtype=np.uint8)
    for bit, corner in enumerate(_CORNERS):
        window = tuple(slice(start, start + n) for start, n in zip(corner, shape, strict=True))
        codes |= padded[window] << np.uint8(bit)
    index = np.argwhere((codes != 0) & (codes != 255))
    # A cell of the padded cut lies half a voxel before the voxel of the same index.
    points = (index + np.asarray(offset) - 0.5) * np.asarray(spacing_mm)
    return Surface(points, cell_areas(spacing_mm)[codes[tuple(index.T)]])


def distances(source: Surface, target: Surface) -> Floats:
    """Distance in mm from each element of ``source`` to the nearest element of ``target``."""
    nearest: Any = cKDTree(target.points).query(source.points)[0]
    return np.asarray(nearest, dtype=np.float64)


def weighted_percentile(values: Floats, areas: Floats, percent: float) -> float:
    """Smallest value that at least ``percent`` of the area does not exceed."""
    order = np.argsort(values, kind="stable")
    share = np.cumsum(areas[order]) / areas.sum()
    return float(values[order][min(int(np.searchsorted(share, percent / 100)), len(values) - 1)])
