"""What is handed out, what has come back, and whether another round is needed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from suprem.atlas._review_conflicts import open_conflicts
from suprem.atlas.journal import Event
from suprem.atlas.workspace import Atlas
from suprem.errors import ConfigurationError

__all__ = ["ReviewRow", "StopReport", "review_rows", "stop_report"]

MAJOR_DSC, MAJOR_ML, MIN_CASES = 0.9, 1.0, 5


@dataclass(frozen=True)
class ReviewRow:
    """One hand-out of one case.

    Attributes:
        ticket: number of the hand-out.
        case: key ``dataset/case``.
        round: of the atlas.
        to: whom it was handed to.
        since: when, ISO 8601 in UTC.
        reviewed_by: who has brought it back, in order; empty while it is out.
        minutes: that they took, where they said so.
        changed: structure -> Dice coefficient of its labels before and after, for the last who brought it back;
            conflicting ones included.
        conflicts: numbers of the case's conflicts from this ticket that wait for a decision.
    """

    ticket: str
    case: str
    round: int
    to: str
    since: str
    reviewed_by: tuple[str, ...]
    minutes: float | None
    changed: Mapping[str, float]
    conflicts: tuple[int, ...]


@dataclass(frozen=True)
class StopReport:
    """Whether the labels of a round were good enough to stop.

    Attributes:
        round: that is told of.
        reviewed: cases that came back in it.
        needed: how many have to, for the rule to mean something.
        outstanding: cases that are still out.
        major: cases with a major revision.
        share: of the reviewed cases that had one; 0 without any.
        minutes: of all reviews of the round that told theirs.
        met: enough cases came back, and no more of them than allowed had a major revision.
        text: the same in a sentence.
    """

    round: int
    reviewed: int
    needed: int
    outstanding: int
    major: tuple[str, ...]
    share: float
    minutes: float
    met: bool
    text: str


def _reviews(atlas: Atlas) -> list[Event]:
    """What people brought back; decisions between them are none."""
    return [event for event in atlas.journal.events("revision") if event.facts.get("resolves") is None]


def _measured(event: Event) -> dict[str, Mapping[str, float]]:
    return {**event.facts["changed"], **event.facts.get("conflicting", {})}


def review_rows(atlas: Atlas) -> tuple[ReviewRow, ...]:
    """Everything that was handed out, the oldest first.

    Raises:
        ConfigurationError: the journal is damaged.
    """
    reviews, waiting = _reviews(atlas), open_conflicts(atlas)
    rows = []
    for event in atlas.journal.events("export"):
        ticket = event.facts["ticket"]
        for case in event.facts["cases"]:
            back = [found for found in reviews if _of(found, ticket, case)]
            minutes = [found.facts["minutes"] for found in back if found.facts.get("minutes") is not None]
            rows.append(
                ReviewRow(
                    ticket=ticket,
                    case=case,
                    round=event.facts["round"],
                    to=event.facts["to"] or event.user,
                    since=event.time,
                    reviewed_by=tuple(dict.fromkeys(found.user for found in back)),
                    minutes=sum(minutes) if minutes else None,
                    changed={n: m["dsc_before_after"] for n, m in _measured(back[-1]).items()} if back else {},
                    conflicts=tuple(c.conflict for c in waiting if (c.ticket, c.case) == (ticket, case)),
                )
            )
    return tuple(rows)


def _of(event: Event, ticket: str, case: str) -> bool:
    return (event.facts["ticket"], event.facts["case"]) == (ticket, case)


def stop_report(
    atlas: Atlas,
    *,
    round: int | None = None,
    major_dsc: float = MAJOR_DSC,
    major_ml: float = MAJOR_ML,
    min_cases: int = MIN_CASES,
    max_share: float = 0.0,
) -> StopReport:
    """Whether a round's reviews found so little that the atlas needs no other round.

    A revision of a case is major where a structure's labels before and after have a Dice coefficient below
    ``major_dsc`` and more than ``major_ml`` was added and removed together: the first alone would call every voxel of a
    small vessel major, the second every smoothed liver.

    Args:
        atlas: The atlas.
        round: Which one; ``None`` for the last.
        major_dsc: See above.
        major_ml: See above, in ml.
        min_cases: How many reviewed cases the rule needs; all of them in a smaller atlas.
        max_share: Share of the reviewed cases that may have a major revision.

    Raises:
        ConfigurationError: a number that cannot be.
    """
    if not (0 <= major_dsc <= 1 and major_ml >= 0 and min_cases >= 1 and 0 <= max_share <= 1):
        raise ConfigurationError(
            f"major_dsc={major_dsc} and max_share={max_share} must be 0 to 1, major_ml={major_ml} 0 or more, "
            f"min_cases={min_cases} 1 or more."
        )
    number = atlas.round if round is None else round
    reviews = [event for event in _reviews(atlas) if event.facts["round"] == number]
    last = {(event.facts["case"], event.user): event for event in reviews}
    cases = {case for case, _ in last}
    large = [
        key for key, event in last.items() if any(_is_major(m, major_dsc, major_ml) for m in _measured(event).values())
    ]
    major = tuple(dict.fromkeys(case for case, _ in large))
    handed = {c for e in atlas.journal.events("export") if e.facts["round"] == number for c in e.facts["cases"]}
    needed = min(min_cases, len(atlas.cases))
    share = len(major) / len(cases) if cases else 0.0
    enough = len(cases) >= max(needed, 1)
    met = enough and share <= max_share
    found = f"{len(major)} of {len(cases)} reviewed cases of round {number} had a major revision"
    reason = "stop" if met else ("go on" if enough else f"review at least {needed}")
    return StopReport(
        round=number,
        reviewed=len(cases),
        needed=needed,
        outstanding=len(handed - cases),
        major=major,
        share=share,
        minutes=sum(event.facts.get("minutes") or 0.0 for event in reviews),
        met=met,
        text=f"{found}, at most {max_share:.0%} may: {reason}.",
    )


def _is_major(measured: Mapping[str, Any], dsc: float, ml: float) -> bool:
    return bool(measured["dsc_before_after"] < dsc and measured["added_ml"] + measured["removed_ml"] > ml)
