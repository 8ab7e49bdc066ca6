"""Opens fuzzed inputs, one after another, and tells of each what happened; a process of its own, re-used for many.

    python -m tests.fuzz.worker FOLDER

Reads lines ``NAME SEED NUMBER`` and writes one JSON object per line. The watchdog is the process that started it.
"""

import contextlib
import json
import os
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["MEMORY_BYTES", "main"]

MEMORY_BYTES = 2**30
"""What an input may take beyond what the process has; every valid file here is smaller than 100 kB."""

_HARD_LIMIT = 6 * 2**30  # of address space beyond the libraries: an input that asks for more gets a MemoryError


class Watch:
    """Notes what a program does outside of its folders, by Python's audit events."""

    def __init__(self, root: Path) -> None:
        self.root, self.seen, self.on = str(root), list[str](), False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "socket.connect", "os.fork"):
            self.seen.append(f"{event} {arguments!r:.200}")
        elif event == "open" and isinstance(arguments[0], str | bytes):
            writes = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if writes and not self._inside(arguments[0]):
                self.seen.append(f"open for writing {arguments[0]!r:.200}")
        elif event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.chmod"):
            places = [a for a in arguments[:2] if isinstance(a, str | bytes | os.PathLike)]
            if event in ("os.symlink", "os.link"):
                places = places[1:]
            self.seen += [f"{event} {place!r:.200}" for place in places if not self._inside(place)]

    def _inside(self, place: Any) -> bool:
        path = os.path.abspath(os.fsdecode(place))
        return path.startswith((self.root + os.sep, "/dev/null", "/dev/tty")) or "__pycache__" in path


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Standard output and error of Python and of libraries go nowhere."""
    kept = [os.dup(1), os.dup(2)]
    null = os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    sys.stderr.flush()
    for handle in (1, 2):
        os.dup2(null, handle)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for handle, old in zip((1, 2), kept, strict=True):
            os.dup2(old, handle)
            os.close(old)
        os.close(null)


def _memory(field: str) -> int:
    """A figure of this process in bytes."""
    text = Path("/proc/self/status").read_text()
    return int(text.split(field + ":")[1].split()[0]) * 1024


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _files(folder: Path) -> set[str]:
    return {os.path.join(top, name) for top, folders, files in os.walk(folder) for name in (*folders, *files)}


def _caused_by_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def try_one(target: Any, valid: Any, seed: int, number: int, root: Path, watch: Watch) -> dict[str, Any]:
    """Makes one input, opens it, and returns its outcome: ``opened``, ``refused``, or the name of a fault."""
    from suprem.errors import SupremError
    from tests.fuzz.targets import rng_of

    source, goal = root / "in", root / "out"
    for folder in (source, goal, root / "cwd"):
        folder.mkdir(exist_ok=True)
        for entry in folder.iterdir():  # the working folder itself must stay
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    if number < 0:
        given = target.valid(valid, source)
    else:
        given = target.write(rng_of(target.name, seed, number), valid, source)
    before = _files(root)
    _reset_peak()
    memory = _memory("VmRSS")
    watch.seen.clear()
    watch.on = True
    outcome, detail, begin = "opened", "", time.process_time()
    try:
        with quiet():
            target.open(given, goal)
    except SupremError as error:
        outcome, detail = "refused", f"{type(error).__name__}: {error}"
        if _caused_by_memory(error):
            outcome = "memory"
        elif "\n" in str(error) or len(str(error)) > 3000:
            outcome = "unreadable"
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        outcome = "wrong" if type(error).__name__ == "Wrong" else "exception"
        detail = (
            f"{type(error).__name__}: {error}"[:500] + "\n" + "".join(traceback.format_exc().splitlines(True)[-12:])
        )
    finally:
        watch.on = False
    used = _memory("VmHWM") - memory
    allowed = (str(goal), str(root / "cwd"), *([str(source)] if target.free else []))
    outside = sorted(path for path in _files(root) ^ before if not path.startswith(allowed))
    if used > MEMORY_BYTES:
        outcome, detail = "memory", f"{used >> 20} MiB; {detail}"
    if outside or watch.seen:
        outcome, detail = "outside", f"{outside[:3]} {watch.seen[:3]}; {detail}"
    return {"outcome": outcome, "detail": detail, "memory": used, "seconds": time.process_time() - begin}


def main(folder: Path) -> None:
    """Answers until standard input ends."""
    root = folder.resolve()
    for name in ("cwd", "home", "tmp", "material"):
        (root / name).mkdir(parents=True, exist_ok=True)
    os.chdir(root / "cwd")
    os.environ.update(HOME=str(root / "home"), TMPDIR=str(root / "tmp"), HF_HUB_OFFLINE="1", MPLBACKEND="Agg")
    os.environ.update(SUPREM_CACHE=str(root / "home" / "cache"), HF_HOME=str(root / "home" / "hf"))
    answers, questions = os.fdopen(os.dup(1), "w"), os.fdopen(os.dup(0))
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)  # `--config -` would read the next questions
    from tests.fuzz.targets import target as find

    prepared: dict[str, Any] = {}
    watch = Watch(root)
    used = _memory("VmSize") + _HARD_LIMIT  # libraries that come later included
    resource.setrlimit(resource.RLIMIT_AS, (used, used))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in questions:
        name, seed, number = line.split()
        target = find(name)
        if name not in prepared:
            (root / "material" / name).mkdir()
            with quiet():
                prepared[name] = target.prepare(root / "material" / name)
            answers.write(json.dumps({"ready": name}) + "\n")
            answers.flush()
        answers.write(json.dumps(try_one(target, prepared[name], int(seed), int(number), root, watch)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
