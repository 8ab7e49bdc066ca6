"""Looks inside a checkpoint file before anything is allocated or constructed; imports no torch.

A torch file is a pickle that names the functions which rebuild its objects. Here the pickle is replayed with inert
stand-ins for all of them, so nothing is executed; a name outside the few that a table of tensors needs, and a storage
that claims more bytes than the file has, are refused.
"""

import io
import math
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, ClassVar, Literal

from suprem.errors import CheckpointError, SupremError, UnsafeFileError, first_line

__all__ = ["BROKEN", "PLACEHOLDERS", "Placeholder", "inspect_checkpoint"]

Format = Literal["zip", "legacy", "safetensors"]

MAX_PICKLE_BYTES = 4 * 2**20  # the published files, optimizer state included, have less than a tenth of it
MAX_ENTRIES = 100_000
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_MAX_DIMENSIONS = 64  # of a torch tensor
_MAX_INTEGER = 2**63 - 1  # so that no product or text of them grows without bound
_COUNT_BYTES = 8  # the element count in front of each storage of a legacy file
_STORAGE_BYTES = {
    **dict.fromkeys(("ByteStorage", "CharStorage", "BoolStorage", "UntypedStorage"), 1),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("FloatStorage", "IntStorage"), 4),
    **dict.fromkeys(("DoubleStorage", "LongStorage"), 8),
}
_REBUILD = ("_rebuild_tensor_v2", "_rebuild_tensor", "_rebuild_parameter")
PLACEHOLDERS = (
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.dtypes.Float32DType",
    "numpy.dtypes.Float64DType",
    "numpy.dtypes.Int64DType",
    "_codecs.encode",
)
"""Globals of NumPy numbers, which training programs store as best score; never needed, so never built."""
_ALLOWED = frozenset(
    {
        "collections.OrderedDict",
        "torch.Size",
        "torch.device",
        "torch.storage.UntypedStorage",
        *PLACEHOLDERS,
        *(f"torch._utils.{name}" for name in _REBUILD),
        *(f"torch.{name}" for name in _STORAGE_BYTES),
    }
)
BROKEN = (
    AssertionError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    pickle.UnpicklingError,
    RuntimeError,
    struct.error,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
)
"""What the readers raise for a damaged file, depending on where it is damaged."""


class Placeholder:
    """Takes the place of an object that is not needed: accepts any construction and keeps nothing."""

    def __init__(self, *arguments: object) -> None:
        del arguments

    def __setstate__(self, state: object) -> None:
        del state


class _Storage(Placeholder):
    def __init__(self, elements: int) -> None:
        self.elements = elements


class _Global:
    """A name from the pickle; calling it yields a placeholder, after checking what a tensor claims."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *arguments: Any) -> Any:
        if self.name in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"):
            storage, offset, size = arguments[0], arguments[1], arguments[2]
            if not isinstance(storage, _Storage) or not isinstance(size, tuple) or len(size) > _MAX_DIMENSIONS:
                raise ValueError("a tensor without storage or shape")
            if not all(_is_count(number) for number in (offset, *size)):
                raise ValueError("a tensor with an impossible shape")
            if offset + math.prod(size) > storage.elements:
                raise ValueError(f"a tensor of shape {size} in a storage of {storage.elements} elements")
        if self.name == "collections.OrderedDict":
            return _Dictionary.of(*arguments)
        return Placeholder()


def _is_count(value: object) -> bool:
    return isinstance(value, int) and 0 <= value <= _MAX_INTEGER


class _Dictionary(dict[Any, Any]):
    """Any dictionary of the file; also OrderedDict, on which ``state_dict()`` hangs a ``_metadata`` attribute.

    A key must be flat: tuples nested a hundred deep take a few bytes to write and for ever to hash.
    """

    @classmethod
    def of(cls, pairs: Iterable[tuple[Any, Any]] = ()) -> "_Dictionary":
        """The dictionary of ``pairs``, each key checked."""
        result = cls()
        for key, value in pairs:
            result[key] = value
        return result

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, tuple) and any(isinstance(part, tuple) for part in key):
            raise ValueError("a dictionary with nested keys")
        super().__setitem__(key, value)

    def __setstate__(self, state: object) -> None:
        del state


class _Replay(pickle._Unpickler):
    """The pure Python unpickler: its memo is a dict, so a huge index costs nothing."""

    # A byte array takes the memory it claims before it is read, and sets hash what they hold; no checkpoint has them.
    dispatch: ClassVar[dict[int, Any]] = {
        code: load
        for code, load in pickle._Unpickler.dispatch.items()
        if code not in (pickle.BYTEARRAY8[0], pickle.ADDITEMS[0], pickle.FROZENSET[0])
    }

    def __init__(self, stream: "_Limited", claim: Callable[[str, int], None]) -> None:
        super().__init__(stream, encoding="utf-8")
        self._claim = claim

    def find_class(self, module: str, name: str) -> Any:
        # Old files spell the modules of Python 2.
        full = f"{module}.{name}".replace("__builtin__.", "builtins.").replace("copy_reg.", "copyreg.")
        if full not in _ALLOWED:
            raise UnsafeFileError(full)
        return _Global(full)

    def persistent_load(self, pid: Any) -> Any:
        kind, storage_type, key, _, elements = pid[:5]
        width = _STORAGE_BYTES.get(storage_type.name.rsplit(".", 1)[-1]) if isinstance(storage_type, _Global) else None
        if kind != "storage" or width is None or not isinstance(key, str) or not _is_count(elements):
            raise ValueError("an unknown kind of storage")
        self._claim(key, elements * width)
        return _Storage(elements)

    def load_empty_dictionary(self) -> None:
        self.append(_Dictionary())  # type: ignore[attr-defined]  # absent from the type stubs, as pop_mark

    def load_dict(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        self.append(_Dictionary.of(zip(items[::2], items[1::2], strict=True)))  # type: ignore[attr-defined]

    dispatch[pickle.EMPTY_DICT[0]] = load_empty_dictionary
    dispatch[pickle.DICT[0]] = load_dict


class _Limited(io.BufferedIOBase):
    """Reads at most ``limit`` bytes of pickle instructions, in the pieces the unpickler asks for."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream, self._left = stream, limit

    def read(self, size: int | None = -1) -> bytes:
        return self._count(self._stream.read(self._left + 1 if size is None or size < 0 else min(size, self._left + 1)))

    def readline(self, size: int | None = -1) -> bytes:
        del size
        return self._count(self._stream.readline(self._left + 1))

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _count(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"more than {MAX_PICKLE_BYTES} bytes of instructions")
        return data


def inspect_checkpoint(path: Path) -> Format:
    """Which kind of checkpoint ``path`` is, after checking that reading it is safe.

    Raises:
        CheckpointError: empty, truncated, damaged, or no checkpoint at all.
        UnsafeFileError: reading it would need code; the message names the global.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(16)
            stream.seek(0)
            return _inspect(path, stream, start)
    except SupremError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    except BROKEN as error:
        raise CheckpointError(f"{path} is truncated or damaged ({first_line(error)}); download it again.") from error


def _inspect(path: Path, stream: IO[bytes], start: bytes) -> Format:
    if not start:
        raise CheckpointError(f"{path} is empty; download or export it again.")
    if start.startswith(b"PK"):
        _inspect_zip(path, stream)
        return "zip"
    if start[8:9] == b"{":
        _inspect_safetensors(path, start)
        return "safetensors"
    if start[:1] == b"\x80" or start[:1] in b"(cldi}]":
        _inspect_legacy(path, stream)
        return "legacy"
    raise CheckpointError(
        f"{path} is not a checkpoint: it is neither a torch file (.pth, .pt) nor safetensors. Check that the download "
        "is the file itself and not a web page."
    )


def _inspect_safetensors(path: Path, start: bytes) -> None:
    header, size = int.from_bytes(start[:8], "little"), path.stat().st_size
    if header > size - 8:
        raise CheckpointError(
            f"{path} is damaged: its header claims {header} bytes, but the file has {size}. Download it again."
        )


def _inspect_zip(path: Path, stream: IO[bytes]) -> None:
    size = path.stat().st_size
    archive = zipfile.ZipFile(stream)
    entries: dict[str, zipfile.ZipInfo] = {}
    total = 0
    for entry in archive.infolist():
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise UnsafeFileError(f"{path} has a compressed or encrypted entry {entry.filename!r}; torch writes none.")
        total += entry.file_size
        # The reader of torch ignores case and takes the first of two equal names, Python's the last.
        entries.setdefault(entry.filename.lower(), entry)
    count = len(archive.infolist())
    if total > size or count > MAX_ENTRIES or count != len(entries):
        raise UnsafeFileError(
            f"{path} has {size} bytes, but {count} entries under {len(entries)} names claim {total}; torch writes no "
            "such file."
        )
    pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise CheckpointError(f"{path} is a zip archive but no torch checkpoint: it has no single data.pkl.")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in entries:
        raise CheckpointError(f"{path} is a TorchScript program, not weights; ask for the state dict.")

    def claim(key: str, needed: int) -> None:
        entry = entries.get(f"{root}data/{key}")
        if entry is None or entry.file_size < needed:
            raise ValueError(f"storage {key!r} claims {needed} bytes and has {entry.file_size if entry else 0}")

    pickled_bytes = entries[pickles[0]].file_size
    if pickled_bytes > MAX_PICKLE_BYTES:
        raise UnsafeFileError(f"{path} has {pickled_bytes} bytes of pickle; a table of tensors is smaller.")
    with archive.open(pickles[0]) as pickled:
        _replay(path, pickled, claim)


def _inspect_legacy(path: Path, stream: IO[bytes]) -> None:
    size = path.stat().st_size
    claimed: dict[str, int] = {}
    total = 0

    def claim(key: str, needed: int) -> None:
        nonlocal total
        total += max(0, needed - claimed.get(key, 0))
        claimed[key] = max(needed, claimed.get(key, 0))
        if total > size:
            raise ValueError(f"the storages claim more than the {size} bytes of the file")

    magic = _replay(path, stream, claim)
    if magic != _LEGACY_MAGIC:
        raise CheckpointError(f"{path} is a plain pickle, not a checkpoint that torch wrote; save it with torch.save.")
    for _ in range(4):  # protocol, system information, the object, storage keys
        _replay(path, stream, claim)
    if stream.tell() + total + _COUNT_BYTES * len(claimed) > size:
        raise CheckpointError(f"{path} is truncated: it has {size} bytes and needs more. Download it again.")


def _replay(path: Path, stream: IO[bytes], claim: Callable[[str, int], None]) -> Any:
    try:
        return _Replay(_Limited(stream, MAX_PICKLE_BYTES), claim).load()
    except UnsafeFileError as error:
        raise UnsafeFileError(
            f"{path} needs {error} to be read, which could run any code; refused. Ask for a file that holds tensors "
            "only, or save its state dict as .safetensors where you trust it."
        ) from None
