"""Programs of :mod:`tests.faults.test_hygiene` that need a process of their own."""

import gc
import json
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from suprem.errors import SupremError
from tests.faults.commands import COMMANDS
from tests.faults.injection import Steps


def inventory() -> dict[str, list[str]]:
    """What of the machine this process holds."""
    gc.collect()
    tasks = Path("/proc/self/task")
    return {
        "handles": sorted(_target(link) for link in Path("/proc/self/fd").iterdir()),
        "processes": sorted(pid for task in tasks.iterdir() for pid in (task / "children").read_text().split()),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "temporary files": sorted(os.listdir(tempfile.gettempdir())),
        "shared memory": sorted(os.listdir("/dev/shm")),
    }


def _target(link: Path) -> str:
    try:
        return os.readlink(link).partition(":[")[0]  # of a pipe or socket without its number
    except FileNotFoundError:  # the handle of this listing
        return ""


def audit(name: str, folder: Path) -> None:
    """Runs a command undisturbed, on a full disk and with Ctrl-C; writes what each left into ``left.json``."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tempfile.tempdir = str(folder / "temporary")
    Path(tempfile.tempdir).mkdir()
    command, inputs, out = COMMANDS[name], folder / "inputs", folder / "runs" / "out"
    out.parent.mkdir()
    steps = Steps(out.parent)
    ends: dict[str, str] = {}
    left: dict[str, Any] = {}

    def run(target: Path) -> str:
        try:
            command.run(inputs, target)
        except (SupremError, OSError):
            return "told"
        except (KeyboardInterrupt, SystemExit):
            return "interrupted"
        return "done"

    run(out.with_name("first"))  # what is opened once, such as a pool of threads, is no leak
    total = steps.count
    for end in ("done", "full", "interrupted"):
        before = inventory()
        steps.arm(max(1, total // 2) if end != "done" else 0, "full" if end == "full" else "interrupted")
        ends[end] = run(out.with_name(end))
        steps.arm(0, "full")
        time.sleep(0.2)  # threads that were told to end
        after = inventory()
        for kind in before:
            more = [item for item in after[kind] if after[kind].count(item) > before[kind].count(item)]
            if more:
                left[f"{kind} after {end}"] = more
    (folder / "left.json").write_text(json.dumps({**left, "ends": ends}))


def die_once(item: tuple[int, str]) -> int:
    """A worker that is killed the first time that it gets an item with a marker, as the kernel does without memory."""
    number, marker = item
    if marker and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def main() -> None:
    """Runs commands below a folder, each into ``narrow``."""
    folder = Path(sys.argv[1])
    if sys.getfilesystemencoding() == "utf-8":
        sys.exit("this locale is not narrow")
    for name in sys.argv[2:]:
        COMMANDS[name].run(folder / name / "inputs", folder / name / "narrow")


if __name__ == "__main__":
    main()
