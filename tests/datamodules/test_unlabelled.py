"""Patches without labels: from any store, seeded, and the same for every validation."""

from pathlib import Path
from typing import Any

import pytest
import torch

from suprem.datamodules import UnlabelledDataModule
from suprem.datamodules._loader import StreamLoader
from suprem.errors import ConfigurationError
from suprem.phantom import PhantomCase
from suprem.volumes.store import StoreSettings, create_store, write_index
from tests.datamodules.conftest import SPACING
from tests.phantom_store import add_phantom


@pytest.fixture(scope="module")
def bare(phantoms: list[PhantomCase], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scans without any label."""
    root = tmp_path_factory.mktemp("bare")
    create_store(root, StoreSettings(SPACING))
    for number, case in enumerate(phantoms):
        nothing: dict[str, Any] = {"labels": None, "annotated": frozenset(), "table": (frozenset(),)}
        add_phantom(root, case, f"case_{number}", subject=f"{number}", **nothing)
    write_index(root)
    return root


def _data(store: Path, **options: Any) -> UnlabelledDataModule:
    options = {"patch_size": (16, 16, 8), "val_fraction": 0.5, "samples_per_epoch": 8, "seed": 3, **options}
    return UnlabelledDataModule(stores=str(store), **options)


def _batches(data: UnlabelledDataModule, loader: Any) -> list[dict[str, Any]]:
    return [data.on_after_batch_transfer(batch, 0) for batch in loader]


def test_a_store_with_or_without_annotations_gives_patches_on_the_body(store: Path, bare: Path) -> None:
    data, other = _data(bare), _data(store)
    assert len(data.split.train) == len(data.split.val) == 2
    assert len(other.split.train) == len(other.split.val) == 4  # two datasets of the same scans
    for each in (data, other):
        batches = _batches(each, each.train_dataloader())
        assert len(batches) == 4
        for batch in batches:
            assert batch.keys() == {"image", "seeds", "keys", "spacing_mm"}
            assert batch["image"].shape == (2, 1, 16, 16, 8)
            assert 0 <= float(batch["image"].min()) < float(batch["image"].max()) <= 1
            assert float(batch["image"].mean()) > 0.2  # on the body, since air is 0
        seeds = [seed for batch in batches for seed in batch["seeds"]]
        assert len(set(seeds)) == 8


def test_labels_are_not_read(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from suprem.volumes.store import StoredCase

    def refuse(*_: Any) -> None:
        raise AssertionError("labels were read")

    monkeypatch.setattr(StoredCase, "labels", refuse)
    data = _data(store)
    assert len(_batches(data, data.train_dataloader())) == 4


def test_another_epoch_gives_other_patches_and_validation_the_same(bare: Path) -> None:
    data = _data(bare)
    loader = data.train_dataloader()
    first = [seed for batch in loader for seed in batch["seeds"]]
    loader.set_epoch(1)
    second = [seed for batch in loader for seed in batch["seeds"]]
    assert not set(first) & set(second)
    held = data.val_dataloader()
    assert isinstance(held, StreamLoader)
    once, twice = _batches(data, held), _batches(data, held)
    for one, two in zip(once, twice, strict=True):
        torch.testing.assert_close(one["image"], two["image"], rtol=0, atol=0)
        assert one["seeds"] == two["seeds"]


@pytest.mark.parametrize(("batch_size", "patches", "found"), [(2, 3, 6), (4, 3, 8), (5, 1, 5)])
def test_validation_has_whole_batches_of_all_cases(bare: Path, batch_size: int, patches: int, found: int) -> None:
    data = _data(bare, batch_size=batch_size, val_patches=patches)
    keys = [batch["keys"] for batch in data.val_dataloader()]
    assert all(len(batch) == batch_size for batch in keys)
    flat = [key for batch in keys for key in batch]
    assert len(flat) == found
    counts = [flat.count(case.record.key) for case in data.split.val]
    assert min(counts) >= patches
    assert max(counts) - min(counts) <= 1


def test_processes_share_the_batches_of_the_validation(bare: Path) -> None:
    data = _data(bare, val_patches=5)
    dataset = data._validation_dataset()
    shares = [
        [batch["seeds"] for batch in StreamLoader(dataset, batch_size=2, rank=rank, world=2, whole=True)]
        for rank in (0, 1)
    ]
    assert [len(share) for share in shares] == [3, 2]
    alone = [batch["seeds"] for batch in StreamLoader(dataset, batch_size=2, whole=True)]
    assert alone[0::2] == shares[0]
    assert alone[1::2] == shares[1]


def test_the_last_batch_of_whole_samples_may_be_smaller(bare: Path) -> None:
    dataset = _data(bare, val_patches=5)._validation_dataset()
    assert [len(batch["keys"]) for batch in StreamLoader(dataset, batch_size=4, whole=True)] == [4, 4, 2]


def test_nothing_validates_without_validation_cases(bare: Path) -> None:
    data = _data(bare, val_fraction=0.0)
    assert data.val_dataloader() == []
    assert len(data.split.train) == 4


def test_what_cannot_be(bare: Path) -> None:
    with pytest.raises(ConfigurationError, match="val_patches is 0"):
        _data(bare, val_patches=0)
    with pytest.raises(ConfigurationError, match="give either stores, or a dataset"):
        UnlabelledDataModule()
