"""One case of a store: its arrays, opened where they are read."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suprem.errors import ConfigurationError, LabelSpaceError, VolumeError, brief
from suprem.volumes import _chunks as chunks
from suprem.volumes import _store_content as content
from suprem.volumes._case_record import CaseRecord, Details, read_json
from suprem.volumes._remote import RemoteFiles
from suprem.volumes.boxes import Box

__all__ = ["CT", "DETAILS", "FOREGROUND", "LABELS", "StoredCase", "prefetch"]


CT, LABELS, FOREGROUND, DETAILS = "ct.b2nd", "labels.b2nd", "foreground.npy", "case.json"
"""The files of a case."""


class StoredCase:
    """One case of a store; arrays are opened on first use.

    Attributes:
        record: its entry in the index.
    """

    def __init__(self, folder: Path, record: CaseRecord, remote: RemoteFiles | None = None) -> None:
        self._folder, self.record, self._remote = folder, record, remote

    def __getstate__(self) -> dict[str, Any]:
        # An open array must not travel to another process.
        return {name: vars(self)[name] for name in ("_folder", "record", "_remote")}

    def held(self) -> AbstractContextManager[Path]:
        """The folder with the files, fetched first if the store is remote; it stays as long as the block runs."""
        return self._remote.held(self.record) if self._remote else nullcontext(self._folder)

    @cached_property
    def _details(self) -> Details:
        with self.held() as folder:
            path = folder / DETAILS
            details = Details.from_json(read_json(path), path)
        if details.record != self.record:
            raise ConfigurationError(f"{path} disagrees with the index; run `suprem data prepare` again.")
        return details

    @property
    def table(self) -> tuple[frozenset[str], ...]:
        """Palette index -> structures that a voxel of that index belongs to."""
        return self._details.table

    @property
    def ignore(self) -> int | None:
        """Palette index of voxels that are unknown in every structure."""
        return self._details.ignore

    def ct(self, box: Box | None = None) -> npt.NDArray[np.int16]:
        """HU, int16 (X, Y, Z) in RAS, of a box or of the whole scan.

        Raises:
            VolumeError: the file is missing, damaged, or not what the index says.
        """
        return self._read(self._ct, CT, box)

    def labels(self, box: Box | None = None) -> npt.NDArray[Any]:
        """Palette indices, uint8 or uint16 (X, Y, Z), of a box or of the whole scan.

        Raises:
            LabelSpaceError: nothing is annotated in this case.
            VolumeError: the file is missing, damaged, or not what the index says.
        """
        return self._read(self._labels, LABELS, box)

    def foreground(self, structure: str | None = None) -> npt.NDArray[np.intp]:
        """Some voxels of an annotated structure, of the body for ``None``: indices (K, 3), empty where it is absent.

        Raises:
            LabelSpaceError: the structure is not annotated in this case.
        """
        if structure is None:
            rank = content.BODY
        elif structure in self.record.annotated:
            rank = self.record.annotated.index(structure)
        else:
            raise LabelSpaceError(f"{structure!r} is not annotated in {self.record.key}.")
        return self._points[self._points[:, 0] == rank, 1:].astype(np.intp)

    def _checked(self, folder: Path, name: str) -> Path:
        # A memory-mapped file that is shorter than its header says would end the process, not raise an error.
        path, known = folder / name, self.record.files.get(name)
        if known is None or not path.is_file() or path.stat().st_size != known.size:
            raise VolumeError(f"{path} is missing or has another size than the index says; prepare the case again.")
        return path

    def _read(self, array: Any, name: str, box: Box | None) -> npt.NDArray[Any]:
        try:
            return np.asarray(array[box if box else slice(None)])
        except (RuntimeError, ValueError) as error:
            raise VolumeError(f"{self._folder / name} is damaged: {error}. Prepare the case again.") from error

    @cached_property
    def _points(self) -> npt.NDArray[np.uint16]:
        with self.held() as folder:
            path = self._checked(folder, FOREGROUND)
            points = _read_points(path)
        if (points[:, 1:] >= self.record.shape).any():
            raise VolumeError(f"{path} names voxels outside of {self.record.shape}; prepare the case again.")
        return points

    @cached_property
    def _ct(self) -> Any:
        return self._opened(CT, ("int16",))

    @cached_property
    def _labels(self) -> Any:
        if not self.record.labelled:
            raise LabelSpaceError(f"{self.record.key} has no labels; it was published without.")
        return self._opened(LABELS, ("uint8", "uint16"))

    def _opened(self, name: str, dtypes: tuple[str, ...]) -> Any:
        with self.held() as folder:
            return chunks.open_array(self._checked(folder, name), self.record.shape, dtypes)


def _read_points(path: Path) -> npt.NDArray[np.uint16]:
    """Rows of four numbers; the size of the file is compared with what its header claims before anything is read."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"format {version}")
            shape, in_columns, dtype = np.lib.format.read_array_header_1_0(file)
            stored = path.stat().st_size - file.tell()
            if dtype != np.uint16 or in_columns or len(shape) != 2 or shape[1] != 4 or 8 * shape[0] != stored:
                raise ValueError(f"{dtype} {shape} in {stored} bytes")
            return np.frombuffer(file.read(), dtype=np.uint16).reshape(shape)
    except Exception as error:  # a damaged header ends in any of a dozen errors, depending on where it is damaged
        raise VolumeError(f"{path} cannot be read: {brief(str(error))}. Prepare the case again.") from error


def prefetch(cases: Iterable[StoredCase]) -> None:
    """Begins to fetch those cases of remote stores that are not in the cache, in the background."""
    by_store: dict[int, tuple[RemoteFiles, list[CaseRecord]]] = {}
    for case in cases:
        if case._remote:
            by_store.setdefault(id(case._remote), (case._remote, []))[1].append(case.record)
    for remote, records in by_store.values():
        remote.prefetch(records)
