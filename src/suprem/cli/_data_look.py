"""``suprem data verify``, ``stats`` and ``view``: looking at data before training on them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suprem.errors import ConfigurationError

if TYPE_CHECKING:
    from suprem.datasets._examine import CaseVerdict
    from suprem.datasets._stats import StructureSummary

__all__ = ["stats", "verify", "view"]

_EXIT_FAILED = 1
_BODY_HU = -175

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
_Store = Annotated[
    str, typer.Argument(show_default=False, help="A store made by `suprem data prepare`: folder or address.")
]


def verify(
    what: Annotated[
        str, typer.Argument(show_default=False, help="A store, or with --root a name from `suprem data list`.")
    ],
    root: Annotated[Path | None, typer.Option(show_default=False, help="Folder of the raw data.")] = None,
    variant: Annotated[str | None, typer.Option(show_default=False, help="Layout of the raw data.")] = None,
    trust_grid: Annotated[
        bool,
        typer.Option("--trust-grid", help="Pair voxels by index where only affines of CT and labels disagree."),
    ] = False,
    as_json: _Json = False,
) -> None:
    """Check every case: files, grids, label values, HU under the masks, sides, volumes, number of cases."""
    from suprem.cli._display import stderr_console
    from suprem.datasets import dataset
    from suprem.datasets._examine import verify_raw, verify_store
    from suprem.volumes.store import Store

    console = stderr_console()
    seen = 0

    def progress(verdict: "CaseVerdict", total: int) -> None:
        nonlocal seen
        seen += 1
        console.print(f"[{seen}/{total}] {verdict.case}: {verdict.verdict}")

    if root is not None:
        verdicts = verify_raw(dataset(what), root, variant=variant, trust_grid=trust_grid, progress=progress)
    elif variant is not None or trust_grid:
        raise ConfigurationError("--variant and --trust-grid are for raw data; give its folder with --root.")
    else:
        verdicts = verify_store(Store.open(what), progress=progress)
    if as_json:
        typer.echo(json.dumps([_document(verdict) for verdict in verdicts], indent=2))
    else:
        _print_verdicts(verdicts)
    if any(verdict.verdict == "wrong" for verdict in verdicts):
        raise typer.Exit(_EXIT_FAILED)


def _document(verdict: "CaseVerdict") -> dict[str, Any]:
    from dataclasses import asdict

    return {"case": verdict.case, "verdict": verdict.verdict, "findings": [asdict(f) for f in verdict.findings]}


def _print_verdicts(verdicts: list["CaseVerdict"]) -> None:
    for verdict in verdicts:
        for finding in verdict.findings:
            typer.echo(f"{finding.verdict}: {'the dataset' if verdict.case == '*' else verdict.case}: {finding.text}")
    cases = [verdict for verdict in verdicts if verdict.case != "*"]
    count = {level: sum(v.verdict == level for v in cases) for level in ("ok", "warning", "wrong")}
    typer.echo(f"{len(cases)} cases: {count['ok']} ok, {count['warning']} to look at, {count['wrong']} wrong")


def stats(
    store: _Store,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", show_default=False, help="Folder for structures.csv and a picture.")
    ] = None,
    hu: Annotated[bool, typer.Option(help="Read the CTs for intensities; --no-hu answers from the index.")] = True,
    as_json: _Json = False,
) -> None:
    """Show cases, volumes and intensities of every structure."""
    from dataclasses import asdict

    from suprem.datasets._stats import plot, summarise, write_csv
    from suprem.volumes.store import Store

    opened = Store.open(store)
    rows = summarise(opened, intensities=hu)
    datasets: dict[str, int] = {}
    for record in opened.records:
        datasets[record.dataset] = datasets.get(record.dataset, 0) + 1
    if output is not None:
        write_csv(rows, output / "structures.csv")
        plot(rows, output / "structures.png", store.rstrip("/").rpartition("/")[2])
    if as_json:
        found = [{key: None if value != value else value for key, value in asdict(row).items()} for row in rows]
        typer.echo(json.dumps({"cases": len(opened), "datasets": datasets, "structures": found}, indent=2))
        return
    _print_table(rows)
    typer.echo(f"{len(opened)} cases: {', '.join(f'{name} {count}' for name, count in sorted(datasets.items()))}")


def _print_table(rows: list["StructureSummary"]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from suprem.cli.data import print_table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("structure", no_wrap=True)
    for name in ("present", "absent", "unknown", "ml, mean", "sd", "least", "most", "HU, mean", "sd"):
        table.add_column(name, justify="right")
    for row in rows:
        numbers = (row.mean_ml, row.sd_ml, row.least_ml, row.most_ml)
        table.add_row(
            row.structure,
            str(row.present),
            str(row.annotated - row.present),
            str(row.unknown),
            *("" if value != value else f"{value:.1f}" for value in numbers),
            *("" if value != value else f"{value:.0f}" for value in (row.mean_hu, row.sd_hu)),
        )
    print_table(table)


def view(
    store: _Store,
    case: Annotated[str, typer.Argument(show_default=False, help="dataset/case, as the index names it.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", show_default=False, help="PNG file; default: CASE.png here.")
    ] = None,
) -> None:
    """Draw a stored case: three planes with its structures, and a legend with volumes."""
    from suprem._files import atomic_path
    from suprem.datasets._examine import stored_as_read
    from suprem.inference.preview import Preview
    from suprem.inference.statistics import measure
    from suprem.volumes.store import Store

    opened = Store.open(store)
    record = opened.record(case)
    read = stored_as_read(opened.case(case))
    preview = Preview(read.ct, _centre(read.labels.volume.array if read.labels else read.ct.array > _BODY_HU))
    rows = []
    if read.labels is not None:
        for name in record.annotated:
            mask = read.labels.mask(name)
            rows.append(measure(name, mask, read.ct))
            preview.add(name, mask)
    target = output or Path(f"{record.case}.png")
    spacing = " x ".join(f"{step:g}" for step in record.spacing_mm)
    with atomic_path(target) as temporary:
        preview.save(temporary, record.key, f"{len(rows)} structures annotated, {spacing} mm", rows)
    typer.echo(str(target))


def _centre(labels: Any) -> tuple[int, int, int]:
    """The middle of what is labelled, of the volume where nothing is."""
    import numpy as np

    found = []
    for axis in range(3):
        filled = np.flatnonzero(labels.any(axis=tuple(a for a in range(3) if a != axis)))
        found.append(int(filled[len(filled) // 2]) if len(filled) else labels.shape[axis] // 2)
    return found[0], found[1], found[2]
