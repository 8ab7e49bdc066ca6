"""Threads that work ahead, in order."""

import threading
import time
from pathlib import Path

import pytest

from suprem import _workers
from suprem._workers import map_in_order, usable_processors
from suprem.errors import ConfigurationError


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_order_stays_and_no_more_threads_work_than_allowed(threads: int) -> None:
    lock, working, most = threading.Lock(), set[int](), 0

    def work(item: int) -> int:
        nonlocal most
        with lock:
            working.add(item)
            most = max(most, len(working))
        time.sleep(0.002 * (item % 3))
        with lock:
            working.remove(item)
        return item**2

    assert list(map_in_order(work, range(20), threads)) == [item**2 for item in range(20)]
    assert most <= threads
    assert list(map_in_order(work, [], threads)) == []


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_comes_in_its_turn_and_ends_the_work(threads: int) -> None:
    begun = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 4:
            raise ValueError("four")
        return item

    results = map_in_order(work, range(100), threads)
    assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="four"):
        next(results)
    assert len(begun) <= 4 + threads


def test_threads_run_side_by_side() -> None:
    both = threading.Barrier(2, timeout=30)
    assert len(list(map_in_order(lambda _: both.wait(), range(2), 2))) == 2


def test_no_threads() -> None:
    with pytest.raises(ConfigurationError, match="threads is 0"):
        list(map_in_order(abs, [1], 0))


@pytest.mark.parametrize(
    ("quota", "expected"), [("50000 100000\n", 1.0), ("250000 100000\n", 2.5), ("max 100000\n", 8.0)]
)
def test_processors_follow_the_quota(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, expected: float
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(_workers, "_CGROUP_CPU", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert usable_processors() == expected


def test_a_caller_that_stops_early_leaves_no_thread() -> None:
    before = threading.active_count()
    results = map_in_order(abs, range(100), 3)
    assert next(results) == 0
    results.close()
    assert threading.active_count() == before
