"""Handing cases to people: folders that 3D Slicer and ITK-SNAP open, and where to look in them."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from suprem._files import atomic_folder, only_user, output_error, remove_leftovers, sha256_file
from suprem.atlas import ranking
from suprem.atlas._review_masks import numbering, shown
from suprem.atlas._review_ticket import (
    TICKET,
    Ticket,
    adopt,
    case_folder_name,
    handed_folder,
    read_ticket,
    review_folder,
    write_json,
)
from suprem.atlas.journal import Event, current_user
from suprem.atlas.label_set import LabelSet
from suprem.atlas.workspace import Atlas
from suprem.errors import ConfigurationError
from suprem.volumes.geometry import Volume
from suprem.volumes.io import write_volume
from suprem.volumes.itksnap import write_label_file
from suprem.volumes.slicer import write_points, write_segmentation

__all__ = ["Handout", "export_cases"]

_COLUMNS = ("structure", "importance", "x", "y", "z", "right_mm", "front_mm", "head_mm", "volume_ml", "reason")


@dataclass(frozen=True)
class Handout:
    """What was handed out.

    Attributes:
        ticket: number of the hand-out, as text.
        round: of the atlas.
        folders: case -> folder to give to the person, the most important case first.
    """

    ticket: str
    round: int
    folders: dict[str, Path]


def export_cases(
    atlas: Atlas,
    count: int | None = None,
    *,
    cases: Sequence[str] = (),
    out: str | Path | None = None,
    to: str = "",
    again: bool = False,
    user: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Handout:
    """Hands out the most important cases that nobody has yet, or named ones.

    Args:
        atlas: The atlas.
        count: How many cases from the top of the last round's ranking.
        cases: Keys ``dataset/case`` to hand out instead.
        out: Folder for the folders of the cases; ``None`` for ``review/<ticket>`` in the atlas.
        to: Whom they are for.
        again: Hand out named cases also to a second person.
        user: Who hands out; ``None`` for the user of this process.
        progress: Called with each case before it is written.

    Raises:
        ConfigurationError: nothing is left to hand out, a named case is out already, the atlas has no ranking, or
            another process hands out at the same time.
        UnknownNameError: the store has no such case.
        OutputError: the place cannot be written, or a folder is there already.
    """
    if (count is None) == (not cases) or (count is not None and count < 1):
        raise ConfigurationError("Say how many cases of the ranking to hand out (1 or more), or name them; not both.")
    top = atlas.root / "review"
    try:
        top.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(top, error) from error
    with only_user(top):
        remove_leftovers(top)
        with atlas.journal.locked() as journal:
            events = adopt(atlas, journal)
        chosen = _named(atlas, cases, events, again) if cases else _ranked(atlas, count or 0, events)
        number = max((int(event.facts["ticket"]) for event in events), default=0) + 1
        draft = Ticket(
            ticket=f"{number:04d}",
            case="",
            round=atlas.round,
            to=to,
            by=user or current_user(),
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            structures=(),
            doubtful=(),
            files={},
            atlas=str(atlas.root.resolve()),
        )
        return _write(atlas, draft, chosen, None if out is None else Path(out), progress)


def _named(atlas: Atlas, cases: Sequence[str], events: Sequence[Event], again: bool) -> list[str]:
    named = list(dict.fromkeys(cases))
    for case in named:
        atlas.store.record(case)
    out = {case: event for event in events for case in event.facts["cases"]}
    waiting = {case: out[case] for case in _outstanding(atlas, events)}
    for case in named:
        if case in waiting and not again:
            event = waiting[case]
            raise ConfigurationError(
                f"{case} was handed to {event.facts['to'] or event.user} on {event.time[:10]} (ticket "
                f"{event.facts['ticket']}) and has not come back; import it, or hand it out a second time with --again."
            )
    return named


def _outstanding(atlas: Atlas, events: Sequence[Event]) -> set[str]:
    """Cases of hand-outs of which nothing has come back yet."""
    back = {(event.facts["ticket"], event.facts["case"]) for event in atlas.journal.events("revision")}
    return {case for event in events for case in event.facts["cases"] if (event.facts["ticket"], case) not in back}


def _ranked(atlas: Atlas, count: int, events: Sequence[Event]) -> list[str]:
    rows = ranking.read_ranking(atlas.priority_folder(atlas.round))
    this_round = {case for event in events if event.facts["round"] == atlas.round for case in event.facts["cases"]}
    out = this_round | _outstanding(atlas, events)
    known = set(atlas.cases)
    chosen = [row.case for row in rows if row.case not in out and row.case in known][:count]
    if not chosen:
        raise ConfigurationError(
            f"All {len(rows)} cases in the ranking of round {atlas.round} are handed out; import what comes back, or "
            "begin another round with `suprem atlas ensemble`."
        )
    return chosen


def _write(
    atlas: Atlas, draft: Ticket, cases: list[str], out: Path | None, progress: Callable[[str], None] | None
) -> Handout:
    """The folder of the ticket appears with its cases in one step; then the event is written."""
    folder = review_folder(atlas, draft.ticket)
    base, folders = {}, {}
    with atomic_folder(folder) as temporary:
        for case in cases:
            if progress:
                progress(case)
            name = case_folder_name(case)
            labels, base[case] = _labels(atlas, case)
            handed = handed_folder(temporary, case)
            handed.mkdir(parents=True)
            labels.write(handed)
            ticket = replace(draft, case=case, structures=labels.structures)
            if out is None:
                (temporary / name).mkdir()
                _write_case(atlas, ticket, labels, temporary / name)
                folders[case] = folder / name
            else:
                folders[case] = out / name
                with atomic_folder(out / name, overwrite=_is_unfinished(out / name, draft)) as target:
                    _write_case(atlas, ticket, labels, target)
        facts = {"ticket": draft.ticket, "round": draft.round, "cases": cases, "to": draft.to, "base": base}
        write_json(temporary / TICKET, {"user": draft.by, **facts})
    with atlas.journal.locked() as journal:
        adopt(atlas, journal)
    return Handout(draft.ticket, draft.round, folders)


def _is_unfinished(folder: Path, draft: Ticket) -> bool:
    """Whether a folder elsewhere is what a killed hand-out of the same ticket has left."""
    if not (folder / TICKET).is_file():
        return False
    found = read_ticket(folder)
    return (found.atlas, found.ticket) == (draft.atlas, draft.ticket)


def _labels(atlas: Atlas, case: str) -> tuple[LabelSet, int]:
    """The labels that count now, and the last revision in them."""
    while True:
        before = atlas.revisions(case)
        labels = atlas.labels(case)
        if atlas.revisions(case) == before:  # else somebody else's revision was accepted meanwhile
            return labels, max(before, default=0)


def _write_case(atlas: Atlas, ticket: Ticket, labels: LabelSet, folder: Path) -> None:
    priority = atlas.priority_folder(ticket.round)
    rows, regions = _wanted(priority, ticket.case)
    known = tuple(name for name in rows if name in labels.provenance)
    unknown = tuple(name for name in atlas.structures if name not in labels.provenance)
    write_volume(Volume(atlas.store.case(ticket.case).ct(), labels.affine, ticket.case), folder / "ct.nii.gz")
    write_segmentation(
        folder / "labels.seg.nrrd", labels.indices, labels.table, labels.affine, labels.structures, flagged=known
    )
    numbers = numbering(atlas.structures)
    write_volume(Volume(shown(labels, numbers), labels.affine, ticket.case), folder / "labels.nii.gz")
    write_label_file(folder / "labels.label.txt", {number: name for name, number in numbers.items()})
    attention = ranking.attention_path(priority, ticket.case).is_file()
    if attention:
        values = ranking.read_attention(priority, ticket.case, labels.shape)
        write_volume(Volume(values, labels.affine, ticket.case), folder / "attention.nii.gz")
    _write_regions(folder / "what-to-look-at.csv", regions, labels)
    places = [(r.structure, r.reason, _place_mm(r, labels).tolist()) for r in regions]
    write_points(folder / "what-to-look-at.mrk.json", places)
    text = _instructions(ticket, labels, known, unknown, regions, attention)
    (folder / "what-to-look-at.md").write_text(text, encoding="utf-8")
    files = {path.name: sha256_file(path) for path in sorted(folder.iterdir())}
    replace(ticket, doubtful=known + unknown, files=files).write(folder)


def _wanted(priority: Path, case: str) -> tuple[list[str], list[ranking.Region]]:
    """Structures to look at, the worst first, and the regions; none where the round has no ranking."""
    if not (priority / "ranking.csv").is_file():
        return [], []
    rows = [row for row in ranking.read_ranking(priority) if row.case == case]
    regions = [region for region in ranking.read_regions(priority) if region.case == case]
    regions.sort(key=lambda region: -region.importance)
    names = [name for row in rows for name in row.structures] + [region.structure for region in regions]
    return list(dict.fromkeys(names)), regions


def _place_mm(region: ranking.Region, labels: LabelSet) -> Any:
    return (labels.affine @ np.array([region.x, region.y, region.z, 1.0]))[:3]


def _write_regions(path: Path, regions: Sequence[ranking.Region], labels: LabelSet) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(_COLUMNS)
        for r in regions:
            place = [f"{value:.1f}" for value in _place_mm(r, labels)]
            table.writerow([r.structure, f"{r.importance:.6g}", r.x, r.y, r.z, *place, f"{r.volume_ml:.6g}", r.reason])


def _instructions(
    ticket: Ticket,
    labels: LabelSet,
    known: Sequence[str],
    unknown: Sequence[str],
    regions: Sequence[ranking.Region],
    attention: bool,
) -> str:
    lines = [f"# {ticket.case}", "", f"Ticket {ticket.ticket}, round {ticket.round}, {ticket.time}.", ""]
    lines += ["## What to look at", ""]
    if not regions and not known:
        lines += ["Nothing is marked in this case; look at every structure.", ""]
    if known:
        lines += [f"In doubt, the worst first: {', '.join(known)}.", ""]
    if unknown:
        lines += [f"No model knows {', '.join(unknown)}, and nobody has drawn that here yet; please do.", ""]
    if regions:
        lines += ["| structure | voxel from 0 (x, y, z) | mm right, front, head | ml | why |", "|---|---|---|---|---|"]
        for r in regions:
            place = ", ".join(f"{value:.1f}" for value in _place_mm(r, labels))
            lines.append(f"| {r.structure} | {r.x}, {r.y}, {r.z} | {place} | {r.volume_ml:.1f} | {r.reason} |")
        lines.append("")
    lines += ["## Files", "", "- `ct.nii.gz`: the CT in HU."]
    lines.append("- `labels.seg.nrrd`: all structures, for 3D Slicer. Those in doubt have the status *flagged*.")
    lines.append("- `labels.nii.gz`, `labels.label.txt`: the same for ITK-SNAP, one structure per voxel.")
    lines.append("- `what-to-look-at.mrk.json`: the places of the table above, for 3D Slicer.")
    if attention:
        lines.append("- `attention.nii.gz`: where to look, 0 to 255, as an overlay.")
    lines += ["", "Correct one of the two label files, save it under its name, and keep `ticket.json`.", ""]
    return "\n".join([*lines, "## Labels", "", *_label_lines(labels), ""])


def _label_lines(labels: LabelSet) -> list[str]:
    lines = ["| structure | labels by |", "|---|---|"]
    lines += [
        f"| {name} | {labels.provenance[name].source}: {labels.provenance[name].by} |" for name in labels.structures
    ]
    several = any(len(entry) > 1 for entry in labels.table)
    if several:
        lines += [
            "",
            "Some structures overlap. `labels.nii.gz` shows the part where it lies in a whole (a tumour in its",
        ]
        lines += ["organ), else the one with the higher number. What is hidden is kept when the labels come back."]
    return lines
