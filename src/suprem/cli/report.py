"""``suprem report``: tables and figures of experiments, ours beside the paper's."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["report"]


def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders with item.yaml and expected.csv; others are skipped.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for the reports, one subfolder each; files in it are replaced.")
    ] = Path("report"),
) -> None:
    """Draw the table and the figure of an experiment, and say whether the direction of its claim holds.

    Numbers of the paper are read from expected.csv, ours from results.csv where it has been run.
    """
    from suprem._files import check_writable
    from suprem.report.experiment_report import experiment_folders, report_on, write_index, write_report

    found = experiment_folders(folders)
    check_writable(out)
    reports = [report_on(folder) for folder in found]
    for one in reports:
        place = out / one.experiment.name
        write_report(one, place)
        typer.echo(f"{one.experiment.item.title}: {place / 'table.html'}")
        for line in one.statements:
            typer.echo(f"  {line}")
    if len(reports) > 1:
        write_index(reports, out)
        typer.echo(f"All of them: {out / 'index.html'}")
