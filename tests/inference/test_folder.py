"""Runs over many scans: what is written, resumed, refused, and survived."""

import csv
import errno
import json
import os
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from suprem.errors import ConfigurationError, OutputError, UnknownNameError
from suprem.inference import Predictor, load_network
from suprem.inference.folder import CaseResult, Reporter, RunResult, check_inputs, predict_folder
from suprem.inference.outputs import write_case
from suprem.labels import label_space
from suprem.volumes.geometry import Volume
from suprem.volumes.io import read_ct, write_volume
from suprem.volumes.scans import ScanInput, find_scans
from tests.inference.tiny_model import CLASSES, SHAPE, save_scan, save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def predictor(model: str) -> Predictor:
    return Predictor(load_network(model), device="cpu", overlap=0.25)


@pytest.fixture(scope="module")
def done(predictor: Predictor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with scans ``in/a.nii.gz`` and ``in/b.nii.gz`` and the results of a run in ``out``; read-only."""
    root = tmp_path_factory.mktemp("done")
    for seed, name in enumerate("ab"):
        save_scan(root / "in" / f"{name}.nii.gz", seed)
    result = predict_folder(find_scans(root / "in"), predictor, root / "out")
    assert [case.status for case in result.cases] == ["done", "done"]
    return root


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the pictures out, which take longer than everything else."""
    monkeypatch.setattr("suprem.inference.preview.Preview.save", lambda self, path, *_: path.write_bytes(b"png"))


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()
    }


def statuses(result: RunResult) -> dict[str, str]:
    return {case.case_id: case.status for case in result.cases}


def test_layout_and_grid(done: Path) -> None:
    for case in "ab":
        folder, scan = done / "out" / case, nib.load(done / "in" / f"{case}.nii.gz")
        masks = {p.name.removesuffix(".nii.gz"): nib.load(p) for p in (folder / "segmentations").iterdir()}
        assert set(masks) == set(CLASSES)
        combined = nib.load(folder / "combined_labels.nii.gz")
        for image in (*masks.values(), combined):
            assert image.shape == scan.shape
            np.testing.assert_array_equal(image.affine, scan.affine)
            assert image.get_data_dtype() == np.uint8
        assert combined.header["descrip"].item() == b"label_space=universal_32"
        assert {"statistics.csv", "statistics.json", "preview.png", "manifest.json"} <= {
            p.name for p in folder.iterdir()
        }
    assert sorted(p.name for p in (done / "out").iterdir()) == ["a", "b", "manifest.json"]


def test_case_manifest(done: Path, predictor: Predictor) -> None:
    manifest = json.loads((done / "out" / "a" / "manifest.json").read_text())
    assert predictor.load_report is not None
    assert manifest["model"]["sha256"] == predictor.load_report.sha256
    assert manifest["model"]["config"]["preprocessing"]["spacing_mm"] == [6.0, 6.0, 6.0]
    assert manifest["input"]["orientation"] == "LPS"
    assert manifest["input"]["shape"] == list(SHAPE)
    assert manifest["input"]["hu_range"][0] < -900
    assert manifest["settings"]["overlap"] == 0.25
    assert manifest["label_space"]["name"] == "universal_32"
    assert manifest["run"]["windows"]["run"] > 0
    assert manifest["run"]["plan"]["expected_bytes"] > 0
    assert {"suprem", "torch", "python"} <= set(manifest["versions"])
    assert {"read", "check", "network", "total"} <= set(manifest["seconds"])
    (short,) = [entry for entry in manifest["scan_checks"] if entry["code"] == "short"]
    assert short["severity"] == "warning"
    assert "mm of the body" in short["text"]
    assert manifest["warnings"] == []


def test_run_manifest(done: Path) -> None:
    manifest = json.loads((done / "out" / "manifest.json").read_text())
    assert manifest["complete"] is True
    assert [case["case_id"] for case in manifest["cases"]] == ["a", "b"]
    assert set(manifest["cases"][0]["found"]) <= set(CLASSES)
    written = json.loads((done / "out" / "a" / "statistics.json").read_text())["structures"]
    flags = {row["structure"]: [entry["flag"] for entry in row["flags"]] for row in written if row["flags"]}
    assert manifest["cases"][0]["flags"] == flags
    assert flags
    assert all(row["undecided_share"] > 0 for row in written if not row["empty"])


def copied(done: Path, target: Path) -> Path:
    shutil.copytree(done, target, dirs_exist_ok=True)
    return target


def test_resume_does_nothing(done: Path, predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = copied(done, tmp_path) / "out"  # the manifest of the run is written anew
    before = snapshot(out / "a") | snapshot(out / "b")
    first = json.loads((out / "manifest.json").read_text())["cases"]
    monkeypatch.setattr(predictor, "predict", lambda *_: pytest.fail("nothing is to be predicted"))
    result = predict_folder(find_scans(tmp_path / "in"), predictor, out, resume=True)
    assert statuses(result) == {"a": "skipped", "b": "skipped"}
    assert snapshot(out / "a") | snapshot(out / "b") == before
    again = json.loads((out / "manifest.json").read_text())["cases"]
    assert [(case["found"], case["flags"]) for case in again] == [(case["found"], case["flags"]) for case in first]


@pytest.mark.usefixtures("quick")
def test_one_thread_writes_while_another_scan_is_predicted(
    done: Path, predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def spy(*arguments: Any, threads: int, **options: Any) -> Any:
        seen.append(threads)
        return write_case(*arguments, threads=threads, **options)

    monkeypatch.setattr("suprem.inference.memory.usable_processors", lambda: 4.0)
    monkeypatch.setattr("suprem.inference._run.write_case", spy)
    for jobs in (1, 2):
        predict_folder(find_scans(done / "in"), predictor, tmp_path / str(jobs), jobs=jobs)
    assert seen == [4, 4, 1, 1]


@pytest.mark.usefixtures("quick")
def test_resume_redoes_a_case_whose_statistics_are_damaged(done: Path, predictor: Predictor, tmp_path: Path) -> None:
    path = copied(done, tmp_path) / "out" / "a" / "statistics.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + b"\0" * 9)  # as long as it was
    result = predict_folder(find_scans(tmp_path / "in"), predictor, tmp_path / "out", resume=True)
    assert statuses(result) == {"a": "done", "b": "skipped"}
    assert path.read_bytes() == whole


@pytest.mark.usefixtures("quick")
def test_resume_redoes_what_is_missing(done: Path, predictor: Predictor, tmp_path: Path) -> None:
    copied(done, tmp_path)
    (tmp_path / "out" / "b" / "segmentations" / "spleen.nii.gz").unlink()
    before = snapshot(tmp_path / "out" / "a")
    save_scan(tmp_path / "in" / "c.nii.gz", 2)
    scans = [ScanInput(name, tmp_path / "in" / f"{name}.nii.gz", "file") for name in "abc"]
    result = predict_folder(scans, predictor, tmp_path / "out", resume=True)
    assert statuses(result) == {"a": "skipped", "b": "done", "c": "done"}
    assert (tmp_path / "out" / "b" / "segmentations" / "spleen.nii.gz").exists()
    assert snapshot(tmp_path / "out" / "a") == before


def other_scan(root: Path) -> None:
    save_scan(root / "in" / "a.nii.gz", 9)


def edited(section: str, key: str, value: Any) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        path = root / "out" / "a" / "manifest.json"
        manifest = json.loads(path.read_text())
        (manifest[section] if section else manifest)[key] = value
        path.write_text(json.dumps(manifest))

    return edit


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_scan, "from another scan"),
        (edited("model", "sha256", "0"), "with another model"),
        (edited("settings", "overlap", 0.5), r"with other settings \(overlap\)"),
        (edited("", "format_version", 0), "another version"),
    ],
)
def test_resume_never_mixes(
    done: Path, predictor: Predictor, tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    copied(done, tmp_path)
    change(tmp_path)
    before = snapshot(tmp_path / "out" / "a")
    scans = find_scans(tmp_path / "in" / "a.nii.gz")
    result = predict_folder(scans, predictor, tmp_path / "out", resume=True)
    assert statuses(result) == {"a": "failed"}
    assert re.search(words, str(result.cases[0].error))
    assert snapshot(tmp_path / "out" / "a") == before
    result = predict_folder(scans, predictor, tmp_path / "out", resume=True, overwrite=True)
    assert statuses(result) == {"a": "done"}


@pytest.mark.usefixtures("quick")
def test_existing_folders_need_a_word(done: Path, predictor: Predictor, tmp_path: Path) -> None:
    copied(done, tmp_path)
    scans = find_scans(tmp_path / "in" / "a.nii.gz")
    result = predict_folder(scans, predictor, tmp_path / "out")
    assert "use --resume to keep it, or --overwrite" in str(result.cases[0].error)
    assert statuses(predict_folder(scans, predictor, tmp_path / "out", overwrite=True)) == {"a": "done"}


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}, {"resume": True, "overwrite": True}])
def test_folders_of_other_origin_are_never_touched(
    predictor: Predictor, tmp_path: Path, options: dict[str, bool]
) -> None:
    """The classic slip: results into the tree of the scans themselves."""
    save_scan(tmp_path / "case_1" / "ct.nii.gz")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("years of work")
    save_scan(tmp_path / "x" / "b.nii.gz")
    scans = [*find_scans(tmp_path / "case_1"), *find_scans(tmp_path / "x" / "b.nii.gz")]
    before = snapshot(tmp_path / "case_1") | snapshot(tmp_path / "b")
    result = predict_folder(scans, predictor, tmp_path, **options)
    assert statuses(result) == {"case_1": "failed", "b": "failed"}
    assert "holds the scan itself" in str(result.cases[0].error)
    assert "was not written by this program" in str(result.cases[1].error)
    assert snapshot(tmp_path / "case_1") | snapshot(tmp_path / "b") == before


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("jobs", [1, 3])
def test_goes_on_past_bad_cases(predictor: Predictor, tmp_path: Path, jobs: int) -> None:
    for seed, name in enumerate("adf"):
        save_scan(tmp_path / "in" / f"{name}.nii.gz", seed)
    whole = (tmp_path / "in" / "a.nii.gz").read_bytes()
    (tmp_path / "in" / "b.nii.gz").write_bytes(whole[: len(whole) // 2])
    nan = read_ct(tmp_path / "in" / "a.nii.gz").array.astype(np.float32)
    nan[0, 0, 0] = np.nan
    write_volume(Volume(nan, np.eye(4)), tmp_path / "in" / "c.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros((9, 9), np.int16), np.eye(4)), tmp_path / "in" / "e.nii.gz")
    result = predict_folder(find_scans(tmp_path / "in"), predictor, tmp_path / "out", jobs=jobs)
    assert statuses(result) == {"a": "done", "b": "failed", "c": "failed", "d": "done", "e": "failed", "f": "done"}
    with (tmp_path / "out" / "failures.csv").open() as file:
        rows = {row["case_id"]: row for row in csv.DictReader(file)}
    assert set(rows) == set("bce")
    for case, words in {"b": "gzip", "c": "NaN", "e": "2-D"}.items():
        assert words in rows[case]["error"]
        assert f"{case}.nii.gz" in rows[case]["error"]
        assert "\n" not in rows[case]["error"]
        assert not (tmp_path / "out" / case).exists()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a", "d", "f", "failures.csv", "manifest.json"]
    for case in "bce":
        (tmp_path / "in" / f"{case}.nii.gz").unlink()
    predict_folder(find_scans(tmp_path / "in"), predictor, tmp_path / "out", jobs=jobs, resume=True)
    assert not (tmp_path / "out" / "failures.csv").exists()


@pytest.mark.usefixtures("quick")
def test_jobs_do_not_change_results(done: Path, predictor: Predictor, tmp_path: Path) -> None:
    predict_folder(find_scans(done / "in"), predictor, tmp_path / "out", jobs=4)
    for case in "ab":
        for path in (done / "out" / case / "segmentations").iterdir():
            assert path.read_bytes() == (tmp_path / "out" / case / "segmentations" / path.name).read_bytes()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("jobs", [1, 2])
def test_memory_holds_as_many_scans_as_jobs(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    import gc
    import weakref

    from suprem.inference import _run

    alive: list[weakref.ref[Volume]] = []
    most = 0
    lock = threading.Lock()

    def counting(path: Path, **options: Any) -> Volume:
        nonlocal most
        volume = read_ct(path, **options)
        gc.collect()
        with lock:
            alive.append(weakref.ref(volume))
            most = max(most, sum(ref() is not None for ref in alive))
        return volume

    monkeypatch.setattr(_run, "read_ct", counting)
    for seed, name in enumerate("abcde"):
        save_scan(tmp_path / "in" / f"{name}.nii.gz", seed)
    result = predict_folder(find_scans(tmp_path / "in"), predictor, tmp_path / "out", jobs=jobs)
    assert result.count("done") == 5
    assert most <= jobs


@pytest.mark.usefixtures("quick")
def test_full_disk_in_one_case(
    done: Path, predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, main = os.fsync, threading.main_thread()
    failing = [True]

    def full(handle: int) -> None:
        if threading.current_thread() is not main and failing:
            failing.pop()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    result = predict_folder(find_scans(done / "in"), predictor, tmp_path / "out")
    assert statuses(result) == {"a": "failed", "b": "done"}
    assert "No space is left" in str(result.cases[0].error)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["b", "failures.csv", "manifest.json"]


@pytest.mark.parametrize("moment", ["windows", "writing"])
def test_interrupted(
    done: Path, predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Ctrl-C: no partial folder stays, and the record says that the run is not complete."""

    class Impatient(Reporter):
        def windows(self, scan: ScanInput, done: int, total: int) -> None:
            if moment == "windows" and scan.case_id == "b":
                raise KeyboardInterrupt

        def ended(self, result: CaseResult) -> None:
            if moment == "writing":
                raise KeyboardInterrupt

    monkeypatch.setattr("suprem.inference.preview.Preview.save", lambda self, path, *_: path.write_bytes(b"png"))
    with pytest.raises(KeyboardInterrupt):
        predict_folder(find_scans(done / "in"), predictor, tmp_path / "out", jobs=2, reporter=Impatient())
    assert not [p for p in (tmp_path / "out").iterdir() if p.name.startswith(".")]
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["complete"] is False
    monkeypatch.undo()
    result = predict_folder(find_scans(done / "in"), predictor, tmp_path / "out", resume=True)
    assert result.count("failed") == 0


@pytest.mark.usefixtures("quick")
def test_a_bug_in_one_case_does_not_end_the_run(done: Path, predictor: Predictor, tmp_path: Path, caplog) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            return getattr(predictor, name)

        def predict(self, volume: Volume, *args: Any, **options: Any) -> Any:
            if volume.name.endswith("a.nii.gz"):
                raise ZeroDivisionError("division by zero")
            return predictor.predict(volume, *args, **options)

    result = predict_folder(find_scans(done / "in"), Broken(), tmp_path / "out")  # type: ignore[arg-type]
    assert statuses(result) == {"a": "failed", "b": "done"}
    assert "unexpected ZeroDivisionError" in str(result.cases[0].error)
    assert "Traceback" in caplog.text


def test_reporter_hears_everything_in_the_calling_thread(done: Path, predictor: Predictor, tmp_path: Path) -> None:
    heard: list[str] = []

    class Listener(Reporter):
        def _hear(self, what: str) -> None:
            assert threading.current_thread() is threading.main_thread()
            heard.append(what)

        def started(self, scan: ScanInput) -> None:
            self._hear(f"started {scan.case_id}")

        def planned(self, scan: ScanInput, plan: Any) -> None:
            assert "GiB" in plan.describe()
            self._hear(f"planned {scan.case_id}")

        def windows(self, scan: ScanInput, done: int, total: int) -> None:
            if done == total:
                self._hear(f"windows {scan.case_id}")

        def ended(self, result: CaseResult) -> None:
            self._hear(f"{result.status} {result.case_id}")

    predict_folder(find_scans(done / "in" / "a.nii.gz"), predictor, tmp_path / "out", jobs=2, reporter=Listener())
    assert heard == ["started a", "planned a", "windows a", "done a"]


@pytest.mark.usefixtures("quick")
def test_numbering(done: Path, model: str, tmp_path: Path) -> None:
    predictor = Predictor(load_network(model), device="cpu", overlap=0.0, classes=["spleen"])
    scans = find_scans(done / "in" / "a.nii.gz")
    for name in (None, "abdomenatlas_1_1"):
        folder = tmp_path / str(name)
        predict_folder(scans, predictor, folder, numbering=name)
        combined = nib.load(folder / "a" / "combined_labels.nii.gz")
        expected = label_space(name or "universal_32").number("spleen")
        assert set(np.unique(combined.dataobj)) <= {0, expected}
        mask = nib.load(folder / "a" / "segmentations" / "spleen.nii.gz")
        np.testing.assert_array_equal(np.asarray(combined.dataobj) == expected, np.asarray(mask.dataobj) == 1)
    with pytest.raises(UnknownNameError, match="did you mean"):
        predict_folder(scans, predictor, tmp_path / "x", numbering="abdomenatlas_1.1")


def test_model_without_a_numbering(done: Path, tmp_path: Path, quick: None) -> None:
    source = save_tiny_model(tmp_path / "model", label_space=None)
    predictor = Predictor(load_network(source), device="cpu", overlap=0.0)
    predict_folder(find_scans(done / "in" / "a.nii.gz"), predictor, tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "a" / "manifest.json").read_text())
    numbers = {entry["name"]: entry["number"] for entry in manifest["label_space"]["numbers"]}
    assert numbers == {"liver": 1, "liver_tumor": 2, "spleen": 3}


def test_what_is_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    scan = ScanInput("a", save_scan(tmp_path / "a.nii.gz"), "file")
    with pytest.raises(ConfigurationError, match=r"no DICOM series.*format nifti"):
        check_inputs([scan], tmp_path / "out", output_format="dicom-seg")
    with pytest.raises(ConfigurationError, match="no input is a DICOM folder"):
        check_inputs([scan], tmp_path / "out", series=3)
    with pytest.raises(ConfigurationError, match="'nifti' or 'dicom-seg'"):
        check_inputs([scan], tmp_path / "out", output_format="png")  # type: ignore[arg-type]
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        check_inputs([scan], tmp_path / "file" / "out")
    assert not (tmp_path / "out").exists()


def test_jobs_must_be_positive(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="jobs is 0"):
        predict_folder([], predictor, tmp_path, jobs=0)


class _Page:
    """A page that says how many masks it was given."""

    def __init__(self, scan: Volume) -> None:
        self.masks: list[str] = []
        self.shape = scan.shape

    def add(self, name: str, mask: np.ndarray) -> None:
        assert mask.shape == self.shape
        self.masks.append(name)

    def write(self, path: Path, case: str, rows: Any, manifest: Any) -> None:
        path.write_text(f"{case} {' '.join(self.masks)} {len(rows)} {manifest['model']['name']}")


@pytest.mark.usefixtures("quick")
def test_a_page_per_case(done: Path, predictor: Predictor, tmp_path: Path) -> None:
    result = predict_folder(find_scans(done / "in"), predictor, tmp_path / "out", report=_Page)
    assert statuses(result) == {"a": "done", "b": "done"}
    page = tmp_path / "out" / "b" / "report.html"
    assert page.read_text() == f"b {' '.join(CLASSES)} {len(CLASSES)} {predictor.config.name}"
    manifest = json.loads((tmp_path / "out" / "b" / "manifest.json").read_text())
    assert "report.html" in [entry["path"] for entry in manifest["outputs"]]
    assert not (done / "out" / "b" / "report.html").exists()


@pytest.mark.usefixtures("quick")
def test_resume_with_pages(done: Path, predictor: Predictor, tmp_path: Path) -> None:
    """A case is finished when the files that are wanted are there; one more than that does no harm."""
    copied(done, tmp_path)
    scans, out = find_scans(tmp_path / "in"), tmp_path / "out"

    def run(**options: Any) -> dict[str, str]:
        return statuses(predict_folder(scans, predictor, out, resume=True, **options))

    masks = snapshot(out / "a" / "segmentations")
    assert run(report=_Page) == {"a": "done", "b": "done"}
    assert {k: v for k, (_, v) in snapshot(out / "a" / "segmentations").items()} == {
        k: v for k, (_, v) in masks.items()
    }
    assert run(report=_Page) == run() == {"a": "skipped", "b": "skipped"}
    (out / "a" / "report.html").unlink()
    assert run(report=_Page) == {"a": "done", "b": "skipped"}


@pytest.mark.usefixtures("quick")
def test_a_page_that_fails_leaves_no_case(done: Path, predictor: Predictor, tmp_path: Path) -> None:
    class Broken(_Page):
        def write(self, path: Path, case: str, rows: Any, manifest: Any) -> None:
            if case == "a":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().write(path, case, rows, manifest)

    result = predict_folder(find_scans(done / "in"), predictor, tmp_path / "out", report=Broken)
    assert statuses(result) == {"a": "failed", "b": "done"}
    assert "No space is left" in str(result.cases[0].error)
    assert not (tmp_path / "out" / "a").exists()
