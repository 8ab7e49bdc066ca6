"""Taking labels back: what a person has changed becomes a revision, or a conflict where somebody else was first."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from suprem._files import sha256_file
from suprem.atlas._review_changes import Back
from suprem.atlas._review_conflicts import conflict_folder, next_number, on_other_grid, write_labels
from suprem.atlas._review_masks import MASK_FOLDERS, read_returned
from suprem.atlas._review_ticket import Ticket, adopt, handed_labels, read_ticket
from suprem.atlas.journal import Event, OpenJournal, current_user
from suprem.atlas.label_set import LabelSet, Provenance
from suprem.atlas.workspace import Atlas
from suprem.errors import ConfigurationError
from suprem.labels import ordered
from suprem.volumes.io import image_suffix

__all__ = ["ImportOutcome", "import_case", "import_cases"]

_LABEL_MAP = "labels"


@dataclass(frozen=True)
class ImportOutcome:
    """What became of one case that came back.

    Attributes:
        case: key ``dataset/case``.
        ticket: of the hand-out.
        revision: number of the new revision; ``None`` where nothing of it was accepted.
        changed: accepted structures -> how much changed.
        conflicting: structures that are kept for a decision -> how much changed.
        conflicts: numbers of the conflicts, and why: ``"revised"`` by somebody else, ``"expert"`` labels, ``"grid"``.
        checked: structures that were looked at.
        repeated: the same was imported before; nothing was done.
        warnings: sentences for people.
    """

    case: str
    ticket: str
    revision: int | None
    changed: Mapping[str, Mapping[str, float]]
    conflicting: Mapping[str, Mapping[str, float]]
    conflicts: Mapping[int, str]
    checked: tuple[str, ...]
    repeated: bool = False
    warnings: tuple[str, ...] = ()


def import_cases(
    atlas: Atlas,
    folders: Sequence[str | Path],
    *,
    user: str | None = None,
    minutes: float | None = None,
    note: str = "",
) -> tuple[ImportOutcome, ...]:
    """Takes several cases back, one after the other; see :func:`import_case`.

    Args:
        atlas: The atlas.
        folders: As handed out.
        user: Who has revised them.
        minutes: Spent on all of them together; shared evenly.
        note: Why.
    """
    each = minutes / len(folders) if minutes is not None and folders else None
    return tuple(import_case(atlas, folder, user=user, minutes=each, note=note) for folder in folders)


def import_case(
    atlas: Atlas,
    folder: str | Path,
    *,
    user: str | None = None,
    minutes: float | None = None,
    note: str = "",
    file: str | Path | None = None,
    missing_means_empty: bool = False,
) -> ImportOutcome:
    """Takes one case back.

    Structures that differ from what was handed out become a revision. Those that somebody else has revised since then,
    or that the dataset's experts have annotated, are kept as conflicts, for :func:`suprem.atlas.review.resolve`.
    Importing the same again does nothing; importing other labels of the same ticket and person replaces the earlier
    ones.

    Args:
        atlas: The atlas.
        folder: As handed out, with ``ticket.json`` and the changed labels.
        user: Who has revised it; ``None`` for the user of this process.
        minutes: Spent on it.
        note: Why.
        file: The labels, where they have another name than they were handed out under: ``.seg.nrrd``, a label map, or
            a folder of masks.
        missing_means_empty: Structures that are not in the file (or folder of masks) are absent; else unchanged.

    Raises:
        ConfigurationError: the ticket is missing, damaged, or of another atlas; several files were changed.
        UnknownNameError: a structure that the atlas does not have.
        VolumeError: labels on another grid, or damaged.
        LabelSpaceError: a number that means nothing.
        OutputError: the disk is full, or the place cannot be written.
    """
    if minutes is not None and not (math.isfinite(minutes) and minutes >= 0):
        raise ConfigurationError(f"minutes is {minutes}; it must be 0 or more.")
    ticket = read_ticket(folder)
    event = _hand_out(atlas, ticket)
    handed = handed_labels(atlas, event, ticket.case)
    path = Path(file) if file is not None else _changed_file(Path(folder), ticket)
    person = user or current_user()
    earlier = _earlier(atlas.journal.events(), ticket, person)
    back = Back(handed, None if path is None else read_returned(path, handed, atlas.structures), missing_means_empty)
    back.compare(ordered({name for found in earlier for name in _structures(found)}))
    facts = {"minutes": minutes, "note": note, "file": None if path is None else path.name}
    return _Acceptance(atlas, ticket, event, person, back, facts).settle()


def _hand_out(atlas: Atlas, ticket: Ticket) -> Event:
    with atlas.journal.locked() as journal:
        events = adopt(atlas, journal)
    for event in events:
        if event.facts["ticket"] == ticket.ticket and ticket.case in event.facts["cases"]:
            return event
    raise ConfigurationError(
        f"Ticket {ticket.ticket} with {ticket.case} was not handed out by {atlas.root} but by {ticket.atlas}; import "
        "it there."
    )


def _changed_file(folder: Path, ticket: Ticket) -> Path | None:
    """The labels that were changed; ``None`` if they are as handed out.

    Raises:
        ConfigurationError: several were.
    """
    files = [
        path
        for path in sorted(folder.iterdir())
        if path.name.lower().endswith(".seg.nrrd")
        or ((suffix := image_suffix(path)) and path.name[: -len(suffix)] == _LABEL_MAP)
    ]
    found = [path for path in files if ticket.files.get(path.name) != sha256_file(path)]
    found += [folder / name for name in MASK_FOLDERS if (folder / name).is_dir()]
    if len(found) > 1:
        raise ConfigurationError(
            f"{folder} has several changed labels: {', '.join(path.name for path in found)}; say which with --file."
        )
    if not found and not any(path.name in ticket.files for path in files):
        raise ConfigurationError(
            f"{folder} has no labels any more; save them as labels.seg.nrrd, or say where they are with --file."
        )
    return found[0] if found else None


def _earlier(events: Sequence[Event], ticket: Ticket, person: str) -> list[Event]:
    """What the same person has imported of the same ticket and case."""
    return [
        event
        for event in events
        if event.kind in ("revision", "conflict")
        and event.user == person
        and (event.facts["ticket"], event.facts["case"]) == (ticket.ticket, ticket.case)
        and event.facts.get("resolves") is None
    ]


def _structures(event: Event) -> set[str]:
    return set(event.facts["changed"])


@dataclass(frozen=True)
class _Acceptance:
    """Decides what is accepted, and writes it; the event that ends it is the last thing written."""

    atlas: Atlas
    ticket: Ticket
    event: Event
    person: str
    back: Back
    facts: Mapping[str, Any]

    @cached_property
    def case(self) -> str:
        return self.ticket.case

    def settle(self) -> ImportOutcome:
        """Writes conflicts and the revision, under the lock of the journal: no number is given twice."""
        with self.atlas.journal.locked() as journal:
            earlier = _earlier(journal.events(), self.ticket, self.person)
            done = [event for event in earlier if event.kind == "revision"]
            if done and done[-1].facts["content"] == self.back.content:
                return self._outcome(done[-1].facts, repeated=True)
            reasons = {name: self._against(name, journal) for name in self.back.changed}
            conflicts = {}
            for reason in ("grid", "expert", "revised"):
                names = [name for name, found in reasons.items() if found == reason]
                if names:
                    conflicts[self._keep(names, reason, journal)] = reason
            accepted = [name for name, reason in reasons.items() if reason is None]
            revision = self._revise(accepted, journal) if accepted else None
            contested = {n: measured for n, measured in self.back.changed.items() if n not in accepted}
            found = journal.append(
                "revision",
                self.person,
                case=self.case,
                revision=revision,
                **self._origin,
                changed={name: self.back.changed[name] for name in accepted},
                conflicting=contested,
                conflicts={str(number): reason for number, reason in conflicts.items()},
                checked=self.back.checked,
                **self.facts,
            )
            return self._outcome(found.facts)

    @cached_property
    def _origin(self) -> dict[str, Any]:
        return {"ticket": self.ticket.ticket, "round": self.event.facts["round"], "content": self.back.content}

    def _outcome(self, facts: Mapping[str, Any], *, repeated: bool = False) -> ImportOutcome:
        return ImportOutcome(
            case=self.case,
            ticket=self.ticket.ticket,
            revision=facts["revision"],
            changed=facts["changed"],
            conflicting=facts["conflicting"],
            conflicts={int(number): reason for number, reason in facts["conflicts"].items()},
            checked=tuple(facts["checked"]),
            repeated=repeated,
            warnings=tuple(self._warnings()),
        )

    def _warnings(self) -> Iterator[str]:
        if self.case not in self.atlas.cases:
            yield (
                f"{self.case} is no longer in the store {self.atlas.store_root}; its revision is kept, and counts "
                "again when the case comes back."
            )

    def _against(self, name: str, journal: OpenJournal) -> str | None:
        """Why a structure cannot simply be accepted; ``None`` if it can."""
        if self.case in self.atlas.cases:
            if name in self.atlas.store.record(self.case).annotated:
                return "expert"
            if on_other_grid(self.atlas, self.case, self.back.handed):
                return "grid"
        since = [
            event
            for event in journal.events("revision")
            if event.facts["case"] == self.case
            and event.facts["revision"] is not None
            and event.facts["revision"] > self.event.facts["base"][self.case]
            and name in event.facts["changed"]
        ]
        if not since or since[-1] in _earlier(since, self.ticket, self.person):
            return None
        accepted = LabelSet.read(self.atlas.revision_folder(self.case, since[-1].facts["revision"]))
        return None if np.array_equal(accepted.mask(name), self.back.mask(name)) else "revised"

    def _labels(self, names: Sequence[str]) -> LabelSet:
        provenance = Provenance("revised", self.person, self.event.facts["round"])
        masks = ((name, self.back.mask(name)) for name in names)
        return LabelSet.from_masks(
            masks, self.back.handed.shape, self.back.handed.affine, dict.fromkeys(names, provenance)
        )

    def _revise(self, names: Sequence[str], journal: OpenJournal) -> int:
        number = next_number(journal, "revision", self.case)
        write_labels(self._labels(names), self.atlas.revision_folder(self.case, number))
        return number

    def _keep(self, names: Sequence[str], reason: str, journal: OpenJournal) -> int:
        """Writes a conflict, unless a killed process has done so already."""
        for event in _earlier(journal.events("conflict"), self.ticket, self.person):
            if (event.facts["reason"], event.facts["content"]) == (reason, self.back.content):
                return int(event.facts["conflict"])
        number = next_number(journal, "conflict", self.case)
        write_labels(self._labels(names), conflict_folder(self.atlas, self.case, number))
        changed = {name: self.back.changed[name] for name in names}
        note = self.facts["note"]
        journal.append(
            "conflict",
            self.person,
            case=self.case,
            conflict=number,
            **self._origin,
            reason=reason,
            changed=changed,
            note=note,
        )
        return number
