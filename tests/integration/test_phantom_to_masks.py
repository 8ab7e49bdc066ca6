"""From a synthetic scan on disk to masks, statistics and pictures, through the command line and through Python."""

import csv
import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np
import pytest

from suprem.cli import main

if TYPE_CHECKING:
    from suprem.phantom import PhantomCase

MODEL = "segresnet_tiny.phantom"


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two phantoms in different orientations, and one file that is no image."""
    from suprem.phantom import generate
    from suprem.volumes import write_volume

    folder = tmp_path_factory.mktemp("scans")
    for seed, orientation in ((901, "RAS"), (902, "LPS")):
        case = generate(seed, spacing_mm=(6.0, 6.0, 6.0), orientation=orientation)
        write_volume(case.ct, folder / f"case_{seed}.nii.gz")
    (folder / "damaged.nii.gz").write_bytes(gzip.compress(b"no image at all")[:20])
    return folder


@pytest.fixture(scope="module")
def results(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole folder predicted once; the damaged file makes the command fail without stopping it."""
    out = tmp_path_factory.mktemp("out")
    assert main(["predict", str(scans), "-o", str(out), "--model", MODEL, "--device", "cpu"]) == 1
    return out


def test_the_good_cases_are_done_and_the_bad_one_leaves_nothing(results: Path) -> None:
    assert sorted(path.name for path in results.iterdir() if path.is_dir()) == ["case_901", "case_902"]
    assert not [path for path in results.rglob("*") if "partial" in path.name or path.name.startswith(".")]


@pytest.mark.parametrize("case", ["case_901", "case_902"])
def test_masks_lie_on_the_grid_of_the_scan(case: str, scans: Path, results: Path) -> None:
    scan = nibabel.load(scans / f"{case}.nii.gz")
    files = [results / case / "combined_labels.nii.gz", *(results / case / "segmentations").glob("*.nii.gz")]
    assert len(files) > 10
    for path in files:
        mask = nibabel.load(path)
        assert mask.shape == scan.shape
        np.testing.assert_array_equal(mask.affine, scan.affine, err_msg=str(path))


def test_statistics_agree_with_the_masks(results: Path) -> None:
    with (results / "case_901" / "statistics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        name = row.get("structure") or row["name"]
        mask = nibabel.load(results / "case_901" / "segmentations" / f"{name}.nii.gz")
        voxels = int(np.asarray(mask.dataobj).sum())
        assert float(row["volume_ml"]) == pytest.approx(voxels * 0.216, abs=0.01)


def test_the_manifest_says_what_made_it(results: Path) -> None:
    manifest = json.loads((results / "case_901" / "manifest.json").read_text(encoding="utf-8"))
    text = json.dumps(manifest)
    assert MODEL in text
    assert manifest["label_space"]
    assert manifest["outputs"]
    assert (results / "case_901" / "preview.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_resume_does_nothing_the_second_time(scans: Path, results: Path) -> None:
    def stamps() -> dict[str, int]:
        finished = (path for case in ("case_901", "case_902") for path in (results / case).rglob("*"))
        return {str(path): path.stat().st_mtime_ns for path in finished if path.is_file()}

    before = stamps()
    good = [str(scans / f"case_{seed}.nii.gz") for seed in (901, 902)]
    assert main(["predict", *good, "-o", str(results), "--model", MODEL, "--device", "cpu", "--resume"]) == 0
    assert stamps() == before


def test_python_gives_the_masks_of_the_command_line(scans: Path, results: Path) -> None:
    import suprem

    result = suprem.segment(scans / "case_902.nii.gz", MODEL, device="cpu")
    for name in ("liver", "lung_left", "spleen"):
        written = nibabel.load(results / "case_902" / "segmentations" / f"{name}.nii.gz")
        np.testing.assert_array_equal(np.asarray(written.dataobj).astype(bool), result.mask(name))


def test_the_bundled_model_finds_organs_of_an_unseen_phantom(phantom_case: "PhantomCase") -> None:
    import suprem
    from suprem.evaluation.metrics import dice

    result = suprem.segment(phantom_case.ct, MODEL, device="cpu")
    for name in ("liver", "lung_left", "lung_right"):
        assert dice(result.mask(name), phantom_case.mask(name)) > 0.7, name


def test_left_and_right_are_not_swapped(phantom_case: "PhantomCase") -> None:
    """In RAS the index grows to the right, so the right lung has the larger mean x."""
    import suprem

    result = suprem.segment(phantom_case.ct, MODEL, classes=["lung_left", "lung_right"], device="cpu")
    left, right = (np.nonzero(result.mask(name))[0].mean() for name in ("lung_left", "lung_right"))
    assert left < right


def test_demo_leaves_a_folder_a_person_can_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--cases", "1", "--output", str(tmp_path / "demo")]) == 0
    out = capsys.readouterr().out
    assert "synthetic" in out.lower()
    assert "liver" in out
    assert list((tmp_path / "demo").rglob("*.png"))
    assert list((tmp_path / "demo").rglob("*.csv"))
