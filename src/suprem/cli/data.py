"""``suprem data``: which datasets are known, where they come from, and what their labels mean."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suprem.cli._data_export import export
from suprem.cli._data_look import stats, verify, view
from suprem.cli._data_overlap import overlap
from suprem.cli._data_prepare import prepare
from suprem.cli._data_pull import pull

if TYPE_CHECKING:
    from rich.table import Table

    from suprem.datasets import DatasetSpec, Fact, LabelMap, LabelRule, Variant

__all__ = ["data_app", "meaning", "print_table"]

data_app = typer.Typer(help="Datasets: what is known about them, and their labels.", no_args_is_help=True)
data_app.command("pull")(pull)
data_app.command("prepare")(prepare)
data_app.command("overlap")(overlap)
data_app.command("verify")(verify)
data_app.command("stats")(stats)
data_app.command("view")(view)
data_app.command("export")(export)

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


@data_app.command("list")
def list_(as_json: _Json = False) -> None:
    """List all datasets with their size, annotated structures and licence."""
    from suprem.datasets import dataset, list_datasets

    specs = [dataset(name) for name in list_datasets()]
    if as_json:
        typer.echo(json.dumps([_summary(spec) for spec in specs], indent=2))
        return
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("dataset", no_wrap=True)
    for name in ("cases", "labelled", "classes"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("annotated", "licence"):
        table.add_column(name)
    for spec in specs:
        names = spec.annotated if spec.describe is None else ()
        shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
        public, labelled = _count(spec.counts.public), _count(spec.counts.labelled)
        table.add_row(spec.slug, public, labelled, str(len(names) or "-"), shown, _licence(spec))
    print_table(table)
    typer.echo("`suprem data show NAME` tells more. Licences are as reported; the terms of the source count.")


@data_app.command()
def show(name: Annotated[str, typer.Argument(help="A name from `suprem data list`.")], as_json: _Json = False) -> None:
    """Show how to get a dataset, how it lies on disk, what its labels mean, and what is not sure."""
    from suprem.datasets import dataset

    spec = dataset(name)
    if as_json:
        typer.echo(json.dumps(_document(spec), indent=2))
        return
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in _lines(spec):
        table.add_row(key, value)
    print_table(table)
    for label_map in spec.label_maps if spec.describe is None else ():
        note = f": {label_map.note}" if label_map.note else ""
        typer.echo(f"\nlabels {label_map.name} [{label_map.confidence}]{note}")
        print_table(_label_table(label_map))
        typer.echo(f"annotated: {', '.join(_in_order(spec, label_map))}. All others are unknown there, not absent.")


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _licence(spec: "DatasetSpec") -> str:
    return " / ".join(fact.text for fact in spec.licence)


def _fact(fact: "Fact") -> str:
    source = f"; {fact.source}" if fact.source else ""
    return f"{fact.text} [{fact.confidence}{source}]"


def _lines(spec: "DatasetSpec") -> list[tuple[str, str]]:
    counts = spec.counts
    paper = f", {counts.paper:,} in the paper" if counts.paper else ""
    note = f". {counts.note}" if counts.note else ""
    found = f"{_count(counts.public)} public, {_count(counts.labelled)} labelled{paper} [{counts.confidence}]{note}"
    lines = [
        ("name", spec.slug),
        ("what", spec.title),
        ("page", spec.homepage or "-"),
        *(("licence", _fact(fact)) for fact in spec.licence),
        ("passing on", f"{spec.sharing} (images and annotations, changed ones too)"),
        ("access", spec.access),
        *(("get it", step) for step in spec.obtain),
        *(("cite", text) for text in spec.citation),
        ("region", spec.region),
        ("cases", found),
    ]
    if spec.splits:
        lines.append(("splits", ", ".join(f"{part} {count:,}" for part, count in spec.splits.items())))
    for variant in spec.variants:
        lines += _layout_lines(spec, variant)
    lines += [("left out", f"{rule.cases}: {rule.reason} [{rule.confidence}]") for rule in spec.exclusions]
    lines += [("careful", f"{rule.cases}: {rule.reason} [{rule.confidence}]") for rule in spec.flags]
    lines += [("same scan", f"{rule.cases}: {rule.note} [{rule.confidence}]") for rule in spec.identity]
    lines += [("note", _fact(fact)) for fact in spec.quirks]
    lines += [("not sure", text) for text in spec.to_verify]
    return lines


def _layout_lines(spec: "DatasetSpec", variant: "Variant") -> list[tuple[str, str]]:
    top = f"{variant.folder}/" if variant.folder else ""
    kinds = {"file": "", "dicom": " (DICOM series)", "masks": " (one mask per structure)", "png": " (PNG slices)"}
    sure = f"{variant.confidence}; {variant.source}" if variant.source else variant.confidence
    lines = [("layout", f"{variant.name} [{sure}]" + (f" {variant.note}" if variant.note else ""))]
    for family in variant.files:
        part = f" ({family.split})" if family.split else ""
        lines.append(("", f"  image {top}{family.image[0]}{kinds[variant.image_format]}{part}"))
        if family.label:
            means = f", numbered as {family.label_map}" if len(spec.label_maps) > 1 else ""
            lines.append(("", f"  label {top}{family.label[-1]}{kinds[variant.label_format]}{means}"))
    return lines


def _label_table(label_map: "LabelMap") -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("value", justify="right")
    for name in ("called", "means", "note"):
        table.add_column(name)
    for value, rule in label_map.values.items():
        ignored = "; ignored in every structure" if value in label_map.ignore else ""
        table.add_row(str(value), rule.name, meaning(rule) + ignored, rule.note)
    return table


def meaning(rule: "LabelRule") -> str:
    """What is done with a value, in words."""
    names = ", ".join(rule.targets)
    words = {
        "copy": names,
        "merge": f"part of {names}",
        "split_left_right": " or ".join(rule.targets) + ", by side",
        "ambiguous": f"ambiguous{f' ({names})' if names else ''}: positive of none",
        "drop": "nothing known here",
    }[rule.op]
    if not rule.also_part_of:
        return words
    sided = rule.also_op == "split_left_right"
    return f"{words}; also {' or '.join(rule.also_part_of) + ', by side' if sided else ', '.join(rule.also_part_of)}"


def _in_order(spec: "DatasetSpec", label_map: "LabelMap") -> list[str]:
    return [name for name in spec.annotated if name in label_map.annotated]


def _summary(spec: "DatasetSpec") -> dict[str, Any]:
    return {
        "name": spec.slug,
        "title": spec.title,
        "homepage": spec.homepage,
        "licence": [fact.text for fact in spec.licence],
        "access": spec.access,
        "public": spec.counts.public,
        "labelled": spec.counts.labelled,
        "paper": spec.counts.paper,
        "annotated": list(spec.annotated) if spec.describe is None else [],
        "variants": [variant.name for variant in spec.variants],
    }


def _document(spec: "DatasetSpec") -> dict[str, Any]:
    """Everything that is known, as plain values."""
    from dataclasses import asdict

    return {
        **_summary(spec),
        "licence": [asdict(fact) for fact in spec.licence],
        "sharing": spec.sharing,
        "counts": asdict(spec.counts),
        "obtain": list(spec.obtain),
        "citation": list(spec.citation),
        "region": spec.region,
        "hub": spec.hub,
        "splits": dict(spec.splits),
        "variants": [_variant_document(variant) for variant in spec.variants],
        "label_maps": [_label_document(spec, label_map) for label_map in spec.label_maps],
        "exclusions": [asdict(rule) for rule in spec.exclusions],
        "flags": [asdict(rule) for rule in spec.flags],
        "identity": [asdict(rule) for rule in spec.identity],
        "quirks": [asdict(fact) for fact in spec.quirks],
        "to_verify": list(spec.to_verify),
    }


def _variant_document(variant: "Variant") -> dict[str, Any]:
    plain = ("name", "folder", "image_format", "label_format", "confidence", "source", "note")
    files = [
        {
            "image": list(family.image),
            "label": list(family.label),
            "case": family.case,
            "label_map": family.label_map if family.label else None,
            "split": family.split,
        }
        for family in variant.files
    ]
    return {**{name: getattr(variant, name) for name in plain}, "files": files}


def _label_document(spec: "DatasetSpec", label_map: "LabelMap") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "name": label_map.name,
        "confidence": label_map.confidence,
        "note": label_map.note,
        "values": {str(value): asdict(rule) for value, rule in label_map.values.items()},
        "ignore": sorted(label_map.ignore),
        "annotated": _in_order(spec, label_map),
        "groups": [
            {
                "name": group.name,
                "annotated": sorted(group.annotated),
                "present": sorted(group.present),
                "absent": sorted(group.absent),
                "count": group.count,
            }
            for group in label_map.groups
        ],
    }


def print_table(table: "Table") -> None:
    """Prints a table on standard output, as it is: without markup or colours."""
    from rich.console import Console

    # Markup off: what a dataset calls its structures may hold square brackets.
    Console(markup=False, highlight=False, emoji=False).print(table)
