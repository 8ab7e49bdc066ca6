"""``suprem zoo push``: publishes a folder of weights on the Hugging Face Hub."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["push"]


def push(
    folder: Annotated[Path, typer.Argument(help="A published folder, or the folder of a training run.")],
    repo: Annotated[str, typer.Argument(help="owner/name on the Hub; made if it does not exist.")],
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="Of a new repository; default: as its owner has set.")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Name for this version, such as v1; tags are never moved.")] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", "--license", help="Identifier of the weights' licence: apache-2.0, ...")
    ] = None,
    message: Annotated[str | None, typer.Option(help="Of the commit.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    """Verify a folder of weights and publish it on the Hugging Face Hub, as one commit."""
    from suprem.zoo.push import push_to_hub

    pushed = push_to_hub(folder, repo, private=private, tag=tag, licence=licence, message=message, progress=not as_json)
    if as_json:
        typer.echo(json.dumps({**asdict(pushed), "source": pushed.source}, indent=2))
        return
    if pushed.uploaded:
        typer.echo(f"Uploaded {', '.join(pushed.uploaded)}.")
    else:
        typer.echo("Everything was there already.")
    if pushed.readme_kept:
        typer.echo("The repository has a README that somebody has written; it stays as it is.")
    typer.echo(f"{pushed.url}\nLoad it with load_pretrained({pushed.source!r})")
