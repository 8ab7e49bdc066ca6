"""Runs killed at random moments: no half release looks finished, and the next run ends as if undisturbed."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from suprem.atlas.workspace import Atlas
from tests.atlas.release_cases import block, make_atlas, revise

KILLS = 34
CASES = tuple((name, str(number)) for name in ("chaos_ct", "lits") for number in range(3))


def _release(root: Path, out: Path) -> None:
    from suprem.atlas.release import ReleaseOptions, release_atlas

    release_atlas(Atlas.open(root), out, ReleaseOptions(name="Ours"))


def _content(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def _events(atlas: Atlas, out: Path) -> int:
    return sum(event.facts["folder"] == str(out.resolve()) for event in atlas.journal.events("release"))


def _complete(folder: Path, expected: dict[str, bytes]) -> bool:
    """Whether what looks finished is so."""
    if not (folder / "release.json").is_file():
        return True
    found = {name: data for name, data in _content(folder).items() if name != "UNFINISHED"}
    return found == expected


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    atlas = make_atlas(tmp_path, CASES)
    revise(atlas, "lits/1", "ann", {"liver": block(3, 9)})
    context = multiprocessing.get_context("forkserver")  # a child that starts at once, without this process's threads
    context.set_forkserver_preload(["suprem.atlas.release"])

    def start(out: Path) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=_release, args=(atlas.root, out))
        process.start()
        return process

    start(tmp_path / "warm").join()
    began = time.monotonic()
    start(tmp_path / "one").join()
    whole = time.monotonic() - began
    expected = _content(tmp_path / "one")
    assert json.loads(expected["release.json"])["cases"] == len(CASES)
    rng, out, killed = random.Random(7), tmp_path / "two", 0
    while killed < KILLS:
        process = start(out)
        process.join(rng.uniform(0.0, whole))
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.join()
        assert _complete(out, expected)
        if rng.random() < 0.5:  # killed again on the way, every other time
            continue
        again = start(out)
        again.join()
        assert again.exitcode == 0
        assert _content(out) == expected
        assert _events(atlas, out) == 1
        shutil.rmtree(out)
        out = tmp_path / f"two-{killed}"
    ids = (atlas.root / "release" / "ids.csv").read_text().splitlines()
    assert len(ids) == 1 + len(CASES)
