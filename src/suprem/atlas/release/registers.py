"""Numbers that are given once and for all: of cases, of structures, and of the people who reviewed.

They lie in the atlas, not in a release, since they tell which case a number stands for::

    atlas/release/ids.csv                    case -> id
    atlas/release/numbers-<space>.csv        structure -> number beyond those of a label space
    atlas/release/reviewers.csv              person -> code
"""

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from suprem._files import atomic_path, read_csv
from suprem.errors import ConfigurationError
from suprem.labels import LabelSpace, ordered

__all__ = ["FIRST_ID", "Register", "case_ids", "numbering", "reviewer_codes"]

FIRST_ID = 90_000_001
"""Beyond the numbers of the published AbdomenAtlas, whose names mean other scans."""

_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,23}")
_DIGITS = 8


class Register:
    """A table of names and what stands for them, in which nothing is ever changed or used again.

    Args:
        path: The CSV file; it appears with the first entries.
        columns: Of the names and of what stands for them.
    """

    def __init__(self, path: Path, columns: tuple[str, str]) -> None:
        self.path, self._columns = path, columns

    def read(self) -> dict[str, str]:
        """Name -> what stands for it.

        Raises:
            ConfigurationError: the file is damaged.
        """
        if not self.path.is_file():
            return {}
        advice = "Restore it from a copy: it keeps the numbers that were given away."
        columns, rows = read_csv(self.path, advice=advice)
        first, second = self._columns
        if columns != self._columns or any(not row[first] or not row[second] for row in rows):
            raise ConfigurationError(f"{self.path} is damaged. {advice}")
        found = {row[first]: row[second] for row in rows}
        if len(found) != len(rows) or len(set(found.values())) != len(rows):
            raise ConfigurationError(f"{self.path} has an entry twice. {advice}")
        return found

    def extended(self, names: Iterable[str], code: Callable[[Mapping[str, str]], str]) -> dict[str, str]:
        """The table with the names that it lacked; it is on the disk when this returns.

        Args:
            names: In the order in which they get their entries.
            code: Makes the next entry from those that were given.

        Raises:
            ConfigurationError: the file is damaged.
            OutputError: it cannot be written.
        """
        found = self.read()
        before = len(found)
        for name in names:
            if name not in found:
                found[name] = code(found)
        if len(found) > before:
            with atomic_path(self.path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
                table = csv.writer(file, lineterminator="\n")
                table.writerow(self._columns)
                table.writerows(found.items())
        return found


def case_ids(folder: Path, keys: Iterable[str], *, prefix: str = "BDMAP", first: int = FIRST_ID) -> dict[str, str]:
    """Key of each case -> its name in releases; those that have one keep it.

    Args:
        folder: Where the atlas keeps its registers.
        keys: Of the cases.
        prefix: Of new names; AbdomenAtlas' own for a layout that its readers take.
        first: Smallest number of new names.

    Raises:
        ConfigurationError: ``prefix`` or ``first`` cannot be used.
    """
    if not _PREFIX.fullmatch(prefix):
        raise ConfigurationError(
            f"prefix is {prefix!r}; it must be up to 24 letters, digits and dashes, with a letter first."
        )
    if not 0 <= first < 10**_DIGITS:
        raise ConfigurationError(f"first_id is {first}; it must have at most {_DIGITS} digits.")

    def following(given: Mapping[str, str]) -> str:
        pattern = re.compile(rf"{re.escape(prefix)}_(\d{{{_DIGITS}}})")
        numbers = [int(found[1]) for text in given.values() if (found := pattern.fullmatch(text))]
        number = max([first - 1, *numbers]) + 1
        if number >= 10**_DIGITS:
            raise ConfigurationError(f"No number is left after {prefix}_{number - 1}; choose another prefix.")
        return f"{prefix}_{number:0{_DIGITS}d}"

    return Register(folder / "ids.csv", ("case", "id")).extended(sorted(keys), following)


def numbering(folder: Path, space: LabelSpace, structures: Iterable[str]) -> dict[int, str]:
    """Number -> structure: those of a label space, and further ones for structures that it lacks.

    Args:
        folder: Where the atlas keeps its registers.
        space: Label space whose numbers are taken.
        structures: Canonical names.

    Raises:
        ConfigurationError: the register is damaged.
    """
    names = ordered(structures)
    highest = max(space.numbers, default=0)
    register = Register(folder / f"numbers-{space.name}.csv", ("structure", "number"))
    missing = [name for name in names if name not in space.names]
    extra = register.extended(missing, lambda given: str(max([highest, *map(int, given.values())]) + 1))
    return dict(sorted({**space.numbers, **{int(number): name for name, number in extra.items()}}.items()))


def reviewer_codes(folder: Path, people: Iterable[str]) -> dict[str, str]:
    """Person -> a code that stays the same in all releases of an atlas."""
    register = Register(folder / "reviewers.csv", ("person", "code"))
    return register.extended(sorted(set(people)), lambda given: f"reviewer-{len(given) + 1:02d}")
