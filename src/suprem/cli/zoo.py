"""``suprem zoo``: which checkpoints exist, what is known about them; download, verify, convert and publish them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suprem.cli._words import names_or_space
from suprem.cli._zoo_export import export
from suprem.cli._zoo_pull import pull
from suprem.cli._zoo_push import push

if TYPE_CHECKING:
    from suprem.zoo.card import Card
    from suprem.zoo.card_parts import Fact
    from suprem.zoo.verification import VerifyReport

__all__ = ["zoo_app"]

zoo_app = typer.Typer(
    help="List, inspect, download, verify, convert, export and publish checkpoints.", no_args_is_help=True
)

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
_CacheDir = Annotated[
    Path | None, typer.Option("--cache-dir", help="Where downloads are kept; default: the Hub's cache (HF_HUB_CACHE).")
]
_EXIT_FAILED = 1

zoo_app.command()(export)
zoo_app.command()(pull)
zoo_app.command()(push)


@zoo_app.command("list")
def list_(as_json: _Json = False, cache_dir: _CacheDir = None) -> None:
    """List all checkpoints and whether they can be used here."""
    from suprem.zoo import card, is_available_offline, list_checkpoints

    rows = [_row(card(name), is_available_offline(name, cache_dir=cache_dir)) for name in list_checkpoints()]
    if as_json:
        _print_json(rows)
        return
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("checkpoint", no_wrap=True)
    table.add_column("params", justify="right", no_wrap=True)
    table.add_column("classes", justify="right", no_wrap=True)
    for name in ("size", "weights", "here"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        millions = f"{row['parameters'] / 1e6:.2f} M" if row["parameters"] else "?"
        table.add_row(
            row["name"], millions, str(row["num_classes"] or "-"), row["size"], row["weights_licence"], row["here"]
        )
    _print_rich(table)
    typer.echo("`suprem zoo show NAME` tells more. Licences are as reported; check them. Not for clinical use.")


def _row(known: "Card", here: bool) -> dict[str, Any]:
    if not known.architecture.built:
        state = "not built"
    elif known.location.kind == "bundled":
        state = "bundled" if here else "missing"
    else:
        state = "cached" if here else "download"
    return {
        "name": known.name,
        "title": known.title,
        "backbone": known.architecture.backbone,
        "loads": known.architecture.built,
        "available_offline": here,
        "here": state,
        "parameters": known.architecture.parameters,
        "num_classes": len(known.class_names),
        "size_bytes": known.file.size_bytes,
        "size": known.file.approximate_size,
        "weights_licence": known.licences.weights.value,
        "supervision": known.supervision.value,
    }


@zoo_app.command()
def show(name: Annotated[str, typer.Argument(help="A name from `suprem zoo list`.")], as_json: _Json = False) -> None:
    """Show everything recorded about one checkpoint, and what is not known."""
    from suprem.zoo import card

    known = card(name)
    if as_json:
        _print_json(known.to_dict())
        return
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in _lines(known):
        table.add_row(key, value)
    _print_rich(table)


def _lines(known: "Card") -> list[tuple[str, str]]:
    file, place, network = known.file, known.location, known.architecture
    where = f"{place.filename} of {place.repo}" if place.kind == "hub" else "bundled with the package"
    counts = file.tensors
    lines = [
        ("name", known.name),
        ("what", known.title),
        ("use", known.intended_use),
        ("loads", "yes" if network.built else f"no: {network.reason}"),
        ("where", where),
        ("revision", place.revision or ("not pinned: not known" if place.kind == "hub" else "-")),
        ("size", f"{file.size_bytes:,} bytes" if file.size_bytes else f"{file.approximate_size} (not exact)"),
        ("SHA-256", file.sha256 or "not known"),
        ("layout", _fact(file.layout)),
        ("network", network.backbone + (f", {network.parameters:,} parameters" if network.parameters else "")),
        ("output layer", network.head),
    ]
    if counts is not None:
        of = f"{counts.transferred} fill the backbone of {counts.in_backbone}"
        lines.append(("tensors", f"{counts.in_file or '?'} in the file ({counts.confidence}), {of}"))
    lines += _contract_lines(known)
    terms, paper = known.licences, known.paper
    lines += [
        ("supervision", _fact(known.supervision)),
        ("training data", _fact(known.training_data)),
        ("licence, weights", _fact(terms.weights)),
        ("licence, data", _fact(terms.data)),
        ("licence, code", _fact(terms.code)),
        ("cite", f"{paper.authors}, {paper.title}, {paper.venue} {paper.year}" + _arxiv(paper.arxiv)),
    ]
    lines += [("warning", text) for text in known.provenance]
    lines += [("not known", text) for text in known.unknown]
    return lines


def _arxiv(number: str | None) -> str:
    return f", arXiv {number}" if number else ""


def _contract_lines(known: "Card") -> list[tuple[str, str]]:
    lines = []
    names = known.class_names
    if names:
        order = known.classes
        sure = f" ({order.confidence}{': ' + order.note if order.note else ''})" if order else ""
        lines.append(("classes", f"{len(names)} in this order{sure}: {', '.join(names)}"))
    config = known.bundled_config()
    contract = known.preprocessing.values if known.preprocessing else config.preprocessing if config else None
    if contract is not None:
        spacing = "x".join(f"{s:g}" for s in contract.spacing_mm) + " mm" if contract.spacing_mm else "own spacing"
        window = f"{contract.hu_window[0]:g} to {contract.hu_window[1]:g} HU"
        patch = "x".join(str(n) for n in contract.patch_size)
        told = known.preprocessing
        sure = f" ({told.confidence}{': ' + told.note if told.note else ''})" if told else ""
        lines.append(("input", f"{contract.orientation}, {spacing}, {window}, window {patch}{sure}"))
    return lines


def _fact(fact: "Fact") -> str:
    return f"{fact.value} ({fact.confidence}{'; ' + fact.note if fact.note else ''})"


@zoo_app.command()
def verify(
    source: Annotated[str, typer.Argument(help="A checkpoint name, hf-hub:..., local-dir:PATH or local-file:PATH.")],
    backbone: Annotated[str | None, typer.Option(help="Network of a local file; default: found by its names.")] = None,
    source_classes: Annotated[
        str | None,
        typer.Option(help="Meaning of a local file's channels: a label space, or names separated by commas."),
    ] = None,
    cache_dir: _CacheDir = None,
    as_json: _Json = False,
) -> None:
    """Check hashes, tensor counts and class order of a checkpoint, and replay its recorded outputs."""
    from suprem.zoo import verify as run

    options: dict[str, Any] = {"backbone": backbone} if backbone else {}
    if source_classes:
        options["source_classes"] = names_or_space(source_classes)
    report = run(source, cache_dir=cache_dir, progress=not as_json, **options)
    if as_json:
        _print_json(report.to_dict())
    else:
        _print_report(report)
    if not report.ok:
        raise typer.Exit(_EXIT_FAILED)


@zoo_app.command("convert")
def convert_(
    path: Annotated[Path, typer.Argument(help="A .pth, .pt or .safetensors file of another program.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write; must not exist.")],
    name: Annotated[str | None, typer.Option(help="What the model is called: architecture.tag.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Network; default: found by the tensor names.")] = None,
    source_classes: Annotated[
        str | None, typer.Option(help="Meaning of the channels: a label space, or names separated by commas.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Turn a checkpoint file into a folder that can be published, and verify what was written."""
    from dataclasses import asdict

    from suprem.zoo import verify as check
    from suprem.zoo.convert import convert

    report = convert(
        path,
        out,
        name=name,
        backbone=backbone,
        source_classes=names_or_space(source_classes) if source_classes else None,
    )
    verdict = check(f"local-dir:{out}", progress=False)
    if as_json:
        _print_json({"folder": str(out), "load": asdict(report), "verify": verdict.to_dict()})
    else:
        typer.echo(report.summary())
        _print_report(verdict)
    if not verdict.ok:
        raise typer.Exit(_EXIT_FAILED)


def _print_report(report: "VerifyReport") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False)
    styles = {"passed": "green", "failed": "bold red", "skipped": "yellow"}
    for check in report.checks:
        table.add_row(Text(check.outcome, style=styles[check.outcome]), check.name, Text(check.detail, overflow="fold"))
    _print_rich(table)
    skipped = [check.name for check in report.checks if check.outcome == "skipped"]
    limits = f" but for {', '.join(skipped)}: nothing to compare with" if skipped else ""
    typer.echo(f"{report.source}: {'verified' + limits if report.ok else 'NOT what it claims to be'}")


def _print_rich(item: object) -> None:
    from rich.console import Console

    Console(highlight=False, markup=False).print(item)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2))
