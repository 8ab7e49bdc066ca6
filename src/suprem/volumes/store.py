"""The store: prepared scans in compressed chunks, so that reading a patch touches only the chunks it lies in.

::

    store/
      store.json                     format, spacing, HU range
      index.jsonl                    one line per case, sorted; all that is needed to choose cases
      cases/<dataset>/<case>/
        ct.b2nd                      int16 HU (X, Y, Z) in RAS
        labels.b2nd                  palette index per voxel; absent where nothing is annotated
        foreground.npy               some voxels of every annotated structure, to place patches on
        case.json                    the line of the index, and the palette's table

Every file is a function of its content alone: the same scan gives the same bytes. A case folder appears only when it is
complete, so an interrupted run leaves nothing that could be mistaken for a case.

A store can be read from an address (S3, HTTP, the Hub) as well: cases are then copied to a cache of limited size.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suprem._files import atomic_folder, atomic_path, parse_size, remove_leftovers, sha256_file
from suprem.errors import ConfigurationError, UnknownNameError, brief, did_you_mean
from suprem.labels import ordered
from suprem.volumes import _chunks as chunks
from suprem.volumes import _store_content as content
from suprem.volumes._case_record import CaseRecord, Details, FileRecord, StoreSettings, read_json, write_json
from suprem.volumes._remote import RemoteFiles, default_cache_folder, is_remote
from suprem.volumes._stored_case import CT, DETAILS, FOREGROUND, LABELS, StoredCase, prefetch
from suprem.volumes.geometry import Volume

__all__ = ["CaseRecord", "FileRecord", "Store", "StoreSettings", "StoredCase", "create_store", "write_case"]
__all__ += ["finished_case", "finished_cases", "prefetch", "write_index"]

_SETTINGS, _INDEX, _CASES = "store.json", "index.jsonl", "cases"
_LONGEST_NAME = 200  # bytes; file systems take 255, and names of files beside it are longer


def create_store(root: str | Path, settings: StoreSettings) -> None:
    """Makes an empty store, or makes sure that the one in place has the same settings.

    Raises:
        ConfigurationError: the store exists with other settings.
        OutputError: the place cannot be written.
    """
    path = Path(root) / _SETTINGS
    if path.exists():
        found = _settings(Path(root))
        if found != settings:
            raise ConfigurationError(
                f"{root} was made with {found}, not with {settings}; use the same settings, or another folder."
            )
        return
    with atomic_path(path) as temporary:
        write_json(settings.to_json(), temporary)


def write_case(  # noqa: D417 (the others are described once, at CaseRecord)
    root: str | Path,
    *,
    dataset: str,
    case: str,
    scan: str,
    subject: str,
    split: str | None,
    variant: str = "",
    source: str = "",
    ct: Volume,
    original_shape: tuple[int, int, int],
    original_affine: npt.NDArray[np.float64],
    labels: Volume | None = None,
    table: tuple[frozenset[str], ...] = (frozenset(),),
    ignore: int | None = None,
    annotated: frozenset[str] = frozenset(),
    flags: tuple[str, ...] = (),
    scan_hash: str = "",
) -> CaseRecord:
    """Adds one case, or replaces it; it appears in one step, when all of its files are on the disk.

    Arguments that are not described here are fields of :class:`CaseRecord`.

    Args:
        root: The store.
        ct: int16 HU (X, Y, Z) in RAS at the store's spacing.
        labels: uint8 or uint16 palette indices on the grid of the CT; ``None`` without annotation.
        table: Palette index -> structures.
        ignore: Palette index of voxels that are unknown in every structure.

    Raises:
        ConfigurationError: a name cannot be a folder's.
        LabelSpaceError: a label without an entry in the table.
        VolumeError: CT and labels do not lie on the same grid, or the CT is not int16.
        OutputError: the disk is full, or the place cannot be written.
    """
    key, names = f"{_folder_name(dataset)}/{_folder_name(case)}", ordered(annotated)
    content.check_grids(ct, labels, key)
    voxels, ignored = content.counts(None if labels is None else labels.array, table, ignore, names, key)
    record = CaseRecord(
        dataset=dataset,
        case=case,
        scan=scan,
        subject=subject,
        split=split,
        variant=variant,
        source=source,
        shape=ct.shape,
        affine=_rows(ct.affine),
        original_shape=original_shape,
        original_affine=_rows(original_affine),
        labelled=labels is not None,
        annotated=names,
        voxels=voxels,
        ignored_voxels=ignored,
        flags=flags,
        scan_hash=scan_hash,
    )
    return _write_files(Path(root), Details(record, table, ignore), ct, labels)


def _write_files(root: Path, details: Details, ct: Volume, labels: Volume | None) -> CaseRecord:
    """Writes the folder of a case and returns its record with the sizes and hashes of the files."""
    indices = None if labels is None else labels.array
    names, key = details.record.annotated, details.record.key
    with atomic_folder(root / _CASES / key, overwrite=True) as folder:
        chunks.write(ct.array, folder / CT)
        if indices is not None:
            chunks.write(indices, folder / LABELS)
        points = content.foreground(ct.array, indices, details.table, names, key)
        np.save(folder / FOREGROUND, points, allow_pickle=False)
        files = {p.name: FileRecord(p.stat().st_size, sha256_file(p)) for p in sorted(folder.iterdir())}
        record = replace(details.record, files=files)
        write_json(replace(details, record=record).to_json(), folder / DETAILS)
    return record


def finished_case(root: str | Path, key: str) -> CaseRecord | None:
    """What is known of a case that is complete, whether or not the index names it yet; ``None`` when there is none.

    Raises:
        ConfigurationError: its ``case.json`` is damaged.
    """
    path = Path(root) / _CASES / key / DETAILS
    return Details.from_json(read_json(path), path).record if path.is_file() else None


def finished_cases(root: str | Path) -> list[str]:
    """Keys of the cases that are complete, sorted. Lists the folders, so it is for preparing, not for training."""
    found = (Path(root) / _CASES).glob(f"*/*/{DETAILS}")
    return sorted(f"{p.parents[1].name}/{p.parent.name}" for p in found if not p.parent.name.startswith("."))


def write_index(root: str | Path) -> tuple[CaseRecord, ...]:
    """Writes the index of all finished cases in one step, and removes what interrupted runs have left.

    Raises:
        ConfigurationError: a ``case.json`` is damaged.
        OutputError: the index cannot be written.
    """
    top = Path(root)
    for folder in (top, *(top / _CASES).glob("*/")):
        remove_leftovers(folder)
    paths = [top / _CASES / key / DETAILS for key in finished_cases(top)]
    records = tuple(Details.from_json(read_json(path), path).record for path in paths)
    with atomic_path(top / _INDEX) as temporary, temporary.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record.to_json(), ensure_ascii=False, separators=(",", ":")) + "\n")
    return records


class Store:
    """Prepared cases, open for reading.

    Opening reads the settings and the index only; arrays are opened by the process that reads from them.

    Attributes:
        root: the folder, or the address.
        settings: spacing and HU range of all cases.
        records: what the index knows of each case, sorted by key.
    """

    def __init__(
        self,
        root: str | Path,
        settings: StoreSettings,
        records: tuple[CaseRecord, ...],
        remote: RemoteFiles | None = None,
    ) -> None:
        self.root, self.settings, self.records, self._remote = root, settings, records, remote
        self._position = {record.key: number for number, record in enumerate(records)}

    @classmethod
    def open(cls, root: str | Path, *, cache_dir: str | Path | None = None, cache_size: str | int = "50GiB") -> "Store":
        """Opens a store.

        Args:
            root: Folder, or an address such as ``s3://bucket/store``, ``https://host/store`` or
                ``hf://datasets/owner/name@revision/store``.
            cache_dir: Where cases of an address are kept; ``None`` takes ``$SUPREM_CACHE`` or ``~/.cache/suprem``.
            cache_size: What they may take there; those used longest ago make room.

        Raises:
            ConfigurationError: the folder is no store, has no index yet, or its files are damaged; the address is of
                an unknown kind.
            RemoteError: the address cannot be read.
        """
        if is_remote(root):
            folder = Path(cache_dir) if cache_dir else default_cache_folder()
            remote = RemoteFiles(str(root), folder, parse_size(cache_size))
            settings = StoreSettings.from_json(_parsed(remote.text(_SETTINGS), root, _SETTINGS), Path(_SETTINGS))
            return cls(root, settings, _records(remote.text(_INDEX), f"{root}/{_INDEX}"), remote)
        top = Path(root)
        path = top / _INDEX
        settings = _settings(top)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise ConfigurationError(f"{top} has no index; let `suprem data prepare` finish first.") from error
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{path} cannot be read: {error}. Run `suprem data prepare` again.") from error
        return cls(top, settings, _records(text, f"{path}"))

    def __len__(self) -> int:
        return len(self.records)

    def record(self, key: str) -> CaseRecord:
        """The index entry of ``dataset/case``.

        Raises:
            UnknownNameError: the store has no such case.
        """
        if key not in self._position:
            raise UnknownNameError(did_you_mean("case", key, self._position))
        return self.records[self._position[key]]

    def case(self, key: str) -> "StoredCase":
        """One case, its arrays not opened yet."""
        return StoredCase(Path(self.root) / _CASES / key, self.record(key), self._remote)

    def verify(self, key: str) -> list[str]:
        """What is wrong with the files of a case: one sentence each, none when size and hash agree with the index."""
        problems = []
        case = self.case(key)
        with case.held() as folder:
            for name, known in case.record.files.items():
                path = folder / name
                if not path.is_file():
                    problems.append(f"{path} is missing.")
                elif path.stat().st_size != known.size:
                    problems.append(f"{path} has {path.stat().st_size} bytes instead of {known.size}.")
                elif sha256_file(path) != known.sha256:
                    problems.append(f"{path} has other content than when it was written.")
        return problems


def _settings(root: Path) -> StoreSettings:
    path = root / _SETTINGS
    if not path.is_file():
        raise ConfigurationError(f"{root} is no store: it has no {_SETTINGS}. Make one with `suprem data prepare`.")
    return StoreSettings.from_json(read_json(path), path)


def _parsed(text: str, root: str | Path, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{root} is no store: its {name} cannot be read: {error}.") from error


def _records(text: str, place: str) -> tuple[CaseRecord, ...]:
    try:
        records = tuple(CaseRecord.from_json(json.loads(line), Path(place)) for line in text.splitlines())
    except ConfigurationError:
        raise
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{place} cannot be read: {error}. Run `suprem data prepare` again.") from error
    for record in records:  # an index from elsewhere must not lead out of the store
        _folder_name(record.dataset), _folder_name(record.case)
        if not set(record.files) <= {CT, LABELS, FOREGROUND}:
            raise ConfigurationError(f"{place} names other files than a store has: {brief(', '.join(record.files))}.")
    return records


def _folder_name(name: str) -> str:
    forbidden = not name or name.startswith(".") or any(c in name for c in '/\\\0:*?"<>|\n')
    if forbidden or len(name.encode("utf-8", "replace")) > _LONGEST_NAME:
        raise ConfigurationError(f"{brief(name)} cannot be the name of a folder; rename the case.")
    return name


def _rows(affine: npt.NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(v) for v in row) for row in affine)
