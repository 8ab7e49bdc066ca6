"""A CT and its masks, made small enough for a page, one mask at a time."""

import base64
import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from suprem.errors import ConfigurationError, OutputError, VolumeError
from suprem.report._colors import safe_colors
from suprem.report._grid import ReducedGrid
from suprem.report.companding import describe, representatives
from suprem.report.sections import Cell, Layer, ShownStructure, StructureRow, Viewer
from suprem.volumes.boxes import Box
from suprem.volumes.geometry import Volume

__all__ = ["MAX_BYTES", "ViewerBuilder"]

# Of a whole page: what is still sent by mail and opened on a phone.
MAX_BYTES = 25_000_000

Bool = npt.NDArray[np.bool_]
_MAX_ENTRIES = 2**16


class _Overlays:
    """Masks in one index volume: each voxel is the number of a combination of structures, as in a store."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.index: npt.NDArray[Any] = np.zeros(shape, dtype=np.uint8)
        self.table: list[tuple[int, ...]] = [()]
        self._numbers: dict[tuple[int, ...], int] = {(): 0}

    def add(self, number: int, box: Box, found: Bool) -> None:
        values = self.index[box][found]
        lookup = np.zeros(len(self.table), dtype=np.intp)
        for old in np.unique(values).tolist():
            lookup[old] = self._entry((*self.table[old], number))
        if len(self.table) > 256:
            self.index = self.index.astype(np.uint16, copy=False)
        self.index[box][found] = lookup[values]

    def _entry(self, combination: tuple[int, ...]) -> int:
        if combination not in self._numbers:
            if len(self.table) == _MAX_ENTRIES:
                raise ConfigurationError(
                    f"The masks overlap in more than {_MAX_ENTRIES} ways; show fewer structures in one viewer."
                )
            self._numbers[combination] = len(self.table)
            self.table.append(combination)
        return self._numbers[combination]

    def touching(self) -> set[tuple[int, int]]:
        """Pairs of structures that share a voxel or a face of one, both ways round."""
        size = len(self.table)
        pairs = {(i, i) for i in range(size)}
        for axis in range(3):
            moved = np.moveaxis(self.index, axis, 0)
            for near, far in pairwise(moved):
                differ = near != far
                both = near[differ].astype(np.int64) * size + far[differ]
                pairs |= {divmod(p, size) for p in np.unique(both).tolist()}
        members = [{*self.table[a], *self.table[b]} for a, b in pairs]
        return {(a, b) for group in members for a in group for b in group if a != b}


class ViewerBuilder:
    """Collects what a :class:`~suprem.report.sections.Viewer` shows.

    The page keeps the whole field of view. In plane it has 256 x 256 voxels at most, each the mean of what it covers;
    intensities are one byte (:mod:`suprem.report.companding`). One mask at a time is held beside an index volume.

    Args:
        ct: The scan in HU.
        title: Heading.
        note: A sentence below it.
        max_bytes: Most that the packed volumes may take; the grid is made coarser until they fit.

    Example:
        >>> ct = Volume(np.full((32, 32, 8), 40, np.int16), np.eye(4))
        >>> builder = ViewerBuilder(ct, title="case 1")
        >>> builder.add("liver", ct.array > 0)
        >>> viewer = builder.build([StructureRow("liver", {"Volume (ml)": 8.2}), StructureRow("spleen")])
        >>> [item.name for item in viewer.structures], viewer.structures[0].centre
        (['liver', 'spleen'], (15, 15, 3))
    """

    def __init__(self, ct: Volume, *, title: str = "", note: str = "", max_bytes: int = MAX_BYTES * 4 // 5) -> None:
        self._ct, self._title, self._note, self._max_bytes = ct, title, note, max_bytes
        self._grid = ReducedGrid.of(ct)
        self._names: dict[str, int] = {}
        self._centres: dict[str, tuple[int, int, int]] = {}
        self._voxels: dict[str, int] = {}
        self._layers: dict[str, _Overlays] = {}

    def add(self, name: str, mask: Bool, *, layer: str = "prediction") -> None:
        """Adds one structure.

        Args:
            name: Canonical name of the structure.
            mask: bool (X, Y, Z) on the grid of the scan; not kept.
            layer: The set of overlays it belongs to, e.g. ``"prediction"`` or ``"reference"``. Readers switch between
                layers; a structure has the same colour in all of them.

        Raises:
            VolumeError: mask and scan differ in shape, or the mask is not bool.
            ConfigurationError: too many structures overlap.
        """
        if mask.shape != self._ct.shape or mask.dtype != np.bool_:
            raise VolumeError(
                f"The mask of {name!r} is {mask.dtype} {mask.shape}; it must be bool {self._ct.shape}, as its scan."
            )
        overlays = self._layers.setdefault(layer, _Overlays(self._grid.shape[::-1]))
        number = self._names.setdefault(name, len(self._names))
        box, found = self._grid.look_up(mask)
        if not found.size:
            return
        overlays.add(number, box, found)
        self._voxels[name] = self._voxels.get(name, 0) + int(found.sum())
        self._centres.setdefault(name, _middle(box, found))

    def build(self, rows: Sequence[StructureRow] = ()) -> Viewer:
        """Packs everything.

        Args:
            rows: The table beside the pictures; structures without a row get an empty one, rows without a mask are
                listed as not found.

        Raises:
            ConfigurationError: two rows name the same structure.
            OutputError: not even a coarse grid fits into ``max_bytes``.
        """
        lines = {row.structure: row for row in rows}
        if len(lines) < len(rows):
            raise ConfigurationError("Two rows of a viewer name the same structure; give each structure one row.")
        for name in lines:
            self._names.setdefault(name, len(self._names))
        columns = tuple(dict.fromkeys(key for row in rows for key in row.values))
        colors = self._colors()
        grid, ct, layers = self._packed()
        structures = tuple(
            self._shown(name, lines.get(name, StructureRow(name)), columns, colors[name], grid) for name in self._names
        )
        return Viewer(self._title, self._note, self._facts(grid), columns, structures, layers, ct, self._geometry(grid))

    def _colors(self) -> dict[str, str]:
        names = list(self._names)
        touching: dict[str, set[str]] = {name: set() for name in names}
        for overlays in self._layers.values():
            for a, b in overlays.touching():
                touching[names[a]].add(names[b])
        largest_first = sorted(names, key=lambda name: -self._voxels.get(name, 0))
        return {name: "#{:02x}{:02x}{:02x}".format(*rgb) for name, rgb in safe_colors(largest_first, touching).items()}

    def _shown(
        self, name: str, row: StructureRow, columns: tuple[str, ...], color: str, grid: ReducedGrid
    ) -> ShownStructure:
        centre = self._centres.get(name)
        if centre is not None:
            x, y, z = (min(c * n // m, n - 1) for c, n, m in zip(centre, grid.shape, self._grid.shape, strict=True))
            centre = x, y, z
        values: tuple[Cell, ...] = tuple(row.values.get(column) for column in columns)
        flags = tuple((flag, "") if isinstance(flag, str) else flag for flag in row.flags)
        return ShownStructure(name, color, centre, self._voxels.get(name, 0), values, flags)

    def _packed(self) -> tuple[ReducedGrid, str, tuple[Layer, ...]]:
        """The finest grid whose volumes fit, and these."""
        grid = self._grid
        while True:
            ct = _pack(grid.codes())
            layers = tuple(self._layer(name, overlays, grid) for name, overlays in self._layers.items())
            size = len(ct) + sum(len(layer.data) for layer in layers)
            if size <= self._max_bytes:
                return grid, ct, layers
            if max(grid.shape) == 1:
                raise OutputError(f"No viewer of {self._ct.name} fits into {self._max_bytes} bytes; allow more.")
            grid = grid.coarser(min(0.9 * self._max_bytes / size, 0.95))

    def _layer(self, name: str, overlays: _Overlays, grid: ReducedGrid) -> Layer:
        index = overlays.index
        if grid.shape != self._grid.shape:
            z, y, x = (np.arange(m) * n // m for m, n in zip(grid.shape[::-1], index.shape, strict=True))
            index = index[np.ix_(z, y, x)]
        return Layer(name, index.dtype.itemsize, tuple(overlays.table), _pack(index))

    def _facts(self, grid: ReducedGrid) -> dict[str, str]:
        shape, spacing = grid.scan.shape, grid.scan.spacing_mm
        return {
            "CT in this page": f"{_numbers(grid.shape)} voxels of {_millimetres(grid.spacing_mm)}, each the mean of "
            f"what it covers; one byte per voxel, {describe()}",
            "scan": f"{_numbers(shape)} voxels of {_millimetres(spacing)} (right-left, back-front, feet-head)",
            "tables": "measured on the scan's own grid, not on what this page shows",
        }

    def _geometry(self, grid: ReducedGrid) -> dict[str, Any]:
        return {
            "shape": grid.shape,
            "spacing": [round(s, 5) for s in grid.spacing_mm],
            "affine": [[round(float(v), 5) for v in row] for row in grid.affine[:3]],
            # Which index of the scan as it was given each axis of the page follows.
            "axes": [
                {"name": "xyz"[axis], "size": self._ct.shape[axis], "flip": flip}
                for axis, flip in zip(grid.step.axes, grid.step.flips, strict=True)
            ],
            "hu": representatives().tolist(),
        }


def _middle(box: Box, found: Bool) -> tuple[int, int, int]:
    """The voxel (X, Y, Z) of a mask that is closest to its centre of mass, which need not lie inside."""
    where = np.stack(np.nonzero(found), axis=1)
    nearest = where[np.argmin(np.square(where - where.mean(axis=0)).sum(axis=1))]
    z, y, x = (int(n) + part.start for n, part in zip(nearest, box, strict=True))
    return x, y, z


def _pack(volume: npt.NDArray[Any]) -> str:
    """Little-endian voxels in C order, as a zlib stream in base64: what a browser unpacks without a library."""
    data = np.ascontiguousarray(volume, dtype=volume.dtype.newbyteorder("<"))
    return base64.b64encode(zlib.compress(data.data, 3)).decode()


def _numbers(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _millimetres(spacing: Sequence[float]) -> str:
    return " x ".join(f"{s:.3g}" for s in spacing) + " mm"
