"""Prepared stores: arrays, the case's record, the foreground, and the index with the settings."""

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from suprem._files import sha256_file
from suprem.volumes import Volume
from suprem.volumes.store import Store, StoreSettings, create_store, write_case, write_index
from tests.fuzz.mutations import Rng, change_bytes, deep_lists, json_text, pick
from tests.fuzz.targets import Target, Wrong

__all__ = ["CONTENT"]

SHAPE = (70, 20, 18)  # two chunks
TABLE = (frozenset[str](), frozenset({"liver"}), frozenset({"liver", "liver_tumor"}), frozenset({"spleen"}))


def _ct() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.integers(-1024, 1000, SHAPE) // 64 * 64).astype(np.int16)


def _labels() -> np.ndarray:
    return (_ct() > 600).astype(np.uint8) * 2 + (_ct() < -900)


def prepare(folder: Path) -> Path:
    affine = np.diag([1.5, 1.5, 2.0, 1.0])
    create_store(folder, StoreSettings((1.5, 1.5, 2.0)))
    for case, labelled in (("a", True), ("b", False)):
        write_case(
            folder, dataset="word", case=case, scan=case, subject=case, split=None, ct=Volume(_ct(), affine),
            original_shape=SHAPE, original_affine=affine, labels=Volume(_labels(), affine) if labelled else None,
            table=TABLE if labelled else (frozenset(),), flags=("odd",), scan_hash="ff",
            annotated=frozenset({"liver", "liver_tumor", "spleen"}) if labelled else frozenset(),
        )  # fmt: skip
    write_index(folder)
    return folder


def write_files(rng: Rng, valid: Path, folder: Path) -> tuple[Path, bool]:
    """One file of a case is changed; in three of four the index then names its new size and hash."""
    shutil.copytree(valid, folder / "store")
    case = folder / "store/cases/word" / str(pick(rng, "aaab"))
    path = case / str(pick(rng, ("ct.b2nd", "ct.b2nd", "ct.b2nd", "labels.b2nd", "foreground.npy", "case.json")))
    path = path if path.exists() else case / "ct.b2nd"
    data = path.read_bytes()
    if path.suffix == ".json":
        path.write_bytes(json_text(rng, json.loads(data)))
        return folder / "store", False
    hot = [(0, 128), (0, 400), (len(data) - 400, len(data))] if path.suffix == ".b2nd" else [(0, 128)]
    path.write_bytes(change_bytes(rng, data, hot))
    adjusted = bool(rng.integers(4))
    if adjusted:
        facts = json.loads((case / "case.json").read_text())
        facts["files"][path.name] = {"size": path.stat().st_size, "sha256": sha256_file(path)}
        (case / "case.json").write_text(json.dumps(facts))
        write_index(folder / "store")
    return folder / "store", adjusted


def write_records(rng: Rng, valid: Path, folder: Path) -> tuple[Path, bool]:
    """The index, the settings, or the index and the records beside the cases alike, are changed."""
    store = folder / "store"
    shutil.copytree(valid, store)
    index = store / "index.jsonl"
    kind = int(rng.integers(6))
    if kind == 0:
        settings = store / "store.json"
        settings.write_bytes(json_text(rng, json.loads(settings.read_bytes())))
    elif kind == 1:
        index.write_bytes(change_bytes(rng, index.read_bytes()))
    else:
        lines = index.read_bytes().splitlines()
        number = int(rng.integers(len(lines)))
        lines[number] = json_text(rng, json.loads(lines[number]))
        index.write_bytes(b"\n".join(lines) + b"\n")
        if kind > 3:  # the case says the same, so that only the arrays disagree
            _repeat_in_case(store, lines[number])
    return store, True


def _repeat_in_case(store: Path, line: bytes) -> None:
    with deep_lists(), suppress(ValueError, KeyError, TypeError, OSError):  # it may name no case that there is
        facts = json.loads(line)
        path = store / "cases" / facts["dataset"] / facts["case"] / "case.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def open_store(given: tuple[Path, bool], _: Path) -> None:
    from suprem.errors import SupremError

    root, adjusted = given
    store = Store.open(root)
    refused: SupremError | None = None
    for record in store.records:
        try:
            _open_case(store, record.key, adjusted)
        except SupremError as error:  # the other cases are to be read all the same
            refused = error
    if refused is not None:
        raise refused


def _open_case(store: Store, key: str, adjusted: bool) -> None:
    problems = store.verify(key)
    case = store.case(key)
    _ = case.record.spacing_mm
    checked = [("ct", case.ct(), _ct()), ("box", case.ct((slice(0, 3), slice(2, 9), slice(1, 2))), _ct()[:3, 2:9, 1:2])]
    if case.record.labelled:
        checked.append(("labels", case.labels(), _labels()))
    table, ignore = case.table, case.ignore
    if not isinstance(table, tuple) or not (ignore is None or isinstance(ignore, int)):
        raise Wrong(f"table {table!r:.100}, ignore {ignore!r:.100}")
    for structure in (None, *case.record.annotated):
        points = case.foreground(structure)
        if points.ndim != 2 or points.shape[1] != 3 or (points.size and (points >= case.record.shape).any()):
            raise Wrong(f"foreground of {structure!r}: {points.shape}, outside of {case.record.shape}")
    for name, found, expected in checked:
        if not adjusted and not problems and not np.array_equal(found, expected):
            raise Wrong(f"{name} of {key} differs, and verify() finds nothing")


def _valid(material: Any, folder: Path) -> tuple[Path, bool]:
    shutil.copytree(material, folder / "store")
    return folder / "store", False


CONTENT = (
    Target("store", prepare, write_files, open_store, _valid),
    Target("index", prepare, write_records, open_store, _valid),
)
