"""Where the sliding windows lie and how their voxels are weighted.

Over a whole volume they follow the rules of MONAI's sliding-window inference, over a body they are as few as its extent
allows.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, product
from typing import NamedTuple

import torch

from suprem.errors import ConfigurationError

__all__ = [
    "Box",
    "Extent",
    "Window",
    "best_window",
    "check_overlap",
    "fitted_windows",
    "importance_map",
    "in_batches",
    "plan_windows",
    "shared_voxels",
    "spread_starts",
    "whole",
    "window_starts",
]

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""First voxel and the one behind the last, along x, y and z."""

Extent = Callable[[int, int], Box]
"""The smallest box around a body between two layers; without one in them, the box around all of it."""

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
    check_overlap(overlap)
    xs, ys, zs = (window_starts(n, p, overlap) for n, p in zip(shape, patch_size, strict=True))
    found = [Window(z, x, y) for z in zs for x in xs for y in ys]
    if mirror:
        flipped = [shape[0] - patch_size[0] - x for x in xs]
        found += [Window(z, x, y, mirrored=True) for z in zs for x in flipped for y in ys]
    return tuple(sorted(found))


def check_overlap(overlap: float) -> None:
    """Refuses what no windows can overlap by.

    Raises:
        ConfigurationError: ``overlap`` is outside [0, 1).
    """
    if not 0 <= overlap < 1:
        raise ConfigurationError(f"overlap is {overlap}; it must be at least 0 and below 1, usually 0.25 to 0.5.")


def shared_voxels(patch_size: Sequence[int], overlap: float) -> tuple[int, ...]:
    """How many voxels neighbours have in common along each axis where ``overlap`` of a window is asked for.

    Example:
        >>> shared_voxels((96, 96, 48), 0.5)
        (48, 48, 24)
    """
    return tuple(patch - max(1, int(patch * (1 - overlap))) for patch in patch_size)


def spread_starts(low: int, high: int, volume: int, patch: int, shared: int) -> tuple[int, ...]:
    """First voxels of the fewest windows that cover ``low:high`` along one axis of ``volume`` voxels, evenly spread.

    A single window lies around the middle of the range, moved so that it does not reach beyond the volume unless it is
    longer than that. Neighbours have at least ``shared`` voxels in common.

    Example:
        >>> spread_starts(10, 190, 200, 96, 24), spread_starts(10, 80, 200, 96, 24), spread_starts(0, 75, 75, 96, 0)
        ((10, 52, 94), (0,), (-10,))
    """
    size = high - low
    if size <= patch:
        if volume <= patch:
            return (-((patch - volume) // 2),)
        return (min(max(low - (patch - size) // 2, 0), volume - patch),)
    count = _count(size, patch, shared)
    return tuple(low + round(i * (size - patch) / (count - 1)) for i in range(count))


def _count(size: int, patch: int, shared: int) -> int:
    """The fewest windows that cover ``size`` voxels with the overlap."""
    return max(0, math.ceil((size - patch) / (patch - shared))) + 1


def fitted_windows(
    shape: Sequence[int],
    patch_size: Sequence[int],
    shared: Sequence[int],
    extent: Extent,
    *,
    mirror: bool = False,
) -> tuple[Window, ...]:
    """The fewest windows that cover a body with the overlap, from the feet to the head.

    They are spread evenly, along z over the whole body and in each of these layers over what the body takes up there.

    Args:
        shape: voxels (X, Y, Z) of the volume.
        patch_size: voxels (x, y, z) of a window.
        shared: voxels (x, y, z) that a window has at least in common with its neighbour, fewer than it has itself.
        extent: where the body is.
        mirror: add the windows that a left-right mirrored body would be given, at their mirrored positions.
    """
    width, depth, height = patch_size
    found = []
    for z, ((low, high), (back, front)) in _layers(shape, height, shared[2], extent):
        xs = [(x, False) for x in spread_starts(low, high, shape[0], width, shared[0])]
        if mirror:
            seen = spread_starts(shape[0] - high, shape[0] - low, shape[0], width, shared[0])
            xs += [(shape[0] - width - x, True) for x in seen]
        ys = spread_starts(back, front, shape[1], depth, shared[1])
        found += [Window(z, x, y, mirrored) for x, mirrored in xs for y in ys]
    return tuple(sorted(found))


def whole(shape: Sequence[int]) -> Extent:
    """The extent of what fills a volume of ``shape``."""
    return lambda start, stop: ((0, shape[0]), (0, shape[1]), (start, stop))


def best_window(
    shape: Sequence[int],
    patch_size: Sequence[int],
    shared: Sequence[int],
    extent: Extent,
    *,
    growth: float,
    bulk: float,
    lone_bulk: float,
    divisor: int,
) -> tuple[int, int, int]:
    """The window with which :func:`fitted_windows` puts the fewest voxels through a network; of equals the smallest.

    Args:
        shape: voxels (X, Y, Z) of the volume.
        patch_size: voxels (x, y, z) of the smallest window.
        shared: voxels (x, y, z) that a window has at least in common with its neighbour, whatever its size.
        extent: where the body is.
        growth: how many times longer a window may be along each axis, at least 1.
        bulk: how many times as many voxels it may have, at least 1.
        lone_bulk: the same of a window that covers the body alone along an axis where the smallest does not.
        divisor: sizes must be multiples of this.
    """
    whole_body = [high - low for low, high in extent(0, shape[2])]
    xs, ys, zs = (range(patch, int(patch * growth) + 1, divisor) for patch in patch_size)
    volume = math.prod(patch_size)
    best: tuple[int, tuple[int, int, int]] | None = None
    for z in zs:
        layers = [[high - low for low, high in plane] for _, plane in _layers(shape, z, shared[2], extent)]
        for x, y in product(xs, ys):
            alone = any(patch < size <= n for size, n, patch in zip(whole_body, (x, y, z), patch_size, strict=True))
            if x * y * z > volume * (lone_bulk if alone else bulk):
                continue
            count = sum(_count(width, x, shared[0]) * _count(depth, y, shared[1]) for width, depth in layers)
            found = (count * x * y * z, (x, y, z))
            best = min(best, found) if best else found
    return (patch_size[0], patch_size[1], patch_size[2]) if best is None else best[1]


def _layers(
    shape: Sequence[int], height: int, shared: int, extent: Extent
) -> Iterator[tuple[int, tuple[tuple[int, int], tuple[int, int]]]]:
    """First layer of the windows that share their layers, and what the body takes up there along x and y."""
    for z in spread_starts(*extent(0, shape[2])[2], shape[2], height, shared):
        x, y, _ = extent(max(z, 0), min(z + height, shape[2]))
        yield z, (x, y)


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
