"""What is done to patches: against definitions, other ways to compute the same, and counts."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from suprem.errors import ConfigurationError
from suprem.tasks.distortions import (
    Curve,
    Distortion,
    DrawnDistortion,
    Masking,
    View,
    apply_distortion,
    apply_view,
    bezier,
    draw_distortion,
    draw_view,
    shuffled_order,
)

SHAPE = (24, 24, 20)
NOTHING = {"flip": 0.0, "shuffle": 0.0, "nonlinear": 0.0, "paint": 0.0}


def _image(shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> torch.Tensor:
    """Numbers that are all different, so that each tells where it comes from."""
    values = np.random.default_rng(seed).permutation(np.prod(shape)) / np.prod(shape)
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.301, 0.75])
@pytest.mark.parametrize("shape", [(16, 16, 16), (24, 24, 20), (32, 16, 8)])
def test_exactly_the_stated_share_is_masked(ratio: float, shape: tuple[int, int, int]) -> None:
    for seed in range(5):
        view = draw_view(Masking(ratio), [seed], shape)
        assert view.mask.shape == shape
        assert int(view.mask.sum()) == round(ratio * np.prod(shape))


def test_masks_are_boxes_of_the_stated_edges() -> None:
    def extents(share: float, seed: int) -> list[int]:
        mask = draw_view(Masking(share, 1 / 8, 1 / 4), [seed], (32, 32, 32)).mask
        places = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
        return [int(found[-1] - found[0]) + 1 for found in places]

    # 64 voxels lie in one box, whose edges are 4 to 8; a box that is cut keeps its first voxels.
    single = [extents(64 / 32**3, seed) for seed in range(60)]
    assert {edge for edges in single for edge in edges[1:]} == {4, 5, 6, 7, 8}
    assert any(edges == [4, 4, 4] or edges[0] < 4 for edges in single)
    assert all(min(extents(0.02, seed)) >= 4 for seed in range(20))  # 655 voxels: two whole boxes at least


def test_masked_voxels_are_noise_and_the_others_stay() -> None:
    view, image = draw_view(Masking(0.3), [5], SHAPE), _image()
    masked, turned = apply_view(view, image)
    inside = torch.from_numpy(view.mask)
    assert torch.equal(masked[~inside], turned[~inside])
    noise = masked[inside]
    assert not torch.isin(noise, image).all()
    assert float(noise.mean()) == pytest.approx(0.5, abs=0.03)  # 3,456 uniform numbers: s.d. of the mean is 0.005
    assert float(noise.std()) == pytest.approx(12**-0.5, abs=0.02)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_turning_back_gives_the_original(turns: int) -> None:
    image = _image()
    _, turned = apply_view(View(turns, np.zeros(SHAPE, bool), 0), image)
    torch.testing.assert_close(torch.rot90(turned, -turns, (0, 1)), image, rtol=0, atol=0)
    # By index: one quarter turn takes the x axis to the y axis and leaves z alone.
    x, y, z = 3, 7, 11
    for _ in range(turns):
        x, y = SHAPE[0] - 1 - y, x
    assert float(turned[x, y, z]) == float(image[3, 7, 11])


def test_all_turns_are_drawn_evenly_and_only_half_turns_of_oblong_patches() -> None:
    square = [draw_view(Masking(0), [seed], SHAPE).turns for seed in range(400)]
    assert all(abs(square.count(turns) - 100) < 35 for turns in range(4))  # 4 standard deviations
    assert {draw_view(Masking(0), [seed], (16, 8, 8)).turns for seed in range(50)} == {0, 2}


@pytest.mark.parametrize("falling", [False, True])
def test_curves_are_monotonic_and_meet_their_end_points(falling: bool) -> None:
    rng = np.random.default_rng(3)
    corners = [((1.0, 0.0), (0.0, 1.0)), ((0.0, 1.0), (0.0, 1.0)), ((1.0, 1.0), (0.0, 0.0))]
    drawn = [tuple(map(tuple, rng.random((2, 2)).tolist())) for _ in range(50)]
    values = torch.linspace(0, 1, 997)
    for first, second in [*corners, *drawn]:  # type: ignore[misc]
        curve = Curve(first, second, falling)  # type: ignore[arg-type]
        x, y = bezier(curve)
        assert (x[0], y[0], x[-1], y[-1]) == ((0, 1, 1, 0) if falling else (0, 0, 1, 1))
        assert (np.diff(x) > -1e-12).all()
        assert (np.diff(-y if falling else y) > -1e-12).all()
        mapped, _ = apply_distortion(DrawnDistortion(curve=curve), values.reshape(997, 1, 1))
        steps = mapped.flatten().diff()
        assert bool(((-steps if falling else steps) > -1e-6).all())
        assert [float(mapped[0]), float(mapped[-1])] == ([1, 0] if falling else [0, 1])


@pytest.mark.parametrize(
    ("first", "second"), [((0.2, 0.9), (0.7, 0.1)), ((0.9, 0.4), (0.1, 0.5)), ((0.0, 0.8), (0.6, 1.0))]
)
def test_values_lie_on_the_curve(first: tuple[float, float], second: tuple[float, float]) -> None:
    def point(t: float, axis: int) -> float:
        """De Casteljau's construction."""
        level = [0.0, first[axis], second[axis], 1.0]
        while len(level) > 1:
            level = [(1 - t) * a + t * b for a, b in pairwise(level)]
        return level[0]

    values = np.linspace(0.003, 0.997, 41)
    expected = [point(brentq(lambda t, v=v: point(t, 0) - v, 0, 1, xtol=1e-14), 1) for v in values]
    image = torch.from_numpy(values.astype(np.float32)).reshape(41, 1, 1)
    mapped, target = apply_distortion(DrawnDistortion(curve=Curve(first, second)), image)
    np.testing.assert_allclose(mapped.flatten().numpy(), expected, atol=2e-4)
    assert torch.equal(target, image)


def test_shuffling_a_window_keeps_its_values_and_everything_around_it() -> None:
    image = _image()
    rng = np.random.default_rng(1)
    moved_at_all = 0
    for _ in range(20):
        order = shuffled_order(rng, SHAPE, 1)
        result, target = apply_distortion(DrawnDistortion(order=order), image)
        assert torch.equal(target, image)
        moved = (result != image).nonzero()
        if not len(moved):
            continue
        moved_at_all += 1
        low, high = moved.amin(0), moved.amax(0) + 1
        assert all(int(edge) <= max(2, size // 10) for edge, size in zip(high - low, SHAPE, strict=True))
        box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        assert torch.equal(result[box].flatten().sort().values, image[box].flatten().sort().values)
    assert moved_at_all >= 10


def test_shuffling_many_windows_loses_no_value_and_moves_none_far() -> None:
    shape = (40, 40, 30)
    image = _image(shape)
    order = shuffled_order(np.random.default_rng(2), shape, 1000)
    assert np.array_equal(np.sort(order), np.arange(np.prod(shape)))
    result, _ = apply_distortion(DrawnDistortion(order=order), image)
    assert torch.equal(result.flatten().sort().values, image.flatten().sort().values)
    changed = float((result != image).float().mean())
    assert 0.15 < changed < 12.5 * 1000 / 48_000  # 1,000 windows of 2.5 x 2.5 x 2 voxels on average, some overlap
    came_from = np.stack(np.unravel_index(order, shape)) - np.indices(shape).reshape(3, -1)
    far = np.abs(came_from[:, order != np.arange(order.size)])
    assert far.mean() < 2
    assert far.max() < 16  # through overlapping windows, of 4 voxels each


def _drawn(seeds: int, **settings: float) -> list[DrawnDistortion]:
    return [draw_distortion(Distortion(**{**NOTHING, **settings}), [seed], SHAPE) for seed in range(seeds)]  # type: ignore[arg-type]


@pytest.mark.parametrize("inside", [True, False])
def test_painting_touches_exactly_its_region(inside: bool) -> None:
    image, shares = _image(), []
    for drawn in _drawn(30, paint=1.0, inpaint=float(inside)):
        assert drawn.painted is not None
        region = torch.from_numpy(drawn.painted)
        result, target = apply_distortion(drawn, image)
        assert torch.equal(target, image)
        assert torch.equal(result[~region], image[~region])
        assert float((result[region] != image[region]).float().mean()) > 0.99
        assert 0 <= float(result.min()) <= float(result.max()) <= 1
        shares.append(float(region.float().mean()))
        core = drawn.painted if inside else ~drawn.painted  # the windows
        edges = (1 / 6, 1 / 3) if inside else (3 / 7, 4 / 7)
        smallest = np.prod([int(edges[0] * size) for size in SHAPE])
        assert smallest <= core.sum() <= 5 * np.prod([int(edges[1] * size) for size in SHAPE])
    # In-painting stays below a quarter of the patch, out-painting does not.
    assert max(shares) < 0.25 if inside else np.mean(shares) > 0.25


def test_distortions_come_as_often_as_stated() -> None:
    drawn = [draw_distortion(Distortion(windows=1), [seed], (8, 8, 8)) for seed in range(2000)]
    found = {
        "shuffle": np.mean([d.order is not None for d in drawn]),
        "nonlinear": np.mean([d.curve is not None for d in drawn]),
        "falling": np.mean([d.curve.falling for d in drawn if d.curve is not None]),
        "paint": np.mean([d.painted is not None for d in drawn]),
        "any flip": np.mean([len(d.flips) > 0 for d in drawn]),
        "three flips": np.mean([len(d.flips) == 3 for d in drawn]),
    }
    expected = {"shuffle": 0.5, "nonlinear": 0.9, "falling": 0.5, "paint": 0.9, "any flip": 0.4, "three flips": 0.4**3}
    for name, share in expected.items():
        assert found[name] == pytest.approx(share, abs=4 * (share * (1 - share) / 1750) ** 0.5), name
    # Windows that are kept are larger than holes: edges of 3 to 4 of 8 voxels, and of 1 to 2.
    inside = np.mean([d.painted.sum() <= 5 * 2**3 for d in drawn if d.painted is not None])
    assert inside == pytest.approx(0.2, abs=4 * (0.2 * 0.8 / 1750) ** 0.5)


def test_the_target_is_mirrored_with_the_patch() -> None:
    image = _image()
    result, target = apply_distortion(DrawnDistortion(flips=(0, 2)), image)
    assert torch.equal(target, result)
    assert torch.equal(target, image.flip(0, 2))


def test_switching_one_distortion_off_leaves_the_others_as_they_were() -> None:
    for seed in range(10):
        every = draw_distortion(Distortion(), [seed], SHAPE)
        less = draw_distortion(Distortion(shuffle=0.0, flip=0.0), [seed], SHAPE)
        assert (less.order, less.flips) == (None, ())
        assert less.curve == every.curve
        assert (less.painted is None) == (every.painted is None)
        assert less.painted is None or np.array_equal(less.painted, every.painted)  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_patch_and_another_one_another() -> None:
    image = _image()

    def both(seed: int) -> list[torch.Tensor]:
        view = apply_view(draw_view(Masking(), [seed, 0], SHAPE), image)
        distorted = apply_distortion(draw_distortion(Distortion(), [seed, 2], SHAPE), image)
        return [*view, *distorted]

    for first, second in zip(both(4), both(4), strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(both(4)[0], both(5)[0])
    assert not torch.equal(both(4)[2], both(5)[2])


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        (Masking, {"ratio": 1.0}, "ratio is 1.0"),
        (Masking, {"smallest": 0.5}, "edges are 0.5 to 0.25"),
        (Distortion, {"paint": 1.2}, "probabilities must lie"),
        (Distortion, {"windows": 0}, "windows is 0"),
        (Distortion, {"kept": (0.6, 0.4)}, "edges must rise"),
    ],
)
def test_what_cannot_be(kind: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        kind(**options)
