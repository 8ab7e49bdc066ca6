"""Training in several processes, and after a kill, gives what one undisturbed process gives."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests import children
from tests.integration import training_client
from tests.phantom_store import phantom_store

REPOSITORY = Path(__file__).resolve().parents[2]
SPACING = (10.0, 10.0, 10.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phantom_store(tmp_path_factory.mktemp("processes") / "store", range(80, 85), SPACING)


def _client(words: list[str]) -> None:
    """The program `training_client.py WORDS`; Lightning starts the further ranks by the same words."""
    sys.argv = [training_client.__file__, *words]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY)])
    errors = os.open(Path(words[1]) / "stderr.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(errors, sys.stderr.fileno())
    training_client.main()


def _train(store: Path, out: Path, **options: Any) -> tuple[int, str]:
    """Exit code and standard error of a training in a process, or in several, of its own."""
    out.mkdir(exist_ok=True)
    words = [str(store), str(out), json.dumps({"devices": 1, "batch": 2, "epochs": 2, **options})]
    return children.run(_client, words), (out / "stderr.txt").read_text()


@pytest.fixture(scope="module")
def two(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training in two processes, undisturbed."""
    out = tmp_path_factory.mktemp("two")
    code, errors = _train(store, out, devices=2, batch=1)
    assert code == 0, errors
    return out


def _rows(out: Path, rank: int = 0) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / f"rank_{rank}.jsonl").read_text().splitlines()]


def _weights(out: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(out / "weights.pt", weights_only=True)
    return found


@pytest.mark.slow
def test_two_processes_equal_one_with_twice_the_batch(store: Path, two: Path, tmp_path: Path) -> None:
    one = tmp_path / "one"
    code, errors = _train(store, one, batch=2)
    assert code == 0, errors
    single, first, second = _rows(one), _rows(two), _rows(two, 1)
    assert len(single) == len(first) == len(second) == 8
    for whole, left, right in zip(single, first, second, strict=True):
        assert whole["keys"] == left["keys"] + right["keys"]
    together = [(left["loss"] + right["loss"]) / 2 for left, right in zip(first, second, strict=True)]
    np.testing.assert_allclose(together, [row["loss"] for row in single], rtol=1e-4)
    # Two cases validate, one on each process; each is counted once.
    one_dice, two_dice = ((run / "dice.jsonl").read_text().splitlines() for run in (one, two))
    for line, other in zip(one_dice, two_dice, strict=True):
        assert json.loads(line) == pytest.approx(json.loads(other), abs=2e-3, nan_ok=True)


@pytest.mark.slow
def test_a_killed_rank_ends_the_run_and_the_last_checkpoint_goes_on(store: Path, two: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    code, errors = _train(store, killed, devices=2, batch=1, die=[1, 6])
    assert code != 0
    # The rank that lost its peer says so, unless the launcher, which has seen the other die, ends it before.
    told = ("closed by peer", "Connection reset by peer", "terminated with code -9")
    assert any(words in errors for words in told), errors[-2000:]
    assert not (killed / "weights.pt").exists()
    step = torch.load(killed / "last.ckpt", weights_only=True)["global_step"]
    assert 5 <= step <= 6
    for rank in (0, 1):
        (killed / f"rank_{rank}.jsonl").unlink()
    code, errors = _train(store, killed, devices=2, batch=1, checkpoint=str(killed / "last.ckpt"))
    assert code == 0, errors
    for rank in (0, 1):
        rows = _rows(killed, rank)
        assert rows[0]["step"] == step + 1
        assert [row["keys"] for row in rows] == [row["keys"] for row in _rows(two, rank)[step:]]
        np.testing.assert_allclose([r["loss"] for r in rows], [r["loss"] for r in _rows(two, rank)[step:]], rtol=1e-5)


@pytest.mark.slow
def test_killed_and_resumed_equals_straight_through(store: Path, tmp_path: Path) -> None:
    """Ten epochs, killed after five (4 steps each): the weights are the same, bit by bit."""
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    code, errors = _train(store, straight, epochs=10)
    assert code == 0, errors
    assert _train(store, broken, epochs=10, die=[0, 20])[0] == -signal.SIGKILL
    last = broken / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] in (19, 20)
    code, errors = _train(store, broken, epochs=10, checkpoint=str(last))
    assert code == 0, errors
    for name, value in _weights(straight).items():
        torch.testing.assert_close(_weights(broken)[name], value, rtol=0, atol=0)
