"""The surface metrics equal those of DeepMind's package, with which the normalised surface distance was defined."""

import warnings
from typing import Any

import numpy as np
import pytest
import surface_distance as deepmind
from scipy import ndimage

from suprem.evaluation.metrics import compare_masks

CASES = 200


def _distances(prediction: Any, reference: Any, spacing: tuple[float, float, float]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # theirs uses names that SciPy gives up
        return deepmind.compute_surface_distances(reference, prediction, spacing)


@pytest.mark.parametrize("block", range(0, CASES, 20))
def test_nsd_and_hausdorff_distances_of_random_masks_on_anisotropic_grids(block: int) -> None:
    for seed in range(block, block + 20):
        rng = np.random.default_rng(seed)
        shape = rng.integers(6, 24, 3)
        spacing = tuple(float(size) for size in rng.uniform(0.4, 5, 3))
        tolerance = float(rng.uniform(0.2, 5))
        # From coherent bodies to noise, in which every way to fill a cell occurs.
        first, second = (
            ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(0.3, 3)) > rng.normal(0, 0.1) for _ in range(2)
        )
        first.flat[0] = second.flat[-1] = True  # theirs fails on an empty mask
        ours = compare_masks(first, second, (spacing[0], spacing[1], spacing[2]), tolerance)
        theirs = _distances(first, second, spacing)
        expected = (
            deepmind.compute_surface_dice_at_tolerance(theirs, tolerance),
            deepmind.compute_robust_hausdorff(theirs, 95),
            deepmind.compute_robust_hausdorff(theirs, 100),
        )
        assert (ours.nsd, ours.hd95_mm, ours.hd_mm) == pytest.approx(expected, abs=1e-6), seed


@pytest.mark.parametrize("seed", range(20))
def test_ties_of_distances_with_the_tolerance_fall_alike(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spacing = tuple(float(size) for size in rng.uniform(0.4, 3, 3).round(1))
    first, second = np.zeros((2, 30, 28, 26), dtype=bool)
    low, size = rng.integers(0, 9, 3), rng.integers(3, 9, 3)
    shift = rng.integers(0, 9, 3)
    first[tuple(slice(a, a + n) for a, n in zip(low, size, strict=True))] = True
    second[tuple(slice(a + d, a + d + n) for a, d, n in zip(low, shift, size, strict=True))] = True
    theirs = _distances(first, second, (spacing[0], spacing[1], spacing[2]))
    for tolerance in {0.0, *np.unique(theirs["distances_gt_to_pred"])[:12].tolist()}:
        ours = compare_masks(first, second, (spacing[0], spacing[1], spacing[2]), tolerance)
        assert ours.nsd == pytest.approx(deepmind.compute_surface_dice_at_tolerance(theirs, tolerance), abs=1e-6)
    average = deepmind.compute_average_surface_distance(theirs)
    areas = [theirs[f"surfel_areas_{side}"].sum() for side in ("gt", "pred")]
    assert ours.asd_mm == pytest.approx(np.average(average, weights=areas), abs=1e-6)
