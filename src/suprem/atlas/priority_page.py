"""The ranking as one HTML file, with a picture of the worst place of each of the first cases."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from suprem.atlas.predictions import Prediction
from suprem.atlas.prioritise import PriorityReport, round_models
from suprem.atlas.ranking import Region, read_attention
from suprem.atlas.workspace import Atlas
from suprem.errors import ConfigurationError
from suprem.evaluation.pictures import PREDICTION_RGB, REFERENCE_RGB
from suprem.inference.planes import cut_across, draw_image, draw_letters, draw_mask, plane_of
from suprem.report import Picture, Report, Section, Table, Text
from suprem.volumes.boxes import Box
from suprem.volumes.geometry import Volume

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PAGE", "draw_region", "write_page"]

PAGE = "index.html"
_WIDTH, _HEAD, _DPI = 6.0, 0.6, 110  # inches
_ATTENTION_RGB = (220, 50, 47)
_BACKGROUND, _TEXT = "#101114", "#f2f2f2"
_SHOWN = 3
"""Structures and regions of a case that are named in the table."""

_HOW = (
    "The first cases deserve a look first. Importance compares a case with the others of this round: how unsure the "
    "models are (uncertainty), how much they and the labels disagree (consistency), and how much different structures "
    "claim the same voxels (overlap), in robust deviations from the median. It says where to look, not what is right."
)


def write_page(atlas: Atlas, report: PriorityReport, *, top: int = 10, command: str = "") -> None:
    """Writes ``index.html`` beside the ranking.

    Args:
        atlas: That was prioritised.
        report: What came of it.
        top: Cases of which there is a picture.
        command: That was typed; left out when empty.

    Raises:
        ConfigurationError: ``top`` is negative.
        OutputError: the place cannot be written.
    """
    if top < 0:
        raise ConfigurationError(f"top is {top}; give 0 or more pictures.")
    first = {case: [r for r in report.regions if r.case == case] for case in [c.case for c in report.ranking[:top]]}
    sections: list[Section] = [Text(_HOW), _table(report)]
    if report.problems:
        body = "\n\n".join(f"{case}: {why}" for case, why in report.problems.items())
        sections.insert(0, Text(body, "Cases that could not be scored", "warning"))
    for rank, (case, regions) in enumerate(first.items(), start=1):
        if regions:
            listed = "; ".join(f"{r.reason} ({r.volume_ml:.1f} ml)" for r in regions[:_SHOWN])
            picture = draw_region(atlas, report.round, regions[0])
            sections.append(Picture(picture, f"{case}: {regions[0].reason}", f"{rank}. {case}", listed))
    provenance = {
        "command": command,
        "round": report.round,
        "models": list(round_models(atlas, report.round)[1]),
        "weights": dict(report.weights),
        "tolerance_mm": report.tolerance_mm,
    }
    provenance = {name: value for name, value in provenance.items() if value}
    page = Report(f"What to look at first, round {report.round}", sections, provenance)
    page.write(atlas.priority_folder(report.round) / PAGE)


def _table(report: PriorityReport) -> Table:
    columns = ("rank", "case", "importance", "uncertainty", "consistency", "overlap", "structures")
    rows = [
        (r.rank, r.case, r.importance, r.uncertainty, r.consistency, r.overlap, _listed(r.structures))
        for r in report.ranking
    ]
    note = f"{len(report.reviewed)} cases have nothing left to decide in this round and are not listed."
    return Table(columns, rows, "Ranking", note if report.reviewed else "", dict.fromkeys(columns[2:6], 2))


def _listed(structures: Sequence[str]) -> str:
    names = ", ".join(name.replace("_", " ") for name in structures[:_SHOWN])
    more = len(structures) - _SHOWN
    return f"{names} and {more} more" if more > 0 else names


def draw_region(atlas: Atlas, number: int, region: Region) -> bytes:
    """The axial slice through the middle of a region: the labels, what most models see, and the attention.

    Args:
        atlas: That was prioritised.
        number: Of the round.
        region: In doubt.

    Returns:
        A PNG file.
    """
    record, case = atlas.store.record(region.case), atlas.store.case(region.case)
    box: Box = (slice(0, record.shape[0]), slice(0, record.shape[1]), slice(region.z, region.z + 1))
    labels = atlas.labels(region.case)
    seen = np.zeros((*record.shape[:2], 1), dtype=np.uint8)
    models = 0
    for name in round_models(atlas, number)[1]:
        prediction = Prediction.open(atlas.prediction_folder(number, name, region.case))
        if region.structure in prediction.classes:
            seen += prediction.masks([region.structure], box)[region.structure]
            models += 1
    attention = read_attention(atlas.priority_folder(number), region.case, record.shape)[box]
    known = region.structure in labels.provenance
    labelled = labels.mask(region.structure, box) if known else np.zeros(attention.shape, dtype=np.bool_)
    figure = _figure(
        Volume(case.ct(box), np.array(record.affine), region.case),
        {
            _ATTENTION_RGB: attention >= 128,
            REFERENCE_RGB: labelled,
            PREDICTION_RGB: seen * 2 > models,
        },
        f"{region.structure.replace('_', ' ')}, slice {region.z + 1} of {record.shape[2]}",
    )
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DPI, facecolor=_BACKGROUND, metadata={"Software": None})
    return file.getvalue()


def _figure(scan: Volume, masks: dict[tuple[int, int, int], npt.NDArray[np.bool_]], title: str) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    plane = plane_of(scan, 2, 0)
    tall = _WIDTH * plane.size_mm[0] / plane.size_mm[1]
    figure = Figure(figsize=(_WIDTH, tall + _HEAD), dpi=_DPI, facecolor=_BACKGROUND)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, tall / (tall + _HEAD)))
    draw_image(axes, plane)
    for rgb, mask in masks.items():
        cut = cut_across(mask, 2, 0)
        if cut.any():
            area = rgb == _ATTENTION_RGB
            style: dict[str, Any] = {"fill": 0.35, "width": 0.5} if area else {"width": 1.6}
            draw_mask(axes, cut, plane.spacing_mm, rgb, dashed=rgb == PREDICTION_RGB, **style)
    draw_letters(axes, plane)
    height = tall + _HEAD
    figure.text(0.02, 1 - 0.06 / height, title, color=_TEXT, fontsize=10, fontweight="bold", va="top", parse_math=False)
    legend = (
        ("solid: labels", REFERENCE_RGB),
        ("dashed: most models", PREDICTION_RGB),
        ("area: attention", _ATTENTION_RGB),
    )
    for x, (text, rgb) in zip((0.02, 0.27, 0.62), legend, strict=True):
        colour = tuple(value / 255 for value in rgb)
        figure.text(x, 1 - 0.32 / height, text, color=colour, fontsize=8, va="top", parse_math=False)
    return figure
