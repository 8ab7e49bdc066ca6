"""``suprem zoo pull``: downloads a checkpoint once its licence was shown."""

import json
from pathlib import Path
from typing import Annotated

import typer

from suprem.cli._terms import accept_terms

__all__ = ["pull"]


def pull(
    name: Annotated[str, typer.Argument(help="A name from `suprem zoo list`, or hf-hub:owner/repo@revision.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Accept the licence without being asked.")] = False,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Where downloads are kept; default: the Hub's cache (HF_HUB_CACHE).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    """Download a checkpoint into the cache, after showing its licence, and check its size and hash."""
    from suprem.zoo.source import pull as download
    from suprem.zoo.source import terms_before

    terms = terms_before(name, cache_dir=cache_dir)
    if terms:
        accept_terms([terms], yes=yes)
    pulled = download(name, cache_dir=cache_dir, progress=not as_json)
    if as_json:
        typer.echo(json.dumps({"name": name, "path": str(pulled.path), "sha256": pulled.sha256}, indent=2))
    else:
        typer.echo(f"{pulled.path}\nSHA-256 {pulled.sha256}")
