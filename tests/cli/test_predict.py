"""``suprem predict`` as a user runs it: outputs, exit codes, messages."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from suprem.cli import main
from suprem.volumes.geometry import Volume
from suprem.volumes.io import read_ct, write_volume
from tests.inference.tiny_model import CLASSES, save_scan, save_tiny_model
from tests.volumes.dicom_data import make_slices, random_hu, save_slices


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return save_scan(tmp_path / "scan.nii.gz")


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take longer than everything else, and have tests of their own."""
    monkeypatch.setattr("suprem.inference.preview.Preview.save", lambda self, path, *_: path.write_bytes(b"png"))


def run(*args: object) -> int:
    return main(["predict", *map(str, args), "--device", "cpu"])


def masks(folder: Path) -> dict[str, nib.Nifti1Image]:
    return {p.name.removesuffix(".nii.gz"): nib.load(p) for p in (folder / "segmentations").iterdir()}


def test_from_a_scan_to_masks(scan: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(scan, "-o", tmp_path / "out", "--model", model, "--overlap", "0.25") == 0
    found = masks(tmp_path / "out" / "scan")
    assert set(found) == set(CLASSES)
    for image in found.values():
        np.testing.assert_array_equal(image.affine, nib.load(scan).affine)
        assert image.shape == nib.load(scan).shape
    out, err = capsys.readouterr()
    assert out == f"1 done, 0 skipped, 0 failed; results in {tmp_path / 'out'}\n"
    assert f"model: {model}" in err
    assert "GiB  network activations" in err
    assert "[1/1] scan: done in" in err


def test_json_is_the_only_thing_on_standard_output(
    scan: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(scan, "-o", tmp_path / "out", "--model", model, "--json", "--classes", "spleen,Liver tumor") == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert document["cases"][0]["status"] == "done"
    assert document["settings"]["classes"] == ["spleen", "liver_tumor"]
    assert set(masks(tmp_path / "out" / "scan")) == {"spleen", "liver_tumor"}


def test_report(scan: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page holds the case's masks, numbers and how they were made."""
    hostile = scan.with_name("a <b> 'c'.nii.gz")
    scan.rename(hostile)
    arguments = (hostile, "-o", tmp_path / "out", "--model", model, "--classes", "liver,spleen")
    assert run(*arguments, "--report") == 0
    (folder,) = (path for path in (tmp_path / "out").iterdir() if path.is_dir())
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "://" not in page
    assert "<b>" not in page
    statistics = json.loads((folder / "statistics.json").read_text())["structures"]
    for row in statistics:
        if not row["empty"]:
            assert f'data-sort="{row["volume_ml"]}'[:-2] in page
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["model"]["sha256"] in page
    assert "a &lt;b&gt; &#39;c&#39;" in page
    assert "--classes liver,spleen" in page
    assert "spacing_mm" in page
    before = (folder / "report.html").stat().st_mtime_ns
    assert run(*arguments, "--resume") == 0
    assert run(*arguments, "--resume", "--report") == 0
    assert (folder / "report.html").stat().st_mtime_ns == before
    assert capsys.readouterr().out.count("1 skipped") == 2


def test_settings_reach_the_predictor(scan: Path, model: str, tmp_path: Path) -> None:
    options = ["--overlap", "0.5", "--quality", "exhaustive", "--tta", "--max-ram", "none", "--jobs", "2"]
    options += ["--precision", "bfloat16"]
    assert run(scan, "-o", tmp_path / "out", "--model", model, *options, "--numbering", "btcv") == 0
    manifest = json.loads((tmp_path / "out" / "scan" / "manifest.json").read_text())
    assert manifest["settings"]["quality"] == "exhaustive"
    assert manifest["settings"]["flip_tta"] is True
    assert manifest["settings"]["precision"] == "bfloat16"
    assert manifest["settings"]["overlap"] == 0.5
    assert manifest["run"]["plan"]["limit_bytes"] is None
    assert manifest["run"]["windows"]["skipped"] == 0
    assert manifest["label_space"]["name"] == "btcv"
    assert manifest["label_space"]["left_out"] == ["liver_tumor"]


def test_one_bad_case_gives_exit_code_1_and_the_others_are_done(
    scan: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    scan.rename(folder / "good.nii.gz")
    (folder / "bad.nii.gz").write_bytes((folder / "good.nii.gz").read_bytes()[:1000])
    assert run(folder, "-o", tmp_path / "out", "--model", model) == 1
    out, err = capsys.readouterr()
    assert out.startswith("1 done, 0 skipped, 1 failed")
    assert "bad: failed: " in err
    assert "bad.nii.gz holds truncated or damaged gzip data" in err
    assert (tmp_path / "out" / "good").is_dir()
    assert not (tmp_path / "out" / "bad").exists()
    assert run(folder, "-o", tmp_path / "out", "--model", model, "--resume") == 1
    assert "0 done, 1 skipped, 1 failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--model", "segresnet.suprem_21"], 2, "did you mean"),
        (["--model", "some/path"], 2, "local-"),
        (["--classes", "livr"], 2, "did you mean 'liver'"),
        (["--classes", "colon"], 2, "colon"),
        (["--numbering", "btvc"], 2, "did you mean 'btcv'"),
        (["--postprocess", "nothing"], 2, "Unknown post"),
        (["--max-ram", "lots"], 2, "not a size"),
        (["--max-ram", "1MiB"], 1, "needs at least"),
        (["--overlap", "1.5"], 2, "overlap"),
        (["--jobs", "0"], 2, "jobs"),
        (["--quality", "best"], 2, "exhaustive"),
        (["--format", "png"], 2, "dicom-seg"),
        (["--format", "dicom-seg"], 2, "no DICOM series"),
        (["--series", "3"], 2, "no input is a DICOM folder"),
        (["--nonsense"], 2, "nonsense"),
    ],
)
def test_bad_arguments(
    scan: Path,
    model: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
    words: str,
) -> None:
    if "--model" not in options:
        options = [*options, "--model", model]
    assert run(scan, "-o", tmp_path / "out", *options) == code
    err = capsys.readouterr().err
    assert words in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err
    assert not (tmp_path / "out" / "scan").exists()


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [("absent.nii.gz", 2, "does not exist"), ("empty", 2, "holds no scan"), ("note.txt", 2, "not an image")],
)
def test_bad_inputs(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, code: int, words: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").write_text("x")
    assert run(tmp_path / name, "-o", tmp_path / "out", "--model", model) == code
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_unwritable_output_is_found_before_the_model_is_loaded(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    assert run(scan, "-o", tmp_path / "file", "--model", "local-file:/does/not/exist.pth") == 1
    assert "a file stands where a folder is needed" in capsys.readouterr().err


def test_dicom_in_dicom_seg_out(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("highdicom")
    venous = make_slices(random_hu((20, 18, 16)), spacing_mm=(6, 6, 6))
    arterial = make_slices(random_hu((20, 18, 16), 1), spacing_mm=(6, 6, 6), series="2", number=7)
    save_slices([*venous, *arterial], tmp_path / "dicom")
    options = ["-o", tmp_path / "out", "--model", model, "--format", "dicom-seg"]
    assert run(tmp_path / "dicom", *options) == 1
    assert "holds 2 CT series; choose one with series=" in capsys.readouterr().err
    assert run(tmp_path / "dicom", *options, "--series", "7") == 0
    case = tmp_path / "out" / "dicom"
    assert list(case.glob("segmentation*.dcm"))
    manifest = json.loads((case / "manifest.json").read_text())
    assert manifest["input"]["series_uid"] == arterial[0].SeriesInstanceUID
    assert any(entry["path"].endswith(".dcm") for entry in manifest["outputs"])


def test_default_model_is_named_and_the_bundled_one_offered(scan: Path, tmp_path: Path) -> None:
    """In a process of its own: the hub client reads its environment when it is imported."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", "import sys; from suprem.cli import main; sys.exit(main())", "predict"]
    result = subprocess.run(
        [*command, str(scan), "-o", str(tmp_path / "out"), "--device", "cpu"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "model: segresnet.suprem_2100, the default on this device" in result.stderr
    assert "segresnet_tiny.phantom" in result.stderr
    assert "synthetic" in result.stderr
    assert "Traceback" not in result.stderr


def test_predict_imports_neither_lightning_nor_wandb(scan: Path, model: str, tmp_path: Path) -> None:
    code = (
        "import sys; from suprem.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(code or sum(m in sys.modules for m in ('lightning', 'pytorch_lightning', 'wandb')))"
    )
    arguments = ["predict", str(scan), "-o", str(tmp_path / "out"), "--model", model, "--device", "cpu"]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)


def reoriented(path: Path, target: Path, codes: str) -> None:
    """The same scan with other index axes, by nibabel."""
    image = nib.load(path)
    start = nib.orientations.io_orientation(image.affine)
    step = nib.orientations.ornt_transform(start, nib.orientations.axcodes2ornt(tuple(codes)))
    nib.save(image.as_reoriented(step), target)


ORIENTATIONS = ("RAS", "LPS", "LAS", "PIR", "SAL", "IPR")


def test_masks_do_not_depend_on_the_order_of_the_axes(scan: Path, model: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    scan.rename(folder / "original.nii.gz")
    for codes in ORIENTATIONS:
        reoriented(folder / "original.nii.gz", folder / f"{codes}.nii.gz", codes)
    assert run(folder, "-o", tmp_path / "out", "--model", model, "--overlap", "0.25") == 0
    reference = {n: nib.as_closest_canonical(m) for n, m in masks(tmp_path / "out" / "original").items()}
    assert any(np.asarray(image.dataobj).any() for image in reference.values())
    for codes in ORIENTATIONS:
        for name, image in masks(tmp_path / "out" / codes).items():
            assert "".join(nib.aff2axcodes(image.affine)) == codes
            same = nib.as_closest_canonical(image)
            np.testing.assert_array_equal(same.dataobj, reference[name].dataobj, err_msg=f"{codes} {name}")
            np.testing.assert_allclose(same.affine, reference[name].affine, atol=1e-4)


def test_real_scan(real_ct: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Grid equal to the input's, nothing to do the second time, and the same in six other orientations."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "ct.nii.gz").write_bytes(real_ct.read_bytes())
    small = read_ct(folder / "ct.nii.gz")
    array = np.ascontiguousarray(small.array[::2, ::2, ::2])
    affine = small.affine @ np.diag((2.0, 2.0, 2.0, 1.0))
    (folder / "ct.nii.gz").unlink()
    write_volume(Volume(array, affine), folder / "original.nii.gz")
    for codes in ORIENTATIONS:
        reoriented(folder / "original.nii.gz", folder / f"{codes}.nii.gz", codes)
    options = ["-o", tmp_path / "out", "--model", model, "--overlap", "0", "--quality", "exhaustive"]
    assert run(folder, *options) == 0
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.nii.gz")}
    assert run(folder, *options, "--resume") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("0 done, 7 skipped, 0 failed")
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.nii.gz")} == before
    reference = masks(tmp_path / "out" / "original")
    for codes in ORIENTATIONS:
        for name, image in masks(tmp_path / "out" / codes).items():
            np.testing.assert_array_equal(image.affine, nib.load(folder / f"{codes}.nii.gz").affine)
            same = nib.as_closest_canonical(image)
            np.testing.assert_array_equal(same.dataobj, nib.as_closest_canonical(reference[name]).dataobj)
