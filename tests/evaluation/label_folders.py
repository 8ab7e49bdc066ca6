"""Small masks of two organs in four cases, and how to write them."""

from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from suprem.evaluation.metrics import MaskScores
from suprem.volumes import Volume, write_volume

SHAPE, SPACING = (20, 16, 12), (1.0, 1.5, 3.0)
Mask = npt.NDArray[np.bool_]


def ball(centre: tuple[float, float, float], radius: float) -> Mask:
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    return np.asarray((((index - centre) * SPACING) ** 2).sum(-1) <= radius**2)


LIVER = {case: ball((8 + case, 8, 6), 6.0) for case in range(4)}
SPLEEN = {case: ball((4, 4, 3 + case), 4.0) for case in range(4)}


def affine(flip: bool = False) -> npt.NDArray[np.float64]:
    """RAS, or the same place with the first two axes against it."""
    result = np.diag([*SPACING, 1.0])
    if flip:
        result[:2, :2] *= -1
        result[:2, 3] = [(SHAPE[0] - 1) * SPACING[0], (SHAPE[1] - 1) * SPACING[1]]
    return result


def write(path: Path, array: npt.NDArray[Any], flip: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = array[::-1, ::-1] if flip else array
    write_volume(Volume(np.ascontiguousarray(stored.astype(np.uint8)), affine(flip), path.name), path)


def shifted(mask: Mask, by: int) -> Mask:
    return np.roll(mask, by, axis=0)


def same(first: MaskScores, second: MaskScores) -> bool:
    """Whether all scores are equal but for the order in which areas were added up."""
    return bool(astuple(first) == pytest.approx(astuple(second), rel=1e-12, abs=1e-12, nan_ok=True))
