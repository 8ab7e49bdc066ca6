"""``suprem atlas next`` and ``training-store``: what comes next in an atlas, and what its models learn from."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from suprem.cli._words import names_in

__all__ = ["next_", "training_store"]

_Atlas = Annotated[Path, typer.Argument(show_default=False, help="Folder of the atlas.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


def next_(
    atlas: _Atlas,
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file with the settings of the loop; kept in the atlas for the calls that follow."),
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="Do it, and what follows, until people have to review.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Local processes, where a step uses some.")] = 1,
    as_json: _Json = False,
) -> None:
    """Tell what comes next: ensemble, prioritise, export, review, finetune, or done; with --run, do it.

    It follows from what has happened, so a stopped run is gone on with by the same command. Without --config and
    loop.yaml, the models of the last round go on with the default settings.
    """
    from suprem.atlas.loop import next_step, run_loop, settings_of
    from suprem.atlas.loop_settings import read_settings, write_settings
    from suprem.atlas.workspace import Atlas
    from suprem.cli._display import stderr_console

    opened, console = Atlas.open(atlas), stderr_console()
    if config is not None:
        write_settings(opened, read_settings(config))
    settings = settings_of(opened)
    step = next_step(opened, settings)
    done: list[Any] = []
    if run:
        step = run_loop(opened, settings, jobs=jobs, say=console.print, after=done.append)
    if as_json:
        typer.echo(json.dumps({"next": asdict(step), "done": [asdict(one) for one in done]}, indent=2))
        return
    for one in done:
        typer.echo(f"round {one.round}, {one.kind}: done")
    typer.echo(f"round {step.round}, {step.kind}: {step.text}")
    for case in step.waiting:
        typer.echo(f"  {case}")


def training_store(
    atlas: _Atlas,
    out: Annotated[Path, typer.Option("--out", "-o", show_default=False, help="Folder of the store to make.")],
    sources: Annotated[
        str, typer.Option(help="Labels to trust, separated by commas: expert, revised, pseudo.")
    ] = "expert,revised",
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Take structures that no case has from these from the models' labels.")
    ] = False,
    val_fraction: Annotated[float, typer.Option(min=0, max=0.9, help="Share of the patients that validates.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of the choice of these patients.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing store.")] = False,
    as_json: _Json = False,
) -> None:
    """Write a store with the trusted labels, which `suprem finetune` and `suprem pretrain` take."""
    from suprem.atlas.training import write_training_store
    from suprem.atlas.workspace import Atlas
    from suprem.cli._display import CountBar

    with CountBar("training store") as bar:
        found = write_training_store(
            Atlas.open(atlas),
            out,
            names_in(sources),  # type: ignore[arg-type]  # checked there
            rehearse=rehearse,
            val_fraction=val_fraction,
            seed=seed,
            overwrite=overwrite,
            progress=bar.ended,
        )
    if as_json:
        typer.echo(json.dumps({**asdict(found), "path": str(found.path)}, indent=2))
        return
    typer.echo(f"{found.path}: {len(found.train)} cases to train on, {len(found.val)} that validate")
    if found.held_out:
        typer.echo(f"{len(found.held_out)} of an official test part, which no training takes")
    typer.echo(f"{len(found.left_out)} cases have no trusted labels and are left out")
    for name, count in found.structures.items():
        typer.echo(f"  {name}: {count} cases")
