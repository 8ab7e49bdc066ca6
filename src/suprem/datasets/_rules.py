"""What the integers of a dataset's masks mean, and what is done with each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from suprem.errors import ConfigurationError, LabelSpaceError, UnknownNameError
from suprem.labels import canonical_name, label_space, structure

__all__ = ["CaseGroup", "LabelMap", "LabelRule", "Operation", "ambiguous", "copy", "drop", "merge", "rules_of", "split"]

Operation = Literal["copy", "merge", "split_left_right", "ambiguous", "drop"]
"""``copy``: one value, one structure. ``merge``: several values make one structure. ``split_left_right``: one value
holds a right and a left structure. ``ambiguous``: may be any of its targets, so it is a positive of none. ``drop``: no
structure."""


@dataclass(frozen=True)
class LabelRule:
    """What one value of a mask means.

    Attributes:
        name: what the dataset calls it; for one mask per structure, the file's name without suffix.
        op: what is done with its voxels.
        targets: canonical names; for ``split_left_right`` the right and the left structure, in this order; for
            ``ambiguous`` the candidates.
        also_part_of: what its voxels belong to besides, as a tumour voxel to its organ.
        also_op: ``split_left_right`` when ``also_part_of`` is a right and a left structure, of which a voxel belongs to
            the one on its side.
        note: for people.
    """

    name: str
    op: Operation
    targets: tuple[str, ...] = ()
    also_part_of: tuple[str, ...] = ()
    also_op: Literal["copy", "split_left_right"] = "copy"
    note: str = ""

    def __post_init__(self) -> None:
        if self.op not in get_args(Operation):
            raise ConfigurationError(
                f"{self.name!r} has operation {self.op!r}; known: {', '.join(get_args(Operation))}."
            )
        if self.op in ("copy", "merge") and not self.targets:
            raise ConfigurationError(f"{self.name!r} is to be copied to no structure; name one, or drop the value.")
        if self.op == "drop" and (self.targets or self.also_part_of):
            raise ConfigurationError(
                f"{self.name!r} is dropped, yet has structures {self.targets + self.also_part_of}."
            )
        if self.op == "split_left_right":
            _check_pair(self.name, self.targets)
        if self.also_op == "split_left_right":
            _check_pair(self.name, self.also_part_of)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The (right, left) structures between which position decides."""
        found = []
        if self.op == "split_left_right":
            found.append((self.targets[0], self.targets[1]))
        if self.also_op == "split_left_right":
            found.append((self.also_part_of[0], self.also_part_of[1]))
        return tuple(found)

    @property
    def certain(self) -> frozenset[str]:
        """The structures its voxels belong to wherever they lie."""
        own = self.targets if self.op in ("copy", "merge") else ()
        besides = self.also_part_of if self.also_op == "copy" else ()
        return frozenset(own) | frozenset(besides)

    @property
    def structures(self) -> frozenset[str]:
        """All structures its voxels can belong to."""
        return self.certain | {name for pair in self.pairs for name in pair}


def _check_pair(name: str, pair: tuple[str, ...]) -> None:
    sides = []
    for text in pair:
        try:
            sides.append(structure(text).side)
        except UnknownNameError:
            sides.append(None)
    if len(pair) != 2 or sides != ["right", "left"]:
        raise ConfigurationError(
            f"{name!r} is to be split into {', '.join(pair) or 'nothing'}; name the right and the left structure, in "
            "this order, e.g. kidney_right, kidney_left."
        )


def _tuple(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def copy(
    name: str, targets: str | tuple[str, ...] = (), *, part_of: str | tuple[str, ...] = (), note: str = ""
) -> LabelRule:
    """The value is one structure; without a target its own name says which.

    Args:
        name: What the dataset calls it.
        targets: Canonical name of the structure.
        part_of: What it belongs to besides. A right and a left structure together mean: the one on its side.
        note: For people.
    """
    besides = _tuple(part_of)
    sided = len(besides) == 2 and [structure(text).side for text in besides] == ["right", "left"]
    return LabelRule(
        name,
        "copy",
        _tuple(targets) or (canonical_name(name),),
        besides,
        "split_left_right" if sided else "copy",
        note,
    )


def merge(name: str, target: str, *, note: str = "") -> LabelRule:
    """The value is one of several that together make the structure."""
    return LabelRule(name, "merge", (target,), note=note)


def split(name: str, organ: str, *, part_of: str | tuple[str, ...] = (), note: str = "") -> LabelRule:
    """The value holds ``<organ>_right`` and ``<organ>_left``; the position tells them apart."""
    return LabelRule(name, "split_left_right", (f"{organ}_right", f"{organ}_left"), _tuple(part_of), note=note)


def ambiguous(
    name: str, between: tuple[str, ...] = (), *, part_of: str | tuple[str, ...] = (), note: str = ""
) -> LabelRule:
    """The value may be any of several structures, so it is a positive of none of them.

    Args:
        name: What the dataset calls it.
        between: The candidates.
        part_of: What it is for certain, e.g. ``prostate_or_uterus``.
        note: For people.
    """
    return LabelRule(name, "ambiguous", between, _tuple(part_of), note=note)


def drop(name: str, *, note: str = "") -> LabelRule:
    """The value is no structure that is known here."""
    return LabelRule(name, "drop", note=note)


def rules_of(space: str, part_of: Mapping[str, str] | None = None) -> dict[int, LabelRule]:
    """One rule per number of a registered label space, named as the space spells it.

    Args:
        space: Name of the label space.
        part_of: Canonical name -> the structure that it makes up together with others.
    """
    numbering = label_space(space)
    wholes = part_of or {}
    return {
        number: LabelRule(
            numbering.spellings.get(name, name),
            "copy",
            (name,),
            (wholes[name],) if name in wholes else (),
        )
        for number, name in numbering.numbers.items()
    }


@dataclass(frozen=True)
class CaseGroup:
    """Cases that share what was annotated, told by the values that occur in their masks.

    Attributes:
        name: of the group.
        annotated: what was annotated in its cases.
        present: values that all occur.
        absent: values none of which occurs.
        count: how many cases the dataset has of this group, ``None`` when not known.
    """

    name: str
    annotated: frozenset[str]
    present: frozenset[int] = frozenset()
    absent: frozenset[int] = frozenset()
    count: int | None = None

    def matches(self, values: frozenset[int]) -> bool:
        """Whether a mask with exactly these values belongs to the group."""
        return self.present <= values and not self.absent & values


@dataclass(frozen=True)
class LabelMap:
    """One numbering of a dataset: what each value means, and which structures were really annotated.

    Attributes:
        name: of the numbering; a dataset can have several.
        values: value -> rule, in order of the values; background 0 is left out.
        ignore: values whose voxels are left out of every structure: neither positive nor background.
        groups: where not every case was annotated alike, how to tell; the first group that matches decides.
        binary: every value but 0 means the one value listed, as in masks stored as 0/1 or 0/255.
        note: for people.
        confidence: how sure the table is.
    """

    name: str
    values: Mapping[int, LabelRule]
    ignore: frozenset[int] = frozenset()
    groups: tuple[CaseGroup, ...] = ()
    binary: bool = False
    note: str = ""
    confidence: str = "verified"
    _structures: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        values = dict(sorted(self.values.items()))
        if not values or not 1 <= min(values) <= max(values) <= 65535:
            raise ConfigurationError(
                f"Label map {self.name!r} has values {sorted(values)}; it needs at least one, from 1 to 65535."
            )
        if self.binary and len(values) != 1:
            raise ConfigurationError(f"Label map {self.name!r} is binary, yet lists the values {sorted(values)}.")
        if not self.ignore <= values.keys():
            raise ConfigurationError(
                f"Label map {self.name!r} ignores {sorted(self.ignore - values.keys())}; give them a rule as well."
            )
        names = frozenset(
            name for value, rule in values.items() if value not in self.ignore for name in rule.structures
        )
        object.__setattr__(self, "values", MappingProxyType(values))
        object.__setattr__(self, "_structures", names)

    def __hash__(self) -> int:
        return hash((self.name, tuple(self.values.items())))

    def __reduce__(self) -> tuple[object, ...]:
        # Read-only mappings cannot be pickled; worker processes need the map.
        state = (self.name, dict(self.values), self.ignore, self.groups, self.binary, self.note, self.confidence)
        return type(self), state

    @property
    def annotated(self) -> frozenset[str]:
        """Structures that were annotated, in at least one group of cases where there are groups.

        Whatever is not among them is unknown in these masks, not absent.
        """
        if self.groups:
            return frozenset[str]().union(*(group.annotated for group in self.groups))
        return self._structures

    @property
    def structures(self) -> frozenset[str]:
        """Structures that voxels of these masks can belong to."""
        return self._structures

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The (right, left) structures that have to be told apart by position, each pair once."""
        return tuple(dict.fromkeys(pair for rule in self.values.values() for pair in rule.pairs))

    def group_of(self, values: frozenset[int]) -> CaseGroup | None:
        """The group of a mask that holds exactly ``values``; ``None`` where all cases are annotated alike.

        Raises:
            LabelSpaceError: no group fits.
        """
        for group in self.groups:
            if group.matches(values):
                return group
        if self.groups:
            known = ", ".join(group.name for group in self.groups)
            raise LabelSpaceError(
                f"A mask with the values {sorted(values)} fits no group of label map {self.name!r} ({known}); exclude "
                "the case or correct the mask."
            )
        return None

    def value_of(self, name: str) -> int:
        """The value that the dataset calls ``name``, as the file of one structure is called.

        Raises:
            LabelSpaceError: no value is called that.
        """
        for value, rule in self.values.items():
            if rule.name == name:
                return value
        raise LabelSpaceError(
            f"Label map {self.name!r} has no structure called {name!r}; it has "
            f"{', '.join(rule.name for rule in self.values.values())}."
        )
