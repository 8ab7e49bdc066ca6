"""Anatomical structures by name: synonyms, sides, parents and terminology codes.

Canonical names are spelled as in the published checkpoints (``gall_bladder``, ``postcava``, ``intestine``) and, for
everything these do not know, as in TotalSegmentator (``vertebrae_L1``, ``rib_left_3``).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from suprem.errors import UnknownNameError, did_you_mean
from suprem.labels._anatomy import ROWS, Row

__all__ = ["Code", "Structure", "canonical_name", "known_name", "list_structures", "mirrored", "ordered", "structure"]

_SIDES = ("right", "left")


@dataclass(frozen=True)
class Code:
    """A coded concept as DICOM stores it.

    Attributes:
        scheme: coding scheme designator, ``"SCT"`` (SNOMED CT) or the private ``"99SUPREM"``.
        value: code value, 16 characters at most.
        meaning: code meaning.
    """

    scheme: str
    value: str
    meaning: str


_LATERALITY = {"right": Code("SCT", "24028007", "Right"), "left": Code("SCT", "7771000", "Left")}
_CATEGORIES = {
    "tumour or cyst": Code("SCT", "49755003", "Morphologically Abnormal Structure"),
    "soft tissue": Code("SCT", "85756007", "Tissue"),
}
_ANATOMY = Code("SCT", "91723000", "Anatomical Structure")


@dataclass(frozen=True)
class Structure:
    """An organ, vessel, bone, muscle or lesion.

    Attributes:
        name: canonical name.
        group: kind of structure, e.g. ``"abdominal organ"`` or ``"tumour or cyst"``.
        side: the patient's ``"left"`` or ``"right"``; ``None`` without a side. Heart chambers have none: their names
            tell chambers apart, and a mirrored patient keeps them.
        parents: what it lies inside (the union of these); empty when it is no part of another structure.
        synonyms: other spellings that are accepted on input.
        code: what it is, in DICOM PS3.16. Left and right share it: add :attr:`laterality` as modifier, and for a
            lesion the code of its parent as anatomic region.
    """

    name: str
    group: str
    side: str | None
    parents: tuple[str, ...]
    synonyms: tuple[str, ...]
    code: Code

    @property
    def category(self) -> Code:
        """Category of DICOM PS3.16 CID 7150: anatomical structure, abnormal structure or tissue."""
        return _CATEGORIES.get(self.group, _ANATOMY)

    @property
    def laterality(self) -> Code | None:
        """Modifier that names the side; ``None`` without a side."""
        return _LATERALITY[self.side] if self.side else None


def _key(name: str) -> str:
    return re.sub(r"[\s\-_.,/()]+", "_", name).strip("_").lower()


def _expanded(row: Row) -> Iterator[Structure]:
    """The structures of one row: a right and a left one where the name has a side."""
    for side in _SIDES if "{side}" in row.name else (row.side,):
        name, *rest = (text.format(side=side) for text in (row.name, *row.synonyms))
        if side and name.endswith(f"_{side}"):
            rest.append(f"{side}_{name.removesuffix(f'_{side}')}")
        rest += [text.replace("tumor", "tumour") for text in (name, *rest) if "tumor" in text]
        parents = tuple(text.format(side=side) for text in row.parents)
        yield Structure(name, row.group, side, parents, tuple(rest), Code(row.scheme, row.code, row.meaning))


@cache
def _structures() -> dict[str, Structure]:
    """All structures by canonical name, in the order of the table."""
    return {entry.name: entry for row in ROWS for entry in _expanded(row)}


@cache
def _spellings() -> dict[str, str]:
    """Normalised spelling -> canonical name; a spelling that two structures claim is an error of the table."""
    result: dict[str, str] = {}
    for entry in _structures().values():
        for text in (entry.name, *entry.synonyms):
            if result.setdefault(_key(text), entry.name) != entry.name:
                raise ValueError(f"{text!r} is a name of both {result[_key(text)]} and {entry.name}; drop one of them.")
    return result


def list_structures() -> tuple[str, ...]:
    """Canonical names of all structures, those of the published checkpoints first."""
    return tuple(_structures())


def canonical_name(name: str) -> str:
    """The canonical name of a structure in any accepted spelling.

    Args:
        name: Canonical name or synonym; case, spaces, hyphens and underscores do not matter.

    Raises:
        UnknownNameError: no structure is called that; the message offers the closest names.

    Example:
        >>> canonical_name("Inferior vena cava"), canonical_name("left kidney"), canonical_name("Celiac Truck")
        ('postcava', 'kidney_left', 'celiac_trunk')
    """
    found = _spellings().get(_key(name))
    if found is None:
        raise UnknownNameError(did_you_mean("structure", name, _spellings()))
    return found


def known_name(name: str) -> str:
    """The canonical name of a structure, or ``name`` itself where the registry does not know it.

    Example:
        >>> known_name("left kidney"), known_name("flux capacitor")
        ('kidney_left', 'flux capacitor')
    """
    return _spellings().get(_key(name), name)


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Names in the order of the registry; those of the user's own come last, by alphabet.

    Example:
        >>> ordered({"my organ", "pancreas", "spleen"})
        ('spleen', 'pancreas', 'my organ')
    """
    order = {name: rank for rank, name in enumerate(list_structures())}
    return tuple(sorted(names, key=lambda name: (order.get(name, len(order)), name)))


def structure(name: str) -> Structure:
    """Everything known about a structure.

    Args:
        name: Canonical name or synonym, as for :func:`canonical_name`.

    Raises:
        UnknownNameError: no structure is called that.

    Example:
        >>> structure("liver tumour").parents
        ('liver',)
    """
    return _structures()[canonical_name(name)]


def mirrored(name: str) -> str:
    """Canonical name of the counterpart on the other side, or of the structure itself when it has none.

    Example:
        >>> mirrored("rib_left_3"), mirrored("liver"), mirrored("heart_atrium_left")
        ('rib_right_3', 'liver', 'heart_atrium_left')
    """
    entry = structure(name)
    if entry.side is None:
        return entry.name
    other = _SIDES[entry.side == "right"]
    # Whole words only: the side is one part of the name between underscores.
    parts = [other if part == entry.side else part for part in entry.name.split("_")]
    counterpart = "_".join(parts)
    return counterpart if counterpart in _structures() else entry.name
