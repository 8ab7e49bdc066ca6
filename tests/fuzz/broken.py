"""A reader with one fault of each kind, which the campaign has to find."""

import os
from pathlib import Path

import numpy as np

from suprem.errors import VolumeError
from tests.fuzz.mutations import Rng
from tests.fuzz.targets import Target, Wrong

__all__ = ["CONTENT"]


def _prepare(folder: Path) -> list[str]:
    (folder / "outside").mkdir()
    (folder / "outside" / "here").write_text("before")
    return ["refuse", "crash", "raise", "loop", "hoard", "write", "remove", "run", "lie", "open"]


def _write(rng: Rng, kinds: list[str], folder: Path) -> Path:
    _, _, number = rng.bit_generator.seed_seq.entropy  # type: ignore[attr-defined]  # one kind after the other
    (folder / "x").write_text(kinds[number])
    return folder / "x"


def _open(path: Path, target: Path) -> None:
    del target
    kind, outside = path.read_text(), path.parents[1] / "material" / "broken" / "outside"
    if kind == "refuse":
        raise VolumeError("x is refused; export it again.")
    if kind == "crash":
        os._exit(7)
    if kind == "raise":
        raise KeyError("x")
    while kind == "loop":
        pass
    if kind == "hoard":
        np.ones(1200 * 2**20, np.uint8)
    if kind == "write":
        (outside / "there").write_text("")
    if kind == "remove":
        (outside / "here").unlink()
    if kind == "run":
        os.system("true")
    if kind == "lie":
        raise Wrong("other voxels")


def _valid(kinds: list[str], folder: Path) -> Path:
    (folder / "x").write_text(kinds[-1])
    return folder / "x"


CONTENT = (Target("broken", _prepare, _write, _open, _valid),)
