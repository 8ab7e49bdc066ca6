"""Label spaces: which integer of a label map means which structure.

Numberings are never mixed. A label array always travels with its label space, and one space is turned into another by
the names of the structures alone.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from suprem.errors import ConfigurationError, LabelSpaceError, UnknownNameError, did_you_mean
from suprem.labels._numberings import NUMBERINGS
from suprem.labels.structures import canonical_name, known_name

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["LabelSpace", "convert", "label_space", "list_label_spaces"]

_FILE_NAME = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True)
class LabelSpace:
    """One numbering of structures.

    Attributes:
        name: identifier, written into headers and manifests.
        title: for people.
        numbers: number -> canonical name, in order of the numbers; background 0 is left out.
        overlapping: structures may overlap, as a tumour its organ; in one label map the higher number then wins.
        source: where the numbers come from.
        spellings: canonical name -> the source's own spelling, for the names that differ.
        ignored: numbers that mean "not annotated": neither a structure nor background.
    """

    name: str
    title: str
    numbers: Mapping[int, str]
    overlapping: bool = False
    source: str = ""
    spellings: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        numbers = dict(sorted((int(number), name) for number, name in self.numbers.items()))
        if len(set(numbers.values())) != len(numbers):
            raise ConfigurationError(f"Label space {self.name!r} gives one structure two numbers: {numbers}.")
        if numbers and not 1 <= min(numbers) <= max(numbers) <= 65535:
            raise ConfigurationError(f"Label space {self.name!r} has numbers outside 1 to 65535: {sorted(numbers)}.")
        object.__setattr__(self, "numbers", MappingProxyType(numbers))
        object.__setattr__(self, "spellings", MappingProxyType(dict(self.spellings)))

    def __hash__(self) -> int:
        return hash((self.name, tuple(self.numbers.items())))

    def __reduce__(self) -> tuple[Any, ...]:
        # Read-only mappings cannot be pickled; worker processes need the space.
        state = (self.name, self.title, dict(self.numbers), self.overlapping, self.source)
        return type(self), (*state, dict(self.spellings), self.ignored)

    @classmethod
    def from_classes(cls, name: str, classes: Iterable[str]) -> "LabelSpace":
        """The classes of a model, numbered 1, 2, ... in channel order; names outside the registry stay as they are.

        Example:
            >>> LabelSpace.from_classes("mine", ["spleen", "left kidney"]).numbers[2]
            'kidney_left'
        """
        numbers = {number: known_name(text) for number, text in enumerate(classes, start=1)}
        return cls(name, name, numbers, source="model classes in channel order")

    @property
    def names(self) -> tuple[str, ...]:
        """Canonical names in order of their numbers."""
        return tuple(self.numbers.values())

    def number(self, name: str) -> int:
        """The number of a structure, given by any accepted spelling.

        Raises:
            LabelSpaceError: the structure has no number here.
        """
        wanted = known_name(name)
        for number, known in self.numbers.items():
            if known == wanted:
                return number
        hint = did_you_mean("structure", name, self.names)
        raise LabelSpaceError(f"Label space {self.name!r} has no {wanted!r}. {hint}")

    def file_name(self, name: str) -> str:
        """The structure as this space spells it in file names: letters, digits and underscores, no suffix.

        A structure without a number here keeps its canonical name.

        Example:
            >>> label_space("totalsegmentator_v2").file_name("postcava")
            'inferior_vena_cava'
        """
        wanted = known_name(name)
        return _FILE_NAME.sub("_", self.spellings.get(wanted, wanted)).strip("_")


def list_label_spaces() -> tuple[str, ...]:
    """Names of all registered label spaces."""
    return tuple(NUMBERINGS)


@cache
def label_space(name: str) -> LabelSpace:
    """The registered label space of that name.

    Raises:
        UnknownNameError: no label space is called that; the message offers the closest names.

    Example:
        >>> label_space("abdomenatlas_1_1").number("gallbladder"), label_space("universal_32").number("gallbladder")
        (2, 4)
    """
    if name not in NUMBERINGS:
        raise UnknownNameError(did_you_mean("label space", name, NUMBERINGS))
    table = NUMBERINGS[name]
    names = {text: table.canonical.get(text) or canonical_name(text) for text in table.files.values()}
    return LabelSpace(
        name=name,
        title=table.title,
        numbers={number: names[text] for number, text in table.files.items()},
        overlapping=table.overlapping,
        source=table.source,
        spellings={known: text for text, known in names.items() if text != known},
        ignored=table.ignored,
    )


def convert(
    array: "npt.NDArray[Any]",
    source: LabelSpace,
    target: LabelSpace,
    *,
    missing: Literal["error", "background"] = "error",
) -> "npt.NDArray[np.uint8] | npt.NDArray[np.uint16]":
    """Renumbers a label map by the names of its structures.

    Args:
        array: Integer label map of any shape, numbered by ``source``.
        source: Label space of ``array``.
        target: Label space of the result.
        missing: What becomes of voxels whose structure has no number in ``target``: an error that names the
            structures, or background.

    Returns:
        uint8 array of the same shape, uint16 when ``target`` has numbers above 255.

    Raises:
        LabelSpaceError: values that ``source`` does not know, or structures that ``target`` lacks.
    """
    import numpy as np

    if missing not in ("error", "background"):
        raise ConfigurationError(f"missing is {missing!r}; it must be 'error' or 'background'.")
    present = _values(array)
    unknown = [value for value in present if value and value not in source.numbers and value not in source.ignored]
    if unknown:
        raise LabelSpaceError(
            f"The label map holds {_listed(unknown)}, which {source.name!r} does not know. Name the numbering that the "
            f"file was written in; known: {', '.join(list_label_spaces())}."
        )
    targets = {name: number for number, name in target.numbers.items()}
    lost = [source.numbers.get(value, f"{value} (not annotated)") for value in present if value]
    lost = [name for name in lost if name not in targets]
    if lost and missing == "error":
        raise LabelSpaceError(
            f"{target.name!r} has no number for {_listed(lost)} of {source.name!r}. Choose another label space or pass "
            "missing='background'."
        )
    dtype = np.uint16 if max(target.numbers, default=0) > 255 else np.uint8
    table = np.zeros(max(present, default=0) + 1, dtype=dtype)
    for value in present:
        table[value] = targets.get(source.numbers.get(value, ""), 0)
    result = np.empty(array.shape, dtype=dtype)
    # Plane by plane: an array used as an index becomes int64, eight times the size of the label map.
    for plane, out in zip(np.atleast_2d(array), np.atleast_2d(result), strict=True):
        out[...] = table[plane]
    return result


def _values(array: "npt.NDArray[Any]") -> list[int]:
    """The values of a label map, sorted, without sorting the whole volume."""
    import numpy as np

    if array.dtype.kind not in "bui":
        raise LabelSpaceError(f"The label map has dtype {array.dtype}; a label map holds integers. Round it first.")
    if array.size and (array.min() < 0 or array.max() > 65535):
        raise LabelSpaceError(
            f"The label map holds {array.min()} to {array.max()}; labels lie between 0 and 65535. Is it a CT?"
        )
    found = np.zeros(65536, dtype=bool)
    for plane in np.atleast_2d(array):
        found[plane] = True
    return [int(value) for value in np.flatnonzero(found)]


def _listed(items: Iterable[object], limit: int = 12) -> str:
    texts = [str(item) for item in items]
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return ", ".join(texts[:limit]) + more
