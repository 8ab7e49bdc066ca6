"""``suprem data prepare``: from the raw files of a dataset to a store."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suprem.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import Console

    from suprem.datasets import DatasetSpec
    from suprem.datasets._prepare import PrepareReport

__all__ = ["prepare"]

_EXIT_FAILED = 1

_Dataset = Annotated[str, typer.Argument(show_default=False, help="A name from `suprem data list`.")]
_Root = Annotated[Path, typer.Option(show_default=False, help="Folder of the raw data.")]
_Out = Annotated[Path, typer.Option("--out", "-o", show_default=False, help="The store; made or added to.")]
_Spacing = Annotated[
    str, typer.Option(help="Millimetres of the stored grid: one number, three such as 0.8,0.8,3, or own.")
]
_Jobs = Annotated[int, typer.Option(min=1, help="Local processes; each holds one case in memory.")]
_Scheduler = Annotated[
    str | None,
    typer.Option(show_default=False, help="Address of a Dask scheduler to use instead, such as tcp://host:8786."),
]
_Variant = Annotated[
    str | None, typer.Option(show_default=False, help="Layout of the raw data, see `suprem data show`.")
]
_TrustGrid = Annotated[
    bool, typer.Option("--trust-grid", help="Pair voxels by index where only the affines of CT and labels disagree.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


def prepare(
    dataset: _Dataset,
    root: _Root,
    out: _Out,
    spacing: _Spacing = "1.5",
    jobs: _Jobs = 1,
    scheduler: _Scheduler = None,
    variant: _Variant = None,
    trust_grid: _TrustGrid = False,
    as_json: _Json = False,
) -> None:
    """Fill a store with the cases of a dataset; run it again to go on after a stop."""
    spacing_mm = _spacing(spacing)
    from suprem.cli._case_bar import CaseBar
    from suprem.cli._display import stderr_console
    from suprem.datasets import dataset as find_dataset
    from suprem.datasets._prepare import prepare as run

    console = stderr_console()
    _print_terms(find_dataset(dataset), console)
    with CaseBar(console) as progress:
        report = run(
            dataset,
            root,
            out,
            spacing_mm=spacing_mm,
            jobs=jobs,
            scheduler=scheduler,
            variant=variant,
            trust_grid=trust_grid,
            progress=progress.ended,
        )
    if as_json:
        typer.echo(json.dumps(_document(report, out), indent=2))
    else:
        _print_report(report, out)
    if report.problems:
        raise typer.Exit(_EXIT_FAILED)


def _spacing(text: str) -> tuple[float, float, float] | None:
    if text.strip().lower() == "own":
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
        x, y, z = numbers * 3 if len(numbers) == 1 else numbers
    except ValueError as error:
        raise ConfigurationError(
            f"--spacing is {text!r}; give 1.5, three numbers such as 0.8,0.8,3, or own."
        ) from error
    return x, y, z


def _print_terms(spec: "DatasetSpec", console: "Console") -> None:
    """Licence and citation, before anything is done."""
    console.print(f"{spec.title}: licence {' / '.join(fact.text for fact in spec.licence)}; as reported, check it")
    for text in spec.citation:
        console.print(f"cite: {text}")


def _document(report: "PrepareReport", out: Path) -> dict[str, object]:
    from dataclasses import asdict

    return {"store": str(out), **asdict(report)}


def _print_report(report: "PrepareReport", out: Path) -> None:
    from suprem.datasets._prepare import PROBLEMS

    if report.problems:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table

        table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        table.add_column("case", no_wrap=True)
        table.add_column("reason", overflow="fold")
        for problem in report.problems:
            table.add_row(problem.case, problem.reason)
        Console(markup=False, highlight=False, emoji=False).print(table)
    counts = f"{len(report.done)} prepared, {len(report.skipped)} there already, {len(report.problems)} failed"
    left = f", {len(report.excluded)} left out on purpose" if report.excluded else ""
    more = f"; see {out / PROBLEMS}" if report.problems else ""
    typer.echo(f"{report.dataset} ({report.variant}) in {out}: {counts}{left}{more}")
