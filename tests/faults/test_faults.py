"""A few trials of the campaign: each command, disturbed at random moments, completes as if nothing had happened.

`python -m tests.faults.campaign` makes as many as wanted.
"""

import os
import random
import shutil
from pathlib import Path

import pytest

from tests import children
from tests.faults.campaign import Site, faults_of, site
from tests.faults.commands import COMMANDS, check_store, files, prepare_raw, prepare_store

pytestmark = pytest.mark.slow
TRIALS = {"killed": 3}
WORKERS, KILLS = 2, 2


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_disturbed_completes_in_the_next_run(name: str, tmp_path: Path) -> None:
    with site(name, tmp_path) as place:
        found = [place.figures(fault, TRIALS.get(fault, 1), 0) for fault in faults_of(name)]
        twice = place.two_at_once()
    assert twice == ""
    assert [failure for figures in found for failure in figures.failures] == []
    assert sum(figures.injected for figures in found) >= len(found)


def test_a_fault_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The campaign itself: an output that an interrupted run leaves incomplete is a failure."""
    with site("data prepare", tmp_path) as place:
        monkeypatch.setattr(Site, "content", lambda self: {**files(self.out), "more": b""})
        assert "differ ['more']" in place.trial("killed", random.Random(0))[1]


def test_workers_killed_with_their_run(tmp_path: Path) -> None:
    """Several processes write a store; all end at once, at some moment."""
    prepare_raw(tmp_path / "raw")
    assert children.run(prepare_store, tmp_path / "raw", tmp_path / "one") == 0
    expected = files(tmp_path / "one")
    rng, out, killed = random.Random(1), tmp_path / "two", 0
    for _ in range(20 * KILLS):
        process = children.start(prepare_store, tmp_path / "raw", out, WORKERS)
        wanted = rng.randint(1, len(expected))
        while process.is_alive() and _count(out) < wanted:
            process.join(0.01)
        if children.end(process):  # otherwise it ended before it could be killed
            killed += 1
            check_store(out)
            assert children.run(prepare_store, tmp_path / "raw", out) == 0
            assert files(out) == expected
        shutil.rmtree(out)
        if killed == KILLS:
            return
    pytest.fail(f"only {killed} runs were killed")


def _count(folder: Path) -> int:
    """Files in a folder that somebody else is changing."""
    return sum(len(names) for _, _, names in os.walk(folder))
