"""From the palette of a case to the channels of a network."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from suprem.errors import ConfigurationError, LabelSpaceError, UnknownNameError, did_you_mean
from suprem.labels import canonical_name, list_structures, mirrored, structure
from suprem.volumes.store import CaseRecord

__all__ = ["Channels", "check_available", "known_names"]


def known_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Canonical names of classes; a name outside the registry stays as it is, for data of the user's own.

    Raises:
        ConfigurationError: there is no class, or one comes twice.
    """
    names = []
    for name in classes:
        try:
            names.append(canonical_name(name))
        except UnknownNameError:
            names.append(name)
    if not names or len(set(names)) != len(names):
        raise ConfigurationError(f"classes are {list(classes)}; name at least one, and none twice.")
    return tuple(names)


def check_available(classes: Sequence[str], records: Iterable[CaseRecord]) -> None:
    """Makes sure that every class is annotated in some case, and occurs in one.

    Raises:
        UnknownNameError: a class is annotated nowhere; the message offers the closest names.
        ConfigurationError: a class is annotated, but no case has a voxel of it.
    """
    voxels: dict[str, int] = {}
    for record in records:
        for name in record.annotated:
            voxels[name] = voxels.get(name, 0) + record.voxels[name]
    for name in classes:
        if name not in voxels:
            raise UnknownNameError(f"No case has annotations of it. {did_you_mean('class', name, voxels)}")
        if not voxels[name]:
            raise ConfigurationError(f"{name!r} is annotated, but no case has a voxel of it; leave the class out.")


@dataclass(frozen=True)
class Channels:
    """The classes of a task in channel order.

    Attributes:
        names: canonical names, without background.
        exclusive: a voxel belongs to one class at most; channel 0 is background then.
    """

    names: tuple[str, ...]
    exclusive: bool = False

    @property
    def mirror(self) -> "Channels":
        """What the channels mean in a mirrored patch: a left kidney now lies where right ones do."""
        return Channels(tuple(_mirrored(name) for name in self.names), self.exclusive)

    def annotated(self, record: CaseRecord) -> npt.NDArray[np.bool_]:
        """Which classes were annotated in a case, bool (C,)."""
        return np.array([name in record.annotated for name in self.names], dtype=bool)

    def table(self, palette: Sequence[frozenset[str]], key: str) -> npt.NDArray[np.bool_]:
        """Palette index -> classes, bool (P, C).

        With exclusive classes an entry that holds several goes to the innermost: the lesion, not its organ.

        Raises:
            LabelSpaceError: an entry holds several exclusive classes, none of which lies inside the others.
        """
        table = np.array([[name in entry for name in self.names] for entry in palette], dtype=bool)
        if self.exclusive:
            for index in np.flatnonzero(table.sum(axis=1) > 1):
                held = [name for name, there in zip(self.names, table[index], strict=True) if there]
                inner = [name for name in held if all(other in _around(name) for other in held if other != name)]
                if len(inner) != 1:
                    raise LabelSpaceError(
                        f"{key} has voxels that are {' and '.join(held)} at once; they cannot be exclusive classes. "
                        "Use exclusive=False, or leave one of them out."
                    )
                table[index] = [name == inner[0] for name in self.names]
        return table


def _mirrored(name: str) -> str:
    return mirrored(name) if name in list_structures() else name


def _around(name: str) -> frozenset[str]:
    """All structures that a structure lies in."""
    if name not in list_structures():
        return frozenset()
    parents = frozenset(structure(name).parents)
    return parents.union(*(_around(parent) for parent in parents)) if parents else parents
