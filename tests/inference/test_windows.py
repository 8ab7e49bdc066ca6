import pytest
import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.inferers.utils import _get_scan_interval

from suprem.errors import ConfigurationError
from suprem.inference.windows import importance_map, in_batches, plan_windows, window_starts


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
