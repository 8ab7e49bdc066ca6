"""``suprem data list`` and ``suprem data show``: complete, machine-readable on request, and light."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import suprem
from suprem.cli import main
from suprem.datasets import dataset, list_datasets


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")


def test_all_datasets_are_listed_with_licence_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert set(list_datasets()) <= set(lines)
    assert "150" in lines["word"]
    assert "academic use only" in lines["word"]
    assert "CC BY-NC-ND 4.0 / CC BY-SA 4.0" in lines["lits"]
    assert "kidney_right, kidney_left, kidney_tumor, kidney_cyst" in lines["kits"]


def test_the_list_is_one_json_document_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list", "--json"]) == 0
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert tuple(entries) == list_datasets()
    assert entries["amos22"]["public"] == 500
    assert entries["amos22"]["labelled"] == 300
    assert len(entries["amos22"]["licence"]) == 3
    assert entries["chaos_ct"]["annotated"] == ["liver"]
    assert entries["folder"]["annotated"] == []
    assert entries["jhh_pancreas"]["labelled"] is None


def test_show_says_how_to_get_it_and_what_is_not_sure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", "chaos_ct"]) == 0
    text = capsys.readouterr().out
    assert "curl -LO https://zenodo.org/records/3431873/files/CHAOS_Train_Sets.zip" in text
    assert "CC BY-SA 4.0 [verified; AbdomenAtlas-8K licence table]" in text
    assert "allowed (images and annotations, changed ones too)" in text
    assert "Train_Sets/CT/{n}/DICOM_anon (DICOM series) (train)" in text
    assert "Train_Sets/CT/{n}/Ground (PNG slices)" in text
    assert "labels official [verified for liver alone; the value 255 from memory]" in text
    assert "not sure" in text
    assert "annotated: liver. All others are unknown there, not absent." in text


def test_show_tells_split_ambiguous_and_ignored_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", "flare23"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("14"))
    assert "ambiguous: positive of none; ignored in every structure" in line
    assert main(["data", "show", "word"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "both sides in one value" in line)
    assert "adrenal_gland_right or adrenal_gland_left, by side; also adrenal_glands" in line
    assert main(["data", "show", "ct_org"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if " bone " in line)
    assert "nothing known here" in line


@pytest.mark.parametrize("name", list_datasets())
def test_every_dataset_can_be_shown_both_ways(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    spec = dataset(name)
    assert main(["data", "show", name]) == 0
    text = capsys.readouterr().out
    assert spec.title in text
    for fact in (*spec.licence, *spec.quirks):
        assert fact.text in text
    for step in (*spec.to_verify, *spec.citation):
        assert step in text
    assert main(["data", "show", name, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["name"] == name
    assert [entry["name"] for entry in document["variants"]] == [variant.name for variant in spec.variants]
    for entry, table in zip(document["label_maps"], spec.label_maps, strict=True):
        assert {int(value): tuple(rule["targets"]) for value, rule in entry["values"].items()} == {
            value: rule.targets for value, rule in table.values.items()
        }
        assert set(entry["annotated"]) == table.annotated


def test_an_unknown_dataset_is_a_bad_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", "amos"]) == 2
    assert "Unknown dataset 'amos'; did you mean 'amos22'" in capsys.readouterr().err


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from suprem.cli import main\n"
        "import suprem\n"
        "assert main(['data', 'list']) == 0 and main(['data', 'show', 'word', '--json']) == 0\n"
        "assert len(suprem.list_datasets()) > 20\n"
        "heavy = {'torch', 'monai', 'lightning', 'pytorch_lightning', 'SimpleITK', 'numpy', 'scipy', 'cc3d'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or None)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr


def test_list_datasets_is_public() -> None:
    assert suprem.list_datasets is list_datasets
    assert "list_datasets" in dir(suprem)
