import json
from pathlib import Path

import numpy as np
import pytest

from suprem.cli import main
from suprem.phantom import generate
from suprem.volumes import Volume
from suprem.volumes.store import Store, StoreSettings, create_store, write_index
from tests.phantom_store import add_phantom

SPACING = (10.0, 10.0, 10.0)
FIRST, SECOND = frozenset({"liver", "spleen"}), frozenset({"liver", "kidney_cyst"})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("look") / "store"
    create_store(root, StoreSettings(SPACING))
    for number, annotated in enumerate((FIRST, FIRST, SECOND)):
        case = generate(40 + number, spacing_mm=SPACING, lesion_probability=0.0)
        add_phantom(root, case, f"case_{number}", dataset="ab"[number == 2], annotated=annotated)
    write_index(root)
    return root


def test_stats(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "stats", str(store), "-o", str(tmp_path / "out"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["cases"], document["datasets"]) == (3, {"a": 2, "b": 1})
    rows = {row["structure"]: row for row in document["structures"]}
    assert set(rows) == {"liver", "spleen", "kidney_cyst"}
    records = Store.open(store).records
    livers = [record.voxels["liver"] for record in records]  # one voxel is one millilitre
    assert rows["liver"]["mean_ml"] == pytest.approx(np.mean(livers))
    assert rows["liver"]["sd_ml"] == pytest.approx(np.std(livers, ddof=1))
    assert (rows["liver"]["least_ml"], rows["liver"]["most_ml"]) == (min(livers), max(livers))
    assert -20 < rows["liver"]["mean_hu"] < 280
    assert (rows["spleen"]["annotated"], rows["spleen"]["present"], rows["spleen"]["unknown"]) == (2, 2, 1)
    assert (rows["kidney_cyst"]["annotated"], rows["kidney_cyst"]["present"]) == (1, 0)
    assert rows["kidney_cyst"]["mean_ml"] is None
    lines = (tmp_path / "out" / "structures.csv").read_text().splitlines()
    assert len(lines) == 4
    assert (tmp_path / "out" / "structures.png").read_bytes().startswith(b"\x89PNG")


def test_stats_from_the_index_alone(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "stats", str(store), "--no-hu"]) == 0
    text = capsys.readouterr().out
    assert "3 cases: a 2, b 1" in text
    assert "spleen" in text


def test_verify_a_store(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "verify", str(store)]) == 0
    assert "3 cases: 3 ok, 0 to look at, 0 wrong" in capsys.readouterr().out


def test_verify_tells_by_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = generate(41, spacing_mm=SPACING)
    create_store(tmp_path, StoreSettings(SPACING))
    add_phantom(tmp_path, case, "mirrored", labels=Volume(case.labels.array[::-1].copy(), case.ct.affine))
    write_index(tmp_path)
    assert main(["data", "verify", str(tmp_path), "--json"]) == 1
    (document,) = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "wrong"
    assert any("swapped" in finding["text"] for finding in document["findings"])


def test_view(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "picture.png"
    assert main(["data", "view", str(store), "a/case_0", "-o", str(target)]) == 0
    assert capsys.readouterr().out.strip() == str(target)
    assert target.read_bytes().startswith(b"\x89PNG")
    assert main(["data", "view", str(store), "a/case_9"]) == 2
    assert "did you mean" in capsys.readouterr().err


def test_bad_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "stats", str(tmp_path)]) == 2
    assert "is no store" in capsys.readouterr().err
    assert main(["data", "verify", str(tmp_path), "--trust-grid"]) == 2
    assert "give its folder with --root" in capsys.readouterr().err
