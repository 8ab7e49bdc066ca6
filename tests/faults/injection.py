"""Faults at the n-th step towards the disk. For child processes only: what is armed here stays until their end.

A step is whatever changes a folder as Python sees it: a file opened for writing, made, renamed, linked, removed, or
forced to the disk. Libraries written in C open files unseen; their steps show by what follows, the renaming into place.
"""

import errno
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, Literal, get_args

__all__ = ["FAULTS", "Fault", "Steps", "die_at_call"]

Fault = Literal["killed", "full", "read-only", "interrupted"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
_CHANGES = ("os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate")
_NEEDS_SPACE = ("open", "os.link", "os.mkdir", "os.symlink", "fsync")
_ERRORS = {"full": errno.ENOSPC, "read-only": errno.EROFS}


class Steps:
    """Counts the steps of this process below a folder, and injects a fault at one of them.

    Args:
        root: Other places, such as logs and caches of bytecode, are not counted.
        at: The step of the fault, counted from 1; 0 for none. A disk that is full or read-only stays so.
        fault: What happens.
    """

    def __init__(self, root: Path, at: int = 0, fault: Fault = "killed") -> None:
        self._root = str(root)
        self.arm(at, fault)
        self._lock = threading.Lock()
        self._sync = os.fsync
        sys.addaudithook(self._audit)
        os.fsync = self._counted_sync  # it raises no audit event

    def arm(self, at: int, fault: Fault) -> None:
        """Counts anew, up to another fault."""
        self.count, self.hit = 0, 0.0  # monotonic seconds
        self._at, self._fault = at, fault

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, int) or not flags & (os.O_WRONLY | os.O_RDWR):
                return
            paths: tuple[Any, ...] = (path,)
        elif event in _CHANGES:
            paths = arguments
        else:
            return
        if any(os.fsdecode(path).startswith(self._root) for path in paths if isinstance(path, str | bytes | Path)):
            self._step(event)

    def _counted_sync(self, handle: int) -> None:
        self._step("fsync")
        self._sync(handle)

    def _step(self, event: str) -> None:
        with self._lock:
            self.count += 1
            reached, hit = self.count >= self._at > 0, self.count == self._at
            self.hit = time.monotonic() if hit else self.hit
        if hit and self._fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if hit and self._fault == "interrupted":
            os.kill(os.getpid(), signal.SIGINT)
        if reached and (self._fault == "read-only" or (self._fault == "full" and event in _NEEDS_SPACE)):
            code = _ERRORS[self._fault]
            raise OSError(code, os.strerror(code))


def die_at_call(number: int) -> "list[int]":
    """Kills this process at a function call, counted from 1; 0 only counts. The list holds the count.

    For what depends on a network: there is a call before and after whatever is sent.
    """
    count = [0]

    def profile(frame: object, event: str, argument: object) -> None:
        count[0] += 1
        if count[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(profile)
    return count
