"""Checks of the stack: slices that are missing, doubled or blank."""

from collections.abc import Iterator

import numpy as np

from suprem.volumes._scan_look import Look
from suprem.volumes._scan_table import SCAN_CHECKS
from suprem.volumes.symptoms import Symptom

__all__ = ["slice_symptoms"]

_APART = 3
_JUMP = 1.2
"""Difference between neighbouring slices over the larger of those between slices three apart, before and after them."""
_RANGE_HU = (-300.0, 300.0)
"""What lies outside counts as its border, so that metal and gas do not outweigh organs."""
_FEWEST = 2 * _APART + 2
_AXIS_NAMES = ("left to right", "back to front", "feet to head")


def slice_symptoms(look: Look) -> Iterator[Symptom]:
    """Symptoms of a stack along its slice axis; slices are counted from 0, on RAS axes."""
    along = np.moveaxis(look.array, look.slice_axis, 0)
    blank = np.array([bool(plane.min() == plane.max()) for plane in along])
    filled = np.flatnonzero(~blank)
    where = f"counted from 0, {_AXIS_NAMES[look.slice_axis]}"
    inner = [int(k) for k in np.flatnonzero(blank) if filled.size and filled[0] < k < filled[-1]]
    if inner:
        yield Symptom.of(SCAN_CHECKS, "blank-slices", f"{_counted(inner)} ({where}) hold a single value.")
    doubled = [k for k in range(len(along) - 1) if not blank[k] and np.array_equal(along[k], along[k + 1])]
    if doubled:
        yield Symptom.of(
            SCAN_CHECKS, "duplicate-slices", f"{_counted(doubled)} ({where}) equal the next one voxel by voxel."
        )
    if not inner and not doubled:  # both look like jumps
        jumps = [k + int(filled[0]) for k in _jumps(look, filled)] if filled.size else []
        if jumps:
            yield Symptom.of(
                SCAN_CHECKS, "missing-slices", f"After {_counted(jumps).lower()} ({where}) the anatomy jumps."
            )


def _jumps(look: Look, filled: np.ndarray) -> list[int]:
    """Indices among the filled slices after which the picture changes far more than around them."""
    means = np.clip(look.slice_means[filled[0] : filled[-1] + 1], *_RANGE_HU)
    if len(means) < _FEWEST:
        return []
    near = np.abs(means[1:] - means[:-1]).mean(axis=(1, 2))
    far = np.abs(means[_APART:] - means[:-_APART]).mean(axis=(1, 2))
    found = []
    for k in range(_APART, len(near) - _APART):
        if near[k] > _JUMP * max(far[k - _APART], far[k + 1]):
            found.append(k)
    return found


def _counted(slices: list[int], limit: int = 5) -> str:
    shown = ", ".join(map(str, slices[:limit]))
    rest = f" and {len(slices) - limit} more" if len(slices) > limit else ""
    return f"{'Slice' if len(slices) == 1 else 'Slices'} {shown}{rest}"
