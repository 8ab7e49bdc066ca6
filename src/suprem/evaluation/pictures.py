"""Pictures of the worst cases: both contours on the CT, in the slice where they differ most."""

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from suprem.errors import VolumeError
from suprem.evaluation.cases import CaseTask, MaskLayer, on_grid, read_layers
from suprem.evaluation.masks import CaseMasks, find_masks
from suprem.evaluation.scores import CaseScore, Evaluation
from suprem.inference.planes import WINDOW_HU, Plane, cut_across, draw_image, draw_letters, draw_mask, plane_of
from suprem.volumes.geometry import Volume
from suprem.volumes.io import image_suffix, read_ct
from suprem.volumes.scans import find_scans

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PREDICTION_RGB", "REFERENCE_RGB", "OpenCase", "Outline", "Picture", "draw_slice", "draw_worst"]
__all__ += ["open_cases", "worst_slice"]

# Sky blue and orange of Okabe and Ito, which every kind of colour vision tells apart; the dashes tell them apart too.
REFERENCE_RGB, PREDICTION_RGB = (86, 180, 233), (230, 159, 0)

_NO_CT_HU = -100.0
_MARGIN_MM, _LEAST_MM = 30.0, 100.0  # around the contours, and of the whole picture
_WIDTH, _HEAD, _DPI = 6.0, 0.85, 130  # inches
_LONG = 60  # characters of the title in full size
_CHARACTER = 0.012  # of the width, an average letter of the legend
_TALLEST = 1.6  # height of the slice over its width
_BACKGROUND, _TEXT, _FAINT = "#101114", "#f2f2f2", "#b4b7bd"
_CT_NAMES = ("ct", "image")

_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Outline:
    """One mask in a picture.

    Attributes:
        mask: bool (rows, columns) as displayed, :func:`suprem.inference.planes.cut_across`.
        rgb: 0 to 255.
        label: of the legend.
        dashed: breaks the line.
    """

    mask: _Mask
    rgb: tuple[int, int, int]
    label: str
    dashed: bool = False


@dataclass(frozen=True)
class Picture:
    """One structure of one case.

    Attributes:
        score: what it shows.
        file: name for it, which begins with its place among the worst.
        png: the file.
        note: why there is no CT in it; empty where there is.
    """

    score: CaseScore
    file: str
    png: bytes
    note: str


def draw_worst(
    evaluation: Evaluation,
    predictions: str | Path,
    references: str | Path,
    *,
    count: int = 10,
    images: str | Path | None = None,
    prediction_numbering: str | None = None,
    reference_numbering: str | None = None,
    resample: bool = False,
) -> list[Picture]:
    """Draws the worst pairs of case and structure, worst first; what neither mask holds cannot be drawn.

    Args:
        evaluation: of these folders.
        predictions: folder.
        references: folder.
        count: of pairs.
        images: CTs, as :func:`suprem.volumes.scans.find_scans` finds them (``<case>/ct.nii.gz``, ``<case>.nii.gz``, or
            ``<case>_0000.nii.gz`` of nnU-Net); ``None`` takes ``ct.nii.gz`` beside masks that lie in a folder per case.
        prediction_numbering: of label maps.
        reference_numbering: the same.
        resample: as in :func:`suprem.evaluation.folders.evaluate_folders`.

    Raises:
        SupremError: masks cannot be read, or ``images`` holds no scan. A CT that cannot be shown is no error.
    """
    options: dict[str, Any] = {"images": images, "resample": resample}
    options |= {"prediction_numbering": prediction_numbering, "reference_numbering": reference_numbering}
    worst = evaluation.worst(count)
    pictures: dict[CaseScore, tuple[bytes, str]] = {}
    for case in open_cases(worst, predictions, references, **options):
        for score in case.scores:
            drawn = _drawn(score, case.layers, case.scan, case.note)
            if drawn is not None:
                pictures[score] = (drawn, case.note)
    ordered = [(score, *pictures[score]) for score in worst if score in pictures]
    return [Picture(score, _file(rank, score), png, note) for rank, (score, png, note) in enumerate(ordered, start=1)]


@dataclass(frozen=True, eq=False)
class OpenCase:
    """One case with its masks and its CT, all in RAS.

    Attributes:
        case: name.
        scores: that were asked for.
        layers: masks of both sides.
        scan: the CT on the grid of the first layer, or a grey volume.
        note: why there is no CT; empty where there is.
    """

    case: str
    scores: tuple[CaseScore, ...]
    layers: Sequence[MaskLayer]
    scan: Volume
    note: str


def open_cases(
    scores: Sequence[CaseScore],
    predictions: str | Path,
    references: str | Path,
    *,
    images: str | Path | None = None,
    prediction_numbering: str | None = None,
    reference_numbering: str | None = None,
    resample: bool = False,
) -> Iterator[OpenCase]:
    """Reads the cases of some scores again, one after the other; arguments and errors as for :func:`draw_worst`."""
    predicted, wanted = find_masks(predictions, prediction_numbering), find_masks(references, reference_numbering)
    scans = {scan.case_id: scan.path for scan in find_scans(images)} if images is not None else None
    for case in dict.fromkeys(score.case for score in scores):
        own = tuple(score for score in scores if score.case == case)
        names = tuple(score.structure for score in own)
        layers, _, _ = read_layers(CaseTask(predicted[case], wanted[case], names, resample=resample))
        path = _beside(case, (wanted[case], predicted[case])) if scans is None else _scan(scans, case)
        yield OpenCase(case, own, layers, *_shown(path, layers[0]))


def _file(rank: int, score: CaseScore) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{rank:02d}_{score.case}_{score.structure}") + ".png"


def _scan(scans: Mapping[str, Path], case: str) -> Path | None:
    return scans.get(case) or scans.get(f"{case}_0000")  # the first channel of nnU-Net


def _beside(case: str, sides: Sequence[CaseMasks]) -> Path | None:
    """The CT in the folder of a case."""
    for masks in sides:
        for mask in list(masks.files.values())[:1]:
            folder = mask.parent if mask.parent.name == case else mask.parent.parent
            for path in sorted(folder.iterdir()):
                if path.name.removesuffix(image_suffix(path) or "") in _CT_NAMES and image_suffix(path):
                    return path
    return None


def _shown(path: Path | None, layer: MaskLayer) -> tuple[Volume, str]:
    """The CT on the grid of the layer, or a grey volume and the reason for it."""
    blank = Volume(np.broadcast_to(np.float32(_NO_CT_HU), layer.theirs.shape), layer.affine, "no CT")
    if path is None:
        return blank, "no CT was found"
    try:
        scan = read_ct(path)
        array, _ = on_grid(scan, blank, resample=False)
    except VolumeError as error:
        return blank, f"the CT cannot be shown: {error}"
    return Volume(array, layer.affine, scan.name), ""


def worst_slice(ours: _Mask, theirs: _Mask, spacing_mm: tuple[float, float, float]) -> tuple[int, int] | None:
    """Axis and index of the slice with the largest area in exactly one of two masks (X, Y, Z).

    Where they are the same it is the slice with most of them; ``None`` where both are empty. Of equal ones the axial
    slice is taken.
    """
    wrong = ours ^ theirs
    shown = wrong if wrong.any() else theirs
    best: tuple[float, int, int] = (0.0, 0, 0)
    for axis in (2, 1, 0):
        voxel = math.prod(size for other, size in enumerate(spacing_mm) if other != axis)
        areas = np.count_nonzero(shown, axis=tuple(other for other in range(3) if other != axis)) * voxel
        index = int(np.argmax(areas))
        if areas[index] > best[0] * (1 + 1e-9):
            best = (float(areas[index]), axis, index)
    return best[1:] if best[0] else None


def _drawn(score: CaseScore, layers: Sequence[MaskLayer], scan: Volume, note: str) -> bytes | None:
    layer = next(layer for layer in layers if score.structure in layer.names)
    number = layer.names.index(score.structure) + 1
    ours, theirs = layer.ours == number, layer.theirs == number
    place = worst_slice(ours, theirs, layer.spacing_mm)
    if place is None:
        return None
    if scan.shape != theirs.shape:  # a case whose structures lie on grids of their own
        scan, note = _shown(None, layer)
    axis, index = place
    plane = plane_of(scan, axis, index)
    pair = [cut_across(mask, axis, index) for mask in (theirs, ours)]
    lines = _lines(score, f"{plane.title} slice {index + 1} of {theirs.shape[axis]}")
    outlines = (
        Outline(pair[0], REFERENCE_RGB, "solid: reference"),
        Outline(pair[1], PREDICTION_RGB, "dashed: prediction", dashed=True),
    )
    return draw_slice(plane, outlines, lines, note)


def _lines(score: CaseScore, where: str) -> tuple[str, str]:
    far = score.scores.hd95_mm
    alone = "nothing was predicted" if score.reference_ml > 0 else "the reference is empty"
    distance = f"HD95 {far:.1f} mm" if math.isfinite(far) else f"HD95 infinite: {alone}"
    return f"{score.case}   {score.structure}", f"DSC {score.scores.dsc:.3f}   {distance}   {where}"


def draw_slice(plane: Plane, outlines: Sequence[Outline], lines: tuple[str, str], note: str = "") -> bytes:
    """The slice around all outlines, under two lines of text and the legend, as a PNG file.

    Args:
        plane: the slice.
        outlines: drawn in their order; without a voxel in any of them the whole slice is shown.
        lines: title and subtitle.
        note: why there is no CT in it; empty where there is.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    seen = (
        np.logical_or.reduce([outline.mask for outline in outlines]) if outlines else np.zeros(plane.image.shape, bool)
    )
    left, right, top, bottom = _window(plane, seen if seen.any() else np.ones_like(seen))
    slice_height = min(_WIDTH * (bottom - top) / (right - left), _TALLEST * _WIDTH)
    slice_width = slice_height * (right - left) / (bottom - top)
    height = slice_height + _HEAD
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, facecolor=_BACKGROUND)
    FigureCanvasAgg(figure)
    bounds = ((1 - slice_width / _WIDTH) / 2, 0.0, slice_width / _WIDTH, slice_height / height)
    axes = figure.add_axes(bounds)
    draw_image(axes, plane)
    for outline in outlines:
        if outline.mask.any():
            draw_mask(axes, outline.mask, plane.spacing_mm, outline.rgb, width=2.0, dashed=outline.dashed)
    draw_letters(axes, plane)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    _write_head(figure, height, outlines, lines, note)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DPI, facecolor=_BACKGROUND, metadata={"Software": None})
    return file.getvalue()


def _write_head(
    figure: "Figure", height: float, outlines: Sequence[Outline], lines: tuple[str, str], note: str
) -> None:
    style: dict[str, Any] = {"va": "top", "parse_math": False}
    size = 10 * min(1.0, _LONG / len(lines[0]))
    figure.text(0.02, 1 - 0.08 / height, lines[0], color=_TEXT, fontsize=size, fontweight="bold", **style)
    figure.text(0.02, 1 - 0.32 / height, lines[1], color=_TEXT, fontsize=8, **style)
    x = 0.02
    for outline in outlines:
        colour = tuple(value / 255 for value in outline.rgb)
        figure.text(x, 1 - 0.56 / height, outline.label, color=colour, fontsize=8, **style)
        x += 0.04 + _CHARACTER * len(outline.label)
    seen = f"{WINDOW_HU[0]:.0f} to {WINDOW_HU[1]:.0f} HU" if not note else note.partition(":")[0]
    figure.text(0.98, 1 - 0.56 / height, seen, color=_FAINT, fontsize=7, ha="right", **style)


def _window(plane: Plane, both: _Mask) -> tuple[float, float, float, float]:
    """Left, right, top and bottom in mm of what is shown, inside the slice."""
    limits: list[float] = []
    for axis, (spacing, size) in enumerate(zip(plane.spacing_mm, plane.size_mm, strict=True)):
        found = np.flatnonzero(both.any(axis=1 - axis))
        low, high = found[0] * spacing - _MARGIN_MM, (found[-1] + 1) * spacing + _MARGIN_MM
        more = max(0.0, _LEAST_MM - (high - low)) / 2
        limits = [max(0.0, low - more), min(size, high + more), *limits]
    return limits[0], limits[1], limits[2], limits[3]
