"""The surface metrics equal those of DeepMind's package, with which the normalised surface distance was defined."""

import numpy as np
import pytest
import surface_distance as deepmind
from scipy import ndimage

from suprem.evaluation.metrics import compare_masks

CASES = 200


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
        theirs = deepmind.compute_surface_distances(first, second, spacing)
        expected = (
            deepmind.compute_surface_dice_at_tolerance(theirs, tolerance),
            deepmind.compute_robust_hausdorff(theirs, 95),
            deepmind.compute_robust_hausdorff(theirs, 100),
        )
        assert (ours.nsd, ours.hd95_mm, ours.hd_mm) == pytest.approx(expected, abs=1e-6), seed
