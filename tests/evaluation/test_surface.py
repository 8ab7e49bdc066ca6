"""Surface scores against analytic shapes, a distance transform and the conventions for empty masks."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from suprem.errors import ConfigurationError
from suprem.evaluation import _surface
from suprem.evaluation._cells import cell_areas
from suprem.evaluation._surface import surfaces_of
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
    ball = (x**2 + y**2 + (2.0 * z) ** 2 < 15**2).astype(np.uint8)
    with ThreadPoolExecutor(1) as pool:
        codes = surfaces_of(ball, 1, pool)[0].codes
    area = cell_areas((1.0, 1.0, 2.0))[codes].sum()
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


def test_concentric_balls_with_anisotropic_spacing() -> None:
    spacing, radii = (0.5, 0.5, 1.0), (10.0, 13.0)
    x, y, z = (np.arange(-n, n + 1) * size for n, size in zip((28, 28, 14), spacing, strict=True))
    square = x[:, None, None] ** 2 + y[:, None] ** 2 + z**2
    found = compare_masks(square <= radii[1] ** 2, square <= radii[0] ** 2, spacing, 3.5)
    step = math.hypot(*spacing)
    assert found.dsc == pytest.approx(2 * 10**3 / (10**3 + 13**3), abs=0.01)
    assert found.volume_error_ml == pytest.approx(4 / 3 * math.pi * (13**3 - 10**3) / 1000, rel=0.02)
    # The nearest of many elements on a staircase is a little too near: a bias of less than half a voxel.
    assert 3 - step / 2 < found.asd_mm < found.hd95_mm <= found.hd_mm < 3 + step
    assert found.nsd > 0.95
    assert compare_masks(square <= radii[1] ** 2, square <= radii[0] ** 2, spacing, 2.0).nsd < 0.02


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


def _labels(seed: int, shape: tuple[int, int, int] = (20, 17, 13)) -> np.ndarray:
    fields = [ndimage.gaussian_filter(np.random.default_rng([seed, n]).normal(size=shape), 2) for n in range(5)]
    return np.argmax(fields, axis=0)


@pytest.mark.parametrize("layout", ["fortran", "flipped", "permuted", "mixed"])
def test_memory_order_does_not_matter(layout: str) -> None:
    one, two = _labels(0).astype(np.uint8), _labels(1).astype(np.uint8)
    arguments = ((0.7, 1.1, 2.3), dict.fromkeys(range(1, 5), 1.1))
    expected = compare_labels(one, two, *arguments)
    turn = {
        "fortran": np.asfortranarray,
        "flipped": lambda a: np.ascontiguousarray(a[::-1, :, ::-1])[::-1, :, ::-1],
        "permuted": lambda a: np.ascontiguousarray(a.transpose(1, 2, 0)).transpose(2, 0, 1),
        "mixed": lambda a: np.asfortranarray(a) if a is two else a,
    }[layout]
    found = compare_labels(turn(one), turn(two), *arguments)
    for label, scores in expected.items():
        assert astuple(found[label]) == pytest.approx(astuple(scores), abs=1e-9)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64])
def test_any_integers_and_labels_that_are_not_compared(dtype: Any) -> None:
    one, two = _labels(2), _labels(3)
    expected = compare_labels(one.astype(np.uint8), two.astype(np.uint8), (1, 2, 3), {2: 1.0, 4: 2.0})
    numbers = np.array([0, -7, 9, 99, 100]) if np.issubdtype(dtype, np.signedinteger) else np.array([0, 3, 9, 99, 100])
    found = compare_labels(numbers.astype(dtype)[one], numbers.astype(dtype)[two], (1, 2, 3), {9: 1.0, 100: 2.0})
    assert list(found.values()) == list(expected.values())


@pytest.mark.parametrize("count", [254, 255, 256, 300])
def test_as_many_labels_as_bytes_tell_apart_and_more(count: int) -> None:
    one = np.arange(count + 1).repeat(8)[: (count + 1) * 8].reshape(-1, 2, 2)
    two = one.copy()
    two[one == count] = count - 1  # the last structure is missing, the one before it twice as large
    found = compare_labels(one, two, (1, 1, 2), dict.fromkeys(range(1, count + 1), 1.0))
    assert list(found) == list(range(1, count + 1))
    assert {label for label, scores in found.items() if scores.dsc != 1} == {count - 1, count}
    assert found[count - 1].dsc == pytest.approx(2 / 3)
    assert (found[count].dsc, found[count].volume_error_ml) == (0, 0.016)
    if count < 256:
        same = compare_labels(one.astype(np.uint8), two.astype(np.uint8), (1, 1, 2), {count: 1.0, 1: 1.0})
        assert same == {label: found[label] for label in (count, 1)}


def test_bytes_beside_wider_integers() -> None:
    one, two = _labels(6), _labels(7)
    expected = compare_labels(one.astype(np.uint8), two.astype(np.uint8), (1, 1, 1), {3: 1.0})
    assert compare_labels(one.astype(np.uint8), two.astype(np.int16), (1, 1, 1), {3: 1.0}) == expected
    assert compare_labels(one.astype(np.int16), two.astype(np.uint8), (1, 1, 1), {3: 1.0}) == expected
    assert compare_labels(one.astype(np.uint8), two.astype(np.uint8), (1, 1, 1), {}) == {}


def test_blocks_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = _labels(4).astype(np.uint8), _labels(5).astype(np.uint8)
    arguments = (one, two, (1.0, 1.5, 2.0), dict.fromkeys(range(1, 5), 1.5))
    expected = compare_labels(*arguments, threads=1)
    monkeypatch.setattr(_surface, "_BLOCK", 700)
    found = compare_labels(*arguments, threads=3)
    for label, scores in expected.items():
        assert astuple(found[label]) == pytest.approx(astuple(scores), abs=1e-9)


@pytest.mark.parametrize("spacing", [(0.1, 0.1, 0.3), (0.7, 0.9, 1.1)])
def test_a_surface_exactly_at_the_tolerance_is_within_it(spacing: tuple[float, float, float]) -> None:
    for axis, voxels in ((0, 3), (1, 7), (2, 12)):
        first, second = np.zeros((2, 30, 30, 30), dtype=bool)
        first[2:10, 2:10, 2:10] = True
        second[2:10, 2:10, 2:10] = True
        moved = np.roll(second, voxels, axis)
        assert compare_masks(first, moved, spacing, voxels * spacing[axis]).nsd == 1
        assert compare_masks(first, moved, spacing, voxels * spacing[axis] * 0.999).nsd < 1


def test_structures_at_the_border_far_apart_and_of_one_voxel() -> None:
    first, second = np.zeros((2, 60, 9, 9), dtype=np.uint8)
    first[0, 0, 0], second[59, 8, 8] = 1, 1
    found = compare_masks(first, second, (2.0, 1.0, 3.0), 1.0)
    corner = math.sqrt((58 * 2) ** 2 + 7**2 + (7 * 3) ** 2)
    assert found.dsc == found.nsd == 0
    assert found.hd_mm == pytest.approx(math.sqrt((59 * 2) ** 2 + 8**2 + (8 * 3) ** 2))
    assert corner < found.asd_mm < found.hd_mm
    # The border of the array is a surface: a mask that fills it is closed there.
    whole = np.ones((4, 5, 6), dtype=np.uint8)
    assert compare_masks(whole, whole, (1, 1, 1), 0.0).nsd == 1
    assert compare_labels(whole[:0], whole[:0], (1, 1, 1), {1: 1.0})[1].volume_error_ml == 0
    assert compare_labels(whole, whole, (1, 1, 1), {}) == {}


def test_refusals() -> None:
    cube = np.ones((3, 3, 3), dtype=int)
    for arguments, message in (
        ((cube, cube[1:], (1, 1, 1), {1: 1}), "same grid"),
        ((cube, cube * 1.0, (1, 1, 1), {1: 1}), "integers"),
        ((cube, cube, (1, 0, 1), {1: 1}), "positive sizes"),
        ((cube, cube, (1, math.inf, 1), {1: 1}), "positive sizes"),
        ((cube, cube, (1, 1), {1: 1}), "positive sizes"),
        ((cube, cube, (1, 1, 1), {0: 1}), "labels are positive"),
        ((cube, cube, (1, 1, 1), {1: -1}), "labels are positive"),
        ((cube, cube, (1, 1, 1), {1: math.nan}), "labels are positive"),
        ((cube, cube, (1, 1, 1), {1: math.inf}), "labels are positive"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            compare_labels(*arguments)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="at least one"):
        compare_labels(cube, cube, (1, 1, 1), {1: 1}, threads=0)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_hausdorff_distance_of_boxes_equals_monai() -> None:
    torch, metrics = pytest.importorskip("torch"), pytest.importorskip("monai.metrics")
    first, second = np.zeros((2, 24, 20, 20), dtype=bool)
    first[4:14, 5:15, 5:15] = True
    second[7:17, 5:15, 3:13] = True
    batches = [torch.from_numpy(mask)[None, None].float() for mask in (first, second)]
    expected = metrics.compute_hausdorff_distance(*batches, include_background=True, spacing=(1.5, 1.0, 2.0))
    assert compare_masks(first, second, (1.5, 1.0, 2.0), 1.0).hd_mm == pytest.approx(float(expected), abs=1e-5)
