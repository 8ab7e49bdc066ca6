"""``suprem doctor``: what is wrong with scans, stores, checkpoints or the environment, before time is spent on them."""

import json
from typing import Annotated

import typer

__all__ = ["doctor"]


def doctor(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SCAN|STORE|CHECKPOINT|env]...",
            show_default=False,
            help="CT files, DICOM folders, folders of these; stores; checkpoints by name, file or folder; env.",
        ),
    ] = None,
    max_ram: Annotated[str, typer.Option(help="Scans: memory that prediction may take; 'none' for no limit.")] = "4GiB",
    series: Annotated[
        str | None, typer.Option(show_default=False, help="DICOM: UID, number or description of the series to read.")
    ] = None,
    cases: Annotated[int, typer.Option(min=0, help="Stores: cases to read.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    """Find what is wrong before time is spent: scans, stores, checkpoints, or the environment (the default).

    Prints one line per finding, with what to do. Exit codes: 0 nothing but
    information, 1 an error was found, 2 bad arguments, 3 warnings were found.
    """
    from suprem.doctor import diagnose, exit_code, find_targets

    limit = None if max_ram.strip().lower() == "none" else max_ram
    diagnoses = []
    for target in find_targets(targets or []):
        diagnosis = diagnose(target, max_ram=limit, series=series, cases=cases)
        diagnoses.append(diagnosis)
        if not as_json:
            for symptom in diagnosis.symptoms:
                typer.echo(f"{target.name}: {symptom}")
            if not diagnosis.symptoms:
                typer.echo(f"{target.name}: nothing found")
    code = exit_code(diagnoses)
    if as_json:
        found = [diagnosis.to_dict() for diagnosis in diagnoses]
        typer.echo(json.dumps({"exit_code": code, "targets": found}, indent=2))
    if code:
        raise typer.Exit(code)
