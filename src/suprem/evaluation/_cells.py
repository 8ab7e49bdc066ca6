"""Area of the surface element in a cell, the cube between 2x2x2 neighbouring voxels.

A cell whose voxels are neither all inside nor all outside holds one surface element; its area is that of the polygons
through the midpoints of its crossed edges.
"""

import itertools
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Spacing = tuple[float, float, float]

CORNERS = tuple(itertools.product((0, 1), repeat=3))
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
        faces.append(tuple(CORNERS.index((c[0], c[1], c[2])) for c in corners))
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
    """Triangles (n, n - 2, 3, 3) into which a closed, maybe bent polygon of n points is cut from each of its points."""
    turned = np.stack([np.roll(points, -start, axis=0) for start in range(len(points))])
    hub = np.broadcast_to(turned[:, :1], turned[:, 2:].shape)
    return np.stack([hub, turned[:, 1:-1], turned[:, 2:]], axis=2)


def _areas(triangles: Floats) -> Floats:
    """Areas of triangles (..., 3, 3)."""
    sides = triangles[..., 1:, :] - triangles[..., :1, :]
    areas: Floats = np.linalg.norm(np.cross(sides[..., 0, :], sides[..., 1, :]), axis=-1) / 2
    return areas


@lru_cache(maxsize=1)
def _triangles() -> tuple[npt.NDArray[np.intp], Floats]:
    """Triangles (T, 3, 3) of all surface elements in a cell of size 1, and the code (T,) that each belongs to."""
    cube = np.asarray(CORNERS, dtype=np.float64)
    codes, triangles = [], []
    for code in range(1, 255):
        sparse = code if code.bit_count() <= _HALF else 255 - code
        for loop in _loops(sparse):
            fans = _fans(np.array([(cube[a] + cube[b]) / 2 for a, b in loop]))
            sizes = _areas(fans).sum(axis=1)
            fan = fans[int(np.argmax(sizes.round(9)))]  # rounded, so that equal fans are equal
            codes += [code] * len(fan)
            triangles.append(fan)
    return np.array(codes), np.concatenate(triangles)


@lru_cache(maxsize=64)
def cell_areas(spacing_mm: Spacing) -> Floats:
    """Surface area in mm2 for each of the 256 ways to fill a cell; bit ``4x + 2y + z`` is voxel (x, y, z).

    Two choices are open, and made as in the tables of DeepMind's ``surface-distance``, with which NSD was defined: a
    cell with more than four voxels inside has the surface of its complement, and a bent polygon is cut into the fan
    that is largest when voxels are cubes.
    """
    codes, triangles = _triangles()
    areas: Floats = np.bincount(codes, weights=_areas(triangles * np.asarray(spacing_mm)), minlength=256).astype(
        np.float64
    )
    areas.setflags(write=False)
    return areas
