"""``suprem data prepare``: exit codes, terms before work, problems at the end, one JSON document on request."""

import json
from pathlib import Path

import numpy as np
import pytest

from suprem.cli import main
from suprem.volumes import Volume, write_volume
from suprem.volumes.store import Store


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    root = tmp_path / "raw"
    root.mkdir()
    (root / "dataset.yaml").write_text(
        "title: Cubes\nimage: images/{case}.nii.gz\nlabel: labels/{case}.nii.gz\nlabels: {1: liver}\n",
        encoding="utf-8",
    )
    for seed, name in enumerate(("a", "b")):
        hu = np.random.default_rng(seed).integers(-900, 300, (8, 8, 8)).astype(np.int16)
        write_volume(Volume(hu, np.diag([3.0, 3.0, 3.0, 1.0])), root / f"images/{name}.nii.gz")
        label = Volume((hu > 0).astype(np.uint8), np.diag([3.0, 3.0, 3.0, 1.0]))
        write_volume(label, root / f"labels/{name}.nii.gz")
    return root


def _run(raw: Path, *options: str) -> int:
    return main(["data", "prepare", "folder", "--root", str(raw), "--out", str(raw.parent / "store"), *options])


def test_all_cases_are_stored_after_the_terms_were_shown(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(raw, "--spacing", "1.5,1.5,3") == 0
    shown = capsys.readouterr()
    assert shown.err.index("licence that of the data") < shown.err.index("[1/2] a: done")
    assert "2 prepared, 0 there already, 0 failed" in shown.out
    store = Store.open(raw.parent / "store")
    assert store.settings.spacing_mm == (1.5, 1.5, 3.0)
    assert [record.shape for record in store.records] == [(15, 15, 8)] * 2


def test_own_spacing_keeps_the_grid(raw: Path) -> None:
    assert _run(raw, "--spacing", "own") == 0
    assert {record.shape for record in Store.open(raw.parent / "store").records} == {(8, 8, 8)}


def test_citations_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "prepare", "chaos_ct", "--root", str(tmp_path), "--out", str(tmp_path / "s")]) == 2
    error = capsys.readouterr().err
    assert "CC BY-SA 4.0" in error
    assert "cite: Kavur" in error
    assert "holds no case" in error


def test_a_failed_case_gives_exit_code_1_and_a_row(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (raw / "labels/a.nii.gz").write_bytes(b"")
    assert _run(raw) == 1
    shown = capsys.readouterr()
    assert "[1/2] a: failed: " in shown.err
    assert "1 prepared, 0 there already, 1 failed" in shown.out
    assert "is empty" in shown.out
    assert "problems.csv" in shown.out


def test_json_is_one_document(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (raw / "labels/a.nii.gz").unlink()
    assert _run(raw, "--json") == 1
    content = json.loads(capsys.readouterr().out)
    assert content["dataset"] == "folder"
    assert content["done"] == ["b"]
    assert [problem["case"] for problem in content["problems"]] == ["a"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--spacing", "fine"], "--spacing is 'fine'"),
        (["--spacing", "1,2"], "--spacing is '1,2'"),
        (["--spacing", "0"], "between 0.1 and 20 mm"),
        (["--variant", "other"], "Unknown variant"),
        (["--jobs", "2", "--scheduler", "tcp://127.0.0.1:1"], "leave it out"),
        (["--jobs", "0"], "jobs"),
    ],
)
def test_bad_arguments_give_exit_code_2(
    raw: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    assert _run(raw, *options) == 2
    assert told in capsys.readouterr().err
