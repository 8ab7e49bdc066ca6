"""From raw files to a store: the truth arrives unchanged, and neither bad cases nor killed processes do harm."""

import csv
import errno
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from suprem._files import only_user
from suprem._workers import map_unordered
from suprem.datasets._grid import TRUSTED
from suprem.datasets._harmonise import harmonise
from suprem.datasets._labels import HarmonisedLabels
from suprem.datasets._prepare import PROBLEMS, Step, prepare
from suprem.datasets._reading import SourceCase
from suprem.errors import ConfigurationError, SupremError, VolumeError
from suprem.phantom import PhantomCase, generate
from suprem.volumes import Volume, read_volume, write_volume
from suprem.volumes import _chunks as chunks
from suprem.volumes.geometry import to_ras
from suprem.volumes.store import Store, StoreSettings

SPACING = (12.0, 12.0, 12.0)
ORGANS = ("liver", "spleen", "kidney_left", "kidney_right", "stomach")


@pytest.fixture(scope="module")
def phantoms() -> dict[str, PhantomCase]:
    return {f"p{seed}": generate(seed, spacing_mm=SPACING, orientation="LPS") for seed in (1, 2, 10)}


@pytest.fixture
def raw(tmp_path: Path, phantoms: dict[str, PhantomCase]) -> Path:
    """The phantoms as somebody's own folder, in the orientation of scanners."""
    root = tmp_path / "raw"
    for name, case in phantoms.items():
        numbers = np.zeros(case.ct.shape, dtype=np.uint8)
        for value, organ in enumerate(ORGANS, start=1):
            numbers[case.mask(organ)] = value
        write_volume(case.ct, root / f"images/{name}.nii.gz")
        write_volume(replace(case.labels, array=numbers), root / f"labels/{name}.nii.gz")
    rows = "".join(f"  {value}: {organ}\n" for value, organ in enumerate(ORGANS, start=1))
    (root / "dataset.yaml").write_text(
        f"title: Phantoms\nimage: images/{{case}}.nii.gz\nlabel: labels/{{case}}.nii.gz\nlabels:\n{rows}",
        encoding="utf-8",
    )
    return root


def _content(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_labels_and_hu_at_equal_spacing_are_those_of_the_phantom(
    raw: Path, tmp_path: Path, phantoms: dict[str, PhantomCase]
) -> None:
    steps: list[Step] = []
    report = prepare("folder", raw, tmp_path / "store", spacing_mm=SPACING, progress=steps.append)
    assert report.done == ("p1", "p2", "p10")
    assert not report.problems
    assert [(s.case, s.reason, s.done, s.total) for s in steps] == [
        ("p1", None, 1, 3),
        ("p2", None, 2, 3),
        ("p10", None, 3, 3),
    ]
    store = Store.open(tmp_path / "store")
    assert [record.key for record in store.records] == ["folder/p1", "folder/p10", "folder/p2"]
    for name, phantom in phantoms.items():
        case = store.case(f"folder/{name}")
        assert case.record.annotated == tuple(n for n in case.record.annotated if n in ORGANS)
        assert set(case.record.annotated) == set(ORGANS)
        assert case.record.original_shape == phantom.ct.shape
        assert np.allclose(case.record.original_affine, phantom.ct.affine, atol=1e-3)
        np.testing.assert_array_equal(case.ct(), np.clip(to_ras(phantom.ct)[0].array, -1024, 3071))
        for organ in ORGANS:
            truth = phantom.mask(organ)[::-1, ::-1]  # LPS -> RAS
            member = np.array([organ in entry for entry in case.table])
            np.testing.assert_array_equal(member[case.labels()], truth)
            assert case.record.voxels[organ] == truth.sum()


def test_a_second_run_does_nothing(raw: Path, tmp_path: Path) -> None:
    prepare("folder", raw, tmp_path / "store", spacing_mm=SPACING)
    before = _content(tmp_path / "store")
    steps: list[Step] = []
    report = prepare("folder", raw, tmp_path / "store", spacing_mm=SPACING, progress=steps.append)
    assert report.skipped == ("p1", "p2", "p10")
    assert not report.done
    assert not steps
    assert _content(tmp_path / "store") == before
    with pytest.raises(ConfigurationError, match="or another folder"):
        prepare("folder", raw, tmp_path / "store", spacing_mm=(3.0, 3.0, 3.0))


def test_another_image_of_the_same_name_is_not_taken_for_the_old_one(
    raw: Path, tmp_path: Path, phantoms: dict[str, PhantomCase]
) -> None:
    prepare("folder", raw, tmp_path / "store", spacing_mm=SPACING)
    other = tmp_path / "other"
    shutil.copytree(raw, other)
    image = other / "images" / "p2.nii.gz"
    scan = read_volume(image)
    write_volume(replace(scan, array=scan.array + np.int16(1)), image)
    report = prepare("folder", other, tmp_path / "store", spacing_mm=SPACING)
    assert report.skipped == ("p1", "p10")
    ((case, reason),) = ((problem.case, problem.reason) for problem in report.problems)
    assert case == "p2"
    assert "from another image" in reason


def test_bad_cases_are_listed_and_the_others_go_on(raw: Path, tmp_path: Path, phantoms: dict[str, PhantomCase]) -> None:
    scan = raw / "images/p1.nii.gz"
    scan.write_bytes(scan.read_bytes()[:2000])
    case = phantoms["p2"]
    write_volume(replace(case.labels, array=np.full(case.ct.shape, 77, np.uint8)), raw / "labels/p2.nii.gz")
    write_volume(case.ct, raw / "images/p3.nii.gz")
    report = prepare("folder", raw, tmp_path / "store", spacing_mm=SPACING)
    assert report.done == ("p10",)
    with (tmp_path / "store" / PROBLEMS).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert [row[:2] for row in rows] == [["dataset", "case"], ["folder", "p1"], ["folder", "p2"], ["folder", "p3"]]
    assert "p1.nii.gz" in rows[1][2]
    assert str(raw) not in rows[1][2]
    assert "77" in rows[2][2]
    assert "missing" in rows[3][2]
    assert len(Store.open(tmp_path / "store")) == 1


def test_disagreeing_grids_need_trust(raw: Path, tmp_path: Path, phantoms: dict[str, PhantomCase]) -> None:
    moved = phantoms["p1"].ct.affine.copy()
    moved[0, 3] += 100
    labels = np.ones(phantoms["p1"].ct.shape, np.uint8)
    write_volume(Volume(labels, moved), raw / "labels/p1.nii.gz")
    report = prepare("folder", raw, tmp_path / "store", spacing_mm=SPACING)
    (problem,) = report.problems
    assert problem.case == "p1"
    assert "trust_grid" in problem.reason
    again = prepare("folder", raw, tmp_path / "store", spacing_mm=SPACING, trust_grid=True)
    assert again.done == ("p1",)
    assert not again.problems
    record = Store.open(tmp_path / "store").record("folder/p1")
    assert record.voxels["liver"] == labels.size
    assert TRUSTED in record.flags
    assert TRUSTED not in Store.open(tmp_path / "store").record("folder/p2").flags


def test_two_runs_do_not_write_to_one_store(raw: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    with only_user(store), pytest.raises(ConfigurationError, match="wait until it ends"):
        prepare("folder", raw, store, spacing_mm=SPACING)
    assert prepare("folder", raw, store, spacing_mm=SPACING).done == ("p1", "p2", "p10")


def test_a_full_disk_is_one_line_per_case(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = chunks.write

    def full(array: np.ndarray, path: Path) -> None:
        if "p2" in str(path):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(array, path)

    monkeypatch.setattr(chunks, "write", full)
    report = prepare("folder", raw, tmp_path / "store", spacing_mm=SPACING)
    (problem,) = report.problems
    assert problem.case == "p2"
    assert "No space is left" in problem.reason
    assert "\n" not in problem.reason
    assert [record.case for record in Store.open(tmp_path / "store").records] == ["p1", "p10"]
    assert not list((tmp_path / "store").rglob("*partial*"))
    monkeypatch.setattr(chunks, "write", write)
    assert prepare("folder", raw, tmp_path / "store", spacing_mm=SPACING).done == ("p2",)


def test_a_killed_worker_and_a_second_run_leave_the_same_bytes(raw: Path, tmp_path: Path) -> None:
    prepare("folder", raw, tmp_path / "one", spacing_mm=SPACING)

    others = {child.pid for child in multiprocessing.active_children()}  # of a data loader of another test
    killed = []

    def kill(step: Step) -> None:
        if step.done == 1:
            killed.extend(child for child in multiprocessing.active_children() if child.pid not in others)
            for child in killed:
                child.kill()

    report = prepare("folder", raw, tmp_path / "two", spacing_mm=SPACING, jobs=2, progress=kill)
    assert killed
    assert not report.problems
    prepare("folder", raw, tmp_path / "two", spacing_mm=SPACING, jobs=2)
    assert _content(tmp_path / "two") == _content(tmp_path / "one")


def test_a_killed_run_goes_on_where_it_stopped(raw: Path, tmp_path: Path) -> None:
    prepare("folder", raw, tmp_path / "one", spacing_mm=SPACING)
    code = (
        "import os, signal\n"
        "from suprem.datasets._prepare import prepare\n"
        "die = lambda step: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"prepare('folder', {str(raw)!r}, {str(tmp_path / 'two')!r}, spacing_mm={SPACING}, progress=die)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / "two/index.jsonl").exists()
    report = prepare("folder", raw, tmp_path / "two", spacing_mm=SPACING)
    assert (report.skipped, report.done) == (("p1",), ("p2", "p10"))
    assert _content(tmp_path / "two") == _content(tmp_path / "one")


def _die_on_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def test_only_the_item_that_kills_its_process_is_lost() -> None:
    results = dict(map_unordered(_die_on_three, range(6), jobs=2))
    failure = results.pop(3)
    assert isinstance(failure, SupremError)
    assert "killed twice" in str(failure)
    assert results == {n: n * n for n in (0, 1, 2, 4, 5)}


def test_workers_refuse_what_cannot_work() -> None:
    with pytest.raises(ConfigurationError, match="at least one"):
        map_unordered(abs, [1], jobs=0)
    with pytest.raises(ConfigurationError, match="leave it out"):
        map_unordered(abs, [1], jobs=2, scheduler="tcp://127.0.0.1:1")


def test_a_dask_cluster_gives_the_same_bytes(raw: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    prepare("folder", raw, tmp_path / "one", spacing_mm=SPACING)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, host="127.0.0.1", protocol="tcp"
    ) as cluster:
        report = prepare("folder", raw, tmp_path / "two", spacing_mm=SPACING, scheduler=cluster.scheduler_address)
    assert report.done == ("p1", "p2", "p10")
    assert _content(tmp_path / "two") == _content(tmp_path / "one")


def _case(array: np.ndarray, affine: np.ndarray) -> SourceCase:
    labels = HarmonisedLabels(
        Volume((array > 0).astype(np.uint8), affine), (frozenset(), frozenset({"liver"})), None, frozenset({"liver"})
    )
    return SourceCase(Volume(array, affine), labels)


def test_ct_is_interpolated_and_labels_are_not() -> None:
    array = np.zeros((3, 2, 2), np.int16)
    array[1:] = 100
    stored = harmonise(_case(array, np.diag([2.0, 1.0, 1.0, 1.0])), StoreSettings((1.0, 1.0, 1.0)))
    assert stored.labels is not None
    np.testing.assert_array_equal(stored.ct.array[:, 0, 0], [0, 50, 100, 100, 100])
    assert set(np.unique(stored.labels.volume.array)) == {0, 1}
    assert stored.ct.array.dtype == np.int16
    np.testing.assert_array_equal(stored.labels.volume.affine, stored.ct.affine)
    np.testing.assert_array_equal(stored.ct.affine, np.eye(4))


def test_structures_that_vanish_are_flagged() -> None:
    array = np.zeros((8, 8, 8), np.int16)
    array[3, 3, 3] = 1
    stored = harmonise(_case(array, np.eye(4)), StoreSettings((4.0, 4.0, 4.0)))
    assert stored.labels is not None
    assert stored.labels.flags == ("liver: too small for this spacing, no voxel is left",)


def test_own_spacing_is_kept_and_hu_are_clipped() -> None:
    array = np.array([-3000, 4000], np.int16).reshape(2, 1, 1)
    stored = harmonise(_case(array, np.diag([2.0, 1.0, 1.0, 1.0])), StoreSettings(None))
    assert stored.ct.array.ravel().tolist() == [-1024, 3071]
    assert stored.ct.spacing_mm == (2.0, 1.0, 1.0)


def test_labels_on_another_grid_are_refused() -> None:
    case = _case(np.ones((3, 3, 3), np.int16), np.eye(4))
    other = SourceCase(Volume(case.ct.array, np.diag([2.0, 1.0, 1.0, 1.0])), case.labels)
    with pytest.raises(VolumeError, match="affines"):
        harmonise(other, StoreSettings(None))
