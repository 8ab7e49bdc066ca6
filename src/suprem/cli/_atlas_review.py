"""``suprem atlas review``: hand cases to people, take them back, and tell when it is enough."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suprem.errors import ConfigurationError, SupremError

if TYPE_CHECKING:
    from suprem.atlas.review import ImportOutcome, ReviewRow

__all__ = ["review_app"]

_EXIT_FAILED = 1

review_app = typer.Typer(help="Hand cases to people and take their labels back.", no_args_is_help=True)

_Atlas = Annotated[Path, typer.Argument(show_default=False, help="Folder of the atlas.")]
_User = Annotated[str | None, typer.Option("--user", show_default=False, help="Who; by default who runs this.")]
_Note = Annotated[str, typer.Option("--note", show_default=False, help="Why; kept in the journal.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


@review_app.command("export")
def export(
    atlas: _Atlas,
    count: Annotated[
        int | None,
        typer.Option("-k", "--count", show_default=False, help="How many cases from the top of the ranking."),
    ] = None,
    case: Annotated[
        list[str] | None, typer.Option("--case", show_default=False, help="A case, dataset/case; can be repeated.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", show_default=False, help="Where to; by default in the atlas.")
    ] = None,
    to: Annotated[str, typer.Option("--to", show_default=False, help="Whom the cases are for.")] = "",
    again: Annotated[
        bool, typer.Option("--again", help="Also hand out named cases that have not come back yet, to a second person.")
    ] = False,
    user: _User = None,
    as_json: _Json = False,
) -> None:
    """Write folders that 3D Slicer and ITK-SNAP open: CT, labels, where to look."""
    from suprem.atlas.review import export_cases
    from suprem.atlas.workspace import Atlas
    from suprem.cli._display import stderr_console

    console = stderr_console()
    found = export_cases(
        Atlas.open(atlas), count, cases=case or (), out=out, to=to, again=again, user=user, progress=console.print
    )
    if as_json:
        folders = {key: str(folder) for key, folder in found.folders.items()}
        typer.echo(json.dumps({"ticket": found.ticket, "round": found.round, "folders": folders}, indent=2))
        return
    for folder in found.folders.values():
        typer.echo(str(folder))
    typer.echo(f"ticket {found.ticket}: {len(found.folders)} cases of round {found.round}")


@review_app.command("import")
def import_(
    atlas: _Atlas,
    folders: Annotated[list[Path], typer.Argument(show_default=False, help="Folders of cases that come back.")],
    user: _User = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", show_default=False, help="Time that all of them together took.")
    ] = None,
    note: _Note = "",
    file: Annotated[
        Path | None, typer.Option("--file", show_default=False, help="The labels, if they got another name or place.")
    ] = None,
    missing_means_empty: Annotated[
        bool, typer.Option("--missing-means-empty", help="Structures that do not come back are absent, not unchanged.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Take labels back; what was changed becomes a revision, or a conflict where somebody else was first."""
    from suprem.atlas.review import import_case
    from suprem.atlas.workspace import Atlas
    from suprem.cli._display import stderr_console

    if file is not None and len(folders) > 1:
        raise ConfigurationError("--file is for one folder; import the others by themselves.")
    console, opened = stderr_console(), Atlas.open(atlas)
    each = None if minutes is None else minutes / len(folders)
    documents: list[dict[str, Any]] = []
    failed = 0
    for folder in folders:
        try:
            outcome = import_case(
                opened,
                folder,
                user=user,
                minutes=each,
                note=note,
                file=file,
                missing_means_empty=missing_means_empty,
            )
        except SupremError as error:  # the others are imported all the same
            failed += 1
            documents.append({"folder": str(folder), "error": str(error)})
            console.print(f"{folder}: {error}")
            continue
        documents.append({"folder": str(folder), **asdict(outcome)})
        for warning in outcome.warnings:
            console.print(warning)
        if not as_json:
            typer.echo(_in_words(outcome))
    if as_json:
        typer.echo(json.dumps(documents, indent=2))
    if failed:
        raise typer.Exit(_EXIT_FAILED)


def _in_words(outcome: "ImportOutcome") -> str:
    if outcome.repeated:
        return f"{outcome.case}: imported before, nothing done"
    parts = []
    if outcome.revision is not None:
        shown = ", ".join(f"{name} (DSC {m['dsc_before_after']:.3f})" for name, m in outcome.changed.items())
        parts.append(f"revision {outcome.revision}: {shown}")
    reasons = {
        "expert": "the dataset's own labels count",
        "revised": "somebody else has revised it since",
        "grid": "the store has another grid now",
    }
    parts += [f"conflict {n} kept: {reasons[reason]}" for n, reason in outcome.conflicts.items()]
    return f"{outcome.case}: {'; '.join(parts) or f'nothing changed, {len(outcome.checked)} structures looked at'}"


@review_app.command("status")
def status(
    atlas: _Atlas,
    major_dsc: Annotated[
        float, typer.Option(help="A revision is major below this DSC of before and after, and ...")
    ] = 0.9,
    major_ml: Annotated[float, typer.Option(help="... above this many ml added and removed.")] = 1.0,
    min_cases: Annotated[int, typer.Option(help="Reviewed cases that the rule to stop needs.")] = 5,
    max_share: Annotated[float, typer.Option(help="Share of them that may have a major revision.")] = 0.0,
    as_json: _Json = False,
) -> None:
    """Tell who has which case, what came back, and whether another round is needed."""
    from suprem.atlas.review import open_conflicts, review_rows, stop_report
    from suprem.atlas.workspace import Atlas

    opened = Atlas.open(atlas)
    rows, conflicts = review_rows(opened), open_conflicts(opened)
    stop = stop_report(opened, major_dsc=major_dsc, major_ml=major_ml, min_cases=min_cases, max_share=max_share)
    if as_json:
        content = {
            "queue": [asdict(row) for row in rows],
            "conflicts": [asdict(conflict) for conflict in conflicts],
            "stop": asdict(stop),
        }
        typer.echo(json.dumps(content, indent=2))
        return
    if rows:
        _print_rows(rows)
    for conflict in conflicts:
        names = ", ".join(conflict.changed)
        typer.echo(
            f"conflict {conflict.conflict} of {conflict.case}: {names} by {conflict.user}, ticket {conflict.ticket} "
            f"({conflict.reason}); decide with `suprem atlas review resolve`"
        )
    typer.echo(stop.text)


def _print_rows(rows: "tuple[ReviewRow, ...]") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from suprem.cli.data import print_table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("ticket", "case", "to", "since", "reviewed by", "minutes", "lowest DSC"):
        table.add_column(name)
    for row in rows:
        lowest = min(row.changed.items(), key=lambda item: item[1], default=None)
        changed = f"{lowest[0]} {lowest[1]:.3f}" if lowest else ("unchanged" if row.reviewed_by else "")
        minutes = "" if row.minutes is None else f"{row.minutes:g}"
        table.add_row(row.ticket, row.case, row.to, row.since[:10], ", ".join(row.reviewed_by), minutes, changed)
    print_table(table)


@review_app.command("resolve")
def resolve(
    atlas: _Atlas,
    case: Annotated[str, typer.Argument(show_default=False, help="Case, dataset/case.")],
    take: Annotated[
        int | None, typer.Option("--take", show_default=False, help="Conflict whose labels become a revision.")
    ] = None,
    drop: Annotated[
        int | None, typer.Option("--drop", show_default=False, help="Conflict whose labels count no more.")
    ] = None,
    user: _User = None,
    note: _Note = "",
    as_json: _Json = False,
) -> None:
    """Decide a conflict; its labels stay on the disk either way."""
    from suprem.atlas.review import resolve as decide
    from suprem.atlas.workspace import Atlas

    number = take if drop is None else drop
    if number is None or (take is not None and drop is not None):
        raise ConfigurationError("Say which conflict to --take or to --drop; `suprem atlas review status` lists them.")
    revision = decide(Atlas.open(atlas), case, number, take=take is not None, user=user, note=note)
    if as_json:
        typer.echo(json.dumps({"case": case, "conflict": number, "revision": revision}))
        return
    typer.echo(f"{case}: conflict {number} {'dropped' if revision is None else f'is revision {revision} now'}")
