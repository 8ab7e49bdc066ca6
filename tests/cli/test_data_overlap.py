"""``suprem data overlap``: by name without reading a CT, by voxels on request."""

import json
from pathlib import Path

import numpy as np
import openpyxl
import pytest

from suprem.cli import main
from suprem.datasets import dataset
from suprem.volumes import Volume, write_volume
from tests.datasets.trees import plant_family


@pytest.fixture
def livers(tmp_path: Path) -> list[str]:
    places = []
    for name in ("lits", "msd_liver"):
        spec = dataset(name)
        plant_family(tmp_path / name, spec, spec.variants[0], spec.variants[0].files[0], n="7")
        places.append(f"{name}={tmp_path / name}")
    return places


def clinic(root: Path, array: "np.ndarray[tuple[int, ...], np.dtype[np.int16]]") -> Path:
    root.mkdir()
    (root / "dataset.yaml").write_text("image: i/{case}.nii.gz\nlabel: l/{case}.nii.gz\nlabels: {1: liver}\n")
    write_volume(Volume(array, np.eye(4)), root / "i" / "one.nii.gz")
    write_volume(Volume((array > 0).astype(np.uint8), np.eye(4)), root / "l" / "one.nii.gz")
    return root


def test_the_same_scan_is_found_by_name(livers: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "overlap", livers[0], livers[1].replace("=", ":", 1)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("lits/volume-7  msd_liver/liver_7  name [inferred]: ")
    assert lines[1] == "2 cases, 1 pairs are the same scan; compared by name only (--pixels reads the CTs)."


def test_json_and_table(livers: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "same.csv"
    table.write_text("id_a,id_b\nlits/volume-7,msd_liver/liver_7\n")
    assert main(["data", "overlap", *livers, "--table", str(table), "--json"]) == 0
    pairs = json.loads(capsys.readouterr().out)
    assert {pair["kind"] for pair in pairs} == {"name", "table"}
    assert set(pairs[0]) == {"a", "b", "kind", "detail", "confidence"}


def test_the_spreadsheet_beside_flare23_is_used(
    livers: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = dataset("flare23")
    plant_family(tmp_path / "flare", spec, spec.variants[0], spec.variants[0].files[0], n="0004")
    book = openpyxl.Workbook()
    book.active.append(("Dataset", "public_name"))
    book.active.append(("FLARE23_0004", "liver_7"))
    book.save(tmp_path / "flare" / "FLARE23-DataInfoTraining.xlsx")
    assert main(["data", "overlap", f"flare23={tmp_path / 'flare'}", livers[0], livers[1], "--json"]) == 0
    pairs = json.loads(capsys.readouterr().out)
    assert [(pair["a"], pair["b"]) for pair in pairs if pair["kind"] == "table"] == [
        ("flare23/FLARE23_0004", "lits/volume-7"),
        ("flare23/FLARE23_0004", "msd_liver/liver_7"),
    ]


def test_own_folders_are_one_by_voxels_not_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    array = np.random.default_rng(0).integers(-1000, 1000, (8, 9, 10), dtype=np.int16)
    here, there = clinic(tmp_path / "a", array), clinic(tmp_path / "b", array[::-1].copy())
    words = ["data", "overlap", f"here={here}", f"there={there}"]
    assert main(words) == 0
    assert "2 cases, 0 pairs" in capsys.readouterr().out
    assert main([*words, "--pixels"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "here/one  there/one  hash [verified]: the same voxels",
        "2 cases, 1 pairs are the same scan; 0 look alike.",
    ]


@pytest.mark.parametrize("text", ["lits", "/data/lits", "=x", "lits=", "litts:/data"])
def test_a_place_without_a_known_name_is_a_bad_argument(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "overlap", text]) == 2
    assert "lits" in capsys.readouterr().err or text == "=x"
