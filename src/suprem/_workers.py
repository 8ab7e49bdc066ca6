"""Work on many items: in this process, in threads, in a pool of local processes, or on a Dask cluster."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeVar

from suprem.errors import ConfigurationError, SupremError

__all__ = ["map_in_order", "map_unordered", "usable_processors"]

T = TypeVar("T")
R = TypeVar("R")

_CGROUP_CPU = Path("/sys/fs/cgroup/cpu.max")


def usable_processors() -> float:
    """Processors that this process may use: its affinity, and the quota of its container."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    count = float(len(affinity(0)) if affinity else os.cpu_count() or 1)
    if _CGROUP_CPU.is_file():
        quota, _, period = _CGROUP_CPU.read_text().partition(" ")
        if quota != "max":
            count = min(count, max(1.0, int(quota) / int(period)))
    return count


def map_in_order(function: Callable[[T], R], items: Iterable[T], threads: int) -> Generator[R]:
    """Calls ``function`` for every item in threads and gives the results in the order of the items.

    Args:
        function: Whatever releases the interpreter's lock most of the time, as NumPy and compression do.
        items: What to call it with.
        threads: 1 works in this thread. No more results exist at a time, where the caller keeps none.

    Raises:
        ConfigurationError: ``threads`` is below 1.

    Example:
        >>> list(map_in_order(abs, [-2, 3, -1], threads=2))
        [2, 3, 1]
    """
    if threads < 1:
        raise ConfigurationError(f"threads is {threads}; at least one is needed.")
    if threads == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[R]] = deque()
        try:
            for item in items:
                ahead.append(pool.submit(function, item))
                if len(ahead) == threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for waiting in ahead:
                waiting.cancel()


def map_unordered(
    function: Callable[[T], R], items: Sequence[T], *, jobs: int = 1, scheduler: str | None = None
) -> Iterator[tuple[T, R | Exception]]:
    """Calls ``function`` for every item and gives each result, or the exception, as soon as it is there.

    When a local process dies, as it does when memory runs out, the items it could have been working on are tried once
    more, each alone; the others go on in a new pool.

    Args:
        function: A function of a module; what it takes and returns must be picklable.
        items: What to call it with.
        jobs: Local processes; 1 works in this process.
        scheduler: Address of a Dask scheduler, such as ``"tcp://host:8786"``, whose workers are used instead.

    Raises:
        ConfigurationError: ``jobs`` is below 1 or given with ``scheduler``; Dask is missing or cannot be reached.

    Example:
        >>> sorted(map_unordered(abs, [-2, 3]))
        [(-2, 2), (3, 3)]
    """
    if jobs < 1:
        raise ConfigurationError(f"jobs is {jobs}; at least one is needed.")
    if scheduler is None:
        return _here(function, items) if jobs == 1 else _in_pools(function, items, jobs)
    if jobs != 1:
        raise ConfigurationError(f"jobs={jobs} was given with a scheduler, whose workers do the work; leave it out.")
    return _on_cluster(function, items, scheduler)


def _here(function: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[T, R | Exception]]:
    for item in items:
        try:
            result: R | Exception = function(item)
        except Exception as error:  # told to the caller, like that of another process
            result = error
        yield item, result


def _outcome(future: "Future[R]") -> R | Exception:
    try:
        return future.result()
    except Exception as error:
        return error


def _pool(jobs: int) -> ProcessPoolExecutor:
    # Not forked: a child would inherit the locks of this process's threads as they are.
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))


def _in_pools(function: Callable[[T], R], items: Sequence[T], jobs: int) -> Iterator[tuple[T, R | Exception]]:
    waiting = deque(items)
    while waiting:
        for item in (yield from _until_broken(function, waiting, jobs)):
            yield item, _alone(function, item)


def _until_broken(
    function: Callable[[T], R], waiting: deque[T], jobs: int
) -> Generator[tuple[T, R | Exception], None, list[T]]:
    """Works off ``waiting`` in one pool; returns the items that were under way when it broke."""
    running: dict[Future[R], T] = {}
    pool = _pool(min(jobs, len(waiting)))
    try:
        while waiting or running:
            # Few at a time: a broken pool fails everything that was handed in.
            while waiting and len(running) < 2 * jobs:
                running[pool.submit(function, waiting[0])] = waiting[0]
                waiting.popleft()
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                result = _outcome(future)
                if isinstance(result, BrokenProcessPool):
                    return list(running.values())
                yield running.pop(future), result
        return []
    except BrokenProcessPool:  # handing in was refused
        return list(running.values())
    finally:
        pool.shutdown(cancel_futures=True)


def _alone(function: Callable[[T], R], item: T) -> R | Exception:
    with _pool(1) as pool:
        result = _outcome(pool.submit(function, item))
    if isinstance(result, BrokenProcessPool):
        return SupremError(
            "Its process was killed twice, most likely for lack of memory; leave this one out, or use a larger machine."
        )
    return result


def _on_cluster(function: Callable[[T], R], items: Sequence[T], scheduler: str) -> Iterator[tuple[T, R | Exception]]:
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigurationError(
            "A scheduler needs Dask, which is not installed; run `pip install 'suprem[distributed]'`."
        ) from error
    try:
        client = Client(scheduler)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"No Dask scheduler answers at {scheduler}: {error}. Start one, or check the address."
        ) from error
    with client:
        executor: Executor = client.get_executor()  # type: ignore[no-untyped-call]
        with executor:
            futures: dict[Future[R], T] = {executor.submit(function, item): item for item in items}
            for future in as_completed(futures):
                result = _outcome(future)
                yield futures[future], result
