import numpy as np
import pytest
import torch

from suprem.inference.slabs import SlabAccumulator, SlabLayout
from suprem.inference.windows import importance_map, in_batches, plan_windows

CASES = [
    ((40, 30, 50), (16, 16, 16), 0.5),
    ((37, 16, 61), (16, 24, 16), 0.25),
    ((50, 20, 20), (16, 16, 16), 0.75),
    ((9, 40, 7), (16, 16, 16), 0.5),
    ((16, 16, 16), (16, 16, 16), 0.0),
]


def blend(shape, patch, windows, batch, dtype=torch.float32, channels=2, order=torch.contiguous_format):
    """Runs the accumulator on random outputs; returns sums, weights, how often each voxel came, and the peak."""
    layout = SlabLayout(shape, patch, windows)
    importance = importance_map(patch)
    accumulator = SlabAccumulator(layout, importance, channels, dtype)
    generator = torch.Generator().manual_seed(3)
    outputs = {w: torch.randn((channels, *patch), generator=generator) for w in windows}
    values, weights = torch.zeros((channels, *shape)), torch.zeros(shape)
    visits = np.zeros(shape, dtype=int)
    done = peak = 0
    for group in in_batches(windows, batch):
        for window in group:
            output = outputs[window].clone()[None].to(memory_format=order)[0]
            accumulator.add(window, output)
        done += len(group)
        peak = max(peak, sum(w.numel() for _, w in accumulator._open.values()))
        for cell in accumulator.close(done):
            values[:, cell.x, :, cell.z] = cell.values.float()
            weights[cell.x, :, cell.z] = cell.weights
            visits[cell.x, :, cell.z] += 1
    assert not accumulator._open
    return layout, outputs, values, weights, visits, peak


def directly(shape, patch, outputs):
    values, weights = np.zeros((2, *shape)), np.zeros(shape)
    importance = importance_map(patch).numpy().astype(float)
    for window, output in outputs.items():
        inside = [(max(s, 0), min(s + p, n)) for s, p, n in zip(window.start, patch, shape, strict=True)]
        target = tuple(slice(a, b) for a, b in inside)
        source = tuple(slice(a - s, b - s) for (a, b), s in zip(inside, window.start, strict=True))
        values[(slice(None), *target)] += (output.numpy() * importance)[(slice(None), *source)]
        weights[target] += importance[source]
    return values, weights


@pytest.mark.parametrize(("shape", "patch", "overlap"), CASES)
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
def test_cells_sum_every_window_once(shape, patch, overlap, mirror, batch):
    windows = plan_windows(shape, patch, overlap, mirror=mirror)
    layout, outputs, values, weights, visits, peak = blend(shape, patch, windows, batch)
    expected_values, expected_weights = directly(shape, patch, outputs)
    np.testing.assert_allclose(values, expected_values, atol=1e-5)
    np.testing.assert_allclose(weights, expected_weights, rtol=1e-5)
    assert (visits == 1).all()
    assert layout.peak_voxels(batch) == peak


@pytest.mark.parametrize("cached", [1, 2000, 2**20])
@pytest.mark.parametrize("channels", [1, 2, 40])
def test_the_order_of_an_output_s_numbers_does_not_matter(monkeypatch, channels, cached):
    shape, patch = (37, 16, 61), (16, 24, 16)
    windows = plan_windows(shape, patch, 0.25)
    _, _, wanted, _, _, _ = blend(shape, patch, windows, 2, channels=channels)
    monkeypatch.setattr("suprem.inference.slabs._CACHED", cached)
    for order in (torch.contiguous_format, torch.channels_last_3d):
        _, _, values, _, _, _ = blend(shape, patch, windows, 2, channels=channels, order=order)
        assert torch.equal(values, wanted)


def test_windows_left_out_leave_their_cells_out():
    shape, patch = (64, 32, 64), (16, 16, 16)
    windows = [w for w in plan_windows(shape, patch, 0.5) if w.x < 10 and w.z > 40]
    _, _, _, weights, visits, _ = blend(shape, patch, windows, 1)
    assert set(np.unique(visits)) == {0, 1}
    assert ((visits == 1) == (weights.numpy() > 0)).all()
    assert not visits[30:].any()


def test_less_than_one_slab_is_open_at_once():
    patch = (96, 96, 96)
    for shape, share in (((288, 288, 384), 0.7), ((274, 274, 401), 0.9)):
        layout = SlabLayout(shape, patch, plan_windows(shape, patch, 0.5))
        assert layout.peak_voxels(1) < share * shape[0] * shape[1] * patch[2]


def test_half_precision_sums_are_close():
    shape, patch = (40, 30, 50), (16, 16, 16)
    windows = plan_windows(shape, patch, 0.5)
    _, outputs, values, weights, _, _ = blend(shape, patch, windows, 1, torch.float16)
    expected_values, expected_weights = directly(shape, patch, outputs)
    np.testing.assert_allclose(values / weights, expected_values / expected_weights, atol=1e-2)
