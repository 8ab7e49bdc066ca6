"""One page per dataset, made from its specification: facts, folder layout, label table, what goes wrong with it."""

from collections.abc import Callable, Iterable
from typing import Any

from suprem.cli.data import meaning
from suprem.datasets import dataset, list_datasets

Table = Callable[[list[str], list[list[Any]]], str]


def dataset_pages(table: Table) -> dict[str, str]:
    """An overview and one page per dataset.

    Args:
        table: Makes a Markdown table of a head and rows.
    """
    specs = [dataset(name) for name in list_datasets()]
    rows = [
        [
            f"[`{spec.slug}`](dataset-{spec.slug}.md)",
            spec.title,
            _count(spec.counts.public),
            _count(spec.counts.labelled),
            len(spec.annotated) if spec.describe is None else "",
            " / ".join(fact.text for fact in spec.licence),
        ]
        for spec in specs
    ]
    head = ["name", "dataset", "public", "labelled", "annotated structures", "licence"]
    toc = "\n".join(f"dataset-{spec.slug}" for spec in specs)
    overview = (
        "# Datasets\n\nGenerated from `src/suprem/datasets/`. `suprem data show NAME` prints the same. Licences are as "
        "reported; the terms of the source count.\n\n"
        + table(head, rows)
        + "\n```{toctree}\n:maxdepth: 1\n:hidden:\n\n"
        + toc
        + "\n```\n"
    )
    return {"datasets.md": overview, **{f"dataset-{spec.slug}.md": _page(spec, table) for spec in specs}}


def _count(number: int | None) -> str:
    return "not known" if number is None else f"{number:,}"


def _fact(fact: Any) -> str:
    return f"{fact.text} ({fact.confidence}{'; ' + fact.source if fact.source else ''})"


def _page(spec: Any, table: Table) -> str:
    counts = spec.counts
    paper = f", {counts.paper:,} in the SuPreM paper" if counts.paper else ""
    facts = [
        ["region", spec.region],
        ["cases", f"{_count(counts.public)} public, {_count(counts.labelled)} labelled{paper} ({counts.confidence})"],
        ["about the counts", counts.note],
        ["parts", ", ".join(f"{part}: {size:,}" for part, size in spec.splits.items())],
        ["licence", "; ".join(_fact(fact) for fact in spec.licence)],
        ["passing on images and annotations", spec.sharing],
        ["access", spec.access],
        ["page", f"<{spec.homepage}>" if spec.homepage else ""],
    ]
    sections = [
        f"# {spec.title}\n\nIts name here is `{spec.slug}`.\n",
        table(["", ""], [row for row in facts if row[1]]),
        _steps(spec.obtain),
        _layouts(spec, table),
        *(_label_map(spec, label_map, table) for label_map in spec.label_maps if spec.describe is None),
        _bullets("Left out", (f"`{r.cases}`: {r.reason} ({r.confidence})" for r in spec.exclusions)),
        _bullets("Handle with care", (f"`{r.cases}`: {r.reason} ({r.confidence})" for r in spec.flags)),
        _bullets("Same scans", (f"`{r.cases}`: {r.note} ({r.confidence})" for r in spec.identity)),
        _bullets("Quirks", (_fact(fact) for fact in spec.quirks)),
        _bullets("To verify on the first real file", spec.to_verify),
        _bullets("Cite", spec.citation),
    ]
    return "\n".join(section for section in sections if section)


def _bullets(title: str, lines: Iterable[str]) -> str:
    text = "\n".join(f"- {line}" for line in lines)
    return f"## {title}\n\n{text}\n" if text else ""


def _steps(lines: Iterable[str]) -> str:
    # Steps are commands or sentences; a literal block shows both as they are, also where they span lines.
    text = "\n".join(lines)
    return f"## How to get it\n\n```text\n{text.rstrip()}\n```\n" if text else ""


def _layouts(spec: Any, table: Table) -> str:
    rows = []
    for variant in spec.variants:
        top = f"{variant.folder}/" if variant.folder else ""
        for family in variant.files:
            label = f"`{top}{family.label[-1]}`" if family.label else "none"
            rows.append([variant.name, family.split or "", f"`{top}{family.image[0]}`", label, family.label_map])
    notes = [f"{v.name}: {v.note}" for v in spec.variants if v.note]
    head = ["variant", "part", "image", "label", "numbering"]
    return "\n".join(["## Layout on disk\n", table(head, rows), *(f"- {note}" for note in notes), ""])


def _label_map(spec: Any, label_map: Any, table: Table) -> str:
    rows = [
        [value, rule.name, meaning(rule) + (" (ignored in every structure)" if value in label_map.ignore else "")]
        for value, rule in label_map.values.items()
    ]
    annotated = ", ".join(name for name in spec.annotated if name in label_map.annotated)
    note = f"{label_map.note}\n\n" if label_map.note else ""
    return (
        f"## Labels: {label_map.name}\n\n{note}"
        + table(["value", "called", "meaning"], rows)
        + f"\nAnnotated: {annotated}. Everything else is unknown there, not absent ({label_map.confidence}).\n"
    )
