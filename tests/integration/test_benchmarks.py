"""The benchmarks still run: the harness on small jobs, our side of the inference scripts on a tiny scan. No times."""

import csv
import json
import math
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "experiments" / "benchmarks"
WORKER = """
import json, sys, time
sys.path.insert(0, {folder!r})
from _harness import answer, timed

def fill(job):
    held = bytearray(job["mib"] * 2**20)
    with timed() as found:
        time.sleep(job["seconds"])
    return {{**found, "held": len(held)}}

def child(job):
    import subprocess
    code = f"x = bytearray({{job['mib']}} * 2**20); import time; time.sleep(1)"
    subprocess.run([sys.executable, "-c", code], check=True)
    return {{}}

answer({{"fill": fill, "child": child, "fail": lambda job: 1 / 0}})
"""


@pytest.fixture(scope="module")
def harness() -> ModuleType:
    """The module that the scripts share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import _harness

        return _harness


@pytest.fixture
def worker(tmp_path: Path) -> str:
    """A script that does small jobs."""
    path = tmp_path / "worker.py"
    path.write_text(WORKER.format(folder=str(BENCHMARKS)))
    return str(path)


def test_a_run_reports_its_work_and_the_memory_of_its_process(harness: ModuleType, worker: str) -> None:
    found = harness.ask(harness.Contender("a", worker, "fill", {"mib": 200, "seconds": 0.05}))
    assert 0.05 <= found["seconds"] <= found["process_s"]
    assert found["held"] == 200 * 2**20
    assert found["peak_gib"] >= 200 / 1024  # of a test, whose process is large: a child starts with its peak


def test_memory_of_children_counts(harness: ModuleType, worker: str) -> None:
    assert harness.ask(harness.Contender("a", worker, "child", {"mib": 200}))["peak_gib"] >= 200 / 1024


def test_a_contender_that_fails_stops_the_benchmark_with_its_reason(harness: ModuleType, worker: str) -> None:
    with pytest.raises(RuntimeError, match=r"broken ended with 1[\s\S]*ZeroDivisionError"):
        harness.ask(harness.Contender("broken", worker, "fail"))


def test_contenders_take_turns_and_finished_runs_are_kept(
    harness: ModuleType, worker: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = [harness.Contender(name, worker, "fill", {"mib": 1, "seconds": 0.0, "name": name}) for name in "ab"]
    runs = harness.take_turns(pair, 2, warm_ups=1, kept=tmp_path / "kept")
    assert [line[:4] for line in capsys.readouterr().out.splitlines()] == [
        "-1 a",
        "-1 b",
        "0 a:",
        "0 b:",
        "1 a:",
        "1 b:",
    ]
    assert {name: len(found) for name, found in runs.items()} == {"a": 2, "b": 2}
    before = (tmp_path / "kept").read_text()
    assert harness.take_turns(pair, 2, warm_ups=1, kept=tmp_path / "kept") == runs
    assert (tmp_path / "kept").read_text() == before


def test_ratios_are_taken_repeat_by_repeat(harness: ModuleType) -> None:
    common = {"cpu_s": 1.0, "peak_gib": 1.0, "load": 0.5}
    ours = [{**common, "seconds": s} for s in (1.0, 2.0, 4.0)]
    theirs = [{**common, "seconds": s, "peak_gib": 3.0} for s in (3.0, 4.0, 20.0)]
    rows = harness.compared({"ours": ours, "theirs": theirs}, "ours", ("files",))
    assert [row["over_ours"] for row in rows] == [1.0, 3.0]
    assert (rows[1]["least_ratio"], rows[1]["most_ratio"], rows[1]["median_s"]) == (2.0, 5.0, 4.0)
    assert (rows[1]["peak_over_ours"], rows[1]["files"]) == (3.0, "")


def test_a_table_has_all_columns_of_its_rows(harness: ModuleType, tmp_path: Path) -> None:
    harness.write_csv(tmp_path / "t.csv", [{"a": 1.23456}, {"a": 2, "b": "x"}])
    assert (tmp_path / "t.csv").read_text() == "a,b\n1.235,\n2,x\n"


@pytest.mark.parametrize(
    ("script", "rows"),
    [
        ("inference_monai", 1),
        ("inference_nnunet", 1),
        ("inference_published", 1),
        ("inference_memory", 4),
        ("inference_small", 1),
        ("label_writing", 6),
        ("network_on_cpu", 3),
    ],
)
def test_a_script_runs_on_tiny_volumes(
    harness: ModuleType,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    rows: int,
) -> None:
    # In this process, where torch is loaded already. The peers have an environment of their own, which tests lack.
    works: dict[str, Any] = {}

    def here(contender: Any) -> dict[str, Any]:
        if contender.script not in works:
            with monkeypatch.context() as patch:
                patch.setattr(harness, "answer", lambda found: works.update({contender.script: found}) or True)
                runpy.run_path(contender.script, run_name="__main__")
        found = works[contender.script][contender.work](json.loads(json.dumps(contender.job)))
        return {"process_s": 1.0, "peak_gib": 1.0, "load": 0.0, **found}

    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(harness, "ask", here)
    monkeypatch.delitem(sys.modules, "_inference", raising=False)
    work = tmp_path_factory.getbasetemp() / "benchmarks"  # the scripts share the scan and the networks
    monkeypatch.setattr(sys, "argv", [script, "--quick", "--work", str(work)])
    runpy.run_path(str(BENCHMARKS / f"{script}.py"), run_name="__main__")
    with (work / f"results_{script}.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) >= rows
    assert all(float(value) > 0 for row in found for key, value in row.items() if key in ("median_s", "seconds"))
    if script == "inference_monai":
        assert float(found[0]["files"]) == 6  # five masks and the combined map
        assert float(found[0]["windows"]) > 0


def test_aims_name_columns_that_exist() -> None:
    aims = yaml.safe_load((BENCHMARKS / "targets.yaml").read_text())
    for aim in aims:
        path = BENCHMARKS / aim["file"]
        if not path.exists():  # a benchmark that needs peers or hours may not have been run yet
            continue
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if all(row[k] == v for k, v in aim["row"].items())]
        assert len(rows) == 1, aim
        assert math.isfinite(float(rows[0][aim["column"]]))
        assert aim["held"].split()[0] in (">=", "<=")
