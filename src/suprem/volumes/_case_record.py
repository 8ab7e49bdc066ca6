"""What a store knows of its cases, and how that is written as JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from suprem.errors import ConfigurationError, brief

__all__ = ["CaseRecord", "Details", "FileRecord", "StoreSettings", "read_json", "write_json"]

_FORMAT = 1
Rows = tuple[tuple[float, ...], ...]


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ConfigurationError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}. Run `suprem data prepare` again.") from error


def write_json(content: Any, path: Path) -> None:
    """Writes JSON for people and programs, the same text for the same content."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class StoreSettings:
    """What all cases of a store have in common.

    Attributes:
        spacing_mm: (x, y, z) of every case; ``None`` keeps each scan's own.
        hu_range: values outside are clipped.
    """

    spacing_mm: tuple[float, float, float] | None
    hu_range: tuple[int, int] = (-1024, 3071)

    def __post_init__(self) -> None:
        if self.spacing_mm is not None and not all(0.1 <= s <= 20 for s in self.spacing_mm):
            raise ConfigurationError(f"spacing_mm is {self.spacing_mm}; each value must lie between 0.1 and 20 mm.")
        low, high = self.hu_range
        if not -32768 <= low < high <= 32767:
            raise ConfigurationError(f"hu_range is {self.hu_range}; it must rise and fit into 16 bits.")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"format": _FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, content: Any, path: Path) -> "StoreSettings":
        """The settings of a file, checked.

        Raises:
            ConfigurationError: of another format, or damaged.
        """
        if not isinstance(content, Mapping) or content.get("format") != _FORMAT:
            raise ConfigurationError(f"{path} is not of store format {_FORMAT}; prepare the data again.")
        try:
            spacing = content["spacing_mm"]
            x, y, z = (None, None, None) if spacing is None else (float(v) for v in spacing)
            low, high = (int(v) for v in content["hu_range"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ConfigurationError(f"{path} is damaged: {brief(error)}. Prepare the data again.") from error
        return cls(None if x is None or y is None or z is None else (x, y, z), (low, high))


@dataclass(frozen=True)
class FileRecord:
    """Size and SHA-256 of a file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class CaseRecord:
    """One case of a store.

    Attributes:
        dataset: the dataset's name.
        case: unique within the dataset.
        scan: equal for the same scan in another dataset or release.
        subject: the patient, as far as known.
        split: official part of the dataset.
        variant: layout of the dataset that it was read from.
        source: fingerprint of the source image, to notice when another one has the same name.
        shape: voxels of the stored grid.
        affine: 4 x 4, index of the stored grid -> RAS mm.
        original_shape: of the source file.
        original_affine: 4 x 4, of the source file.
        labelled: whether there is a label array.
        annotated: structures that were annotated, in the order of the registry; all others are unknown.
        voxels: voxels of each annotated structure, 0 where it is absent.
        ignored_voxels: voxels that are unknown in every structure.
        flags: what to know before trusting the case.
        scan_hash: hash of the source CT's content, empty when it was not computed.
        files: name -> size and hash.
    """

    dataset: str
    case: str
    scan: str
    subject: str
    split: str | None
    variant: str
    source: str
    shape: tuple[int, int, int]
    affine: Rows
    original_shape: tuple[int, int, int]
    original_affine: Rows
    labelled: bool
    annotated: tuple[str, ...]
    voxels: Mapping[str, int]
    ignored_voxels: int
    flags: tuple[str, ...]
    scan_hash: str
    files: Mapping[str, FileRecord] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """``dataset/case``."""
        return f"{self.dataset}/{self.case}"

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Millimetres between neighbours of the stored grid."""
        x, y, z = np.linalg.norm(np.array(self.affine)[:3, :3], axis=0)
        return float(x), float(y), float(z)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Any, path: Path) -> "CaseRecord":
        """A case from plain values.

        Raises:
            ConfigurationError: fields are missing or of another kind.
        """
        try:
            values = {f.name: _tuples(content[f.name]) for f in fields(cls)}
            values["files"] = {name: FileRecord(**file) for name, file in content["files"].items()}
            values["voxels"] = {str(name): int(count) for name, count in content["voxels"].items()}
            _check_kinds(values)
            for name in ("affine", "original_affine"):  # whole numbers of a hundred digits are no numbers for NumPy
                values[name] = tuple(tuple(map(float, row)) for row in values[name])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise ConfigurationError(f"{path} is damaged: {brief(error)}. Run `suprem data prepare` again.") from error
        return cls(**values)


@dataclass(frozen=True)
class Details:
    """The content of ``case.json``: the entry of the index and the palette.

    Attributes:
        record: the entry of the index.
        table: palette index -> structures.
        ignore: palette index of voxels that are unknown in every structure.
    """

    record: CaseRecord
    table: tuple[frozenset[str], ...]
    ignore: int | None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**self.record.to_json(), "table": [sorted(entry) for entry in self.table], "ignore": self.ignore}

    @classmethod
    def from_json(cls, content: Any, path: Path) -> "Details":
        """The content of a file, checked.

        Raises:
            ConfigurationError: fields are missing or of another kind.
        """
        record = CaseRecord.from_json(content, path)
        try:
            table = tuple(frozenset(str(name) for name in entry) for entry in content["table"])
            ignore = None if content["ignore"] is None else int(content["ignore"])
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ConfigurationError(f"{path} is damaged: {brief(error)}. Run `suprem data prepare` again.") from error
        return cls(record, table, ignore)


def _check_kinds(values: Mapping[str, Any]) -> None:
    """A record may come from another machine; what is not caught here fails far from its cause.

    Raises:
        ValueError: a field is of another kind; the text names it.
    """
    texts = [values[name] for name in ("dataset", "case", "scan", "subject", "variant", "source", "scan_hash")]
    kinds = {
        "names": all(isinstance(text, str) for text in texts),
        "split": values["split"] is None or isinstance(values["split"], str),
        "shape": _is_shape(values["shape"]),
        "original_shape": _is_shape(values["original_shape"]),
        "affine": _is_affine(values["affine"]),
        "original_affine": _is_affine(values["original_affine"]),
        "labelled": isinstance(values["labelled"], bool),
        "annotated": _are_texts(values["annotated"]),
        "flags": _are_texts(values["flags"]),
        "ignored_voxels": isinstance(values["ignored_voxels"], int),
        "files": all(isinstance(f.size, int) and isinstance(f.sha256, str) for f in values["files"].values()),
    }
    wrong = [name for name, right in kinds.items() if not right]
    if wrong:
        raise ValueError(f"unusable {', '.join(wrong)}")


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 3 and all(isinstance(n, int) and n > 0 for n in value)


def _is_affine(value: Any) -> bool:
    rows = isinstance(value, tuple) and len(value) == 4 and all(isinstance(row, tuple) for row in value)
    return rows and all(len(row) == 4 and all(math.isfinite(v) for v in row) for row in value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(text, str) for text in value)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
