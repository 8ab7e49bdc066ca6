"""``suprem atlas prioritise``: what to look at first."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suprem.errors import ConfigurationError

if TYPE_CHECKING:
    from suprem.atlas.importance import Weights
    from suprem.atlas.prioritise import PriorityReport

__all__ = ["prioritise"]

_EXIT_FAILED = 1
_LISTED = 10

_Atlas = Annotated[Path, typer.Argument(help="Folder of the atlas.")]
_Round = Annotated[
    int | None, typer.Option("--round", min=1, show_default="the last finished one", help="Round of models.")
]
_Weights = Annotated[str, typer.Option(help="How much uncertainty, consistency and overlap count.")]
_Tolerance = Annotated[
    float, typer.Option("--tolerance-mm", min=0, help="Doubt along outlines up to this distance does not count.")
]
_Top = Annotated[int, typer.Option(min=0, help="Cases with a picture in the page.")]
_Jobs = Annotated[int, typer.Option(min=1, help="Local processes; each holds one case in memory.")]
_Scheduler = Annotated[
    str | None,
    typer.Option(show_default=False, help="Address of a Dask scheduler to use instead, such as tcp://host:8786."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


def prioritise(
    atlas: _Atlas,
    round_: _Round = None,
    weights: _Weights = "1,1,1",
    tolerance_mm: _Tolerance = 3.0,
    top: _Top = 10,
    jobs: _Jobs = 1,
    scheduler: _Scheduler = None,
    as_json: _Json = False,
) -> None:
    """Rank the cases of a round by how much they deserve a look; run it again to go on after a stop."""
    chosen = _weights(weights)
    from suprem.atlas.prioritise import prioritise as run
    from suprem.atlas.priority_page import PAGE, write_page
    from suprem.atlas.workspace import Atlas
    from suprem.cli._case_bar import CaseBar
    from suprem.cli._display import stderr_console

    opened = Atlas.open(atlas)
    with CaseBar(stderr_console()) as bar:
        report = run(
            opened,
            round=round_,
            weights=chosen,
            tolerance_mm=tolerance_mm,
            jobs=jobs,
            scheduler=scheduler,
            progress=bar.ended,
        )
    write_page(opened, report, top=top)
    folder = opened.priority_folder(report.round)
    if as_json:
        typer.echo(json.dumps({"folder": str(folder), "page": str(folder / PAGE), **asdict(report)}, indent=2))
    else:
        _print(report, folder / PAGE)
    if report.problems:
        raise typer.Exit(_EXIT_FAILED)


def _weights(text: str) -> "Weights":
    from suprem.atlas.importance import Weights

    try:
        uncertainty, consistency, overlap = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigurationError(
            f"--weights is {text!r}; give three numbers for uncertainty, consistency and overlap, such as 1,1,0.5."
        ) from error
    return Weights(uncertainty, consistency, overlap)


def _print(report: "PriorityReport", page: Path) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in ("rank", "case", "importance"):
        table.add_column(column, no_wrap=True, justify="left" if column == "case" else "right")
    table.add_column("why", overflow="fold")
    for row in report.ranking[:_LISTED]:
        why = [region.reason for region in report.regions if region.case == row.case][:2]
        table.add_row(str(row.rank), row.case, f"{row.importance:.2f}", "; ".join(why) or ", ".join(row.structures[:3]))
    Console(markup=False, highlight=False, emoji=False).print(table)
    counts = f"{len(report.scored)} scored, {len(report.kept)} scored before"
    rest = f"{len(report.reviewed)} with nothing left to decide, {len(report.problems)} failed"
    typer.echo(f"round {report.round}: {len(report.ranking)} cases ranked, {counts}, {rest}; see {page}")
