"""``suprem data overlap``: which cases of several datasets are the same scan."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suprem.errors import ConfigurationError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from suprem.datasets._overlap import Pair, Same, ScanFact

__all__ = ["overlap"]


def overlap(
    folders: Annotated[
        list[str],
        typer.Argument(help="Datasets as NAME=FOLDER; a name that is not known is a folder with dataset.yaml."),
    ],
    pixels: Annotated[bool, typer.Option("--pixels", help="Also read the CTs and compare their voxels.")] = False,
    table: Annotated[
        Path | None, typer.Option("--table", help="CSV with columns id_a,id_b: dataset/case that are one scan.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    """Find scans that occur more than once, within a dataset or in two of them, and say how that is known."""
    from dataclasses import asdict
    from itertools import combinations

    from suprem.datasets._overlap import find_overlap, read_table

    places = [_place(text) for text in folders]
    same = read_table(table) if table else []
    facts = [_facts(name, root, pixels=pixels) for name, root in places]
    same += _published_tables(places, [fact for found in facts for fact in found])
    pairs = [pair for found in facts for pair in find_overlap(found, same=same)]
    pairs += [pair for one, other in combinations(facts, 2) for pair in find_overlap(one, other, same=same)]
    if as_json:
        typer.echo(json.dumps([asdict(pair) for pair in pairs], indent=2))
        return
    for pair in pairs:
        typer.echo(_line(pair))
    both = len({(pair.a, pair.b) for pair in pairs if pair.kind != "thumbnail"})
    look = len({(pair.a, pair.b) for pair in pairs if pair.kind == "thumbnail"})
    compared = f"; {look} look alike" if pixels else "; compared by name only (--pixels reads the CTs)"
    typer.echo(f"{sum(map(len, facts))} cases, {both} pairs are the same scan{compared}.")


def _line(pair: "Pair") -> str:
    return f"{pair.a}  {pair.b}  {pair.kind} [{pair.confidence}]: {pair.detail}"


def _place(text: str) -> tuple[str, Path]:
    """The name and the folder of ``NAME=FOLDER`` or, for a known dataset, ``NAME:FOLDER``."""
    from suprem.datasets import list_datasets

    found = re.fullmatch(r"([^=:/]+)([=:])(.+)", text)
    if not found:
        raise ConfigurationError(f"{text!r} does not say which dataset it is; write NAME=FOLDER, like lits=/data/LiTS.")
    name, mark, folder = found.groups()
    if mark == ":" and name not in list_datasets():
        raise UnknownNameError(did_you_mean("dataset", name, list_datasets()))
    return name, Path(folder)


def _facts(name: str, root: Path, *, pixels: bool) -> "list[ScanFact]":
    from suprem.datasets import dataset, list_datasets
    from suprem.datasets._overlap import facts_of_cases

    known = name in list_datasets()
    spec = dataset(name if known else "folder")
    own = None if spec.describe is None else (name if not known else root.resolve().name)
    return facts_of_cases(spec.cases(root), name=own, pixels=pixels)


def _published_tables(places: list[tuple[str, Path]], facts: "list[ScanFact]") -> "list[Same]":
    from suprem.datasets._overlap import FLARE23_TABLE, read_flare23_table

    roots = [root for name, root in places if name == "flare23"]
    tables = [folder / FLARE23_TABLE for root in roots for folder in (root, root / "FLARE23")]
    others = [fact for fact in facts if not fact.key.startswith("flare23/")]
    return [line for path in tables if path.is_file() for line in read_flare23_table(path, others)]
