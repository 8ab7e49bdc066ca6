import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from suprem.errors import ConfigurationError, OutputError
from suprem.volumes import _folder_cache
from suprem.volumes._folder_cache import FolderCache


def _writes(size: int, log: Path | None = None) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        (folder / "data").write_bytes(b"x" * size)
        if log is not None:
            with log.open("a") as file:
                file.write("filled\n")

    return fill


def _folders(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.name != "locks")


def test_a_folder_is_filled_once(tmp_path: Path) -> None:
    cache, log = FolderCache(tmp_path / "cache", 100), tmp_path / "log"
    for _ in range(3):
        with cache.held("a", 40, _writes(40, log)) as folder:
            assert (folder / "data").read_bytes() == b"x" * 40
    assert log.read_text() == "filled\n"
    assert ("a", 40) in cache
    assert ("b", 40) not in cache


def test_what_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    cache = FolderCache(tmp_path, 100)
    for name in "abac":  # b was used longest ago when c comes
        time.sleep(0.01)
        with cache.held(name, 40, _writes(40)):
            pass
    assert _folders(tmp_path) == ["a-40", "c-40"]
    cache.add("d", 100, _writes(100))
    assert _folders(tmp_path) == ["d-100"]


def test_a_folder_in_use_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_folder_cache, "_PATIENCE_S", 0.1)
    cache = FolderCache(tmp_path, 100)
    with cache.held("a", 60, _writes(60)) as folder:
        with pytest.raises(OutputError, match="all of which are in use; raise cache_size"):
            cache.add("b", 60, _writes(60))
        assert (folder / "data").exists()
    cache.add("b", 60, _writes(60))
    assert _folders(tmp_path) == ["b-60"]


def test_too_large(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="a has 200 bytes"):
        FolderCache(tmp_path, 100).add("a", 200, _writes(200))
    with pytest.raises(ConfigurationError, match="must be positive"):
        FolderCache(tmp_path, 0)


def test_a_failed_fill_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_bytes(b"x")
        raise OSError(28, "No space left on device")

    cache = FolderCache(tmp_path, 100)
    with pytest.raises(OutputError, match="No space is left"):
        cache.add("a", 40, fail)
    assert _folders(tmp_path) == []
    cache.add("a", 40, _writes(40))
    assert _folders(tmp_path) == ["a-40"]


def _hang(root: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "half").write_bytes(b"x" * 20)
        time.sleep(60)

    FolderCache(root, 100).add("a", 60, fill)


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_hang, args=(tmp_path,))
    process.start()
    while not list(tmp_path.glob(".*.a-60/half")):
        time.sleep(0.01)
    # What is being filled counts already.
    cache = FolderCache(tmp_path, 100)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    cache.add("b", 60, _writes(60))
    assert _folders(tmp_path) == ["b-60"]
    cache.add("a", 40, _writes(40))  # and its lock is free
    assert _folders(tmp_path) == ["a-40", "b-60"]


def _visit(root: Path, log: Path) -> None:
    cache = FolderCache(root, 100)
    for _ in range(20):
        for name in "abc":
            with cache.held(name, 40, _writes(40, log)) as folder:
                assert (folder / "data").stat().st_size == 40


def test_processes_share_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_visit, args=(tmp_path / "cache", tmp_path / "log")) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(_folders(tmp_path / "cache")) == 2
