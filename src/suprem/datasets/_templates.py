"""Path templates: ``imagesTr/amos_{n}.nii.gz`` finds files, and writes the path of a case."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from suprem.errors import ConfigurationError

__all__ = ["Field", "Template", "digits", "natural_key", "one_of"]

_FIELD = re.compile(r"\{(\w+)\}|(\*)")


@dataclass(frozen=True)
class Field:
    """What may stand in the place of one ``{name}`` of a template.

    Attributes:
        pattern: regular expression of the whole field.
        example: a value that occurs.
    """

    pattern: str
    example: str

    def __post_init__(self) -> None:
        if not re.fullmatch(self.pattern, self.example):
            raise ConfigurationError(f"The example {self.example!r} of a field does not match its pattern.")


def digits(example: str) -> Field:
    """A number with as many digits as the example, which starts with the leading zeros."""
    return Field(rf"\d{{{len(example)}}}", example)


def one_of(*numbers: int | range, width: int = 1) -> Field:
    """Exactly these numbers, written with at least ``width`` digits.

    Example:
        >>> one_of(range(1, 4), 9, width=2).pattern
        '01|02|03|09'
    """
    flat = [n for entry in numbers for n in ((entry,) if isinstance(entry, int) else entry)]
    texts = [f"{n:0{width}d}" for n in flat]
    return Field("|".join(texts), texts[0])


def natural_key(text: str) -> tuple[tuple[bool, int, str], ...]:
    """Sorts numbers inside names by value: ``spleen_2`` comes before ``spleen_10``."""
    return tuple((part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", text))


def _is_hidden(name: str) -> bool:
    # Archives made on macOS hold "._name" twins of every file and a whole __MACOSX tree.
    return name.startswith(".") or name == "__MACOSX"


@dataclass(frozen=True)
class Template:
    """A relative path with ``{fields}``; ``*`` stands for any part of one folder or file name.

    Attributes:
        text: the path, with ``/`` between folders.
        fields: what may stand in each field.
    """

    text: str
    fields: Mapping[str, Field]

    @property
    def names(self) -> frozenset[str]:
        """The fields that occur in the path."""
        return frozenset(name for name, _ in _FIELD.findall(self.text) if name)

    def fill(self, **values: str) -> str:
        r"""The path of one case; fields that are not given take their example, a folder ``*`` is called ``any``.

        Example:
            >>> Template("batch*/{n}.nii", {"n": Field(r"\d+", "7")}).fill(), Template("*/{n}.nii", {}).fill(n="a")
            ('batch/7.nii', 'any/a.nii')
        """

        def one(found: re.Match[str]) -> str:
            name = found.group(1)
            return "" if name is None else values[name] if name in values else self.fields[name].example

        return "/".join(_FIELD.sub(one, part) if part != "*" else "any" for part in self.text.split("/"))

    @cached_property
    def _components(self) -> tuple[str | re.Pattern[str], ...]:
        return tuple(self._compiled(part) if _FIELD.search(part) else part for part in self.text.split("/"))

    def _compiled(self, part: str) -> re.Pattern[str]:
        pattern, end = "", 0
        seen: set[str] = set()
        for found in _FIELD.finditer(part):
            name = found.group(1)
            pattern += re.escape(part[end : found.start()])
            if name is None:
                pattern += ".*"
            elif name in seen:
                pattern += f"(?P={name})"
            else:
                pattern += f"(?P<{name}>{self.fields[name].pattern})"
                seen.add(name)
            end = found.end()
        return re.compile(pattern + re.escape(part[end:]))

    @cached_property
    def leading(self) -> tuple[str, ...]:
        """The folders before the first field."""
        folders = []
        for part in self._components[:-1]:
            if not isinstance(part, str):
                break
            folders.append(part)
        return tuple(folders)

    def find(self, top: Path) -> Iterator[tuple[dict[str, str], Path]]:
        """Files and folders under ``top`` whose path fits, with the values of the fields; hidden ones are left out."""
        yield from self._walk(top, 0, {})

    def _walk(self, folder: Path, depth: int, values: dict[str, str]) -> Iterator[tuple[dict[str, str], Path]]:
        if depth == len(self._components):
            yield values, folder
            return
        part = self._components[depth]
        if isinstance(part, str):
            if (folder / part).exists():
                yield from self._walk(folder / part, depth + 1, values)
            return
        for name in sorted(_entries(folder, folders_only=depth + 1 < len(self._components)), key=natural_key):
            found = part.fullmatch(name)
            fields = found.groupdict() if found else {}
            if found and all(values.get(key, value) == value for key, value in fields.items()):
                yield from self._walk(folder / name, depth + 1, {**values, **fields})


def _entries(folder: Path, *, folders_only: bool) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [e.name for e in entries if not _is_hidden(e.name) and not (folders_only and not e.is_dir())]
    except NotADirectoryError:
        return []
    except OSError as error:
        raise ConfigurationError(
            f"{folder} cannot be listed: {error.strerror or error}. Check its permissions."
        ) from error


def subfolders(folder: Path) -> list[Path]:
    """The visible folders inside ``folder``, in natural order."""
    return [folder / name for name in sorted(_entries(folder, folders_only=True), key=natural_key)]
