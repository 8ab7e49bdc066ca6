"""Which cases of a round to look at first, and where in them: the tables that prioritising writes and review reads."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suprem._files import atomic_path, read_csv
from suprem.errors import ConfigurationError
from suprem.volumes import _chunks as chunks

__all__ = ["CasePriority", "Region", "attention_path", "read_attention", "read_ranking", "read_regions"]
__all__ += ["write_ranking", "write_regions"]

_RANKING, _REGIONS = "ranking.csv", "regions.csv"
_ADVICE = "Run `suprem atlas prioritise` again."


@dataclass(frozen=True)
class CasePriority:
    """One case in the ranking.

    Attributes:
        rank: 1 is to be looked at first.
        case: key ``dataset/case``.
        importance: what the ranking is by.
        uncertainty: how unsure the models are, each on its own.
        consistency: how much the models disagree.
        overlap: how much different structures claim the same voxels.
        structures: those that deserve a look, the worst first.
    """

    rank: int
    case: str
    importance: float
    uncertainty: float
    consistency: float
    overlap: float
    structures: tuple[str, ...]


@dataclass(frozen=True)
class Region:
    """A place in a case that deserves a look.

    Attributes:
        case: key ``dataset/case``.
        structure: what is in doubt there.
        importance: of the region.
        x: voxel of its centre on the stored grid; so are ``y`` and ``z``.
        y: see ``x``.
        z: see ``x``.
        volume_ml: its volume.
        reason: a few words for people.
    """

    case: str
    structure: str
    importance: float
    x: int
    y: int
    z: int
    volume_ml: float
    reason: str


def write_ranking(folder: Path, rows: Sequence[CasePriority]) -> None:
    """Writes ``ranking.csv``; structures are separated by semicolons."""
    _write(folder / _RANKING, CasePriority, [(*astuple(row)[:-1], ";".join(row.structures)) for row in rows])


def write_regions(folder: Path, rows: Iterable[Region]) -> None:
    """Writes ``regions.csv``."""
    _write(folder / _REGIONS, Region, [astuple(row) for row in rows])


def read_ranking(folder: Path) -> tuple[CasePriority, ...]:
    """The ranking of a round's ``priority`` folder, first rank first.

    Raises:
        ConfigurationError: missing or damaged.
    """
    path = folder / _RANKING
    found = []
    for line, row in _rows(path, CasePriority):
        try:
            scores = {name: float(row[name]) for name in ("importance", "uncertainty", "consistency", "overlap")}
            names = tuple(name for name in row["structures"].split(";") if name)
            found.append(CasePriority(int(row["rank"]), row["case"], **scores, structures=names))
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"{path}, line {line}, cannot be read: {error}. {_ADVICE}") from error
    return tuple(sorted(found, key=lambda row: row.rank))


def read_regions(folder: Path) -> tuple[Region, ...]:
    """The regions of a round's ``priority`` folder.

    Raises:
        ConfigurationError: missing or damaged.
    """
    path = folder / _REGIONS
    found = []
    for line, row in _rows(path, Region):
        try:
            x, y, z = (int(row[axis]) for axis in "xyz")
            volume, importance = float(row["volume_ml"]), float(row["importance"])
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"{path}, line {line}, cannot be read: {error}. {_ADVICE}") from error
        found.append(Region(row["case"], row["structure"], importance, x, y, z, volume, row["reason"]))
    return tuple(found)


def attention_path(folder: Path, case: str) -> Path:
    """The attention map of a case in a round's ``priority`` folder: uint8 on the stored grid, 255 for most."""
    return folder / "attention" / f"{case}.b2nd"


def read_attention(folder: Path, case: str, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """The attention map of a case, uint8 (X, Y, Z).

    Raises:
        VolumeError: missing or damaged.
    """
    return np.asarray(chunks.open_array(attention_path(folder, case), shape, ("uint8",))[:])


def _write(path: Path, kind: type[Any], rows: Iterable[Sequence[Any]]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([field.name for field in fields(kind)])
        table.writerows([[f"{v:.6g}" if isinstance(v, float) else v for v in row] for row in rows])


def _rows(path: Path, kind: type[Any]) -> Iterable[tuple[int, dict[str, str]]]:
    columns, rows = read_csv(path, advice=_ADVICE)
    wanted = tuple(field.name for field in fields(kind))
    if columns != wanted:
        raise ConfigurationError(
            f"{path} has the columns {', '.join(columns)}; they are {', '.join(wanted)}. {_ADVICE}"
        )
    return enumerate(rows, start=2)
