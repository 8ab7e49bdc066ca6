"""Fifty runs killed at random moments: nothing half-written is indexed, and the next run ends as if undisturbed."""

import multiprocessing
import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from suprem.phantom import generate
from suprem.volumes import write_volume
from suprem.volumes.geometry import Volume
from suprem.volumes.store import Store

KILLS = 50
CASES = 6
SPACING = (8.0, 8.0, 8.0)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("killed") / "raw"
    case = generate(1, spacing_mm=(5.0, 5.0, 5.0), orientation="LPS")
    liver = case.mask("liver").astype(np.uint8)
    for number in range(CASES):
        ct = np.roll(case.ct.array, number, axis=2)  # so that no two cases have the same content
        write_volume(Volume(ct, case.ct.affine), root / f"images/p{number}.nii.gz")
        write_volume(Volume(np.roll(liver, number, axis=2), case.ct.affine), root / f"labels/p{number}.nii.gz")
    (root / "dataset.yaml").write_text(
        "title: Phantoms\nimage: images/{case}.nii.gz\nlabel: labels/{case}.nii.gz\nlabels:\n  1: liver\n"
    )
    return root


def _prepare(raw: Path, out: Path, jobs: int) -> None:
    from suprem.datasets._prepare import prepare

    os.setsid()  # the process and its workers die together, as when a machine is switched off
    prepare("folder", raw, out, spacing_mm=SPACING, jobs=jobs)


def _content(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize(("jobs", "kills"), [(1, KILLS - 10), (2, 10)])
def test_killed_at_random_moments(raw: Path, tmp_path: Path, jobs: int, kills: int) -> None:
    context = multiprocessing.get_context("forkserver")  # a child without this process's threads, that starts at once
    context.set_forkserver_preload(["suprem.datasets._prepare"])

    def start(out: Path) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=_prepare, args=(raw, out, jobs))
        process.start()
        return process

    start(tmp_path / "warm").join()
    began = time.monotonic()
    start(tmp_path / "one").join()
    whole = time.monotonic() - began
    expected = _content(tmp_path / "one")
    assert sum(name.endswith("ct.b2nd") for name in expected) == CASES
    rng, out = random.Random(jobs), tmp_path / "two"
    for _ in range(kills):
        while not _interrupted(start(out), rng.uniform(0.0, whole)) or not out.exists():
            shutil.rmtree(out, ignore_errors=True)  # it had ended, or not begun to write: does not count
        if (out / "index.jsonl").exists():
            store = Store.open(out)
            assert [problem for record in store.records for problem in store.verify(record.key)] == []
        again = start(out)
        again.join()
        assert again.exitcode == 0
        assert _content(out) == expected
        shutil.rmtree(out)


def _interrupted(process: multiprocessing.process.BaseProcess, seconds: float) -> bool:
    """Kills a process and its workers after some time; false when it had ended by then."""
    process.join(seconds)
    alive = process.is_alive()
    if alive and process.pid is not None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has not made its group yet
            os.kill(process.pid, signal.SIGKILL)
    process.join()
    return alive
