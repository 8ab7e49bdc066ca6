"""A store that lies elsewhere, read through fsspec: S3, HTTP, dataset repositories of the Hub.

Whole cases are copied to a bounded cache on the local disk, checked against the index, and read there like local ones.
"""

import errno
import hashlib
import json
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from suprem._files import output_error, sha256_file
from suprem.errors import ConfigurationError, IntegrityError, RemoteError, SupremError
from suprem.volumes._case_record import CaseRecord
from suprem.volumes._folder_cache import FolderCache

__all__ = ["RemoteFiles", "default_cache_folder", "is_remote"]

T = TypeVar("T")
logger = logging.getLogger(__name__)

RETRY_WAITS_S = (1.0, 3.0, 10.0, 20.0, 30.0)
"""Seconds before each further attempt: a training survives a connection that is lost for a minute."""
_THREADS = 4
_MAX_DETAILS = 2**24


def is_remote(place: str | Path) -> bool:
    """Whether a place is an address rather than a folder.

    Example:
        >>> is_remote("s3://bucket/store"), is_remote("data/store")
        (True, False)
    """
    return isinstance(place, str) and "://" in place


def default_cache_folder() -> Path:
    """``$SUPREM_CACHE``, or ``suprem`` in the user's folder for caches."""
    chosen = os.environ.get("SUPREM_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "suprem"


class RemoteFiles:
    """The files of a store at an address.

    Args:
        url: Such as ``s3://bucket/store``, ``https://host/store`` or ``hf://datasets/owner/name@revision/store``.
        cache_dir: Folder of the cache, shared by all stores and processes.
        limit: Bytes that the cache may have.

    Raises:
        ConfigurationError: the kind of address is unknown, or needs a package that is not installed.
    """

    def __init__(self, url: str, cache_dir: Path, limit: int) -> None:
        self.url = url.rstrip("/")
        self.cache = FolderCache(cache_dir / "cases", limit)
        self._forget()
        self._system()  # an address of an unknown kind fails here, not in a worker

    def _forget(self) -> None:
        self._owner = os.getpid()
        self._opened: tuple[Any, str] | None = None
        self._queue: queue.SimpleQueue[CaseRecord] | None = None
        self._coming: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "cache": self.cache}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()

    def _system(self) -> tuple[Any, str]:
        """The file system of this process, and the store's path in it."""
        if self._owner != os.getpid():  # connections and threads do not survive a fork
            self._forget()
        if self._opened is None:
            from fsspec.core import url_to_fs

            try:
                self._opened = url_to_fs(self.url, use_listings_cache=False)
            except ImportError as error:
                raise ConfigurationError(
                    f"{self.url} needs a package that is not installed: {error}. Run `pip install 'suprem[remote]'`."
                ) from error
            except ValueError as error:
                raise ConfigurationError(f"{self.url} is no address that can be read: {error}.") from error
        return self._opened

    def text(self, name: str) -> str:
        """A small file as text.

        Raises:
            RemoteError: it is not there, may not be read, or the other side fails again and again.
        """
        content: bytes = self._persistently(name, lambda system, path: system.cat_file(path))
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RemoteError(f"{self.url}/{name} is no text: {error}. Upload the store again.") from error

    @contextmanager
    def held(self, record: CaseRecord) -> Iterator[Path]:
        """The local folder of a case, fetched if needed; it stays as long as the block runs.

        Raises:
            RemoteError: a file is not there, may not be read, or the other side fails again and again.
            IntegrityError: what arrived is not what the index says.
            OutputError: the disk is full, or the cache cannot be written.
            ConfigurationError: the case is larger than the cache may be.
        """
        with self.cache.held(*self._entry(record), lambda folder: self._fetch(record, folder)) as folder:
            yield folder

    def prefetch(self, records: Iterable[CaseRecord]) -> None:
        """Begins to fetch cases that will be needed, in the background; no more than half the cache holds."""
        self._system()
        room = self.cache.limit // 2
        for record in records:
            name, size = self._entry(record)
            room -= size
            if room < 0:
                return
            if name in self._coming or (name, size) in self.cache:
                continue
            self._coming.add(name)
            if self._queue is None:
                self._queue = queue.SimpleQueue()
                for _ in range(_THREADS):
                    threading.Thread(target=self._work, args=(self._queue,), daemon=True).start()
            self._queue.put(record)

    def _work(self, waiting: "queue.SimpleQueue[CaseRecord]") -> None:
        while True:
            record = waiting.get()
            name, size = self._entry(record)
            try:
                self.cache.add(name, size, lambda folder, record=record: self._fetch(record, folder))  # type: ignore[misc]
            except SupremError as error:
                # Nobody waits for it here. Whoever needs the case fetches it himself, and is told why that fails.
                logger.info("%s could not be fetched ahead: %s", record.key, error)
            finally:
                self._coming.discard(name)

    @staticmethod
    def _entry(record: CaseRecord) -> tuple[str, int]:
        """Name in the cache, which stands for the content, and bytes."""
        content = json.dumps(record.to_json(), sort_keys=True).encode()
        return hashlib.sha256(content).hexdigest()[:32], sum(file.size for file in record.files.values())

    def _fetch(self, record: CaseRecord, folder: Path) -> None:
        for name, known in record.files.items():
            self._download(f"cases/{record.key}/{name}", folder / name, known.size)
            found = sha256_file(folder / name)
            if found != known.sha256:
                raise IntegrityError(
                    f"{self.url}/cases/{record.key}/{name} has SHA-256 {found}, the index says {known.sha256}; upload "
                    "the case and the index again."
                )
        self._download(f"cases/{record.key}/case.json", folder / "case.json", None)

    def _download(self, name: str, target: Path, size: int | None) -> None:
        def once(system: Any, path: str) -> None:
            system.get_file(path, str(target))
            found = target.stat().st_size
            if (size is not None and found != size) or found > _MAX_DETAILS > (size or 0):
                raise _IncompleteError(f"{found} bytes arrived instead of {size or 'a small file'}")

        self._persistently(name, once)

    def _persistently(self, name: str, action: Callable[[Any, str], T]) -> T:
        """Calls the file system, and again where waiting may help."""
        system, top = self._system()
        path = f"{top}/{quote(name) if self.url.startswith('http') else name}"
        for wait in (*RETRY_WAITS_S, None):
            try:
                return action(system, path)
            except (TypeError, AttributeError, NameError, MemoryError):  # a mistake in a program, not in the world
                raise
            except Exception as error:  # the libraries behind the addresses have no error class in common
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise output_error(self.cache.root, error) from error
                refused = _refusal(error)
                if refused or wait is None:
                    times = len(RETRY_WAITS_S) + 1
                    text = refused or f"failed {times} times, at last with {_told(error)}; try again later"
                    raise RemoteError(f"{self.url}/{name}: {text}.") from error
                logger.warning("%s/%s: %s; trying again in %g s", self.url, name, _told(error), wait)
                time.sleep(wait)
        raise RuntimeError("the last attempt returns or raises")


class _IncompleteError(OSError):
    """Half a file."""


def _refusal(error: Exception) -> str:
    """Why another attempt is of no use; empty when it may be."""
    status = getattr(error, "status", None) or getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, FileNotFoundError) or status == 404:
        return "there is no such file (404); check the address, and that the upload is complete"
    if isinstance(error, PermissionError) or status in (401, 403) or "Credentials" in type(error).__name__:
        return f"reading it is not allowed ({status or 403}: {_told(error)}); check the credentials and the address"
    return ""


def _told(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}{f': {lines[0]}' if lines else ''}"
