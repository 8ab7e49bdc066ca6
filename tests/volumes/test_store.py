import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suprem.errors import ConfigurationError, LabelSpaceError, OutputError, UnknownNameError, VolumeError
from suprem.volumes import Volume
from suprem.volumes import _chunks as chunks
from suprem.volumes.store import Store, StoreSettings, create_store, write_case, write_index

TABLE = (frozenset(), frozenset({"liver"}), frozenset({"liver", "liver_tumor"}), frozenset({"spleen"}), frozenset())
ANNOTATED = frozenset({"liver", "liver_tumor", "spleen", "pancreas"})
AFFINE = np.diag([1.5, 1.5, 2.0, 1.0])


def _arrays() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    ct = rng.integers(-1024, 1000, (40, 36, 30)).astype(np.int16)
    labels = np.zeros(ct.shape, np.uint8)
    labels[5:20, 5:20, 5:20] = 1
    labels[8:10, 8:10, 8:10] = 2
    labels[25:30, 25:30, 10:20] = 3
    labels[:2] = 4
    return ct, labels


def _write(root: Path, case: str = "a", **changes: Any) -> Any:
    ct, labels = _arrays()
    facts: dict[str, Any] = {
        "dataset": "word", "case": case, "scan": case, "subject": case, "split": None, "ct": Volume(ct, AFFINE),
        "original_shape": (80, 72, 30), "original_affine": AFFINE, "labels": Volume(labels, AFFINE), "table": TABLE,
        "ignore": 4, "annotated": ANNOTATED, "flags": ("odd",), "scan_hash": "ff",
    }  # fmt: skip
    create_store(root, StoreSettings((1.5, 1.5, 2.0)))
    return write_case(root, **{**facts, **changes})


def test_round_trip_and_crops(tmp_path: Path) -> None:
    written = _write(tmp_path)
    write_index(tmp_path)
    store = Store.open(tmp_path)
    case = pickle.loads(pickle.dumps(store.case("word/a")))
    ct, labels = _arrays()
    assert store.records == (written,)
    assert (case.table, case.ignore) == (TABLE, 4)
    np.testing.assert_array_equal(case.ct(), ct)
    np.testing.assert_array_equal(case.labels(), labels)
    for box in ((slice(3, 33), slice(0, 36), slice(29, 30)), (slice(0, 1), slice(31, 34), slice(5, 9))):
        np.testing.assert_array_equal(case.ct(box), ct[box])
        np.testing.assert_array_equal(case.labels(box), labels[box])
    expected = {"liver": 15**3, "liver_tumor": 8, "spleen": 250, "pancreas": 0}
    assert dict(written.voxels) == expected
    assert written.ignored_voxels == 2 * 36 * 30
    assert written.spacing_mm == (1.5, 1.5, 2.0)
    with pytest.raises(UnknownNameError):
        store.case("word/b")


def test_two_writes_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        _write(tmp_path / name)
        write_index(tmp_path / name)
    files = [p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*") if p.is_file()]
    assert len(files) == 6
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


def test_foreground_lies_in_its_structure(tmp_path: Path) -> None:
    _write(tmp_path)
    write_index(tmp_path)
    case = Store.open(tmp_path).case("word/a")
    ct, labels = _arrays()
    for name, count, mask in (
        ("liver", 512, np.isin(labels, (1, 2))), ("liver_tumor", 8, labels == 2), ("spleen", 250, labels == 3),
        ("pancreas", 0, labels == 9), (None, 2048, ct > -175),
    ):  # fmt: skip
        points = case.foreground(name)
        assert len(np.unique(points, axis=0)) == len(points) == count
        assert mask[tuple(points.T)].all()
    with pytest.raises(LabelSpaceError, match="not annotated"):
        case.foreground("aorta")


def test_a_killed_write_leaves_no_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(chunks, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            _write(tmp_path)
    assert not list((tmp_path / "cases" / "word").iterdir())
    _write(tmp_path, "b")
    leftover = tmp_path / "cases" / "word" / ".0123abcd.partial-c"
    leftover.mkdir()
    (leftover / "case.json").write_text("{")
    assert [r.key for r in write_index(tmp_path)] == ["word/b"]
    assert not leftover.exists()


def test_a_full_disk(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")  # not on Windows
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    create_store(tmp_path, StoreSettings((1.5, 1.5, 2.0)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**14, limits[1]))  # the CT takes 60 kB
    try:
        with pytest.raises(OutputError, match="No space is left"):
            _write(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list((tmp_path / "cases" / "word").iterdir())


def test_unlabelled_case(tmp_path: Path) -> None:
    record = _write(tmp_path, labels=None, annotated=frozenset())
    write_index(tmp_path)
    case = Store.open(tmp_path).case(record.key)
    assert not record.labelled
    assert len(case.foreground()) == 2048
    with pytest.raises(LabelSpaceError, match="no labels"):
        case.labels()


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "/etc", "a\\b", "x" * 5000])
def test_names_that_are_no_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="folder"):
        _write(tmp_path, name)
    _write(tmp_path)
    write_index(tmp_path)
    index = tmp_path / "index.jsonl"
    index.write_text(json.dumps({**json.loads(index.read_text()), "case": name}) + "\n")
    with pytest.raises(ConfigurationError):
        Store.open(tmp_path)


def test_inputs_that_disagree(tmp_path: Path) -> None:
    _, labels = _arrays()
    with pytest.raises(VolumeError, match="grid"):
        _write(tmp_path, labels=Volume(labels[1:], AFFINE))
    with pytest.raises(VolumeError, match="grid"):
        _write(tmp_path, labels=Volume(labels, np.diag([1.5, 1.5, 2.1, 1.0])))
    with pytest.raises(LabelSpaceError, match="index 4"):
        _write(tmp_path, table=TABLE[:4], ignore=None)
    _write(tmp_path)
    with pytest.raises(ConfigurationError, match="settings"):
        create_store(tmp_path, StoreSettings(None))


@pytest.mark.parametrize("text", ["{", "[]", "{}", "3", '{"format": 9}'])
def test_damaged_json(tmp_path: Path, text: str) -> None:
    _write(tmp_path)
    write_index(tmp_path)
    case = Store.open(tmp_path).case("word/a")
    (tmp_path / "cases/word/a/case.json").write_text(text)
    for action in (lambda: case.table, lambda: write_index(tmp_path)):
        with pytest.raises(ConfigurationError, match="again"):
            action()
    for name in ("index.jsonl", "store.json"):
        (tmp_path / name).write_text(text)
        with pytest.raises(ConfigurationError, match="again"):
            Store.open(tmp_path)


def test_damaged_arrays(tmp_path: Path) -> None:
    _write(tmp_path)
    write_index(tmp_path)
    store = Store.open(tmp_path)
    assert store.verify("word/a") == []
    path = tmp_path / "cases/word/a/ct.b2nd"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VolumeError, match="size"):
        store.case("word/a").ct()
    assert "bytes instead of" in store.verify("word/a")[0]
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "other content" in store.verify("word/a")[0]
    path.unlink()
    assert "missing" in store.verify("word/a")[0]
    chunks.write(np.zeros((4, 4, 4), np.int16), path)
    with pytest.raises(VolumeError, match="index says"):
        store.case("word/a").ct()
    with pytest.raises(VolumeError, match="int16"):
        chunks.open_array(path, (5, 4, 4), ("int16",))
    with pytest.raises(VolumeError, match="int16"):
        chunks.open_array(path, (4, 4, 4), ("uint8",))
