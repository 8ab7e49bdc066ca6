"""Where the sliding windows lie and how their voxels are weighted: the rules of MONAI's sliding-window inference."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import torch

from suprem.errors import ConfigurationError

__all__ = ["Window", "importance_map", "in_batches", "plan_windows", "window_starts"]

_SIGMA_SCALE = 0.125
_MIN_WEIGHT = 1e-3


class Window(NamedTuple):
    """First voxel of one window on the model grid, negative where a small volume is padded.

    Ordered as the engine runs them: from the feet to the head.

    Attributes:
        z: first layer.
        x: first voxel, left to right.
        y: first voxel, back to front.
        mirrored: the network sees the window with its x axis reversed.
    """

    z: int
    x: int
    y: int
    mirrored: bool = False

    @property
    def start(self) -> tuple[int, int, int]:
        """First voxel (x, y, z)."""
        return self.x, self.y, self.z


def window_starts(size: int, patch: int, overlap: float) -> tuple[int, ...]:
    """First voxels of the windows along one axis, in coordinates of the unpadded volume.

    A volume smaller than the window lies in the middle of it, so the start is then negative. The last window is moved
    back until it ends with the volume.

    Example:
        >>> window_starts(200, 96, 0.5), window_starts(75, 96, 0.5)
        ((0, 48, 96, 104), (-10,))
    """
    if size <= patch:
        return (-((patch - size) // 2),)
    interval = max(1, int(patch * (1 - overlap)))
    count = math.ceil((size - patch) / interval) + 1
    return tuple(min(i * interval, size - patch) for i in range(count))


def plan_windows(
    shape: Sequence[int], patch_size: Sequence[int], overlap: float, *, mirror: bool = False
) -> tuple[Window, ...]:
    """All windows over a volume, from the feet to the head.

    Args:
        shape: voxels (X, Y, Z) of the volume.
        patch_size: voxels (x, y, z) of a window.
        overlap: fraction of a window shared with its neighbour, at least 0 and below 1.
        mirror: add the windows that a left-right mirrored volume would be given, at their mirrored positions.

    Raises:
        ConfigurationError: ``overlap`` is outside [0, 1).
    """
    if not 0 <= overlap < 1:
        raise ConfigurationError(f"overlap is {overlap}; it must be at least 0 and below 1, usually 0.5.")
    xs, ys, zs = (window_starts(n, p, overlap) for n, p in zip(shape, patch_size, strict=True))
    found = [Window(z, x, y) for z in zs for x in xs for y in ys]
    if mirror:
        flipped = [shape[0] - patch_size[0] - x for x in xs]
        found += [Window(z, x, y, mirrored=True) for z in zs for x in flipped for y in ys]
    return tuple(sorted(found))


def in_batches(windows: Iterable[Window], batch: int) -> Iterator[list[Window]]:
    """Windows in groups of at most ``batch`` that share their layers, in the same order."""
    for _, row in groupby(windows, key=lambda window: window.z):
        group = list(row)
        for first in range(0, len(group), batch):
            yield group[first : first + batch]


def importance_map(patch_size: Iterable[int]) -> torch.Tensor:
    """Weight of each voxel of a window: a Gaussian around the centre, not below 0.001 (or its own minimum).

    Returns:
        float32 (x, y, z), bit for bit MONAI's Gaussian importance map.
    """
    weights = torch.ones(())
    for size in patch_size:
        offset = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
        sigma = _SIGMA_SCALE * size
        axis = torch.exp(offset**2 / (-2 * sigma**2))
        weights = weights[..., None] * axis
    return weights.clamp_(min=max(float(weights.min()), _MIN_WEIGHT))
