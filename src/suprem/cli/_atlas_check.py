"""``suprem atlas check``: what in the labels of an atlas or a store contradicts anatomy."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["check"]


def check(
    place: Annotated[str, typer.Argument(metavar="ATLAS|STORE", help="Folder of an atlas, or a store.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder of the result; default: check in the atlas or store.")
    ] = None,
    case: Annotated[list[str] | None, typer.Option(help="dataset/case to check; repeatable; default: all.")] = None,
    pictures: Annotated[int, typer.Option(min=0, help="At most so many; every rule gets its share.")] = 60,
    jobs: Annotated[int, typer.Option(min=1, help="Local processes.")] = 1,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, instead of --jobs.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where anything was found.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    """Check labels against anatomy: containment, overlaps, neighbours, order, sides, slices, volume and density.

    Writes findings.csv, findings.json and index.html, a page with pictures. Findings are hints to look.
    """
    from suprem.atlas.check import MEANINGS, check_labels
    from suprem.cli._display import CountBar
    from suprem.errors import ConfigurationError
    from suprem.volumes._remote import is_remote

    if out is None and is_remote(place):
        raise ConfigurationError(f"{place} cannot be written to; name a folder for the result with -o.")
    folder = out or Path(place) / "check"
    with CountBar("check") as bar:
        result = check_labels(
            place, folder, cases=case, pictures=pictures, jobs=jobs, scheduler=scheduler, progress=bar.ended
        )
    if as_json:
        found = [asdict(finding) for finding in result.findings]
        typer.echo(json.dumps({"cases": len(result.cases), "counts": result.counts(), "findings": found}, indent=2))
    else:
        for rule, count in result.counts().items():
            typer.echo(f"{rule}: {count} ({MEANINGS[rule]})")
        cases = len({finding.case for finding in result.findings})
        typer.echo(
            f"{len(result.findings)} findings in {cases} of {len(result.cases)} cases; see {folder / 'index.html'}"
        )
    if strict and result.findings:
        raise typer.Exit(1)
