"""Training in several processes, and after a kill, gives what one undisturbed process gives."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.phantom_store import phantom_store

REPOSITORY = Path(__file__).resolve().parents[2]
SPACING = (10.0, 10.0, 10.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phantom_store(tmp_path_factory.mktemp("processes") / "store", range(80, 85), SPACING)


def _train(store: Path, out: Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    out.mkdir(exist_ok=True)
    client = str(Path(__file__).with_name("training_client.py"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY)])}
    return subprocess.run(
        [sys.executable, client, str(store), str(out), json.dumps({"devices": 1, "batch": 2, "epochs": 2, **options})],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def _rows(out: Path, rank: int = 0) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / f"rank_{rank}.jsonl").read_text().splitlines()]


def _weights(out: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(out / "weights.pt", weights_only=True)
    return found


@pytest.mark.slow
def test_two_processes_equal_one_with_twice_the_batch(store: Path, tmp_path: Path) -> None:
    one, two = _train(store, tmp_path / "one", batch=2), _train(store, tmp_path / "two", devices=2, batch=1)
    assert one.returncode == 0, one.stderr
    assert two.returncode == 0, two.stderr
    single, first, second = _rows(tmp_path / "one"), _rows(tmp_path / "two"), _rows(tmp_path / "two", 1)
    assert len(single) == len(first) == len(second) == 8
    for whole, left, right in zip(single, first, second, strict=True):
        assert whole["keys"] == left["keys"] + right["keys"]
    together = [(left["loss"] + right["loss"]) / 2 for left, right in zip(first, second, strict=True)]
    np.testing.assert_allclose(together, [row["loss"] for row in single], rtol=1e-4)
    # Two cases validate, one on each process; each is counted once.
    one_dice, two_dice = ((tmp_path / run / "dice.jsonl").read_text().splitlines() for run in ("one", "two"))
    for line, other in zip(one_dice, two_dice, strict=True):
        assert json.loads(line) == pytest.approx(json.loads(other), abs=2e-3, nan_ok=True)


@pytest.mark.slow
def test_a_killed_rank_ends_the_run_and_the_last_checkpoint_goes_on(store: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert _train(store, whole, devices=2, batch=1).returncode == 0
    done = _train(store, killed, devices=2, batch=1, die=[1, 6])
    assert done.returncode != 0
    assert "closed by peer" in done.stderr or "Connection reset by peer" in done.stderr, done.stderr[-2000:]
    assert not (killed / "weights.pt").exists()
    step = torch.load(killed / "last.ckpt", weights_only=True)["global_step"]
    assert 5 <= step <= 6
    for rank in (0, 1):
        (killed / f"rank_{rank}.jsonl").unlink()
    again = _train(store, killed, devices=2, batch=1, checkpoint=str(killed / "last.ckpt"))
    assert again.returncode == 0, again.stderr
    for rank in (0, 1):
        rows = _rows(killed, rank)
        assert rows[0]["step"] == step + 1
        assert [row["keys"] for row in rows] == [row["keys"] for row in _rows(whole, rank)[step:]]
        np.testing.assert_allclose([r["loss"] for r in rows], [r["loss"] for r in _rows(whole, rank)[step:]], rtol=1e-5)


@pytest.mark.slow
def test_killed_and_resumed_equals_straight_through(store: Path, tmp_path: Path) -> None:
    """Ten epochs, killed after five (4 steps each): the weights are the same, bit by bit."""
    assert _train(store, tmp_path / "straight", epochs=10).returncode == 0
    assert _train(store, tmp_path / "broken", epochs=10, die=[0, 20]).returncode == -signal.SIGKILL
    last = tmp_path / "broken" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] in (19, 20)
    again = _train(store, tmp_path / "broken", epochs=10, checkpoint=str(last))
    assert again.returncode == 0, again.stderr
    for name, value in _weights(tmp_path / "straight").items():
        torch.testing.assert_close(_weights(tmp_path / "broken")[name], value, rtol=0, atol=0)
