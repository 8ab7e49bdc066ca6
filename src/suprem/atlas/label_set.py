"""Labels of one case, and for each structure where they come from: an expert, a reviewer, or models."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from suprem.errors import ConfigurationError, UnknownNameError, VolumeError, brief, did_you_mean
from suprem.labels import ordered
from suprem.volumes import _chunks as chunks
from suprem.volumes.boxes import Box

__all__ = ["SOURCES", "LabelSet", "PaletteBuilder", "Provenance", "Source", "read_provenance"]

BoolArray = npt.NDArray[np.bool_]
Source = Literal["expert", "revised", "pseudo"]
SOURCES: tuple[Source, ...] = get_args(Source)
"""Where labels come from, the most trusted first: annotated in the dataset, revised in review, predicted."""

_LABELS, _DETAILS, _FORMAT = "labels.b2nd", "labels.json", 1


@dataclass(frozen=True)
class Provenance:
    """Where the labels of one structure in one case come from.

    Attributes:
        source: one of :data:`SOURCES`.
        by: the dataset, the person, or the models with their versions.
        round: of the atlas, counted from 1; 0 for what was there before.
    """

    source: Source
    by: str
    round: int = 0

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ConfigurationError(f"source is {self.source!r}; it must be one of {', '.join(SOURCES)}.")


class PaletteBuilder:
    """Turns masks that come one at a time into one index per voxel and a table of what each index means.

    Args:
        shape: Voxels (X, Y, Z).

    Example:
        >>> builder = PaletteBuilder((2, 1, 1))
        >>> builder.add("liver", np.array([True, True]).reshape(2, 1, 1))
        >>> builder.add("liver_tumor", np.array([False, True]).reshape(2, 1, 1))
        >>> indices, table = builder.finish()
        >>> indices.ravel().tolist(), [sorted(entry) for entry in table]
        ([1, 2], [[], ['liver'], ['liver', 'liver_tumor']])
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._indices = np.zeros(shape, dtype=np.uint16)
        self._table: list[frozenset[str]] = [frozenset()]

    def add(self, name: str, mask: BoolArray) -> None:
        """Adds a structure to the voxels of its mask.

        Args:
            name: Of the structure.
            mask: bool (X, Y, Z).

        Raises:
            VolumeError: the mask has another shape.
        """
        if mask.shape != self._indices.shape:
            raise VolumeError(f"The mask of {name!r} has shape {mask.shape}; {self._indices.shape} is needed.")
        inside = self._indices[mask]
        old = np.flatnonzero(np.bincount(inside, minlength=1))
        new = np.zeros(len(self._table), dtype=np.uint16)
        known = {entry: index for index, entry in enumerate(self._table)}
        for index in old:
            entry = self._table[index] | {name}
            if entry not in known:
                known[entry] = len(self._table)
                self._table.append(entry)
            new[index] = known[entry]
        self._indices[mask] = new[inside]

    def finish(self) -> tuple[npt.NDArray[Any], tuple[frozenset[str], ...]]:
        """Palette indices, uint8 or uint16 (X, Y, Z), and the table, without combinations that no voxel has left."""
        sizes = np.zeros(len(self._table), dtype=np.int64)
        for plane in self._indices:  # by planes: bincount widens its input to 8 bytes per voxel
            sizes += np.bincount(plane.ravel(), minlength=len(self._table))
        used = [0, *(int(i) for i in np.flatnonzero(sizes) if i)]
        lookup = np.zeros(len(self._table), dtype=np.uint16 if len(used) > 256 else np.uint8)
        lookup[used] = np.arange(len(used))
        indices = np.empty(self._indices.shape, dtype=lookup.dtype)
        for target, plane in zip(indices, self._indices, strict=True):
            target[...] = lookup[plane]
        return indices, tuple(self._table[i] for i in used)


@dataclass(frozen=True, eq=False)
class LabelSet:
    """Labels of one case on its stored grid.

    Attributes:
        indices: uint8 or uint16 (X, Y, Z) in RAS, a palette index per voxel.
        table: palette index -> structures.
        affine: float64 (4, 4), index -> RAS mm.
        provenance: structure -> where its labels come from. Structures that were looked for and are absent are there
            too; all others are unknown.
    """

    indices: npt.NDArray[Any]
    table: tuple[frozenset[str], ...]
    affine: npt.NDArray[np.float64]
    provenance: Mapping[str, Provenance] = field(default_factory=dict)

    @classmethod
    def from_masks(
        cls,
        masks: Iterable[tuple[str, BoolArray]],
        shape: tuple[int, int, int],
        affine: npt.NDArray[np.float64],
        provenance: Mapping[str, Provenance],
    ) -> "LabelSet":
        """Labels from masks, of which one at a time is held.

        Raises:
            VolumeError: a mask has another shape.
            ConfigurationError: masks and provenance name different structures.
        """
        builder, names = PaletteBuilder(shape), set()
        for name, mask in masks:
            builder.add(name, mask)
            names.add(name)
        if names != set(provenance):
            raise ConfigurationError(
                f"Masks of {', '.join(ordered(names)) or 'nothing'}, but provenance of "
                f"{', '.join(ordered(provenance)) or 'nothing'}; give both for the same structures."
            )
        return cls(*builder.finish(), affine, dict(provenance))

    @property
    def structures(self) -> tuple[str, ...]:
        """Structures that are known in this case, in the order of the registry."""
        return ordered(self.provenance)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels (X, Y, Z)."""
        x, y, z = self.indices.shape
        return x, y, z

    def mask(self, name: str, box: Box | None = None) -> BoolArray:
        """Voxels of one structure in a box, or everywhere: bool (X, Y, Z), a new array.

        Raises:
            UnknownNameError: the structure is not known in this case.
        """
        if name not in self.provenance:
            raise UnknownNameError(did_you_mean("labelled structure", name, self.structures))
        member = np.array([name in entry for entry in self.table])
        indices = self.indices if box is None else self.indices[box]
        result = np.empty(indices.shape, dtype=np.bool_)
        for target, plane in zip(result, indices, strict=True):  # by planes: numpy widens indices to 8 bytes
            target[...] = member[plane]
        return result

    def write(self, folder: Path) -> None:
        """Writes ``labels.b2nd`` and ``labels.json`` into an existing folder."""
        chunks.write(self.indices, folder / _LABELS)
        content = {
            "format": _FORMAT,
            "shape": list(self.shape),
            "dtype": str(self.indices.dtype),
            "affine": self.affine.tolist(),
            "table": [ordered(entry) for entry in self.table],
            "provenance": {name: asdict(self.provenance[name]) for name in self.structures},
        }
        (folder / _DETAILS).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: str | Path) -> "LabelSet":
        """Labels of a folder.

        Raises:
            ConfigurationError: ``labels.json`` is missing or damaged.
            VolumeError: ``labels.b2nd`` is missing or damaged.
        """
        path = Path(folder) / _DETAILS
        content, provenance = _details(path)
        try:
            x, y, z = (int(n) for n in content["shape"])
            dtype = str(content["dtype"])
            table = tuple(frozenset(str(name) for name in entry) for entry in content["table"])
            affine = np.array(content["affine"], dtype=np.float64).reshape(4, 4)
            if dtype not in ("uint8", "uint16"):
                raise ValueError(f"labels of {dtype}")
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"{path} is damaged: {brief(error)}; make it again.") from error
        indices = np.asarray(chunks.open_array(Path(folder) / _LABELS, (x, y, z), (dtype,))[:])
        if indices.max(initial=0) >= len(table):
            raise VolumeError(f"{path.parent} has a label {indices.max()} outside its table; make it again.")
        return cls(indices, table, affine, provenance)


def read_provenance(folder: str | Path) -> dict[str, Provenance]:
    """Where the labels of a folder come from, without reading them.

    Raises:
        ConfigurationError: ``labels.json`` is missing or damaged.
    """
    return _details(Path(folder) / _DETAILS)[1]


def _details(path: Path) -> tuple[dict[str, Any], dict[str, Provenance]]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise ValueError(f"format {content['format']}")
        return content, {str(name): Provenance(**facts) for name, facts in content["provenance"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{path} is damaged or missing: {brief(error)}; make it again.") from error
