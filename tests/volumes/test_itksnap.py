"""Label description files of ITK-SNAP."""

from pathlib import Path

import pytest

from suprem.errors import VolumeError
from suprem.labels import color
from suprem.volumes.itksnap import read_label_file, write_label_file

# As the program itself saves it.
SAVED = """################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
################################################
    0     0    0    0        0  0  0    "Clear Label"
    1   255    0    0        1  1  1    "liver"
   12     0  255    0     0.75  1  1    "liver "tumor""
"""


def test_names_and_colours_come_back(tmp_path: Path) -> None:
    names = {2: "spleen", 1: "liver_tumor", 300: "my organ"}
    path = tmp_path / "labels.label.txt"
    write_label_file(path, names)
    assert read_label_file(path) == names
    rows = [line.split()[:4] for line in path.read_text().splitlines() if not line.startswith("#")]
    assert rows[1:3] == [[str(n), *map(str, color(names[n]))] for n in (1, 2)]


def test_files_of_the_program(tmp_path: Path) -> None:
    path = tmp_path / "saved.txt"
    path.write_text(SAVED)
    assert read_label_file(path) == {1: "liver", 12: 'liver "tumor"'}


@pytest.mark.parametrize("line", ["1 2 3", '1 255 0 0 1 1 1 "spleen"', "1 255 0 0 1 1 1 liver"])
def test_spoilt_files(tmp_path: Path, line: str) -> None:
    path = tmp_path / "saved.txt"
    path.write_text(SAVED + line + "\n")
    with pytest.raises(VolumeError, match="line 9"):
        read_label_file(path)
    with pytest.raises(VolumeError, match="cannot be read"):
        read_label_file(tmp_path / "none.txt")
