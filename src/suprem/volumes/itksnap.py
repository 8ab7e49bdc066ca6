"""Label description files of ITK-SNAP: which number is which structure, and its colour."""

import re
from collections.abc import Mapping
from pathlib import Path

from suprem._files import atomic_path
from suprem.errors import VolumeError, brief
from suprem.labels import color

__all__ = ["read_label_file", "write_label_file"]

_BACKGROUND = "Clear Label"
_ROW = re.compile(r'\s*(\d+)(?:\s+[-+.\deE]+){4}\s+\d+\s+\d+\s+"(.*)"\s*')


def write_label_file(path: Path, names: Mapping[int, str]) -> None:
    """Writes the names and colours of numbers; columns: number, red, green, blue, opacity, shown, shown in 3D, name.

    Args:
        path: To make.
        names: Number -> structure; 0 is the background and is added.

    Raises:
        OutputError: the disk is full, or the place cannot be written.
    """
    lines = [
        "# ITK-SnAP Label Description File",
        "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL",
        _row(0, (0, 0, 0), 0, _BACKGROUND),
    ]
    lines += [_row(number, color(name), 1, name) for number, name in sorted(names.items())]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _row(number: int, rgb: tuple[int, int, int], shown: int, name: str) -> str:
    red, green, blue = rgb
    return f'{number:5d}  {red:3d}  {green:3d}  {blue:3d}  {shown:4d}  {shown:3d} {shown:3d}  "{name}"'


def read_label_file(path: str | Path) -> dict[int, str]:
    """Names of the numbers in a label description file, without that of the background.

    Raises:
        VolumeError: it cannot be read, or a line is none of such a file.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise VolumeError(f"{path} cannot be read: {error}; save the label descriptions again.") from error
    found: dict[int, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _ROW.fullmatch(line)
        if not match or int(match[1]) in found:
            raise VolumeError(
                f"{path}, line {number}: {brief(line)} is no label description, or its number is there twice; save "
                "the label descriptions again."
            )
        found[int(match[1])] = match[2]
    found.pop(0, None)
    return found
