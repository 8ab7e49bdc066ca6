"""``suprem data export``: a store for other programs."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from suprem.cli._words import names_in

__all__ = ["export"]


def export(
    store: Annotated[
        str, typer.Argument(show_default=False, help="A store made by `suprem data prepare`: folder or address.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", show_default=False, help="Folder to write, such as Dataset501_Liver.")
    ],
    format: Annotated[Literal["nnunet"], typer.Option(help="Layout of the folder: nnU-Net's raw format.")] = "nnunet",
    classes: Annotated[
        str | None,
        typer.Option(
            show_default=False,
            help="Structures, separated by commas, or `common`: those that all cases are annotated for. Default: all.",
        ),
    ] = None,
    skip_partial: Annotated[
        bool, typer.Option("--skip-partial", help="Leave out cases that are not annotated for all classes.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    """Write the labelled cases of a store as a dataset for nnU-Net."""
    from suprem.cli._display import stderr_console
    from suprem.datasets._nnunet import COMMON, export_nnunet
    from suprem.volumes.store import Store

    console = stderr_console()
    names = classes if classes in (None, COMMON) else names_in(classes)
    report = export_nnunet(
        Store.open(store),
        out,
        classes=names,
        skip_partial=skip_partial,
        overwrite=overwrite,
        progress=lambda case, done, total: console.print(f"[{done}/{total}] {case}"),
    )
    if as_json:
        typer.echo(json.dumps({"format": format, **report.to_dict()}, indent=2))
        return
    for case, why in report.skipped.items():
        typer.echo(f"left out: {case}: {why}")
    kind = "regions, since structures overlap" if report.regions else "labels"
    typer.echo(f"{report.folder}: {len(report.cases)} cases, {len(report.classes)} structures as {kind}")
