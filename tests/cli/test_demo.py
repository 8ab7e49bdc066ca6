"""``suprem demo``: what it refuses, what it leaves behind, and how its means are formed."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from suprem.cli import _demo as work
from suprem.cli import main
from suprem.cli._demo import CaseScores, DemoResult
from suprem.cli._demo_report import DISCLAIMER, table_text, write_report
from suprem.labels import label_space
from suprem.phantom import TRAINING_SEEDS, VALIDATION_SEEDS

NAN = math.nan


def _result() -> DemoResult:
    volumes = {"liver": 1500.0, "spleen": 200.0, "kidney_tumor": 0.0}
    more = {**volumes, "kidney_tumor": 4.0}
    network = {"liver": 0.9, "spleen": 0.5, "kidney_tumor": NAN}, {"liver": 0.8, "spleen": 0.7, "kidney_tumor": 0.1}
    first = CaseScores("phantom_0001", 1, volumes, network[0], dict.fromkeys(volumes, 0.25))
    second = CaseScores("phantom_0002", 2, more, network[1], dict.fromkeys(volumes, 0.35))
    return DemoResult("some.model", [first, second], {"phantom_0003": "disk <full>"}, {"phantoms": 1.26})


def test_means_leave_absent_structures_out_case_by_case() -> None:
    result = _result()
    assert result.structures == ("liver", "spleen", "kidney_tumor")
    assert result.volume_ml("kidney_tumor") == 2.0
    assert result.dice("network", "kidney_tumor") == pytest.approx(0.1)
    assert result.mean_dice("network", 2) == pytest.approx((0.85 + 0.6) / 2)
    assert result.mean_dice("network") == pytest.approx((0.85 + 0.6 + 0.1) / 3)
    assert result.mean_dice("baseline") == pytest.approx(0.3)
    nothing = DemoResult("some.model")
    assert nothing.structures == ()
    assert math.isnan(nothing.mean_dice("network"))


def test_json_holds_no_nan_and_says_synthetic() -> None:
    document = json.loads(json.dumps(_result().to_dict(), allow_nan=False))
    assert document["synthetic"] is True
    tumour = document["structures"][2]
    assert tumour["network_dice_per_case"] == {"phantom_0001": None, "phantom_0002": 0.1}
    assert document["summary"]["network_dice_all"] == pytest.approx(0.5167, abs=1e-4)


def test_report_is_for_people_and_spreadsheets(tmp_path: Path) -> None:
    write_report(_result(), tmp_path)
    with (tmp_path / "dice.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 6
    assert [r["network_dice"] for r in rows if r["structure"] == "kidney_tumor"] == ["", "0.1000"]
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "disk &lt;full&gt;" in page
    assert page.count("<img ") == 2
    table = table_text(_result())
    for text in (page, (tmp_path / "dice.md").read_text(), (tmp_path / "README.txt").read_text(), table):
        assert DISCLAIMER in text
    assert ["liver", "1500.0", "0.850", "0.300"] in [line.split() for line in table.splitlines()]
    assert "phantom_0003 failed: disk <full>" in table


@pytest.mark.parametrize("seed", [TRAINING_SEEDS[0] - 1, TRAINING_SEEDS[-1], VALIDATION_SEEDS[1]])
def test_seen_phantoms_are_refused(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "demo"
    assert main(["demo", "--seed", str(seed), "--cases", "2", "-o", str(target)]) == 2
    assert "choose seeds below 1000 or above 2003" in " ".join(capsys.readouterr().err.split())
    assert not target.exists()


def test_foreign_folder_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scans").mkdir()
    precious = tmp_path / "scans" / "patient.nii.gz"
    precious.write_bytes(b"precious")
    for content in (None, "no json", '{"format": "something else"}'):
        if content is not None:
            (tmp_path / work.MARKER).write_text(content)
        assert main(["demo", "-o", str(tmp_path)]) == 1
        assert "holds no earlier demo" in capsys.readouterr().err
    assert precious.read_bytes() == b"precious"


def test_earlier_demo_is_replaced_without_touching_what_was_added(tmp_path: Path) -> None:
    work.prepare_folder(tmp_path / "demo")
    (tmp_path / "demo" / "scans").mkdir()
    (tmp_path / "demo" / "notes.txt").write_text("mine")
    work.prepare_folder(tmp_path / "demo")
    assert not (tmp_path / "demo" / "scans").exists()
    assert (tmp_path / "demo" / "notes.txt").read_text() == "mine"


def test_whole_demo_on_a_coarse_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(work, "SPACING_MM", (6.0, 6.0, 6.0))
    target = tmp_path / "demo"
    assert main(["demo", "--cases", "1", "--seed", "3", "-o", str(target), "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert document["seeds"] == [3]
    assert {s["name"] for s in document["structures"]} == set(label_space("universal_32").names)
    assert document["summary"]["network_dice_10_largest"] > 0.5
    assert json.loads((target / "demo.json").read_text())["complete"] is True
    for path in (
        "index.html", "README.txt", "dice.csv", "dice.md", "scans/phantom_0003.nii.gz",
        "reference/phantom_0003.nii.gz", "predictions/phantom_0003/segmentations/liver.nii.gz",
        "predictions/phantom_0003/preview.png",
    ):  # fmt: skip
        assert (target / path).stat().st_size > 0, path


def test_a_failed_case_is_left_out_of_the_scores_and_fails_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = work._make_phantoms

    def make_and_damage(seeds: range, output: Path, console: Any) -> Any:
        phantoms = original(seeds, output, console)
        (output / "scans" / f"{next(iter(phantoms))}.nii.gz").write_bytes(b"no image")
        return phantoms

    monkeypatch.setattr(work, "SPACING_MM", (8.0, 8.0, 8.0))
    monkeypatch.setattr(work, "_make_phantoms", make_and_damage)
    assert main(["demo", "--cases", "2", "--seed", "3", "-o", str(tmp_path / "demo"), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["seeds"] == [4]
    assert list(document["failed"]) == ["phantom_0003"]
