"""What a report can hold: text, tables, pictures, and the sections that viewers become."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from suprem.errors import ConfigurationError
from suprem.report.table import Estimate

__all__ = ["Cell", "Flag", "Layer", "Picture", "Section", "ShownStructure", "StructureRow", "Table", "Text", "Viewer"]

Flag = str | tuple[str, str]
Cell = str | float | int | bool | Estimate | None

_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Text:
    """Paragraphs of plain text; a blank line separates them.

    Attributes:
        body: what it says. It is never read as HTML.
        title: heading; none when empty.
        kind: ``"note"`` and ``"warning"`` stand out.
    """

    body: str
    title: str = ""
    kind: Literal["plain", "note", "warning"] = "plain"

    @property
    def paragraphs(self) -> list[str]:
        """The body, split at blank lines."""
        return [part.strip() for part in self.body.split("\n\n") if part.strip()]


@dataclass(frozen=True)
class Table:
    """A table that readers can sort by each of its columns.

    Attributes:
        columns: headings.
        rows: one cell per column; ``None`` and NaN are shown as a dash and sorted last. An
            :class:`~suprem.report.table.Estimate` is shown with deviation and mark, and sorted by its mean.
        title: heading; none when empty.
        note: a sentence below.
        digits: column -> digits behind the point; where it is missing, the size of the number decides.

    Raises:
        ConfigurationError: a row has more or fewer cells than there are columns.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    note: str = ""
    digits: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ConfigurationError(
                    f"Row {number} of the table {self.title!r} has {len(row)} cells for {len(self.columns)} columns; "
                    "give one per column, None where there is no value."
                )

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers and are aligned as such."""
        return [any(row[i][2] and row[i][1] for row in self.shown) for i in range(len(self.columns))]

    @property
    def shown(self) -> list[list[tuple[str, str, bool]]]:
        """Per row and cell: the text, what it is sorted by, and whether it is a number."""
        return [
            [_shown(cell, self.digits.get(column)) for column, cell in zip(self.columns, row, strict=True)]
            for row in self.rows
        ]


@dataclass(frozen=True)
class Picture:
    """A picture inside the page.

    Attributes:
        content: the bytes of a PNG file, or the text of an SVG file (shown as an image: scripts in it never run).
        alt: what it shows, for those who cannot see it.
        title: heading; none when empty.
        caption: a sentence below.

    Raises:
        ConfigurationError: the content is neither.
    """

    content: bytes | str
    alt: str
    title: str = ""
    caption: str = ""

    def __post_init__(self) -> None:
        known = self.content.startswith(_PNG) if isinstance(self.content, bytes) else "<svg" in self.content
        if not known:
            raise ConfigurationError(
                f"The picture {self.title or self.alt!r} is neither the bytes of a PNG nor the text of an SVG file."
            )

    @property
    def source(self) -> str:
        """The content as a data address."""
        if isinstance(self.content, bytes):
            return "data:image/png;base64," + base64.b64encode(self.content).decode()
        return "data:image/svg+xml;base64," + base64.b64encode(self.content.encode()).decode()


@dataclass(frozen=True)
class StructureRow:
    """A line of the table beside a viewer.

    Attributes:
        structure: canonical name, as given to :meth:`suprem.report.ViewerBuilder.add`.
        values: heading, with unit -> value, e.g. ``{"Volume (ml)": 1510.2, "Mean HU": 104.0}``.
        flags: what a reader should doubt, each a few words, or a word and the sentence that it opens.
    """

    structure: str
    values: Mapping[str, Cell] = field(default_factory=dict)
    flags: Sequence[Flag] = ()


@dataclass(frozen=True)
class Layer:
    """One set of overlays, packed for the page.

    Attributes:
        name: e.g. ``"prediction"``.
        bytes_per_voxel: 1, or 2 with more than 256 combinations of structures.
        palette: per index the numbers of the structures that a voxel belongs to.
        data: the index volume (Z, Y, X), deflated, base64.
    """

    name: str
    bytes_per_voxel: int
    palette: tuple[tuple[int, ...], ...]
    data: str


@dataclass(frozen=True)
class ShownStructure:
    """A structure that a viewer can show, or lists as not found.

    Attributes:
        name: canonical name.
        color: ``"#rrggbb"``.
        centre: a voxel (X, Y, Z) inside it, near its middle; ``None`` when it has no voxel.
        voxels: on the viewer's grid, all layers together; larger ones are drawn first.
        values: cells of the table, in the order of the columns.
        flags: each as its words and the sentence that they open, which may be empty.
    """

    name: str
    color: str
    centre: tuple[int, int, int] | None
    voxels: int
    values: tuple[Cell, ...]
    flags: tuple[tuple[str, str], ...]

    @property
    def flag_words(self) -> str:
        """What the column of flags is sorted by."""
        return "; ".join(words for words, _ in self.flags)

    @property
    def label(self) -> str:
        """The name for people."""
        return self.name.replace("_", " ")

    @property
    def shown(self) -> list[tuple[str, str, bool]]:
        """Cells as those of :attr:`Table.shown`."""
        return [_shown(value, None) for value in self.values]


@dataclass(frozen=True)
class Viewer:
    """A CT with its overlays, packed for the page; made by :class:`suprem.report.ViewerBuilder`.

    Attributes:
        title: heading.
        note: a sentence below it.
        facts: what is in the page compared with the scan, name -> text.
        columns: headings of the table beside it.
        structures: its lines, found ones first in the order they were given.
        layers: overlays; the first is shown at the start.
        ct: companded volume (Z, Y, X), deflated, base64.
        geometry: plain values for the page: shape, spacing, affine, and the scan's own axes.
    """

    title: str
    note: str
    facts: Mapping[str, str]
    columns: tuple[str, ...]
    structures: tuple[ShownStructure, ...]
    layers: tuple[Layer, ...]
    ct: str
    geometry: Mapping[str, Any]

    @property
    def found(self) -> list[tuple[int, ShownStructure]]:
        """Structures with a voxel, with their numbers."""
        return [(n, item) for n, item in enumerate(self.structures) if item.centre is not None]

    @property
    def not_found(self) -> list[ShownStructure]:
        """Structures without a voxel in any layer."""
        return [item for item in self.structures if item.centre is None]

    @property
    def flagged(self) -> bool:
        """Whether any structure has a flag."""
        return any(item.flags for item in self.structures)

    @property
    def page_data(self) -> dict[str, Any]:
        """What the program in the page needs besides the packed volumes; plain JSON."""
        return {
            **self.geometry,
            "layers": [
                {"name": layer.name, "bytes": layer.bytes_per_voxel, "palette": layer.palette} for layer in self.layers
            ],
            "structures": [
                {"name": item.label, "color": item.color, "centre": item.centre, "voxels": item.voxels}
                for item in self.structures
            ],
        }

    @property
    def packed_bytes(self) -> int:
        """Characters that the volumes take in the page."""
        return len(self.ct) + sum(len(layer.data) for layer in self.layers)


Section = Text | Table | Picture | Viewer


def _shown(cell: Cell, digits: int | None) -> tuple[str, str, bool]:
    """Text of a cell, what it is sorted by (empty: last), and whether it is a number."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "-", "", True
    if isinstance(cell, bool):
        return ("yes" if cell else "no"), str(int(cell)), False
    if isinstance(cell, str):
        return cell, cell, False
    if isinstance(cell, Estimate):
        mean, sd = cell.parts(_digits(cell.mean) if digits is None else digits)
        return " ".join(part for part in (f"{mean} ± {sd}" if sd else mean, cell.mark) if part), repr(cell.mean), True
    if isinstance(cell, int) and digits is None:
        return str(cell), str(cell), True
    value = float(cell)
    if math.isinf(value):
        return ("inf" if value > 0 else "-inf"), ("1e999" if value > 0 else "-1e999"), True
    return f"{value:.{_digits(value) if digits is None else digits}f}", repr(value), True


def _digits(value: float) -> int:
    """Digits behind the point of about three significant ones."""
    return next((n for n, limit in enumerate((100, 10, 1)) if abs(value) >= limit), 3)
