from collections import Counter
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.inferers.utils import _get_scan_interval

from suprem.errors import ConfigurationError
from suprem.inference.body import BodyMask
from suprem.inference.windows import (
    best_window,
    fitted_windows,
    importance_map,
    in_batches,
    plan_windows,
    shared_voxels,
    window_starts,
)


@pytest.mark.parametrize("patch", [(96, 96, 96), (32, 48, 64), (7, 5, 3), (1, 1, 1)])
def test_importance_map_is_monais_bit_for_bit(patch):
    assert torch.equal(importance_map(patch), compute_importance_map(patch, mode="gaussian"))


@pytest.mark.parametrize("overlap", [0, 0.25, 0.3, 0.5, 0.75, 0.99])
@pytest.mark.parametrize("patch", [3, 16, 33])
def test_starts_are_monais(patch, overlap):
    for size in range(1, 120):
        padded = max(size, patch)
        interval = _get_scan_interval((padded,), (patch,), 1, (overlap,))
        expected = [s[0].start - (padded - size) // 2 for s in dense_patch_slices((padded,), (patch,), interval)]
        assert window_starts(size, patch, overlap) == tuple(expected), size


def test_windows_run_from_the_feet_up():
    windows = plan_windows((40, 20, 40), (16, 16, 16), 0.5)
    assert [w.z for w in windows] == sorted(w.z for w in windows)
    assert len(windows) == 4 * 2 * 4
    assert len(set(windows)) == len(windows)


@pytest.mark.parametrize("size", [9, 12, 16, 37])
def test_mirrored_windows_are_those_of_the_mirrored_volume(size):
    windows = plan_windows((size, 16, 16), (16, 16, 16), 0.5, mirror=True)
    plain = {w.x for w in windows if not w.mirrored}
    assert {size - 16 - w.x for w in windows if w.mirrored} == plain == set(window_starts(size, 16, 0.5))


def test_batches_keep_order_and_never_mix_layers():
    windows = plan_windows((40, 20, 40), (16, 16, 16), 0.5)
    batches = list(in_batches(windows, 3))
    assert [w for batch in batches for w in batch] == list(windows)
    assert all(len(batch) <= 3 and len({w.z for w in batch}) == 1 for batch in batches)
    assert max(map(len, batches)) == 3


@pytest.mark.parametrize("overlap", [-0.1, 1.0, 1.5])
def test_impossible_overlap_is_refused(overlap):
    with pytest.raises(ConfigurationError, match="at least 0 and below 1"):
        plan_windows((40, 20, 40), (16, 16, 16), overlap)


def bodies():
    """Bool volumes with a box-like body or two in them, a window, an overlap, and what sizes are multiples of."""

    @st.composite
    def draw(pick):
        shape = tuple(pick(st.integers(4, 60)) for _ in range(3))
        mask = np.zeros(shape, dtype=bool)
        for _ in range(pick(st.integers(1, 3))):
            low = [pick(st.integers(0, n - 1)) for n in shape]
            high = [pick(st.integers(a + 1, n)) for a, n in zip(low, shape, strict=True)]
            mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
        divisor = pick(st.sampled_from([1, 2, 4]))
        patch = tuple(divisor * pick(st.integers(2, 6)) for _ in range(3))
        return mask, patch, pick(st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.7])), divisor

    return draw()


def body_of(mask):
    """A mask that is as fine as the grid."""
    return BodyMask(mask, tuple(np.arange(n) for n in mask.shape))


def spans(windows, axis, size):
    """The ranges that windows cover along an axis, in order."""
    return sorted({(w.start[axis], w.start[axis] + size) for w in windows})


@given(bodies(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_voxel_of_a_body_has_a_positive_weight(drawn, mirror):
    mask, patch, overlap, _ = drawn
    windows = fitted_windows(mask.shape, patch, shared_voxels(patch, overlap), body_of(mask).extent, mirror=mirror)
    weights = np.zeros(mask.shape)
    importance = importance_map(patch).numpy()
    assert (importance > 0).all()
    for window in windows:
        if not mirror or not window.mirrored:
            inside = [(max(s, 0), min(s + p, n)) for s, p, n in zip(window.start, patch, mask.shape, strict=True)]
            source = tuple(slice(a - s, b - s) for (a, b), s in zip(inside, window.start, strict=True))
            weights[tuple(slice(a, b) for a, b in inside)] += importance[source]
    assert (weights[mask] > 0).all()
    if mirror:
        flipped = fitted_windows(mask.shape, patch, shared_voxels(patch, overlap), body_of(mask[::-1]).extent)
        assert {(w.z, mask.shape[0] - patch[0] - w.x, w.y) for w in windows if w.mirrored} == {
            (w.z, w.x, w.y) for w in flipped
        }


@given(bodies())
@settings(max_examples=60, deadline=None)
def test_windows_are_the_fewest_and_reach_no_further_than_the_body_needs(drawn):
    mask, patch, overlap, _ = drawn
    body = body_of(mask)
    windows = fitted_windows(mask.shape, patch, shared_voxels(patch, overlap), body.extent)
    assert len(set(windows)) == len(windows)
    assert list(windows) == sorted(windows)
    for z in {w.z for w in windows}:
        row = [w for w in windows if w.z == z]
        x, y, _ = body.extent(max(z, 0), min(z + patch[2], mask.shape[2]))
        for axis, (low, high) in enumerate((x, y)):
            check_axis(spans(row, axis, patch[axis]), low, high, mask.shape[axis], patch[axis], overlap)
    low, high = body.extent(0, mask.shape[2])[2]
    check_axis(spans(windows, 2, patch[2]), low, high, mask.shape[2], patch[2], overlap)


def check_axis(found, low, high, volume, patch, overlap):
    """Fewest windows with the overlap; none beyond the range, unless the range is shorter than one."""
    interval = max(1, int(patch * (1 - overlap)))
    assert len(found) == 1 + max(0, -(-(high - low - patch) // interval))
    assert found[0][0] <= low
    assert found[-1][1] >= high
    assert all(later[0] - earlier[0] <= interval for earlier, later in pairwise(found))
    if high - low >= patch:
        assert (found[0][0], found[-1][1]) == (low, high)
    elif volume >= patch:  # real voxels, rather than padding
        assert found[0][0] >= 0
        assert found[0][1] <= volume


@given(bodies(), st.sampled_from([1.0, 1.25, 1.5, 2.0]), st.sampled_from([(1.0, 1.0), (1.6, 1.2), (8.0, 8.0)]))
@settings(max_examples=60, deadline=None)
def test_a_grown_window_is_allowed_and_never_more_work(drawn, growth, bulks):
    mask, patch, overlap, divisor = drawn
    extent = body_of(mask).extent
    shared = shared_voxels(patch, overlap)
    window = best_window(
        mask.shape, patch, shared, extent, growth=growth, bulk=bulks[0], lone_bulk=bulks[1], divisor=divisor
    )

    def work(size):
        return len(fitted_windows(mask.shape, size, shared, extent)) * np.prod(size)

    layers = spans(fitted_windows(mask.shape, window, shared, extent), 2, window[2])
    # As many voxels in common as windows of the trained size have.
    assert all(earlier[1] - later[0] >= shared[2] for earlier, later in pairwise(layers))
    for size, trained in zip(window, patch, strict=True):
        assert trained <= size <= growth * trained
        assert size % divisor == 0
    others = [range(p, int(growth * p) + 1, divisor) for p in patch]
    body = [high - low for low, high in extent(0, mask.shape[2])]

    def fits(size):
        alone = any(n <= long and n > trained for n, long, trained in zip(body, size, patch, strict=True))
        return np.prod(size) <= bulks[alone] * np.prod(patch)

    allowed = [size for size in product(*others) if fits(size)]
    assert window in allowed
    assert work(window) == min(work(size) for size in allowed)


def test_a_leg_takes_fewer_windows_than_the_trunk():
    mask = np.zeros((60, 40, 80), dtype=bool)
    mask[:, :, 40:] = True
    mask[20:34, 10:22, :40] = True
    windows = fitted_windows(mask.shape, (16, 16, 16), (4, 4, 4), body_of(mask).extent)
    counts = Counter(w.z for w in windows)
    assert counts[0] == 1
    assert max(counts.values()) == 5 * 3
