"""Disturbs commands at random moments and compares what they leave, in the end, with an undisturbed run.

    python -m tests.faults.campaign [--trials 100] [--pairs 10] [--seed 0] [--commands predict,transfer]

Prints a row per command and fault, then every failure; the exit code is 1 if there is one. The tests run a few trials.
A trial is a run with a fault, every third time another one, and a run without, which has to complete.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suprem.errors import SupremError
from tests import children
from tests.faults.commands import COMMANDS, MINE, Content, as_client
from tests.faults.injection import FAULTS, Fault, Steps, die_at_call
from tests.hub_server import HubFile, HubRepo, HubServer, client_environment, running_hub
from tests.hub_uploads import WRITE_TOKEN

__all__ = ["Figures", "Site", "main", "site"]

TOLD, INTERRUPTED = 3, 130
DAY_S = 86_400
HANGS_AFTER_S = 600.0  # generous: a busy machine is no hang
EXPECTED = {"killed": -signal.SIGKILL, "full": TOLD, "read-only": TOLD, "interrupted": INTERRUPTED}


@dataclass
class Figures:
    """What came of the trials with one fault."""

    trials: int = 0
    injected: int = 0
    failures: list[str] = field(default_factory=list)


class Site:
    """A command, its inputs, and what an undisturbed run leaves."""

    def __init__(self, name: str, folder: Path, hub: HubServer) -> None:
        self.name, self.command, self._hub = name, COMMANDS[name], hub
        self.slowest_end = 0.0  # seconds from Ctrl-C to the end of the process
        # A space and an umlaut in every path.
        self.inputs, self.out, self._log = folder / "inputs für", folder / "trial für" / "out 1", folder / "log"
        for place in (self.inputs, self.out.parent, self._log):
            place.mkdir(parents=True)
        if children.run(self.command.prepare, self.inputs) != 0:
            raise RuntimeError(f"the inputs of {name} cannot be made")
        if name.startswith("zoo"):
            self._connect()
        code = self.run()
        if code != 0:
            raise RuntimeError(f"{name}, undisturbed: exit code {code}\n{self.errors()}")
        self.steps: int = self._report()["steps"]
        self.expected = self.content()
        self.clear()

    def _connect(self) -> None:
        model = self.inputs / "model"
        content = {path.name: HubFile(path.read_bytes()) for path in model.iterdir() if path.suffix == ".safetensors"}
        content |= {p.name: HubFile(p.read_bytes(), lfs=False) for p in model.iterdir() if p.name not in content}
        self._hub.repos["acme/model"] = HubRepo(content)
        settings = client_environment(self.inputs, HF_ENDPOINT=self._hub.endpoint, HF_TOKEN=WRITE_TOKEN)
        settings = {key: value for key, value in settings.items() if key.startswith("HF_")} | {"HF_HUB_OFFLINE": "0"}
        (self.inputs / "hub.json").write_text(json.dumps(settings))

    def clear(self) -> None:
        """Forgets the output."""
        shutil.rmtree(self.out, ignore_errors=True)
        self._hub.repos.pop(MINE, None)

    def content(self) -> Content:
        """Of the output, with what the hub got."""
        found = self.command.content(self.out)
        repo = self._hub.repos.get(MINE)
        if repo is not None:
            assert found.pop("commit") == repo.commit, "the record names another commit"
            found["tags"] = sorted(repo.tags)
            found["commits"] = len(repo.history)
            found["hub"] = {name: hashlib.sha256(file.content).hexdigest() for name, file in repo.files.items()}
        return found

    def run(self, at: int = 0, fault: Fault = "killed") -> int:
        """Exit code of one run, with a fault at a step unless that is 0."""
        (self._log / "report.json").unlink(missing_ok=True)
        arguments = (self.name, self.inputs, self.out, at, fault, self._log)
        code = children.run(_disturbed, *arguments, timeout=HANGS_AFTER_S)
        if code == INTERRUPTED:
            self.slowest_end = max(self.slowest_end, time.monotonic() - self._report()["hit"])
        return code

    def _report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self._log / "report.json").read_text())
        return found

    def errors(self) -> str:
        """What the last run wrote to standard error, the end of it."""
        return (self._log / "stderr.txt").read_text(errors="replace")[-3000:]

    def trial(self, fault: Fault, rng: random.Random) -> tuple[int, str]:
        """Number of faults that happened, and what was wrong in the end, if anything."""
        injected, moments = 0, []
        for _ in range(2 if rng.random() < 1 / 3 else 1):
            at = rng.randint(1, self.steps)
            moments.append(at)
            code = self.run(at, fault)
            if code not in (0, EXPECTED[fault]):
                return injected, f"{fault} at {moments} of {self.steps}: exit code {code}\n{self.errors()}"
            injected += code != 0
            try:
                self.command.check(self.out)
            except Exception as error:
                return injected, f"{fault} at {moments} of {self.steps}: half-written, {error!r}"
        if rng.random() < 1 / 3:
            set_clock_back(self.out)
        wrong = self._completed()
        self.clear()
        return injected, f"{fault} at {moments} of {self.steps}, and again: {wrong}" if wrong else ""

    def _completed(self) -> str:
        """What is wrong after another run, undisturbed."""
        code = self.run()
        if code != 0:
            return f"exit code {code}\n{self.errors()}"
        try:
            found = self.content()
        except Exception as error:
            return repr(error)
        names = sorted(n for n in {*found, *self.expected} if found.get(n, n) != self.expected.get(n, n))
        return f"differ {names[:8]}" if names else ""

    def two_at_once(self) -> str:
        """Two processes with the same output: each completes or says why not; then a third one completes."""
        logs = [self._log / number for number in ("first", "second")]
        for log in logs:
            log.mkdir(exist_ok=True)
        both = [children.start(_disturbed, self.name, self.inputs, self.out, 0, "killed", log) for log in logs]
        for process in both:
            process.join(HANGS_AFTER_S)
        codes = [process.exitcode for process in both]
        told = "".join((log / "stderr.txt").read_text(errors="replace")[-1500:] for log in logs)
        wrong = f"exit codes {codes}\n{told}" if not {*codes} <= {0, TOLD} else self._completed()
        self.clear()
        return f"two at once: {wrong}" if wrong else ""

    def figures(self, fault: Fault, trials: int, seed: int) -> Figures:
        """Trials with one fault."""
        rng = random.Random(f"{self.name} {fault} {seed}")
        found = Figures()
        for _ in range(trials):
            injected, wrong = self.trial(fault, rng)
            found.trials += 1
            found.injected += injected
            if wrong:
                found.failures.append(f"{self.name}: {wrong}")
                self.clear()
        return found


@contextmanager
def site(name: str, folder: Path) -> Iterator[Site]:
    """A command ready to be disturbed, with a hub on loopback."""
    with running_hub() as hub:
        yield Site(name, folder, hub)


def set_clock_back(out: Path) -> None:
    """As if the clock had been set back by a day: what is there was written tomorrow."""
    for path in out.rglob("*"):
        stat = path.lstat()
        os.utime(path, (stat.st_atime + DAY_S, stat.st_mtime + DAY_S), follow_symlinks=False)


def _disturbed(name: str, inputs: Path, out: Path, at: int, fault: Fault, log: Path) -> None:
    """One run in this process, which is a child."""
    os.dup2(os.open(log / "stderr.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), sys.stderr.fileno())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if name.startswith("zoo"):
        as_client(inputs)
    command, code = COMMANDS[name], 0
    calls = die_at_call(at) if command.counts == "calls" else None
    steps = Steps(out.parent, at, fault) if calls is None else None
    try:
        command.run(inputs, out)
    except SupremError as error:
        code = TOLD
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit as error:  # Lightning ends so after Ctrl-C
        code = INTERRUPTED if fault == "interrupted" else int(error.code or 0)
    sys.setprofile(None)
    count = calls[0] if calls is not None else steps.count if steps is not None else 0
    (log / "report.json").write_text(json.dumps({"steps": count, "hit": steps.hit if steps else 0.0}))
    sys.exit(code)


def faults_of(name: str) -> tuple[Fault, ...]:
    """The faults that a command is tried with; calls can only be the moment of a kill."""
    if COMMANDS[name].counts == "calls":
        return ("killed",)
    return ("killed", "interrupted") if name == "training" else FAULTS


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=100, help="of each command and fault")
    parser.add_argument("--pairs", type=int, default=10, help="trials of two processes with one output")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--faults", default=",".join(FAULTS))
    options = parser.parse_args()
    failures = []
    sys.stdout.write("| command | fault | trials | faults injected | failures |\n| --- | --- | --- | --- | --- |\n")
    for name in options.commands.split(","):
        with tempfile.TemporaryDirectory(prefix="faults-") as folder, site(name, Path(folder)) as place:
            for fault in faults_of(name):
                if fault in options.faults.split(","):
                    found = place.figures(fault, options.trials, options.seed)
                    failures += found.failures
                    _show(name, fault, found.trials, found.injected, len(found.failures))
            twice = [wrong for _ in range(options.pairs) if (wrong := place.two_at_once())]
            failures += [f"{name}: {wrong}" for wrong in twice]
            _show(name, "two at once", options.pairs, options.pairs, len(twice))
            if place.slowest_end:
                sys.stdout.write(f"\n{name} ends {place.slowest_end:.2f} s after Ctrl-C at most.\n\n")
    sys.stdout.write("\n".join(failures) + "\n" if failures else "No failure.\n")
    return 1 if failures else 0


def _show(*row: object) -> None:
    sys.stdout.write("| " + " | ".join(map(str, row)) + " |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
