"""Numbers and folders of revisions and conflicts, and the decision between them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from suprem._files import atomic_folder, remove_leftovers
from suprem.atlas._review_changes import change
from suprem.atlas.journal import Event, OpenJournal
from suprem.atlas.label_set import LabelSet
from suprem.atlas.workspace import Atlas
from suprem.errors import ConfigurationError, VolumeError
from suprem.volumes.geometry import Volume, same_grid

__all__ = ["Conflict", "conflict_folder", "next_number", "on_other_grid", "open_conflicts", "resolve", "write_labels"]


@dataclass(frozen=True)
class Conflict:
    """Labels that wait for a decision.

    Attributes:
        case: key ``dataset/case``.
        conflict: its number in the case.
        ticket: of the hand-out.
        round: of the hand-out.
        user: who has revised.
        time: when it was imported.
        reason: ``"revised"`` by somebody else since the hand-out, ``"expert"`` for labels of the dataset, ``"grid"``
            where the store has the case on another grid now.
        changed: structure -> how much differs from what was handed out.
        note: of the person.
    """

    case: str
    conflict: int
    ticket: str
    round: int
    user: str
    time: str
    reason: str
    changed: dict[str, dict[str, float]]
    note: str


def open_conflicts(atlas: Atlas, case: str | None = None) -> tuple[Conflict, ...]:
    """Conflicts that nobody has decided yet, the oldest first.

    Args:
        atlas: The atlas.
        case: Only of this one.
    """
    return _open(atlas.journal.events(), case)


def _open(events: tuple[Event, ...], case: str | None) -> tuple[Conflict, ...]:
    decided = {
        (event.facts["case"], event.facts.get("resolves")) for event in events if event.kind in ("revision", "decision")
    }
    found = []
    for event in events:
        facts = event.facts
        if event.kind != "conflict" or (facts["case"], facts["conflict"]) in decided:
            continue
        if case in (None, facts["case"]):
            names = ("case", "conflict", "ticket", "round", "reason", "changed", "note")
            found.append(Conflict(user=event.user, time=event.time, **{name: facts[name] for name in names}))
    return tuple(found)


def resolve(atlas: Atlas, case: str, number: int, *, take: bool, user: str | None = None, note: str = "") -> int | None:
    """Decides a conflict: its labels become a revision, or stay on the disk and count no more.

    Args:
        atlas: The atlas.
        case: Key ``dataset/case``.
        number: Of the conflict.
        take: Whether its labels shall count.
        user: Who decides; ``None`` for the user of this process.
        note: Why.

    Returns:
        Number of the new revision; ``None`` if the labels do not count.

    Raises:
        ConfigurationError: there is no such open conflict, or it is with labels of the dataset's experts, which always
            count before revisions.
        VolumeError: the labels lie on another grid than the store has now.
        UnknownNameError: the case is no longer in the store.
    """
    with atlas.journal.locked() as journal:
        waiting = {conflict.conflict: conflict for conflict in _open(journal.events(), case)}
        if number not in waiting:
            raise ConfigurationError(
                f"{case} has no open conflict {number}; open are: {', '.join(map(str, waiting)) or 'none'}."
            )
        conflict = waiting[number]
        if not take:
            journal.append("decision", user, case=case, resolves=number, taken=False, note=note)
            return None
        labels = LabelSet.read(conflict_folder(atlas, case, number))
        _check_takeable(atlas, conflict, labels)
        measured = _against_present(atlas, case, labels)
        revision = next_number(journal, "revision", case)
        write_labels(labels, atlas.revision_folder(case, revision))
        journal.append(
            "revision",
            user,
            case=case,
            revision=revision,
            ticket=conflict.ticket,
            round=conflict.round,
            changed=measured,
            conflicting={},
            conflicts={},
            checked=[],
            minutes=None,
            note=note,
            resolves=number,
        )
        return revision


def _check_takeable(atlas: Atlas, conflict: Conflict, labels: LabelSet) -> None:
    if conflict.reason == "expert":
        raise ConfigurationError(
            f"{', '.join(conflict.changed)} of {conflict.case}: the dataset's experts annotated it, and their labels "
            "always count. Correct them in the dataset and prepare the store again, or close the conflict with --drop "
            f"{conflict.conflict}."
        )
    if on_other_grid(atlas, conflict.case, labels):
        raise VolumeError(
            f"Conflict {conflict.conflict} of {conflict.case} lies on another grid than the store has now; hand the "
            f"case out again, or close the conflict with --drop {conflict.conflict}."
        )


def on_other_grid(atlas: Atlas, case: str, labels: LabelSet) -> bool:
    """Whether the store was made again with other voxels since a case was handed out."""
    record = atlas.store.record(case)
    empty = np.uint8(0)
    stored = Volume(np.broadcast_to(empty, record.shape), np.array(record.affine))
    return not same_grid(Volume(np.broadcast_to(empty, labels.shape), labels.affine), stored)


def _against_present(atlas: Atlas, case: str, labels: LabelSet) -> dict[str, dict[str, float]]:
    present = atlas.labels(case)
    voxel_ml = abs(float(np.linalg.det(labels.affine[:3, :3]))) / 1000
    measured = {}
    for name in labels.structures:
        known = name in present.provenance
        before = present.mask(name) if known else np.zeros(labels.shape, dtype=np.bool_)
        measured[name] = change(before, labels.mask(name), voxel_ml)
    return measured


def next_number(journal: OpenJournal, kind: str, case: str) -> int:
    """One more than the last revision or conflict of a case."""
    events = [event.facts for event in journal.events(kind) if event.facts["case"] == case]
    return max((facts[kind] for facts in events if facts[kind] is not None), default=0) + 1


def conflict_folder(atlas: Atlas, case: str, number: int) -> Path:
    """Where the labels of a conflict are kept."""
    return atlas.root / "revisions" / case / "conflicts" / f"{number:04d}"


def write_labels(labels: LabelSet, folder: Path) -> None:
    """Writes labels; what stands there is of a process that was killed before it wrote its event."""
    remove_leftovers(folder.parent)
    with atomic_folder(folder, overwrite=True) as temporary:
        labels.write(temporary)
