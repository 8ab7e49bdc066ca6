"""What is fuzzed: for each reader, valid material, a mutated input made from a number, and how it is opened."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.mutations import Rng

__all__ = ["TARGETS", "Target", "Wrong", "rng_of", "target"]

TARGETS = {
    **dict.fromkeys(("nifti", "nifti_gz", "nrrd", "metaimage", "dicom", "slicer"), "images"),
    **dict.fromkeys(("store", "index"), "stored"),
    **dict.fromkeys(("checkpoint", "legacy", "safetensors", "folder", "card"), "weights"),
    "words": "words",
}
"""Name of each reader -> the module here that holds it."""


class Wrong(Exception):
    """A reader gave a result that the file does not hold."""


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
        name: as the campaign calls it.
        prepare: makes valid material below a folder, once per process; returns what ``write`` needs.
        write: (rng, material, folder) -> the input, changed as ``rng`` says; ``folder`` is empty before.
        open: (input, target folder) -> reads it, checks the result; raises :class:`Wrong` where it is none.
        valid: (material, folder) -> the input without a change, which must open.
        free: it may write beside its input, where it is told to.
    """

    name: str
    prepare: Callable[[Path], Any]
    write: Callable[[Rng, Any, Path], Any]
    open: Callable[[Any, Path], None]
    valid: Callable[[Any, Path], Any]
    free: bool = False


def rng_of(name: str, seed: int, number: int) -> Rng:
    """The generator of one input: the same name, seed and number always make the same input."""
    return np.random.default_rng([zlib.crc32(name.encode()), seed, number])


def target(name: str) -> Target:
    """The reader called ``name``; imports what it needs and no more."""
    module = import_module(f"tests.fuzz.{TARGETS.get(name, name)}")
    return next(found for found in module.CONTENT if found.name == name)
