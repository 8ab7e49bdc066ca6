"""MONAI's metrics where conventions agree, and what must be changed in its way of counting where they do not.

Its Hausdorff distances run between the centres of voxels that binary erosion removes, all of one weight, and its
percentile interpolates; ours run between surface elements, weighted by area. Boxes that are moved are as far apart in
both ways. Its sub-voxel elements, distances and areas give our HD95 if the percentile is weighted.
"""

import math
import warnings
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from suprem.evaluation.metrics import compare_masks

torch = pytest.importorskip("torch")
metrics = pytest.importorskip("monai.metrics")
utils = pytest.importorskip("monai.metrics.utils")

CASES = 200


def _spacing(rng: np.random.Generator) -> tuple[float, float, float]:
    x, y, z = (float(size) for size in rng.uniform(0.4, 5, 3))
    return x, y, z


def _batches(*masks: np.ndarray) -> list[Any]:
    return [torch.from_numpy(mask)[None, None] for mask in masks]


@pytest.mark.parametrize("block", range(0, CASES, 40))
def test_dice_nsd_and_weighted_hd95_of_random_masks(block: int) -> None:
    for seed in range(block, block + 40):
        rng = np.random.default_rng(seed)
        shape, spacing, tolerance = rng.integers(6, 20, 3), _spacing(rng), float(rng.uniform(0.2, 5))
        first, second = (
            ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(0.3, 3)) > rng.normal(0, 0.1) for _ in range(2)
        )
        first.flat[0] = second.flat[-1] = True
        ours, pair = compare_masks(first, second, spacing, tolerance), _batches(first, second)
        dice = metrics.compute_dice(*(mask.float() for mask in pair), include_background=True)
        assert ours.dsc == pytest.approx(float(dice), abs=1e-6), seed
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            nsd = metrics.compute_surface_dice(
                *pair, [tolerance], include_background=True, spacing=spacing, use_subvoxels=True
            )
            edges, distances, areas = utils.get_edge_surface_distance(
                *(mask[0, 0] for mask in pair), spacing=spacing, use_subvoxels=True, symmetric=True
            )
        assert ours.nsd == pytest.approx(float(nsd), abs=1e-5), seed
        tails, peaks = [], []
        for edge, lengths, weights in zip(edges, distances, areas, strict=True):
            values, parts = (np.asarray(tensor, dtype=np.float64) for tensor in (lengths, weights[edge]))
            order = np.argsort(values)
            share = np.cumsum(parts[order]) / parts.sum()
            tails.append(values[order][min(np.searchsorted(share, 0.95), len(values) - 1)])
            peaks.append(values.max())
        assert ours.hd_mm == pytest.approx(max(peaks), abs=1e-5), seed
        assert ours.hd95_mm == pytest.approx(max(tails), abs=1e-5), seed


@pytest.mark.parametrize("block", range(0, CASES, 40))
def test_hausdorff_distance_of_moved_boxes(block: int) -> None:
    for seed in range(block, block + 40):
        rng = np.random.default_rng(seed)
        spacing, size, low, shift = _spacing(rng), rng.integers(2, 8, 3), rng.integers(0, 6, 3), rng.integers(0, 6, 3)
        first, second = np.zeros((2, 20, 20, 20), dtype=bool)
        first[tuple(slice(a, a + n) for a, n in zip(low, size, strict=True))] = True
        second[tuple(slice(a + d, a + d + n) for a, d, n in zip(low, shift, size, strict=True))] = True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            expected = metrics.compute_hausdorff_distance(
                *_batches(first, second), include_background=True, spacing=spacing
            )
        assert compare_masks(first, second, spacing, 1.0).hd_mm == pytest.approx(float(expected), abs=1e-5), seed


def _theirs(first: np.ndarray, second: np.ndarray, tolerance: float) -> tuple[float, ...]:
    """MONAI's defaults: Dice, NSD, HD, HD95 and average distance at 1 x 1 x 2 mm."""
    pair, options = _batches(first, second), {"include_background": True, "spacing": (1.0, 1.0, 2.0)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of empty masks
        return (
            float(metrics.compute_dice(*(mask.float() for mask in pair), include_background=True)),
            float(metrics.compute_surface_dice(*pair, [tolerance], **options)),
            float(metrics.compute_hausdorff_distance(*pair, **options)),
            float(metrics.compute_hausdorff_distance(*pair, percentile=95, **options)),
            float(metrics.compute_average_surface_distance(*pair, symmetric=True, **options)),
        )


def test_differences_that_the_documentation_tells() -> None:
    cube = np.zeros((30, 30, 30), dtype=bool)
    cube[5:15, 5:15, 5:15] = True
    x, y, z = np.mgrid[-30:31, -30:31, -15:16]
    large, small = (x**2 + y**2 + (2 * z) ** 2 <= radius**2 for radius in (24, 20))
    for first, second, tolerance, our_row, their_row in (
        (np.roll(cube, 3, axis=0), cube, 1.0, (0.583, 3.00, 1.23), (0.623, 3.00, 1.11)),
        (large, small, 2.0, (0.003, 4.12, 3.39), (0.000, 4.24, 3.76)),
    ):
        ours, theirs = compare_masks(first, second, (1.0, 1.0, 2.0), tolerance), _theirs(first, second, tolerance)
        assert (ours.nsd, ours.hd95_mm, ours.asd_mm) == pytest.approx(our_row, abs=0.005)
        assert (theirs[1], theirs[3], theirs[4]) == pytest.approx(their_row, abs=0.005)


def test_empty_masks_that_the_documentation_tells() -> None:
    nothing, something = np.zeros((2, 6, 6, 6), dtype=bool)
    something[1:4, 1:4, 1:4] = True
    nan, inf = math.nan, math.inf
    for first, second, our_row, their_row in (
        (nothing, nothing, (nan, nan, nan), (nan, nan, nan, nan)),
        (something, nothing, (0, 0, inf), (nan, 0, inf, nan)),
        (nothing, something, (0, 0, inf), (0, 0, inf, nan)),
    ):
        ours = compare_masks(first, second, (1.0, 1.0, 2.0), 1.0)
        assert (ours.dsc, ours.nsd, ours.hd95_mm) == pytest.approx(our_row, nan_ok=True)
        assert _theirs(first, second, 1.0)[:4] == pytest.approx(their_row, nan_ok=True)
