"""Tables and curves of a study, rewritten whenever runs have finished."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from suprem._files import atomic_path, make_folder, one_of_several_users
from suprem.report import Picture, Report, Section, Text
from suprem.report.evaluation import page_table
from suprem.report.experiment_figures import COLOURS
from suprem.report.table import Cell as TableCell
from suprem.report.table import Estimate, Table
from suprem.transfer.run_table import Result, StudyFolder
from suprem.transfer.summary import Cell, summarise, verdict

__all__ = ["write_outputs"]

SUMMARY, STRUCTURES, RESULTS, CURVES, VERDICT = "summary", "structures", "runs", "curves", "verdict.txt"
REPORT = "report.html"
TABLES = "tables"
_PERCENT = 100.0


def write_outputs(folder: StudyFolder) -> list[str]:
    """Writes what the finished runs say into ``tables/``: Markdown, LaTeX, HTML, CSV, curves, a page and the verdict.

    Returns:
        The verdict; how many runs are missing comes first, if any.

    Raises:
        OutputError: a file cannot be written.
    """
    runs = folder.runs()
    results = folder.results(runs)
    place = folder.path / TABLES
    missing = len(runs) - len(results)
    lines = [f"{missing} of {len(runs)} runs are not finished; the tables hold the others."] if missing else []
    left_out = len(folder.study.runs()) - len(runs)
    if left_out:
        lines.append(f"{left_out} runs of the study were taken out of the table of runs by hand.")
    make_folder(place)
    with one_of_several_users(place):
        if results:
            cells = summarise(folder.study, results)
            lines += verdict(folder.study, cells)
            tables = {
                SUMMARY: _summary_table(folder, cells, lines),
                STRUCTURES: _structure_table(folder, summarise(folder.study, results, scope="structure")),
                RESULTS: _run_table(results),
            }
            for name, table in tables.items():
                table.write(place, name)
            if len(folder.study.shots) > 1:
                for ending in ("svg", "png"):
                    with atomic_path(place / f"{CURVES}.{ending}") as temporary:
                        draw_curves(cells, temporary, ending)
            _page(folder, lines, tables).write(place / REPORT)
        else:
            lines.append("No run is finished; there is nothing to tabulate.")
        with atomic_path(place / VERDICT) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return lines


def _page(folder: StudyFolder, lines: Sequence[str], tables: Mapping[str, Table]) -> Report:
    """Verdict, tables and curves on one page."""
    parts: list[Section] = [Text("\n\n".join(lines), kind="note"), page_table(tables[SUMMARY])]
    curves = folder.path / TABLES / f"{CURVES}.svg"
    if curves.is_file():
        parts.append(Picture(curves.read_text(encoding="utf-8"), "Dice coefficient over the number of cases", "Curves"))
    parts += [page_table(tables[STRUCTURES]), page_table(tables[RESULTS])]
    study = {key: value for key, value in asdict(folder.study).items() if key != "groups"}
    groups = {name: ", ".join(members) for name, members in folder.study.groups.items()}
    return Report("Does pre-training help?", parts, {**study, "groups": groups}, folder.path.name)


_CHOICE = ("group", "model", "cases", "start", "trained", "DSC %")
_TESTS = ("difference", "p paired", "remark")


def _choice(cell: Cell) -> tuple[TableCell, ...]:
    return cell.group, cell.model, cell.shots, cell.initialisation, cell.strategy, _estimate(cell)


def _summary_table(folder: StudyFolder, cells: Sequence[Cell], lines: Sequence[str]) -> Table:
    rows = [(*_choice(cell), _PERCENT * cell.mean_nsd, *_tests(cell)) for cell in cells]
    return Table((*_CHOICE, "NSD %", *_TESTS), rows, _caption(folder), [*lines, *_notes(folder)])


def _structure_table(folder: StudyFolder, cells: Sequence[Cell]) -> Table:
    rows = [(cell.structure, *_choice(cell), *_tests(cell)) for cell in cells]
    return Table(("structure", *_CHOICE, *_TESTS), rows, f"{_caption(folder)} Each structure.", _notes(folder))


def _run_table(results: Sequence[Result]) -> Table:
    columns = (
        "run",
        "group",
        "model",
        "cases",
        "start",
        "trained",
        "seed",
        "DSC %",
        "NSD %",
        "training s",
        "scoring s",
    )
    rows = []
    for result in results:
        run = result.run
        nsd = sum(result.nsd.values()) / len(result.nsd)
        seconds = (result.facts["training_seconds"], result.facts["scoring_seconds"])
        start = (run.name, run.group, run.model, run.shown_shots, run.initialisation, run.strategy, run.seed)
        rows.append((*start, _PERCENT * result.mean_dsc, _PERCENT * nsd, *seconds))
    return Table(columns, rows, "One row per run.", digits=2)


def _estimate(cell: Cell) -> Estimate:
    deviation = None if math.isnan(cell.deviation) else _PERCENT * cell.deviation
    p_value = None if math.isnan(cell.p_welch_holm) else cell.p_welch_holm
    return Estimate(_PERCENT * cell.mean, deviation, len(cell.values), p_value)


def _tests(cell: Cell) -> tuple[TableCell, TableCell, TableCell]:
    """Difference to the baseline, corrected p-value of the paired test, and why there is none."""
    difference = None if math.isnan(cell.difference) else Estimate(_PERCENT * cell.difference, signed=True)
    paired = None if math.isnan(cell.p_paired_holm) else f"{cell.p_paired_holm:.2g}"
    return difference, paired, cell.note or None


def _caption(folder: StudyFolder) -> str:
    seeds = len(folder.study.seeds)
    return f"Dice coefficient of runs that differ in their starting weights, mean ± s.d. over {seeds} seeds."


def _notes(folder: StudyFolder) -> list[str]:
    scoring = folder.study.scoring
    where = "their own grid" if scoring.images is not None else "the grid of the store"
    notes = [
        f"Cases are scored on {where}; a structure counts in the cases whose reference has it; NSD at "
        f"{scoring.tolerance_mm:g} mm.",
    ]
    if folder.study.baseline is not None:
        notes.append(
            f"Marks: Welch's two-sample t-test against {folder.study.baseline}; p paired: paired t-test over the "
            "seeds, which draw the same cases for every start. Both corrected by Holm over the comparisons here."
        )
    return notes


def draw_curves(cells: Sequence[Cell], path: Path, ending: str) -> None:
    """Dice coefficient over the number of cases, a panel for each group and model, with standard deviations."""
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys((cell.group, cell.model) for cell in cells))
    shots = list(dict.fromkeys(cell.shots for cell in cells))
    figure = Figure(figsize=(4.0 * len(panels), 3.4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (group, model) in zip(axes, panels, strict=True):
        own = [cell for cell in cells if (cell.group, cell.model) == (group, model)]
        lines = dict.fromkeys((cell.initialisation, cell.strategy) for cell in own)
        for number, (start, strategy) in enumerate(lines):
            points = [cell for cell in own if (cell.initialisation, cell.strategy) == (start, strategy)]
            axis.errorbar(
                [shots.index(cell.shots) for cell in points],
                [_PERCENT * cell.mean for cell in points],
                [0.0 if math.isnan(cell.deviation) else _PERCENT * cell.deviation for cell in points],
                label=f"{start}, {strategy}",
                color=COLOURS[number % len(COLOURS)],
                marker="osD^v<>"[number % 7],
                capsize=3,
            )
        axis.set(title=f"{group}, {model}", xlabel="cases to train on", ylabel="DSC %")
        axis.set_xticks(range(len(shots)), shots)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.savefig(path, format=ending, dpi=150, metadata={"Date": None} if ending == "svg" else None)
