"""What the benchmarks share: contenders take turns, each in processes of its own; medians, ratios, memory and tables.

Needs the standard library alone, because peers that are compared with live in an environment without suprem. A
script is its own worker: the driver starts `python SCRIPT --one NAME JOB`, the worker does the job and prints one line
of JSON, and the driver adds the memory of the whole process tree. The driver stays small (it imports neither numpy nor
torch), since a process starts with the peak of its parent.
"""

import csv
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GIB = 2**30
SAMPLES_EVERY = 0.2  # seconds between two looks at the memory of a process tree
Run = dict[str, Any]


@dataclass(frozen=True)
class Contender:
    """One side of a comparison.

    Attributes:
        name: as the tables show it.
        script: started once per repeat.
        work: the key of the job in the script's `answer`.
        job: what it is to do; plain JSON.
        python: interpreter, that of a peer's environment where it has one.
        environment: variables set for it.
    """

    name: str
    script: str
    work: str
    job: Mapping[str, Any] = field(default_factory=dict)
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Seconds of a block by the clock, and CPU seconds of this process and of children that it waited for."""
    found: dict[str, float] = {}
    start, cpu = time.perf_counter(), _cpu_seconds()
    yield found
    found["seconds"] = time.perf_counter() - start
    found["cpu_s"] = _cpu_seconds() - cpu


def median_seconds(call: Callable[[], Any], count: int) -> float:
    """Of some calls, after one that is not counted."""
    found = []
    for _ in range(count + 1):
        with timed() as took:
            call()
        found.append(took["seconds"])
    return statistics.median(found[1:])


def _cpu_seconds() -> float:
    """Of this process and of children that it waited for; finer than the hundredths of `os.times`."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def answer(works: Mapping[str, Callable[[Any], Run]]) -> bool:
    """Does one job and prints what came of it, if the driver started this process; else returns false."""
    if sys.argv[1:2] != ["--one"]:
        return False
    name, job = sys.argv[2:]
    found = works[name](json.loads(job))
    print(json.dumps(found, default=float), flush=True)
    return True


def ask(contender: Contender, timeout: float = 3600) -> Run:
    """Runs a contender once.

    Returns:
        What it printed; `process_s`, the time of the whole process; `peak_gib`, the most memory that it and its
        children held at once (a process alone: exactly; a tree: the largest sum of proportional set sizes seen); and
        `load`, the load average before it.

    Raises:
        RuntimeError: it failed; with what it wrote to standard error.
    """
    command = [contender.python, contender.script, "--one", contender.work, json.dumps(contender.job)]
    load, start = os.getloadavg()[0], time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=out, stderr=errors, env={**os.environ, **contender.environment})
        ended = threading.Event()
        watch = _TreeMemory(process.pid, ended)
        watch.start()
        alarm = threading.Timer(timeout, process.kill)
        alarm.start()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        alarm.cancel()
        ended.set()
        watch.join()
        seconds = time.perf_counter() - start
        out.seek(0), errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"{contender.name} ended with {process.returncode}:\n{errors.read()}")
        found: Run = json.loads(out.read().splitlines()[-1])
    peak = max(usage.ru_maxrss * 1024, watch.most)
    return {**found, "process_s": seconds, "peak_gib": peak / GIB, "load": load}


class _TreeMemory(threading.Thread):
    """Looks at a process and its children; alone it is left to the kernel's own account, which costs nothing."""

    def __init__(self, pid: int, ended: threading.Event) -> None:
        super().__init__(daemon=True)
        self.most = 0
        self._pid, self._ended = pid, ended

    def run(self) -> None:
        while not self._ended.wait(SAMPLES_EVERY):
            family = descendants(self._pid)
            if len(family) > 1:
                self.most = max(self.most, sum(map(_proportional_bytes, family)))


def descendants(pid: int) -> list[int]:
    """A process and all below it, as far as they still run; itself alone where /proc does not tell."""
    family = [pid]
    for parent in family:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                family += map(int, task.read_text().split())
            except OSError:  # it ended in between
                continue
    return family


def _proportional_bytes(pid: int) -> int:
    """Memory of a process, in which a page that n processes share counts 1/n."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it ended in between
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def take_turns(
    contenders: Sequence[Contender], repeats: int, *, warm_ups: int = 0, kept: Path | None = None
) -> dict[str, list[Run]]:
    """Every contender once, then again: each repeat sees the same machine, whatever else that machine does.

    Prints one line per run.

    Args:
        contenders: in the order of their turns.
        repeats: how often.
        warm_ups: rounds before these that are not counted, which bring files into the page cache.
        kept: file of finished runs, one JSON line each; those that it holds for the same job are not done again, so
            that a long benchmark can be stopped. Delete it to measure anew.
    """
    runs: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
    earlier = [json.loads(line) for line in kept.read_text().splitlines()] if kept and kept.exists() else []
    for repeat in range(-warm_ups, repeats):
        for contender in contenders:
            key = [repeat, contender.name, contender.work, dict(contender.job)]
            found = next((run for *other, run in earlier if other == key), None)
            if found is None:
                found = ask(contender)
                if kept:
                    with kept.open("a") as file:
                        file.write(json.dumps([*key, found]) + "\n")
            if repeat >= 0:
                runs[contender.name].append(found)
            shown = {k: _rounded(v, 3) for k, v in found.items() if isinstance(v, int | float | str)}
            print(f"{repeat} {contender.name}: {shown}", flush=True)
    return runs


def median(runs: Sequence[Run], key: str) -> float:
    """Of one figure over the repeats."""
    return statistics.median(run[key] for run in runs)


def ratio(runs: Sequence[Run], base: Sequence[Run], key: str = "seconds") -> tuple[float, float, float]:
    """How many times a figure of `base` the same figure of `runs` is, repeat by repeat: median, least, most."""
    found = [run[key] / other[key] for run, other in zip(runs, base, strict=True)]
    return statistics.median(found), min(found), max(found)


def compared(runs: Mapping[str, Sequence[Run]], base: str, extra: Sequence[str] = ()) -> list[dict[str, Any]]:
    """One row per contender for a CSV: medians, spread, and ratios to `base` in time, CPU time and memory.

    Args:
        runs: as `take_turns` returns them.
        base: the contender that the others are divided by.
        extra: figures beside the usual ones whose medians are wanted; empty where a contender lacks them.
    """
    rows = []
    for name, found in runs.items():
        seconds = [run["seconds"] for run in found]
        times, least, most = ratio(found, runs[base])
        row: dict[str, Any] = {"contender": name, "median_s": median(found, "seconds")}
        row |= {"least_s": min(seconds), "most_s": max(seconds), "cpu_s": median(found, "cpu_s")}
        row |= {f"over_{base}": times, "least_ratio": least, "most_ratio": most}
        row |= {f"cpu_over_{base}": ratio(found, runs[base], "cpu_s")[0], "peak_gib": median(found, "peak_gib")}
        row |= {f"peak_over_{base}": ratio(found, runs[base], "peak_gib")[0]}
        row |= {key: median(found, key) if key in found[0] else "" for key in extra}
        row |= {"repeats": len(found), "load": max(run["load"] for run in found)}
        rows.append(row)
    return rows


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], digits: int = 3) -> None:
    """One row per mapping; a column that a row lacks stays empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    rounded = [{key: _rounded(value, digits) for key, value in row.items()} for row in rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rounded)


def _rounded(value: Any, digits: int) -> Any:
    return round(value, digits) if isinstance(value, float) else value


def machine() -> str:
    """What the figures hold for."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Python {platform.python_version()}"
