"""What happened in an atlas: one line of JSON per event, only ever appended, by any number of processes."""

import fcntl
import getpass
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from suprem._files import output_error
from suprem.errors import ConfigurationError, SupremError, brief

__all__ = ["Event", "Journal", "current_user"]


def current_user() -> str:
    """Login name of who runs this; the number of the user where there is no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in the list of users
        return f"user {os.getuid()}"


@dataclass(frozen=True)
class Event:
    """One line of the journal.

    Attributes:
        kind: What happened, such as ``"ensemble"`` or ``"revision"``.
        time: When, ISO 8601 in UTC, to the second.
        user: Who.
        facts: What is known about it; plain JSON values.
    """

    kind: str
    time: str
    user: str
    facts: Mapping[str, Any]


class Journal:
    """The events of an atlas, in the order in which they were written.

    A line counts when it is complete. What a killed process has begun to write is overwritten by the next one, so an
    event is either there or not. Events are on the disk when :meth:`append` returns.

    Args:
        path: The file; it appears with the first event.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def events(self, kind: str | None = None) -> tuple[Event, ...]:
        """All events, or those of one kind.

        Raises:
            ConfigurationError: a line was spoilt.
        """
        if not self.path.is_file():
            return ()
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be read: {error}; check its permissions.") from error
        found = _events(content[: content.rfind(b"\n") + 1], self.path)
        return tuple(event for event in found if kind in (None, event.kind))

    def append(self, kind: str, user: str | None = None, **facts: Any) -> Event:
        """Adds one event.

        Args:
            kind: What happened.
            user: Who; ``None`` for the user of this process.
            facts: Plain JSON values.

        Raises:
            OutputError: the disk is full, or the file cannot be written.
        """
        with self.locked() as journal:
            return journal.append(kind, user, **facts)

    @contextmanager
    def locked(self) -> Iterator["OpenJournal"]:
        """Keeps all others from appending, so that what is read stays true until something is written.

        Raises:
            OutputError: the file cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield OpenJournal(self, file)
        except SupremError:  # of what else was done meanwhile; it says itself what was wrong
            raise
        except OSError as error:
            raise output_error(self.path, error) from error


class OpenJournal:
    """A journal that nobody else can append to."""

    def __init__(self, journal: Journal, file: IO[bytes]) -> None:
        self._journal, self._file = journal, file

    def events(self, kind: str | None = None) -> tuple[Event, ...]:
        """As :meth:`Journal.events`."""
        return self._journal.events(kind)

    def append(self, kind: str, user: str | None = None, **facts: Any) -> Event:
        """As :meth:`Journal.append`."""
        time = datetime.now(UTC).isoformat(timespec="seconds")
        event = Event(kind, time, user or current_user(), facts)
        content = {"kind": event.kind, "time": event.time, "user": event.user, **facts}
        line = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        self._file.truncate(_complete(self._journal.path))
        self._file.seek(0, os.SEEK_END)
        self._file.write(line)
        self._file.flush()
        os.fsync(self._file.fileno())
        return event


def _complete(path: Path) -> int:
    """Bytes up to the end of the last complete line."""
    return path.read_bytes().rfind(b"\n") + 1


@lru_cache(maxsize=1)
def _events(complete: bytes, path: Path) -> tuple[Event, ...]:
    """The events of complete lines; kept, since an atlas is asked about each of its cases."""
    return tuple(_event(line, path, number) for number, line in enumerate(complete.splitlines(), start=1))


def _event(line: bytes, path: Path, number: int) -> Event:
    try:
        content = json.loads(line)
        kind, time, user = (str(content.pop(name)) for name in ("kind", "time", "user"))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ConfigurationError(
            f"{path}, line {number}, is no event: {brief(error)}. Restore the file; it is only ever appended to."
        ) from error
    return Event(kind, time, user, content)
