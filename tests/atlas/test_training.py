"""A store with the labels of an atlas that are trusted."""

import json
from pathlib import Path

import numpy as np
import pytest

from suprem.atlas.label_set import LabelSet, Provenance
from suprem.atlas.training import write_training_store
from suprem.atlas.workspace import Atlas
from suprem.cli import main
from suprem.datamodules import CTDataModule
from suprem.errors import ConfigurationError, OutputError, UnknownNameError
from suprem.volumes.geometry import Volume
from suprem.volumes.store import Store, StoreSettings, create_store, write_case, write_index

SHAPE, AFFINE = (10, 9, 8), np.diag([2.0, 2.0, 2.0, 1.0])
STRUCTURES = ("spleen", "liver", "aorta")


def _block(x: int) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[x : x + 2, 2:7, 2:6] = True
    return mask


def _add(store: Path, name: str, annotated: frozenset[str], split: str | None = None) -> None:
    """A case whose spleen lies at x = 0; voxels at x = 9 are left open."""
    indices = _block(0).astype(np.uint8)
    indices[9] = 2
    write_case(
        store, dataset="own", case=name, scan=name, subject=name, split=split, source="s",
        ct=Volume(np.full(SHAPE, 40, dtype=np.int16), AFFINE), original_shape=SHAPE, original_affine=AFFINE,
        labels=Volume(indices, AFFINE) if annotated else None, ignore=2 if annotated else None,
        table=(frozenset(), annotated, frozenset()) if annotated else (frozenset(),), annotated=annotated,
    )  # fmt: skip


@pytest.fixture
def atlas(tmp_path: Path) -> Atlas:
    """Two cases with an expert's spleen, one of them of a test part; one revised, one with models' labels alone."""
    store = tmp_path / "store"
    create_store(store, StoreSettings((2.0, 2.0, 2.0)))
    _add(store, "expert", frozenset({"spleen"}))
    _add(store, "test", frozenset({"spleen"}), split="test")
    for name in ("revised", "pseudo"):
        _add(store, name, frozenset())
    write_index(store)
    atlas = Atlas.create(tmp_path / "atlas", store, STRUCTURES)
    for key in atlas.cases:
        _labels(atlas.pseudo_folder(1, key), dict.fromkeys(STRUCTURES, _block(1)), Provenance("pseudo", "m", 1))
    atlas.journal.append("ensemble", round=1, models=[], fusion="majority")
    _labels(atlas.revision_folder("own/revised", 1), {"liver": _block(4)}, Provenance("revised", "ann", 1))
    atlas.journal.append("revision", case="own/revised", revision=1, round=1, ticket="0001", changed={}, checked=[])
    return atlas


def _labels(folder: Path, masks: dict[str, np.ndarray], provenance: Provenance) -> None:
    folder.mkdir(parents=True)
    LabelSet.from_masks(masks.items(), SHAPE, AFFINE, dict.fromkeys(masks, provenance)).write(folder)


def _mask(store: Store, key: str, name: str) -> np.ndarray:
    case = store.case(key)
    return np.array([name in entry for entry in case.table])[case.labels()]


def test_only_trusted_labels_count_as_annotated(atlas: Atlas, tmp_path: Path) -> None:
    found = write_training_store(atlas, tmp_path / "out", val_fraction=0.0)
    assert (found.train, found.val, found.held_out) == (("own/expert", "own/revised"), (), ("own/test",))
    assert found.left_out == ("own/pseudo",)
    assert found.structures == {"spleen": 2, "liver": 1}
    store = Store.open(tmp_path / "out")
    records = {record.key: record for record in store.records}
    assert {key: record.annotated for key, record in records.items()} == {
        "own/expert": ("spleen",),
        "own/revised": ("liver",),
        "own/test": ("spleen",),
    }
    assert {key: record.split for key, record in records.items()} == {
        "own/expert": "train",
        "own/revised": "train",
        "own/test": "test",
    }
    assert np.array_equal(_mask(store, "own/revised", "liver"), _block(4))
    assert np.array_equal(_mask(store, "own/expert", "spleen"), _block(0))
    assert np.array_equal(store.case("own/expert").ct(), atlas.store.case("own/expert").ct())
    assert records["own/expert"].source == "s"


def test_open_voxels_stay_open(atlas: Atlas, tmp_path: Path) -> None:
    write_training_store(atlas, tmp_path / "out", val_fraction=0.0)
    case = Store.open(tmp_path / "out").case("own/expert")
    assert case.record.ignored_voxels == SHAPE[1] * SHAPE[2]
    assert (case.labels()[9] == case.ignore).all()


def test_rehearsal_keeps_what_nobody_has_revised(atlas: Atlas, tmp_path: Path) -> None:
    found = write_training_store(atlas, tmp_path / "out", rehearse=True, val_fraction=0.0)
    assert found.structures == {"spleen": 2, "liver": 1, "aorta": 3}
    store = Store.open(tmp_path / "out")
    assert np.array_equal(_mask(store, "own/revised", "aorta"), _block(1))


def test_the_data_module_takes_it(atlas: Atlas, tmp_path: Path) -> None:
    found = write_training_store(atlas, tmp_path / "out", ["expert", "revised", "pseudo"], val_fraction=0.4)
    assert len(found.val) == 1
    data = CTDataModule(tmp_path / "out", STRUCTURES, patch_size=(4, 4, 4), batch_size=1)
    assert tuple(sorted(case.record.key for case in data.split.val)) == found.val
    assert tuple(sorted(case.record.key for case in data.split.train)) == found.train
    batch = next(iter(data.train_dataloader()))
    assert tuple(batch["image"].shape[-3:]) == (4, 4, 4)


def test_what_cannot_be(atlas: Atlas, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="expert"):
        write_training_store(atlas, tmp_path / "out", ["experts"])  # type: ignore[list-item]
    with pytest.raises(ConfigurationError, match="review some cases"):
        write_training_store(atlas, tmp_path / "out", [])
    write_training_store(atlas, tmp_path / "out", val_fraction=0.0)
    with pytest.raises(OutputError, match="already exists"):
        write_training_store(atlas, tmp_path / "out", val_fraction=0.0)


def test_command(atlas: Atlas, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["atlas", "training-store", str(atlas.root), "-o", str(tmp_path / "out"), "--val-fraction", "0"]
    assert main([*common, "--sources", "revised", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["train"], found["structures"]) == (["own/revised"], {"liver": 1})
    assert main([*common, "--overwrite"]) == 0
    out = capsys.readouterr().out
    assert "2 cases to train on, 0 that validate" in out
    assert "spleen: 2 cases" in out
