"""Surface scores against analytic shapes, a distance transform and the conventions for empty masks."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from suprem.errors import ConfigurationError
from suprem.evaluation._surface import cell_areas, surface_of
from suprem.evaluation.metrics import compare_labels, compare_masks


def test_cell_areas_of_known_cells() -> None:
    areas = cell_areas((1.0, 1.0, 1.0))
    assert areas[1] == pytest.approx(math.sqrt(3) / 8)
    assert areas[0b00001111] == pytest.approx(1)
    assert areas[0b00000011] == pytest.approx(math.sqrt(0.5))
    assert cell_areas((2.0, 3.0, 5.0))[0b00001111] == pytest.approx(15)
    assert (areas[1:255] > 0).all()


def test_sphere_area() -> None:
    x, y, z = np.mgrid[-20:21, -20:21, -10:11]
    area = surface_of(x**2 + y**2 + (2.0 * z) ** 2 < 15**2, (1.0, 1.0, 2.0)).areas.sum()
    assert area == pytest.approx(4 * math.pi * 15**2, rel=0.12)


def test_shifted_cube_with_anisotropic_spacing() -> None:
    first, second = np.zeros((2, 24, 20, 20), dtype=bool)
    first[4:14, 5:15, 5:15] = True
    second[6:16, 5:15, 5:15] = True
    found = compare_masks(first, second, (1.5, 1.0, 2.0), 3.0)
    assert (found.hd_mm, found.hd95_mm, found.nsd) == pytest.approx((3, 3, 1))
    assert compare_masks(first, second, (1.5, 1.0, 2.0), 1.0).nsd < 1
    assert found.volume_error_ml == found.relative_volume_error == 0
    assert found.dsc == pytest.approx(0.8)


@pytest.mark.parametrize("seed", range(4))
def test_equals_a_distance_transform_of_the_whole_grid(seed: int) -> None:
    rng, spacing = np.random.default_rng(seed), (0.8, 1.3, 2.5)
    masks = [ndimage.gaussian_filter(rng.normal(size=(18, 16, 14)), 1.5) > 0.05 for _ in range(2)]
    weights = []
    for mask in masks:
        padded = np.pad(mask, 1).astype(int)
        corners = [(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]
        code = sum(padded[i : i + 19, j : j + 17, k : k + 15] << n for n, (i, j, k) in enumerate(corners))
        weights.append(cell_areas(spacing)[code])
    fields = [ndimage.distance_transform_edt(w == 0, sampling=spacing) for w in weights]
    ways = [(fields[1 - n][weights[n] > 0], weights[n][weights[n] > 0]) for n in (0, 1)]
    d, a = (np.concatenate(p) for p in zip(*ways, strict=True))
    found = compare_masks(*masks, spacing, 1.0)
    assert found.nsd == pytest.approx(a[d <= 1.0].sum() / a.sum(), abs=1e-6)
    assert found.hd_mm == pytest.approx(d.max(), abs=1e-6)
    assert found.asd_mm == pytest.approx((d * a).sum() / a.sum(), abs=1e-6)
    tails = [min(v for v in np.unique(x) if w[x <= v].sum() / w.sum() >= 0.95) for x, w in ways]
    assert found.hd95_mm == pytest.approx(max(tails), abs=1e-6)


@pytest.mark.parametrize(
    ("empty", "share", "apart"), [("absent", math.nan, math.nan), ("one", 1, 0), ("zero", 0, math.inf)]
)
def test_empty_masks(empty: Any, share: float, apart: float) -> None:
    nothing, something = np.zeros((5, 5, 5), dtype=np.uint8), np.ones((5, 5, 5), dtype=np.uint8)
    both = compare_masks(nothing, nothing, (1, 1, 1), 1, empty=empty)
    assert (both.dsc, both.nsd, both.hd95_mm) == pytest.approx((share, share, apart), nan_ok=True)
    assert both.volume_error_ml == 0
    assert math.isnan(both.relative_volume_error)
    missed = compare_masks(nothing, something, (1, 1, 2), 1, empty=empty)
    assert (missed.nsd, missed.hd_mm, missed.volume_error_ml) == (0, math.inf, -0.25)
    assert missed.relative_volume_error == -1
    assert compare_masks(something, nothing, (1, 1, 2), 1, empty=empty).relative_volume_error == math.inf


def test_all_labels_in_one_pass_equal_single_masks() -> None:
    one, two = np.random.default_rng(1).integers(0, 4, (2, 9, 8, 7))
    found = compare_labels(one, two, (1, 1, 3), {1: 0.5, 3: 2.0})
    assert found == {n: compare_masks(one == n, two == n, (1, 1, 3), t) for n, t in ((1, 0.5), (3, 2.0))}


def test_refusals() -> None:
    cube = np.ones((3, 3, 3), dtype=int)
    for arguments, message in (
        ((cube, cube[1:], (1, 1, 1), {1: 1}), "same grid"),
        ((cube, cube * 1.0, (1, 1, 1), {1: 1}), "integers"),
        ((cube, cube, (1, 0, 1), {1: 1}), "positive sizes"),
        ((cube, cube, (1, 1, 1), {0: 1}), "labels are positive"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            compare_labels(*arguments)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_hausdorff_distance_of_boxes_equals_monai() -> None:
    torch, metrics = pytest.importorskip("torch"), pytest.importorskip("monai.metrics")
    first, second = np.zeros((2, 24, 20, 20), dtype=bool)
    first[4:14, 5:15, 5:15] = True
    second[7:17, 5:15, 3:13] = True
    batches = [torch.from_numpy(mask)[None, None].float() for mask in (first, second)]
    expected = metrics.compute_hausdorff_distance(*batches, include_background=True, spacing=(1.5, 1.0, 2.0))
    assert compare_masks(first, second, (1.5, 1.0, 2.0), 1.0).hd_mm == pytest.approx(float(expected), abs=1e-5)
