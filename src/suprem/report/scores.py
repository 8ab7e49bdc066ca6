"""Scores of predictions as tables for people and papers."""

import math
from collections.abc import Mapping, Sequence

from suprem.evaluation.comparison import FAMILY, Comparison, Rank
from suprem.evaluation.pictures import Picture
from suprem.evaluation.scores import METRICS, Evaluation, StructureSummary
from suprem.report.table import Cell, Estimate, Table, markdown_text

__all__ = ["TITLES", "score_tables", "score_texts"]

TITLES = {"dsc": "DSC", "nsd": "NSD", "hd95_mm": "HD95 mm"}
"""Metric -> what it is called."""

_DIGITS = 3


def score_texts(
    evaluation: Evaluation,
    comparisons: Sequence[Comparison] = (),
    ranks: Sequence[Rank] = (),
    pictures: Sequence[Picture] = (),
    *,
    tolerance_mm: float | None = None,
    folder: str = "",
) -> dict[str, str]:
    """The summary as ``summary.md``, with the pictures, and ``summary.tex``.

    Args:
        evaluation: of the predictions.
        comparisons: with others.
        ranks: of all.
        pictures: of the worst cases.
        tolerance_mm: of NSD, where it is known.
        folder: of the pictures, from where the text lies.

    Returns:
        Name of the file -> text.
    """
    tables = score_tables(evaluation, comparisons, ranks, tolerance_mm=tolerance_mm)
    shown = [
        f"![{markdown_text(f'{p.score.case}, {p.score.structure}: DSC {p.score.scores.dsc:.3f}')}]({folder}/{p.file})\n"
        for p in pictures
    ]
    return {
        "summary.md": "\n".join([*(table.markdown() for table in tables), *shown]),
        "summary.tex": "\n".join(table.latex() for table in tables),
    }


def score_tables(
    evaluation: Evaluation,
    comparisons: Sequence[Comparison] = (),
    ranks: Sequence[Rank] = (),
    *,
    tolerance_mm: float | None = None,
) -> list[Table]:
    """The structures, and with several predictions their ranking and comparison."""
    tables = [_structures(evaluation, tolerance_mm)]
    if ranks:
        tables.append(_ranking(ranks))
    if comparisons:
        tables.append(_comparison(evaluation, comparisons))
    return tables


def _structures(evaluation: Evaluation, tolerance_mm: float | None) -> Table:
    summary = evaluation.summary()
    by_key = {(row.structure, row.metric): row for row in summary}
    infinite = any(row.infinite for row in summary)
    columns = ["structure", "cases"]
    for metric in METRICS:
        columns += [TITLES[metric], f"{TITLES[metric]}, 95 %"]
    names = dict.fromkeys(row.structure for row in summary)
    rows = [_structure_row(name, by_key) for name in names]
    notes = ["Mean over cases, and the 95 % bootstrap interval of the mean."]
    if tolerance_mm is not None:
        notes.append(f"NSD: within {tolerance_mm:g} mm.")
    if infinite:
        columns.append("infinite")
        for name, row in zip(names, rows, strict=True):
            row.append(max((by_key[name, m].infinite for m in METRICS if (name, m) in by_key), default=0))
        notes.append("Infinite distances, where exactly one of the masks is empty, are in no mean.")
    absent = [name for name in evaluation.structures if name not in names]
    if absent:
        notes.append(f"Absent everywhere, in predictions and references: {', '.join(absent)}.")
    return Table(columns, rows, evaluation.predictions, [*notes, *evaluation.notes], _DIGITS)


def _structure_row(name: str, by_key: Mapping[tuple[str, str], StructureSummary]) -> list[Cell]:
    found = [by_key.get((name, metric)) for metric in METRICS]
    cells: list[Cell] = [name, max((row.cases for row in found if row), default=0)]
    for row in found:
        if row is None or math.isnan(row.mean):
            cells += [None, None]
        else:
            known = row.low is not None and row.high is not None
            cells += [row.mean, f"{row.low:.{_DIGITS}f} to {row.high:.{_DIGITS}f}" if known else None]
    return cells


def _ranking(ranks: Sequence[Rank]) -> Table:
    rows = [
        (TITLES[row.metric], row.predictions, row.place, row.mean_rank, _number(row.mean), row.pairs) for row in ranks
    ]
    note = "Over pairs of case and structure that all have; ties share their ranks, an infinite distance comes last."
    columns = ("metric", "predictions", "place", "mean rank", "mean", "pairs")
    return Table(columns, rows, "Ranking by mean rank", (note,), _DIGITS)


def _comparison(evaluation: Evaluation, comparisons: Sequence[Comparison]) -> Table:
    columns = ("metric", "structure", "against", "cases", "difference", "t test p", "dz", "Wilcoxon p", "rank-biserial")
    rows = [(TITLES[row.metric], row.structure, row.against, row.cases, *_tests(row)) for row in comparisons]
    caption = f"{evaluation.predictions} minus the others, over the same cases"
    return Table(columns, rows, caption, (f"{FAMILY[0].upper()}{FAMILY[1:]}.",), _DIGITS)


def _tests(row: Comparison) -> tuple[Cell, ...]:
    difference = None if math.isnan(row.difference) else Estimate(row.difference, signed=True)
    if row.note:
        return difference, row.note, None, None, None
    t, w = f"{row.p_t_holm:.3g}", f"{row.p_wilcoxon_holm:.3g}"
    return difference, t, _number(row.cohen_dz), w, _number(row.rank_biserial)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
