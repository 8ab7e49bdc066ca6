"""What commands leave behind in the machine: nothing; and what they need from it: little."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from suprem.inference import Predictor
from suprem.inference.folder import predict_folder
from suprem.volumes.scans import find_scans
from suprem.zoo import load_pretrained
from tests import children
from tests.faults import surroundings
from tests.faults.commands import COMMANDS, prepare_scans

LOCAL = [name for name in COMMANDS if not name.startswith("zoo")]


@pytest.mark.slow
@pytest.mark.parametrize("name", LOCAL)
def test_nothing_is_left_after_success_errors_and_ctrl_c(name: str, tmp_path: Path) -> None:
    COMMANDS[name].prepare(tmp_path / "inputs")
    assert children.run(surroundings.audit, name, tmp_path) == 0
    found = json.loads((tmp_path / "left.json").read_text())
    assert found.pop("ends") == {"done": "done", "full": "told", "interrupted": "interrupted"}
    assert found == {}


@pytest.mark.slow
def test_a_narrow_locale_no_home_and_no_network(tmp_path: Path) -> None:
    """Texts with umlauts in a locale without them, a home that cannot be written, every address a dead end."""
    names = ("predict", "data prepare", "atlas release")
    for name in names:
        COMMANDS[name].prepare(tmp_path / name / "inputs")
        assert children.run(COMMANDS[name].run, tmp_path / name / "inputs", tmp_path / name / "wide") == 0
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "HF_", "XDG_"))}
    environment |= {
        "LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "HOME": "/dev/null/home",
        "MPLCONFIGDIR": "/dev/null/matplotlib", "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9",
        "HF_ENDPOINT": "http://127.0.0.1:9",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.surroundings", str(tmp_path), *names],
        env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in names:
        wide, narrow = (COMMANDS[name].content(tmp_path / name / out) for out in ("wide", "narrow"))
        assert narrow == wide


def test_one_case_without_memory_does_not_lose_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_scans(tmp_path)
    predictor = Predictor(load_pretrained(f"local-dir:{tmp_path / 'model'}"), device="cpu")
    predict, calls = Predictor.predict, iter(range(9))

    def second_fails(*arguments: object, **options: object) -> object:
        if next(calls) == 1:
            np.empty(2**60, dtype=np.uint8)  # NumPy's own MemoryError
        return predict(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Predictor, "predict", second_fails)
    scans = find_scans([tmp_path / "scans"])
    result = predict_folder(scans, predictor, tmp_path / "out")
    assert [case.status for case in result.cases] == ["done", "failed", "done"]
    assert result.cases[1].error_type is not None
    assert "Memory" in result.cases[1].error_type
    again = predict_folder(scans, predictor, tmp_path / "out", resume=True)
    assert [case.status for case in again.cases] == ["skipped", "done", "skipped"]


@pytest.mark.slow
def test_a_worker_killed_for_want_of_memory_does_not_lose_the_others(tmp_path: Path) -> None:
    from suprem._workers import map_unordered

    marker = tmp_path / "killed"
    work = [(number, str(marker) if number == 2 else "") for number in range(4)]
    found = dict(map_unordered(surroundings.die_once, work, jobs=2))
    assert sorted(result for result in found.values() if isinstance(result, int)) == [0, 1, 2, 3]
    assert marker.exists()
