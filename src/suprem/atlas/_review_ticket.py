"""What was handed out to whom: tickets, and the labels as they were then."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from suprem.atlas.journal import Event, OpenJournal
from suprem.atlas.label_set import LabelSet
from suprem.atlas.workspace import Atlas
from suprem.errors import ConfigurationError, brief

__all__ = ["TICKET", "Ticket", "adopt", "case_folder_name", "handed_folder", "handed_labels", "read_ticket"]
__all__ += ["review_folder"]

TICKET, _HANDED, _FORMAT = "ticket.json", "handed_out", 1


@dataclass(frozen=True)
class Ticket:
    """What lies beside the files of one case that was handed out.

    Attributes:
        ticket: number of the hand-out, as text.
        case: key ``dataset/case``.
        round: of the atlas.
        to: whom it was handed to.
        by: who did.
        time: when, ISO 8601 in UTC.
        structures: canonical names of what was handed out.
        doubtful: what the ranking wants somebody to look at, the worst first; then what nobody has labelled yet.
        files: name -> SHA-256 of each file as handed out.
        atlas: folder of the atlas.
    """

    ticket: str
    case: str
    round: int
    to: str
    by: str
    time: str
    structures: tuple[str, ...]
    doubtful: tuple[str, ...]
    files: Mapping[str, str]
    atlas: str

    def write(self, folder: Path) -> None:
        """Writes ``ticket.json``."""
        write_json(folder / TICKET, {"format": _FORMAT, **asdict(self)})


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a file of JSON."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_ticket(folder: str | Path) -> Ticket:
    """The ticket of a folder.

    Raises:
        ConfigurationError: there is none, or it is damaged.
    """
    path = Path(folder) / TICKET
    if not path.is_file():
        raise ConfigurationError(f"{folder} holds no {TICKET}; copy it back from where the case was handed out.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != _FORMAT:
            raise ValueError("another format")
        for name in ("structures", "doubtful"):
            content[name] = tuple(str(value) for value in content[name])
        content["files"] = {str(name): str(value) for name, value in content["files"].items()}
        return Ticket(**content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{path} is damaged: {brief(error)}; copy it back from the atlas.") from error


def review_folder(atlas: Atlas, ticket: str) -> Path:
    """Where an atlas keeps what belongs to a ticket."""
    return atlas.root / "review" / ticket


def case_folder_name(case: str) -> str:
    """Name of the folder of a case that is handed out.

    Example:
        >>> case_folder_name("flare22/case_7")
        'flare22__case_7'
    """
    return case.replace("/", "__")


def handed_folder(ticket_folder: Path, case: str) -> Path:
    """Where the labels of a case stay as they were when handed out."""
    return ticket_folder / _HANDED / case


def handed_labels(atlas: Atlas, event: Event, case: str) -> LabelSet:
    """The labels of a case as they were handed out."""
    return LabelSet.read(handed_folder(review_folder(atlas, event.facts["ticket"]), case))


def adopt(atlas: Atlas, journal: OpenJournal) -> tuple[Event, ...]:
    """All hand-outs, also one whose process was killed after it had handed out and before it wrote the event."""
    events = list(journal.events("export"))
    known = {event.facts["ticket"] for event in events}
    for path in sorted((atlas.root / "review").glob(f"[!.]*/{TICKET}")):
        if path.parent.name not in known:
            facts = json.loads(path.read_text(encoding="utf-8"))
            events.append(journal.append("export", **facts))
    return tuple(events)
