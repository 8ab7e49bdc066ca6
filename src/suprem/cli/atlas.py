"""``suprem atlas``: grow a dataset, from predictions over review to a release."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from suprem.cli._atlas_check import check
from suprem.cli._atlas_ensemble import ensemble
from suprem.cli._atlas_loop import next_, training_store
from suprem.cli._atlas_prioritise import prioritise
from suprem.cli._atlas_release import datalist, nnunet, push, reassemble, release
from suprem.cli._atlas_review import review_app

__all__ = ["atlas_app"]

atlas_app = typer.Typer(help="Grow a dataset: annotate, prioritise, review, release.", no_args_is_help=True)
atlas_app.command("ensemble")(ensemble)
atlas_app.command("prioritise")(prioritise)
atlas_app.add_typer(review_app, name="review")
atlas_app.command("release")(release)
atlas_app.command("reassemble")(reassemble)
atlas_app.command("nnunet")(nnunet)
atlas_app.command("datalist")(datalist)
atlas_app.command("push")(push)
atlas_app.command("check")(check)
atlas_app.command("training-store")(training_store)
atlas_app.command("next")(next_)


@atlas_app.command()
def status(
    atlas: Annotated[Path, typer.Argument(help="Folder of the atlas.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    """Tell how far an atlas is: rounds, reviews, and where the labels come from."""
    from suprem.atlas.label_set import SOURCES
    from suprem.atlas.workspace import Atlas

    opened = Atlas.open(atlas)
    sources = Counter(p.source for key in opened.cases for p in opened.provenance(key).values())
    wanted = len(opened.cases) * len(opened.structures)
    labels = {**{str(source): sources[source] for source in SOURCES}, "missing": wanted - sources.total()}
    facts = {
        "store": opened.store_root,
        "structures": list(opened.structures),
        "cases": len(opened.cases),
        "rounds": opened.round,
        "revisions": sum(event.facts["revision"] is not None for event in opened.journal.events("revision")),
        "labels": labels,
    }
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    typer.echo(f"{facts['cases']} cases of {opened.store_root}, {len(opened.structures)} structures")
    typer.echo(f"{facts['rounds']} rounds of models, {facts['revisions']} revisions")
    shares = ", ".join(f"{count} {source}" for source, count in labels.items())
    typer.echo(f"labels (structures of cases): {shares}")
