"""The check of a whole atlas or store, and what it writes."""

import csv
import json
from pathlib import Path

import pytest

from suprem.atlas.check import MEANINGS, check_labels
from suprem.atlas.rules import RULES
from suprem.atlas.workspace import Atlas
from suprem.cli import main
from suprem.errors import OutputError, UnknownNameError
from suprem.phantom import generate
from suprem.quality.findings import FLAGS
from suprem.volumes import Volume
from suprem.volumes.store import StoreSettings, create_store, write_index
from tests.atlas.check_cases import labels_of, masks_of
from tests.phantom_store import add_phantom

SPACING = (8.0, 8.0, 8.0)
NAMES = ("aorta", "spleen", "kidney_right", "kidney_left")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean case, and one whose aorta has no label in three slices."""
    root = tmp_path_factory.mktemp("check") / "store"
    create_store(root, StoreSettings(SPACING))
    case = generate(5, spacing_mm=SPACING)
    masks = masks_of(case, NAMES)
    for name, slices in (("clean", slice(0)), ("faulty", slice(45, 48))):
        aorta = masks["aorta"].copy()
        aorta[:, :, slices] = False
        labels = labels_of({**masks, "aorta": aorta}, case.ct.affine)
        volume = Volume(labels.indices, labels.affine, name)
        add_phantom(root, case, name, annotated=frozenset(NAMES), labels=volume, table=labels.table)
    write_index(root)
    return root


def test_files(store: Path, tmp_path: Path) -> None:
    result = check_labels(store, tmp_path / "out")
    assert result.cases == ("a/clean", "a/faulty")
    gaps = [finding for finding in result.findings if finding.rule == "gap"]
    assert [(f.case, f.structure, f.source, f.slice) for f in gaps] == [("a/faulty", "aorta", "expert", 46)]
    height = generate(5, spacing_mm=SPACING).ct.affine[2, 3] + 46 * SPACING[2]
    assert gaps[0].slice_mm == pytest.approx(height, abs=0.1)
    content = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert content["cases"] == ["a/clean", "a/faulty"]
    assert content["counts"]["gap"] == 1
    with (tmp_path / "out" / "findings.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["rule"] == "gap"]
    assert rows[0]["text"] == gaps[0].text
    png = (tmp_path / "out" / gaps[0].picture).read_bytes()
    assert png.startswith(b"\x89PNG")
    page = (tmp_path / "out" / "index.html").read_text()
    assert gaps[0].text in page
    assert "://" not in page


def test_an_atlas_shows_where_its_labels_come_from(store: Path, tmp_path: Path) -> None:
    Atlas.create(tmp_path / "atlas", store, NAMES)
    assert main(["atlas", "check", str(tmp_path / "atlas"), "--case", "a/faulty", "--pictures", "0"]) == 0
    content = json.loads((tmp_path / "atlas" / "check" / "findings.json").read_text())
    assert {(f["source"], f["picture"]) for f in content["findings"]} == {("expert", "")}


def test_the_exit_code_tells_only_when_asked(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["atlas", "check", str(store), "-o", str(tmp_path / "out"), "--pictures", "1", "--json"]
    assert main([*common, "--case", "a/faulty"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["gap"] == 1
    assert main([*common, "--case", "a/faulty", "--strict"]) == 1
    capsys.readouterr()
    clean = check_labels(store, tmp_path / "clean", cases=["a/clean"])
    assert main([*common, "--case", "a/clean", "--strict"]) == (1 if clean.findings else 0)


def test_places_that_do_not_fit(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="other"):
        check_labels(store, tmp_path / "out", cases=["a/other"])
    (tmp_path / "mine").mkdir()
    with pytest.raises(OutputError, match="no earlier check"):
        check_labels(store, tmp_path / "mine")


def test_every_rule_has_its_words() -> None:
    assert set(MEANINGS) == {*RULES, *FLAGS} - {"cut", "undecided"}
