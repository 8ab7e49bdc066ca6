"""Writing that either happens completely or leaves nothing behind, hashing, and sizes given by people."""

import csv
import errno
import fcntl
import hashlib
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from suprem.errors import ConfigurationError, OutputError, SupremError

__all__ = [
    "atomic_folder",
    "atomic_path",
    "check_writable",
    "is_full",
    "is_unwritable",
    "make_folder",
    "only_user",
    "output_error",
]
__all__ += ["one_of_several_users", "parse_size", "read_csv", "remove_leftovers", "sha256_file", "told_of"]

logger = logging.getLogger(__name__)

_PARTIAL = ".partial-"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_NOT_A_FOLDER = (errno.ENOTDIR, errno.EEXIST)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}
_DECIMAL = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}


def read_csv(path: Path, *, advice: str, delimiter: str = ",") -> tuple[tuple[str, ...], list[dict[str, str]]]:
    """Names of the columns of a CSV file in UTF-8, and its rows; a byte-order mark may come first.

    Args:
        path: The file.
        advice: Last sentence of the error.
        delimiter: Between columns.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, delimiter=delimiter)
            return tuple(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}. {advice}") from error


def is_full(error: OSError) -> bool:
    """Whether an error says that there is no space left."""
    return error.errno in _FULL


def is_unwritable(error: OSError) -> bool:
    """Whether an error can only come from writing: there is no space left, or the disk has become read-only."""
    return is_full(error) or error.errno == errno.EROFS


@contextmanager
def told_of(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns what the system says about ``path`` inside the block into one sentence.

    Raises:
        OutputError: it could not be written.
    """
    try:
        yield
    except SupremError:
        raise
    except OSError as error:
        raise output_error(path, error) from error


def make_folder(path: str | os.PathLike[str]) -> None:
    """Makes a folder and those above it, where they are missing.

    Raises:
        OutputError: it cannot be made.
    """
    with told_of(path):
        Path(path).mkdir(parents=True, exist_ok=True)


def output_error(path: str | os.PathLike[str], error: OSError) -> OutputError:
    """The one sentence that tells why ``path`` could not be written, and what to do."""
    target = Path(path)
    if is_full(error):
        text = f"No space is left for {target}; free some space or choose another output folder, then run again."
    elif error.errno in _DENIED:
        text = f"{target} cannot be written: {error.strerror}; choose another output folder or change its permissions."
    elif error.errno in _NOT_A_FOLDER:
        text = f"{target} cannot be written: {error.strerror}; a file stands where a folder is needed."
    else:
        text = f"{target} cannot be written: {error.strerror or error}; check the disk or choose another output folder."
    return OutputError(text)


def _partial_name(path: Path) -> Path:
    # A leading dot hides it from listings and from the search for scans; the name's end keeps all suffixes, by which
    # image writers choose their format.
    return path.with_name(f".{secrets.token_hex(4)}{_PARTIAL}{path.name}")


def _sync(path: Path) -> None:
    """Forces ``path`` to the disk: a full disk may only show up here."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(path: Path) -> None:
    if os.name == "posix":
        _sync(path)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary sibling to write to, which becomes ``path`` when the block ends well and disappears otherwise.

    Missing parent folders are made; an existing file is replaced in one step.

    Raises:
        OutputError: the disk is full, or the place cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_path(Path(folder) / "note.txt") as temporary:
        ...         _ = temporary.write_text("done")
        ...     [p.name for p in Path(folder).iterdir()]
        ['note.txt']
    """
    target = Path(path)
    temporary = _partial_name(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except SupremError:
        raise
    except OSError as error:
        raise output_error(target, error) from error
    finally:
        with suppress(OSError):  # its folder may not even exist
            temporary.unlink()


@contextmanager
def atomic_folder(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """An empty hidden sibling folder to fill, which becomes ``path`` when the block ends well.

    Args:
        path: The folder to make; missing parents are made.
        overwrite: Replace an existing folder (only once the new one is complete) instead of refusing.

    Raises:
        OutputError: ``path`` exists and ``overwrite`` is off, the disk is full, or the place cannot be written.
    """
    target = Path(path)
    if target.exists() and not overwrite:
        raise OutputError(f"{target} already exists; allow overwriting it, or choose another output folder.")
    temporary = _partial_name(target)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _sync(file)
        _replace_folder(temporary, target)
        _sync_folder(target.parent)
    except SupremError:
        raise
    except OSError as error:
        raise output_error(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(new: Path, target: Path) -> None:
    """Renames ``new`` to ``target``; what stood there comes back if that fails."""
    if not target.exists():
        os.rename(new, target)
        return
    old = _partial_name(target)
    os.rename(target, old)
    try:
        os.rename(new, target)
    except OSError:
        os.rename(old, target)
        raise
    if old.is_dir():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.unlink()


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Makes sure that ``folder`` can be made and written to, and leaves everything as it was.

    Raises:
        OutputError: it cannot; the message says why.
    """
    path = Path(folder)
    made: list[Path] = []
    try:
        for place in (*reversed(path.parents), path):
            if not place.is_dir():
                place.mkdir()
                made.append(place)
        probe = _partial_name(path / "probe")
        try:
            probe.write_bytes(b"0" * 4096)
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        for place in reversed(made):
            with suppress(OSError):  # in use by somebody else by now
                place.rmdir()


@contextmanager
def only_user(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Holds an existing folder's lock, which the kernel releases with the process, however that ends.

    Raises:
        ConfigurationError: another process holds it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(f"{folder} is being written to by another process; wait until it ends.") from error
        except OSError as error:  # some network file systems have no locks
            logger.warning("%s cannot be locked (%s); let no other process write to it.", folder, error.strerror)
        yield
    finally:
        os.close(handle)


@contextmanager
def one_of_several_users(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Shares an existing folder with other processes; who comes first removes what killed ones were writing."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # others are there, or the file system has no locks: then it stays for the next run
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_leftovers(folder)
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


def remove_leftovers(folder: str | os.PathLike[str], name: str = "*") -> None:
    """Removes what :func:`atomic_path` and :func:`atomic_folder` were writing into a folder when they were killed.

    Args:
        folder: Where they were writing.
        name: Of the file or folder that was to be; the default is all of them.

    Raises:
        OutputError: a file cannot be removed.
    """
    for path in Path(folder).glob(f".*{_PARTIAL}{name}"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with told_of(path):
                path.unlink(missing_ok=True)


def sha256_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, in hexadecimal; reads 1 MiB at a time."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def parse_size(text: str | int) -> int:
    """Bytes from ``"4GiB"``, ``"500 MB"``, ``"1.5G"`` (binary, as G means GiB) or a plain number of bytes.

    Raises:
        ConfigurationError: ``text`` is not a positive size.

    Example:
        >>> parse_size("4GiB")
        4294967296
        >>> parse_size("1.5 MB")
        1500000
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGTP]?)(I?B)?\s*", str(text).upper())
    if match:
        number, letter, ending = match.groups()
        unit = _DECIMAL[letter] if letter and ending == "B" else _UNITS[letter]
        size = int(float(number) * unit)
        if size > 0:
            return size
    raise ConfigurationError(f"{text!r} is not a size; write it like '4GiB' or '500MB'.")
