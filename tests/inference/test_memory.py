import dataclasses
import re

import numpy as np
import pytest

from suprem.errors import ConfigurationError
from suprem.inference import memory
from suprem.inference.memory import Demand, PeakMeter, make_plan, resident_bytes

GIB = 2**30


@pytest.fixture(autouse=True)
def four_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans depend on how many there are."""
    monkeypatch.setattr(memory, "usable_processors", lambda: 4.0)


DEMAND = Demand(
    model_shape=(274, 274, 400),
    scan_shape=(512, 512, 600),
    in_use=800 * 2**20,
    scan_bytes=300 * 2**20,
    weights_bytes=20 * 2**20,
    label_bytes=120 * 2**20,
    patch_size=(96, 96, 96),
    channels=64,
    blends="features",
    window_bytes=1800 * 2**20,
    open_voxels=lambda batch: 6_000_000,
)


def test_meter_sees_memory_that_is_gone_again():
    with PeakMeter() as meter:
        block = np.ones(30_000_000)
        del block
    assert 0.9 * 240e6 < meter.growth < 1.5 * 240e6


def test_resident_memory_is_that_of_this_process():
    before = resident_bytes()
    block = np.ones(30_000_000)
    assert 0.9 * block.nbytes < resident_bytes() - before < 1.2 * block.nbytes


def test_enough_memory_gives_full_precision_and_the_best_batch():
    plan = make_plan(DEMAND, "16GiB", batches=(4, 1))
    assert (plan.dtype, plan.window_batch, plan.slab_height) == ("float32", 4, 96)
    assert plan.bytes_by_purpose["network activations"] == 4 * DEMAND.window_bytes
    assert plan.bytes_by_purpose["slab accumulators (float32)"] == 6_000_000 * (64 * 4 + 4)


def test_less_memory_gives_a_smaller_batch_then_half_precision_then_an_error():
    seen = []
    limits = np.arange(12, 0.5, -0.05) * GIB
    refused = 0.0
    for limit in limits:
        try:
            plan = make_plan(DEMAND, int(limit), batches=(4, 1))
        except ConfigurationError:
            refused = limit
            break
        assert plan.peak_bytes <= limit
        if (plan.dtype, plan.window_batch) not in seen:
            seen.append((plan.dtype, plan.window_batch))
    assert seen == [("float32", 4), ("float32", 1), ("float16", 1)]
    with pytest.raises(ConfigurationError, match="at least") as caught:
        make_plan(DEMAND, int(refused), batches=(4, 1))
    needed = re.search(r"'([\d.]+GiB)'", str(caught.value))
    assert needed is not None
    # What the message asks for is enough, and not more than the first limit that was refused by much.
    assert make_plan(DEMAND, needed[1], batches=(4, 1)).dtype == "float16"
    assert refused < float(needed[1][:-3]) * GIB < refused + 0.07 * GIB


def test_no_limit_needs_no_room():
    huge = dataclasses.replace(DEMAND, window_bytes=10**13)
    assert make_plan(huge, None, batches=(1,)).limit is None


def test_description_adds_up():
    plan = make_plan(DEMAND, "8GiB", batches=(1,))
    text = plan.describe()
    parts = [float(value) for value in re.findall(r"^ +([\d.]+) GiB", text, flags=re.MULTILINE)]
    assert len(parts) == len(plan.bytes_by_purpose)
    assert sum(parts) == pytest.approx(plan.peak_bytes / GIB, abs=0.05)
    assert "limit 8.00 GiB" in text
    assert str(plan) == text


def test_fullest_phase_counts():
    small = dataclasses.replace(DEMAND, window_bytes=2**20, channels=1)
    writing = make_plan(small, None, batches=(1,)).bytes_by_purpose
    assert "masks on the scan's grid" in writing
    assert "network activations" not in writing
    repaired = make_plan(dataclasses.replace(small, postprocess=True), None, batches=(1,)).bytes_by_purpose
    assert sum(repaired.values()) >= sum(writing.values())


def test_gpu_holds_what_it_computes_and_falls_back_to_half_precision():
    on_gpu = dataclasses.replace(DEMAND, device_free=9 * GIB)
    plan = make_plan(on_gpu, "4GiB", batches=(4, 2, 1))
    assert plan.window_batch == 2
    assert plan.device_bytes <= 0.9 * 9 * GIB
    assert "network activations" not in plan.bytes_by_purpose
    tight = make_plan(dataclasses.replace(DEMAND, device_free=int(3.85 * GIB)), "4GiB", batches=(4, 2, 1))
    assert (tight.dtype, tight.window_batch) == ("float16", 1)
    with_scan = dataclasses.replace(DEMAND, device_free=int(3.85 * GIB), device_resident=GIB)
    with pytest.raises(ConfigurationError, match=r"GPU has 3\.85 GiB free"):
        make_plan(with_scan, "4GiB", batches=(4, 2, 1))
    with pytest.raises(ConfigurationError, match=r"GPU has 1\.00 GiB free"):
        make_plan(dataclasses.replace(DEMAND, device_free=GIB), "4GiB", batches=(4, 2, 1))


def test_writing_masks_is_counted_where_it_is_the_fullest_moment():
    fine = dataclasses.replace(DEMAND, scan_shape=(600, 600, 300), model_shape=(100, 100, 100), device_free=80 * GIB)
    plan = make_plan(fine, None, batches=(1,))
    scan = 600 * 600 * 300
    assert plan.writers == 2  # half a GiB at most
    assert plan.bytes_by_purpose["masks on the scan's grid"] == (3 + 1.25) * scan
    assert plan.bytes_by_purpose["parts of a mask"] == 2 * 5 * 100**3
    larger = make_plan(dataclasses.replace(fine, scan_shape=(600, 600, 600)), None, batches=(1,))
    assert larger.writers == 1
    assert larger.bytes_by_purpose["masks on the scan's grid"] == 3 * 600**3


def test_as_many_threads_write_as_take_no_more_than_the_network() -> None:
    plan = make_plan(DEMAND, None, batches=(1,))
    assert plan.writers == 4
    assert "network activations" in plan.bytes_by_purpose


def test_fewer_threads_write_where_the_limit_asks_for_it() -> None:
    small = dataclasses.replace(DEMAND, scan_shape=(600, 600, 300), model_shape=(100, 100, 100), device_free=80 * GIB)
    plan = make_plan(small, None, batches=(1,))
    limit = plan.peak_bytes - 600 * 600 * 300  # less than a thread takes
    fewer = make_plan(small, limit, batches=(1,))
    assert (plan.writers, fewer.writers) == (2, 1)
    assert fewer.peak_bytes <= limit


def test_no_more_threads_write_than_there_are_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    for processors, writers in ((0.5, 1), (2.0, 2), (64.0, 4)):
        monkeypatch.setattr(memory, "usable_processors", lambda n=processors: max(1.0, n))
        assert make_plan(DEMAND, None, batches=(1,)).writers == writers
