"""One slice of a scan as a picture, with masks on it.

Displayed as radiologists do: the patient's right is on the left of axial and coronal planes, the front on the left of
sagittal ones.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from suprem.volumes.geometry import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["WINDOW_HU", "Plane", "cut_across", "draw_image", "draw_letters", "draw_mask", "plane_of"]

WINDOW_HU = (-160.0, 240.0)
"""What is shown black and white."""

_Mask = npt.NDArray[np.bool_]

# Of the plane across each RAS axis: its title, and what is left, right, at the top and at the bottom of the picture.
_SIGHTS = (
    ("sagittal", ("A", "P", "S", "I")),
    ("coronal", ("R", "L", "S", "I")),
    ("axial", ("R", "L", "A", "P")),
)


@dataclass
class Plane:
    """One slice as displayed: rows downwards, columns to the right.

    Attributes:
        title: e.g. ``"axial"``.
        axis: the RAS axis it cuts.
        letters: what left, right, top and bottom of the picture are in the patient.
        spacing_mm: between rows, between columns.
        image: (rows, columns), HU.
        masks: the structures that it cuts.
    """

    title: str
    axis: int
    letters: tuple[str, str, str, str]
    spacing_mm: tuple[float, float]
    image: npt.NDArray[np.float32]
    masks: dict[str, _Mask] = field(default_factory=dict)

    @property
    def size_mm(self) -> tuple[float, float]:
        """Height and width of the picture in the patient."""
        return self.image.shape[0] * self.spacing_mm[0], self.image.shape[1] * self.spacing_mm[1]


def plane_of(scan: Volume, axis: int, index: int) -> Plane:
    """The slice of a scan in RAS across one of its axes.

    Example:
        >>> scan = Volume(np.zeros((8, 9, 10), np.int16), np.eye(4))
        >>> plane_of(scan, 2, 4).title, plane_of(scan, 2, 4).image.shape
        ('axial', (9, 8))
    """
    title, letters = _SIGHTS[axis]
    columns, rows = (size for other, size in enumerate(scan.spacing_mm) if other != axis)
    return Plane(title, axis, letters, (rows, columns), cut_across(scan.array, axis, index).astype(np.float32))


def cut_across(array: npt.NDArray[Any], axis: int, index: int) -> npt.NDArray[Any]:
    """The slice of an array in RAS across an axis, turned so that both of its axes grow to the left and the top.

    A copy, which does not keep the array alive. (`take` would copy the whole of an array that is turned or mirrored.)
    """
    cut: npt.NDArray[Any] = array[(slice(None),) * axis + (index,)]
    return cut.T[::-1, ::-1].copy()


def draw_image(axes: "Axes", plane: Plane) -> None:
    """Draws the scan in millimetres from the upper left corner."""
    high, wide = plane.size_mm
    axes.imshow(
        plane.image,
        cmap="gray",
        vmin=WINDOW_HU[0],
        vmax=WINDOW_HU[1],
        extent=(0, wide, high, 0),
        interpolation="bilinear",
        aspect="auto",
    )
    axes.set_axis_off()
    axes.set_xlim(0, wide)
    axes.set_ylim(high, 0)


def draw_letters(axes: "Axes", plane: Plane) -> None:
    """Writes at each side of the picture where in the patient it is."""
    from matplotlib.patheffects import withStroke

    left, right, top, bottom = plane.letters
    style: dict[str, Any] = {"color": "white", "fontsize": 10, "fontweight": "bold", "transform": axes.transAxes}
    style["path_effects"] = [withStroke(linewidth=2, foreground="black")]
    axes.text(0.012, 0.5, left, ha="left", va="center", **style)
    axes.text(0.988, 0.5, right, ha="right", va="center", **style)
    axes.text(0.5, 0.988, top, ha="center", va="top", **style)
    axes.text(0.5, 0.012, bottom, ha="center", va="bottom", **style)


def draw_mask(
    axes: "Axes",
    mask: _Mask,
    spacing_mm: tuple[float, float],
    rgb: tuple[int, int, int],
    *,
    fill: float = 0.0,
    width: float = 1.0,
    dashed: bool = False,
) -> None:
    """Traces a mask around the voxels of one slice.

    Args:
        axes: where to.
        mask: bool (rows, columns) as displayed, not empty.
        spacing_mm: between rows, between columns.
        rgb: 0 to 255.
        fill: opacity of the area.
        width: of the outline, points.
        dashed: breaks the outline.
    """
    from contourpy import FillType, LineType, contour_generator
    from matplotlib.collections import LineCollection, PathCollection
    from matplotlib.path import Path

    colour = tuple(value / 255 for value in rgb)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    # One voxel of background all around closes outlines at the border of the picture.
    crop = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1).astype(np.float32)
    y = (np.arange(crop.shape[0]) + top - 0.5) * spacing_mm[0]
    x = (np.arange(crop.shape[1]) + left - 0.5) * spacing_mm[1]
    # What `contour` and `contourf` do, without their checks, which take most of the time of a picture of many masks.
    generator = contour_generator(x, y, crop, fill_type=FillType.OuterCode, line_type=LineType.Separate)
    if fill:
        areas = [Path(*area) for area in zip(*generator.filled(0.5, 1.5), strict=True)]
        axes.add_collection(PathCollection(areas, facecolors=[(*colour, fill)], edgecolors="none"), autolim=False)
    style = "dashed" if dashed else "solid"
    lines: Any = generator.lines(0.5)  # points, as the line type says
    outline = LineCollection(lines, colors=[(*colour, 1.0)], linewidths=width, linestyles=style)
    axes.add_collection(outline, autolim=False)
