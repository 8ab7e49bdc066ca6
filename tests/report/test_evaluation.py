"""The page of ``suprem evaluate``, from masks on disk."""

import json
from pathlib import Path

import numpy as np
import pytest

from suprem.cli import main
from suprem.report.evaluation import page_table
from suprem.report.table import Estimate, Table
from suprem.volumes.geometry import Volume
from suprem.volumes.io import write_volume

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two cases of a liver that is found and a spleen that is missed in the second."""
    for case, shift in (("good", 0), ("bad", 3)):
        liver = np.zeros((24, 24, 12), dtype=np.uint8)
        liver[4:12, 4:12, 2:8] = 1
        spleen = np.zeros_like(liver)
        spleen[14:20, 14:20, 3:7] = 1
        rng = np.random.default_rng(0)
        ct = Volume(rng.integers(-100, 200, liver.shape).astype(np.int16), AFFINE, case)
        write_volume(ct, tmp_path / "ct" / f"{case}.nii.gz")
        for name, mask in (("liver", liver), ("spleen", spleen)):
            write_volume(Volume(mask, AFFINE, name), tmp_path / "reference" / case / f"{name}.nii.gz")
            found = np.roll(mask, shift, axis=0) if name == "liver" or not shift else np.zeros_like(mask)
            write_volume(Volume(found, AFFINE, name), tmp_path / "prediction" / case / f"{name}.nii.gz")
    return tmp_path


def _evaluate(folders: Path, *words: str) -> Path:
    out = folders / "out"
    sides = [str(folders / "prediction"), str(folders / "reference"), "-o", str(out), "--worst", "2"]
    assert main(["evaluate", *sides, *words]) == 0
    return out


def test_the_page_has_tables_the_worst_case_and_pictures(folders: Path) -> None:
    out = _evaluate(folders, "--report", "1", "--images", str(folders / "ct"))
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "nothing was predicted" in page  # the remark on the spleen of the bad case, which is shown
    assert page.count("data:image/png;base64,") == 2
    assert ">bad<" in page
    assert ">good<" not in page
    assert "suprem evaluate" in page  # the command
    assert page.count('"prediction"') >= 1
    assert page.count('"reference"') >= 1
    assert "http" not in page.replace("http-equiv", "")


def test_without_a_scan_the_page_says_so(folders: Path) -> None:
    page = (_evaluate(folders, "--report", "2") / "report.html").read_text(encoding="utf-8")
    assert page.count("No CT was found.") == 2


def test_no_case_leaves_the_tables(folders: Path) -> None:
    page = (_evaluate(folders, "--report", "0") / "report.html").read_text(encoding="utf-8")
    assert "<canvas" not in page
    assert "kidney" not in page
    assert "spleen" in page


def test_no_page_unless_asked_for(folders: Path) -> None:
    out = _evaluate(folders)
    assert not (out / "report.html").exists()
    assert json.loads((out / "evaluation.json").read_text(encoding="utf-8"))["worst"][0]["case"] == "bad"


def test_counts_have_no_decimals_on_a_page() -> None:
    table = Table(("structure", "cases", "DSC"), [("liver", 2, 0.5), ("spleen", 3, Estimate(0.25, 0.1))], digits=3)
    shown = page_table(table).shown
    assert [row[1][0] for row in shown] == ["2", "3"]
    assert shown[0][2][0] == "0.500"
