"""The page of an evaluation: tables, and the worst cases to page through, prediction beside reference."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from suprem.evaluation.comparison import Comparison, Rank
from suprem.evaluation.pictures import OpenCase, Picture, open_cases
from suprem.evaluation.scores import Evaluation
from suprem.report import sections
from suprem.report.document import Report
from suprem.report.scores import score_tables
from suprem.report.table import Table
from suprem.report.viewer import MAX_BYTES, ViewerBuilder

__all__ = ["evaluation_report", "page_table", "worst_viewers"]

_REST_BYTES = 5_000_000
"""Left to tables and pictures."""


def page_table(table: Table) -> sections.Table:
    """A table of a paper as one of a page, which readers can sort."""
    counted = {
        name for i, name in enumerate(table.columns) if all(isinstance(row[i], int | None) for row in table.rows)
    }
    digits = {name: table.digits for name in table.columns if name not in counted}
    return sections.Table(table.columns, table.rows, table.caption, " ".join(table.all_notes), digits)


def worst_viewers(
    evaluation: Evaluation, predictions: str | Path, references: str | Path, *, count: int, **options: Any
) -> list[sections.Viewer]:
    """The cases with the worst pairs of case and structure, each with all structures that were compared.

    Args:
        evaluation: of these folders.
        predictions: folder.
        references: folder.
        count: of cases.
        **options: as for :func:`suprem.evaluation.pictures.draw_worst`.
    """
    everything = evaluation.worst(len(evaluation.scores))
    cases = list(dict.fromkeys(score.case for score in everything))[:count]
    chosen = [score for case in cases for score in everything if score.case == case]
    share = (MAX_BYTES - _REST_BYTES) // max(len(cases), 1)
    return [_viewer(case, share) for case in open_cases(chosen, predictions, references, **options)]


def _viewer(case: OpenCase, max_bytes: int) -> sections.Viewer:
    note = "" if not case.note else f"{case.note[0].upper()}{case.note[1:]}."
    builder = ViewerBuilder(case.scan, title=case.case, note=note, max_bytes=max_bytes)
    shown = [layer for layer in case.layers if layer.theirs.shape == case.scan.shape]
    for side in ("prediction", "reference"):
        for layer in shown:
            array = layer.ours if side == "prediction" else layer.theirs
            for number, name in enumerate(layer.names, start=1):
                builder.add(name, array == number, layer=side)
    names = {name for layer in shown for name in layer.names}
    rows = [
        sections.StructureRow(
            score.structure,
            {
                "DSC": score.scores.dsc,
                "NSD": score.scores.nsd,
                "HD95 (mm)": score.scores.hd95_mm,
                "Reference (ml)": score.reference_ml,
                "Error (ml)": score.scores.volume_error_ml,
            },
            _remarks(score.scores.hd95_mm, score.reference_ml),
        )
        for score in case.scores
        if score.structure in names
    ]
    return builder.build(rows)


def _remarks(hd95_mm: float, reference_ml: float) -> tuple[str, ...]:
    if not math.isinf(hd95_mm):
        return ()
    return ("nothing was predicted",) if reference_ml > 0 else ("the reference is empty",)


def evaluation_report(
    evaluation: Evaluation,
    settings: Mapping[str, Any],
    comparisons: Sequence[Comparison] = (),
    ranks: Sequence[Rank] = (),
    pictures: Sequence[Picture] = (),
    viewers: Sequence[sections.Viewer] = (),
    *,
    command: str = "",
) -> Report:
    """The page; arguments as for :func:`suprem.evaluation.tables.write_tables`.

    Args:
        evaluation: of the predictions.
        settings: how it was made.
        comparisons: with others.
        ranks: of all.
        pictures: of the worst pairs of case and structure.
        viewers: of the worst cases.
        command: as typed; left out when empty.
    """
    tables = score_tables(evaluation, comparisons, ranks, tolerance_mm=settings.get("tolerance_mm"))
    parts: list[sections.Section] = [page_table(table) for table in tables]
    parts += viewers
    parts += [
        sections.Picture(
            picture.png,
            f"{picture.score.case}, {picture.score.structure}: contours of reference and prediction",
            f"{picture.score.case}, {picture.score.structure}: DSC {picture.score.scores.dsc:.3f}",
            picture.note,
        )
        for picture in pictures
    ]
    provenance = {"command": command, "predictions": evaluation.predictions, **settings} if command else dict(settings)
    return Report("Evaluation", parts, provenance, evaluation.predictions)
