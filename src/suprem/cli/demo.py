"""``suprem demo``: synthetic CTs, predicted with the bundled checkpoint and scored."""

import json
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]

_EXIT_FAILED = 1

_Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the results; an earlier demo is replaced.")]
_Cases = Annotated[int, typer.Option(min=1, max=100, help="Synthetic CTs to make.")]
_Seed = Annotated[int, typer.Option(min=0, help="Seed of the first; the others follow.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


def demo(output: _Output = Path("suprem-demo"), cases: _Cases = 3, seed: _Seed = 1, as_json: _Json = False) -> None:
    """Make synthetic CTs, segment them with the bundled network, and score it.

    Needs no data, no network and no GPU. The scans are drawn from a random
    number generator, and the network was trained on such drawings: the scores
    say that the software works, nothing about patients.
    """
    from suprem.cli._demo import check_seeds, prepare_folder, run_demo

    seeds = range(seed, seed + cases)
    check_seeds(seeds)
    prepare_folder(output)
    from suprem.cli._demo_report import table_text, write_report
    from suprem.cli._display import stderr_console

    console = stderr_console()
    result = run_demo(seeds, output, console)
    write_report(result, output)
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=2))
    else:
        typer.echo(table_text(result))
        typer.echo(f"Open {output / 'index.html'} for the pictures.")
    if result.failed:
        raise typer.Exit(_EXIT_FAILED)
