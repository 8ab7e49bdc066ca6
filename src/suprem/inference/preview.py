"""One picture per case: three planes with coloured overlays and a legend.

Displayed as radiologists do: the patient's right is on the left of axial and coronal planes, the front on the left of
sagittal ones.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from suprem.inference.planes import WINDOW_HU, Plane, cut_across, draw_image, draw_letters, draw_mask, plane_of
from suprem.inference.statistics import StructureStatistics
from suprem.labels import color
from suprem.volumes.geometry import Reorientation, Volume, to_ras

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Preview"]

Mask = npt.NDArray[np.bool_]

_DPI = 130
_BACKGROUND, _TEXT, _FAINT = "#101114", "#f2f2f2", "#8a8d94"
_GAP, _TITLE, _CAPTION, _FOOT, _ROW = 0.12, 0.58, 0.22, 0.3, 0.19  # inches
_PLANES_WIDTH, _PLANES_HEIGHT = 14.0, 8.5  # inches at most
_MIN_WIDTH = 9.0
_MAX_ENLARGED = 3.0  # times the scale of the other planes
_FONT = 8.0
_CHARACTER = 0.56 * _FONT / 72  # inches, an average letter
_FILL = 0.38
_NOTE = (
    "Filled box: cut by a plane above; outlined box: present elsewhere.   "
    f"Displayed at {WINDOW_HU[0]:.0f} to {WINDOW_HU[1]:.0f} HU.   "
    "Not for clinical use."
)


class Preview:
    """Collects three planes of a case, one mask at a time, and draws them.

    Args:
        scan: The CT in HU.
        centre: Voxel index of the scan through which the planes go.

    Example:
        >>> scan = Volume(np.zeros((8, 9, 10), np.int16), np.eye(4))
        >>> [plane.image.shape for plane in Preview(scan, (4, 4, 4)).planes]
        [(9, 8), (10, 8), (10, 9)]
    """

    def __init__(self, scan: Volume, centre: tuple[int, int, int]) -> None:
        ras, self._step = to_ras(scan)
        self._index = centre
        self.centre = _moved(centre, scan.shape, self._step)
        self.planes = [plane_of(ras, axis, self.centre[axis]) for axis in (2, 1, 0)]

    def add(self, name: str, mask: Mask) -> None:
        """Keeps the three slices of a mask.

        Args:
            name: Canonical name of the structure.
            mask: bool (X, Y, Z) on the scan's grid.
        """
        turned = self._step.apply(mask)
        for plane in self.planes:
            cut = cut_across(turned, plane.axis, self.centre[plane.axis])
            if cut.any():
                plane.masks[name] = cut

    def figure(self, title: str, subtitle: str, rows: Sequence[StructureStatistics]) -> "Figure":
        """Draws the picture.

        Args:
            title: First line, e.g. the case.
            subtitle: Second line, e.g. what made the masks.
            rows: All structures in the order of the legend; those without a voxel are listed as not found.
        """
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        boxes, wide, high = _arranged([plane.size_mm for plane in self.planes])
        width = max(_MIN_WIDTH, wide + 2 * _GAP)
        legend = _Legend(rows, {name for plane in self.planes for name in plane.masks}, width)
        top = legend.height + _FOOT + _GAP + high  # of the planes, above the lower edge of the picture
        height = top + _CAPTION + _TITLE
        figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=_BACKGROUND)
        FigureCanvasAgg(figure)
        for plane, (x, y, box_wide, box_high) in zip(self.planes, boxes, strict=True):
            left, upper = (width - wide) / 2 + x, top - y
            bounds = (left / width, (upper - box_high) / height, box_wide / width, box_high / height)
            _draw_plane(figure.add_axes(bounds), plane)
            figure.text(
                left / width, (upper + 0.05) / height, self._caption(plane), color=_TEXT, fontsize=_FONT, va="bottom"
            )
        legend.draw(figure, top=top - high - _GAP)
        _draw_text(figure, title, subtitle)
        return figure

    def save(self, path: Path, title: str, subtitle: str, rows: Sequence[StructureStatistics]) -> None:
        """Draws the picture into a PNG file; the same content always gives the same bytes."""
        figure = self.figure(title, subtitle, rows)
        figure.savefig(path, format="png", dpi=_DPI, facecolor=_BACKGROUND, metadata={"Software": None})

    def _caption(self, plane: Plane) -> str:
        # Named by the scan's own index, as the bounding boxes are.
        axis = self._step.axes[plane.axis]
        return f"{plane.title}   {'xyz'[axis]} = {self._index[axis]}"


def _moved(index: tuple[int, int, int], shape: tuple[int, int, int], step: Reorientation) -> tuple[int, int, int]:
    """A voxel index of the scan as an index of its RAS view."""
    x, y, z = (
        shape[axis] - 1 - index[axis] if flip else index[axis] for axis, flip in zip(step.axes, step.flips, strict=True)
    )
    return x, y, z


def _arranged(sizes_mm: Sequence[tuple[float, float]]) -> tuple[list[tuple[float, float, float, float]], float, float]:
    """Places axial, coronal and sagittal side by side, centred, at one scale.

    A scan of the whole body would leave the axial plane tiny, so that one grows into the room that is left.

    Args:
        sizes_mm: Height and width of each plane.

    Returns:
        Left, distance of the upper edge from the top of the row, width and height of each, then width and height of
        the row; all in inches.
    """
    room = _PLANES_WIDTH - 2 * _GAP
    mm_wide, mm_high = sum(width for _, width in sizes_mm), max(height for height, _ in sizes_mm)
    scale = min(room / mm_wide, _PLANES_HEIGHT / mm_high)
    row = mm_high * scale
    (axial_high, axial_wide), *others = sizes_mm
    left_over = room - sum(width for _, width in others) * scale
    enlarged = min(left_over / axial_wide, row / axial_high, _MAX_ENLARGED * scale)
    boxes, x = [], 0.0
    for (high, wide), factor in zip(sizes_mm, (enlarged, scale, scale), strict=True):
        boxes.append((x, (row - high * factor) / 2, wide * factor, high * factor))
        x += wide * factor + _GAP
    return boxes, x - _GAP, row


def _draw_plane(axes: "Axes", plane: Plane) -> None:
    draw_image(axes, plane)
    # Large ones first, so that a lesion stays visible on its organ.
    for name, mask in sorted(plane.masks.items(), key=lambda item: -int(item[1].sum())):
        draw_mask(axes, mask, plane.spacing_mm, color(name), fill=_FILL)
    draw_letters(axes, plane)


class _Legend:
    """Names, colours and volumes in as many columns as fit the width, then the names of what was not found.

    Args:
        rows: All structures in order.
        visible: Names of those that a plane cuts.
        width: Inches.
    """

    def __init__(self, rows: Sequence[StructureStatistics], visible: set[str], width: float) -> None:
        self._found = [row for row in rows if not row.empty]
        self._visible = visible
        self._labels = [_label(row) for row in self._found]
        longest = max((len(text) for text in self._labels), default=1)
        columns = max(1, min(len(self._found), int((width - 2 * _GAP) / (longest * _CHARACTER + 0.42))))
        self._step = (width - 2 * _GAP) / columns
        self._per_column = math.ceil(len(self._found) / columns)
        missing = ", ".join(row.structure.replace("_", " ") for row in rows if row.empty)
        self._missing = wrap(f"Not found: {missing}", int((width - 2 * _GAP) / _CHARACTER)) if missing else []

    @property
    def height(self) -> float:
        """Inches that the entries take."""
        return (self._per_column + len(self._missing)) * _ROW

    def draw(self, figure: "Figure", top: float) -> None:
        """Draws the entries downwards from ``top`` (inches), column by column."""
        from matplotlib.patches import Rectangle

        width, height = figure.get_size_inches()
        style: dict[str, Any] = {"fontsize": _FONT, "va": "center_baseline", "parse_math": False}
        for index, (row, label) in enumerate(zip(self._found, self._labels, strict=True)):
            x = _GAP + index // self._per_column * self._step
            y = top - (index % self._per_column + 0.5) * _ROW
            rgb = tuple(v / 255 for v in color(row.structure))
            fill = rgb if row.structure in self._visible else "none"
            corner, size = (x / width, (y - 0.055) / height), (0.17 / width, 0.11 / height)
            figure.add_artist(Rectangle(corner, *size, facecolor=fill, edgecolor=rgb, transform=figure.transFigure))
            figure.text((x + 0.24) / width, y / height, label, color=_TEXT, **style)
        for index, line in enumerate(self._missing):
            y = top - (self._per_column + index + 0.5) * _ROW
            figure.text(_GAP / width, y / height, line, color=_FAINT, **style)


def _label(row: StructureStatistics) -> str:
    digits = 0 if row.volume_ml >= 100 else 1 if row.volume_ml >= 1 else 2
    return f"{row.structure.replace('_', ' ')}  {row.volume_ml:.{digits}f} ml"


def _draw_text(figure: "Figure", title: str, subtitle: str) -> None:
    width, height = figure.get_size_inches()
    x = _GAP / width
    figure.text(x, 1 - 0.12 / height, title, color=_TEXT, fontsize=12, fontweight="bold", va="top", parse_math=False)
    figure.text(x, 1 - 0.37 / height, subtitle, color=_FAINT, fontsize=_FONT, va="top", parse_math=False)
    figure.text(x, 0.08 / height, _NOTE, color=_FAINT, fontsize=_FONT - 1, va="bottom")
