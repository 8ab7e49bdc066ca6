"""Folders on the local disk, at most so many bytes of them, shared by all processes of a machine."""

import fcntl
import os
import secrets
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from suprem._files import output_error
from suprem.errors import ConfigurationError, OutputError, SupremError

__all__ = ["FolderCache"]

_LOCKS = 256
_PATIENCE_S = 30.0


class FolderCache:
    """Folders by name; the ones used longest ago make room for new ones.

    A folder is read under a shared lock and removed under an exclusive one, so it cannot vanish while its files are
    being opened; once they are mapped into memory it may. The locks are the kernel's: those of a killed process are
    released, and what it had begun is removed by the next one that needs the room.

    Args:
        root: Where the folders are.
        limit: Bytes that all folders together may have.

    Raises:
        ConfigurationError: the limit is not positive.
    """

    def __init__(self, root: Path, limit: int) -> None:
        if limit <= 0:
            raise ConfigurationError(f"The limit of the cache is {limit} bytes; it must be positive.")
        self.root, self.limit = root, limit

    def __contains__(self, entry: tuple[str, int]) -> bool:
        return self._path(*entry).is_dir()

    @contextmanager
    def held(self, name: str, size: int, fill: Callable[[Path], None]) -> Iterator[Path]:
        """The folder of a name, filled if it is not there; it stays as long as the block runs.

        Args:
            name: Stands for the content: the same name, the same files.
            size: Bytes that it will have.
            fill: Writes the files into an empty folder.

        Raises:
            ConfigurationError: the folder is larger than the whole cache may be.
            OutputError: the disk is full, or the cache cannot be written.
        """
        path = self._path(name, size)
        while True:
            handle = _locked(path, fcntl.LOCK_SH)
            if handle is not None:
                break
            self.add(name, size, fill)
        try:
            os.utime(path)  # used just now
            yield path
        finally:
            os.close(handle)

    def add(self, name: str, size: int, fill: Callable[[Path], None]) -> None:
        """Fills the folder of a name unless it is there. Raises as :meth:`held` does."""
        path = self._path(name, size)
        try:
            # One process fetches a folder, the others wait for it.
            with self._lock(f"{zlib.crc32(name.encode()) % _LOCKS}"):
                if path.is_dir():
                    return
                partial = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
                handle = self._reserve(partial, size, name)
                try:
                    fill(partial)
                    # Nobody may see it under its old name and count it as removed.
                    with self._lock("room"):
                        os.rename(partial, path)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
                    os.close(handle)
        except SupremError:
            raise
        except OSError as error:
            raise output_error(path, error) from error

    def _path(self, name: str, size: int) -> Path:
        return self.root / f"{name}-{size}"

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _reserve(self, partial: Path, size: int, name: str) -> int:
        """Makes an empty folder, which counts from now on, once there is room; returns a handle with its lock."""
        if size > self.limit:
            raise ConfigurationError(
                f"{name} has {size} bytes, but the cache in {self.root} may have {self.limit} only; raise cache_size."
            )
        end = time.monotonic() + _PATIENCE_S
        while True:
            with self._lock("room"):  # not while waiting: others need it to finish
                if self._has_room(size):
                    partial.mkdir()
                    handle = os.open(partial, os.O_RDONLY)
                    fcntl.flock(handle, fcntl.LOCK_EX)
                    return handle
            if time.monotonic() > end:
                raise OutputError(
                    f"The cache in {self.root} may have {self.limit} bytes, all of which are in use; raise cache_size."
                )
            time.sleep(0.05)

    def _has_room(self, size: int) -> bool:
        """Whether so many bytes are free, after removing as much as that takes and can be removed."""
        found = self._folders()
        used = sum(bytes_ for _, bytes_, _ in found)
        for _, bytes_, path in found:
            if used + size <= self.limit:
                break
            if _removed(path):
                used -= bytes_
        return used + size <= self.limit

    def _folders(self) -> list[tuple[int, int, Path]]:
        """When it was used, bytes and path of every folder: first what was never finished, then the oldest."""
        found = []
        with os.scandir(self.root) as entries:
            for entry in entries:
                size = entry.name.rpartition("-")[2]
                if not size.isdigit():
                    continue
                try:
                    used = 0 if entry.name.startswith(".") else entry.stat().st_mtime_ns
                except FileNotFoundError:  # finished or removed meanwhile
                    continue
                found.append((used, int(size), Path(entry.path)))
        return sorted(found)


def _locked(path: Path, kind: int) -> int | None:
    """A handle that holds a lock on a folder, ``None`` when it is not there, or in use and the kind is not to wait."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, kind)
        # It may have been removed while we waited.
        if os.fstat(handle).st_ino == os.stat(path).st_ino:
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None


def _removed(path: Path) -> bool:
    handle = _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if handle is None:
        return not path.exists()
    try:
        shutil.rmtree(path)
    finally:
        os.close(handle)
    return True
