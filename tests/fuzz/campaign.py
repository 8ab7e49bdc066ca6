"""Fuzzes the readers, and prints what was found.

    python -m tests.fuzz.campaign --inputs 2000 --seed 1                # every reader
    python -m tests.fuzz.campaign --inputs 2000 --only dicom --first 500  # inputs 500 to 1999 of one
    python -m tests.fuzz.campaign --only dicom --show 731               # makes one input, and opens it

Each input follows from the reader's name, the seed and its number, so a failing one is made again by them alone. A
worker process opens many inputs; one that takes more than ten seconds of processor time is killed and counted as a
hang, one that ends is counted as a crash, and a new one goes on with the next number.
"""

import argparse
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.targets import TARGETS, rng_of
from tests.fuzz.targets import target as find

__all__ = ["Result", "Worker", "campaign", "main"]

REPOSITORY = Path(__file__).resolve().parents[2]
WATCHDOG_S = 10.0
"""Of the worker's processor time, so that a busy machine is no hang."""

_WAIT_S = 600.0  # for an input that does nothing at all

_START_S = 120.0  # for imports and valid material
GOOD = ("opened", "refused")


@dataclass
class Result:
    """What happened to the inputs of one reader.

    Attributes:
        name: of the reader.
        counts: inputs per outcome.
        faults: number, outcome and detail of every input that was neither opened nor refused.
        slowest_s: longest processor time of one input.
        processor_s: of all.
        largest_bytes: most memory that one input took.
    """

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[int, str, str]] = field(default_factory=list)
    slowest_s: float = 0.0
    processor_s: float = 0.0
    largest_bytes: int = 0


class Worker:
    """A process that opens inputs until it dies."""

    def __init__(self, folder: Path, limit_s: float = WATCHDOG_S) -> None:
        self._folder, self._limit_s = folder, limit_s
        self._process: subprocess.Popen[str] | None = None
        self._ready: set[str] = set()  # readers whose valid material is made
        self._answers = b""  # what came and was not looked at yet

    def _start(self) -> "subprocess.Popen[str]":
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        environment["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY)])
        with (self._folder / "stderr").open("w") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.worker", str(self._folder / "work")],
                env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, bufsize=1,
            )  # fmt: skip

    def ask(self, name: str, seed: int, number: int) -> dict[str, Any]:
        """The outcome of one input."""
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        process.stdin.write(f"{name} {seed} {number}\n")
        answer = self._line(process, self._limit_s if name in self._ready else _START_S)
        if "ready" in answer:
            self._ready.add(name)
            answer = self._line(process, self._limit_s)
        return {"memory": 0, "seconds": self._limit_s, **answer}

    def _line(self, process: "subprocess.Popen[str]", limit_s: float) -> dict[str, Any]:
        assert process.stdout is not None
        begin, spent, late = time.monotonic(), _processor_s(process.pid), False
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._answers:
                if selector.select(1.0):
                    piece = os.read(process.stdout.fileno(), 2**16)
                    if not piece:
                        break
                    self._answers += piece
                elif _processor_s(process.pid) - spent > limit_s or time.monotonic() - begin > _WAIT_S:
                    late = True
                    break
        line, found, self._answers = self._answers.partition(b"\n")
        if found:
            answer: dict[str, Any] = json.loads(line)
            return answer
        if late:
            process.kill()
        code = process.wait()
        errors = (self._folder / "stderr").read_text(errors="replace")[-1500:]
        self.stop()
        if late:
            return {"outcome": "hang", "detail": f"no answer for {limit_s:.0f} s of processor time"}
        return {"outcome": "crash", "detail": f"exit code {code}: {errors}"}

    def stop(self) -> None:
        """Ends the process; the next question starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()
        self._process, self._ready, self._answers = None, set(), b""


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def campaign(names: Sequence[str], inputs: int, seed: int, worker: Worker, *, first: int = 0) -> Iterator[Result]:
    """Opens ``inputs`` inputs of each reader, after its valid one; yields a result per reader.

    Args:
        names: of readers.
        inputs: of each.
        seed: of all.
        worker: that opens them.
        first: number of the first input.
    """
    for name in names:
        result = Result(name)
        valid = worker.ask(name, seed, -1)
        if valid["outcome"] != "opened":
            result.faults.append((-1, "valid input", f"{valid['outcome']}: {valid['detail']}"))
        for number in range(first, inputs):
            answer = worker.ask(name, seed, number)
            result.counts[answer["outcome"]] += 1
            result.processor_s += answer["seconds"]
            result.slowest_s = max(result.slowest_s, answer["seconds"])
            result.largest_bytes = max(result.largest_bytes, answer["memory"])
            if answer["outcome"] not in GOOD:
                result.faults.append((number, answer["outcome"], answer["detail"]))
        yield result


def table(results: Sequence[Result]) -> str:
    """One line per reader."""
    titles = ("inputs", "opened", "refused", "faults")
    lines = [f"{'reader':12} {' '.join(f'{title:>7}' for title in titles)} {'slowest s':>10} {'most MiB':>9}"]
    for r in results:
        lines.append(
            f"{r.name:12} {r.counts.total():7} {r.counts['opened']:7} {r.counts['refused']:7} {len(r.faults):7} "
            f"{r.slowest_s:10.2f} {r.largest_bytes / 2**20:9.0f}"
        )
    return "\n".join(lines)


def say(text: str) -> None:
    """To standard output, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def show(name: str, seed: int, number: int, folder: Path) -> None:
    """Makes one input in a folder that stays, and opens it in this process."""
    target = find(name)
    for part in ("material", "in", "out"):
        shutil.rmtree(folder / part, ignore_errors=True)
        (folder / part).mkdir(parents=True)
    given = target.write(rng_of(name, seed, number), target.prepare(folder / "material"), folder / "in")
    say(f"input: {given}")
    target.open(given, folder / "out")
    say("opened")


def main(words: Sequence[str] | None = None) -> int:
    """Returns 1 when anything was found."""
    parser = argparse.ArgumentParser(description="Fuzzes the readers.")
    parser.add_argument("--inputs", type=int, default=2000, help="per reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--only", nargs="+", choices=TARGETS, default=list(TARGETS), metavar="READER")
    parser.add_argument("--show", type=int, metavar="NUMBER", help="open one input of the reader here")
    parser.add_argument("--folder", type=Path, help="to work in; a temporary one if absent")
    parser.add_argument("--json", type=Path, help="where to write the results")
    given = parser.parse_args(words)
    folder = given.folder or Path(tempfile.mkdtemp(prefix="suprem-fuzz-"))
    if given.show is not None:
        show(given.only[0], given.seed, given.show, folder)
        return 0
    worker, results = Worker(folder), list[Result]()
    for result in campaign(given.only, given.inputs, given.seed, worker, first=given.first):
        results.append(result)
        say(table([result]).splitlines()[1])
        seen: Counter[str] = Counter()
        for number, outcome, detail in result.faults:
            kind = detail.strip().splitlines()[0][:60] if detail else ""
            seen[kind] += 1
            if seen[kind] <= 3:
                say(f"  {result.name} {number}: {outcome}: {detail}")
    worker.stop()
    say(table(results))
    if given.json:
        given.json.write_text(json.dumps([{**vars(r), "counts": dict(r.counts)} for r in results], indent=1) + "\n")
    if given.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    return int(any(result.faults for result in results))


if __name__ == "__main__":
    sys.exit(main())
