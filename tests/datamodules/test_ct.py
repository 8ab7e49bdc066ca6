import logging
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from suprem.datamodules import CTDataModule
from suprem.errors import ConfigurationError, UnknownNameError, VolumeError
from suprem.phantom import PhantomCase
from suprem.volumes.store import Store, StoreSettings, create_store, write_index
from tests.datamodules.conftest import FIRST, SPACING, add

CLASSES = ("liver", "liver_tumor", "kidney_left", "kidney_right", "spleen", "aorta")


def _module(store: Path, **options: Any) -> CTDataModule:
    options = {"patch_size": (16, 16, 16), "batch_size": 2, "samples_per_epoch": 16, **options}
    return CTDataModule(store, options.pop("classes", CLASSES), **options)


def _finished(data: CTDataModule, epoch: int = 0) -> list[dict[str, Any]]:
    loader = data.train_dataloader()
    loader.set_epoch(epoch)
    return [data.on_after_batch_transfer(batch, 0) for batch in loader]


def test_a_training_batch(store: Path) -> None:
    batches = _finished(_module(store))
    assert len(batches) == 8
    for batch in batches:
        assert batch["image"].shape == (2, 1, 16, 16, 16)
        assert batch["image"].dtype == torch.float32
        assert batch["target"].shape == (2, 6, 16, 16, 16)
        assert batch["target"].dtype == torch.bool
        assert batch["known"].shape == (2, 1, 16, 16, 16)
        torch.testing.assert_close(batch["spacing_mm"], torch.full((2, 3), 10.0))
        for key, annotated in zip(batch["keys"], batch["annotated"], strict=True):
            wanted = (
                [True, False, True, True, False, True] if key[0] == "a" else [True, True, False, False, True, False]
            )
            assert annotated.tolist() == wanted


def test_whole_volumes_equal_the_truth(store: Path, phantoms: list[PhantomCase]) -> None:
    data = _module(store, val_fraction=0.9)
    seen = []
    for batch in data.val_dataloader():
        batch = data.on_after_batch_transfer(batch, 0)
        (key,) = batch["keys"]
        seen.append(key)
        case = phantoms[int(key[-1])]
        image = np.clip((case.ct.array.astype(np.float32) + 175) / 425, 0, 1)
        np.testing.assert_allclose(batch["image"][0, 0].numpy(), image, atol=1e-6)
        known = batch["known"][0, 0].numpy()
        assert known[:, :, :-1].all()
        assert known[:, :, -1].all() == (key[0] == "a")
        for channel, name in enumerate(CLASSES):
            if batch["annotated"][0, channel]:
                np.testing.assert_array_equal(batch["target"][0, channel].numpy() & known, case.mask(name) & known)
    assert len(seen) == len(set(seen)) == len(data.split.val)


def test_what_is_unknown_never_has_a_positive(store: Path) -> None:
    for batch in _finished(_module(store, augmentation="strong", samples_per_epoch=32)):
        positive = batch["target"] & batch["known"]
        assert not positive[~batch["annotated"]].any()
        assert not (batch["target"] & ~batch["known"]).any()


def test_patches_do_not_depend_on_workers_or_order(store: Path) -> None:
    here, there = (_finished(_module(store, num_workers=n, augmentation="strong"), epoch=3) for n in (0, 2))
    for one, other in zip(here, there, strict=True):
        assert one["keys"] == other["keys"]
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["target"], other["target"])
    data = _module(store)
    dataset = data.train_dataloader()._loader.dataset
    assert torch.equal(dataset[(3, 9)]["image"], dataset[(3, 9)]["image"])
    assert not torch.equal(dataset[(3, 9)]["image"], dataset[(4, 9)]["image"])


def test_two_processes_see_what_one_with_twice_the_batch_sees(store: Path) -> None:
    from suprem.datamodules._loader import StreamLoader

    dataset = _module(store).train_dataloader()._loader.dataset
    whole = [batch["seeds"] for batch in StreamLoader(dataset, batch_size=4)]
    parts = [list(StreamLoader(dataset, batch_size=2, rank=rank, world=2)) for rank in (0, 1)]
    for seeds, first, second in zip(whole, *parts, strict=True):
        assert sorted(seeds) == sorted(first["seeds"] + second["seeds"])


def test_validation_gives_every_case_to_one_process(store: Path) -> None:
    from suprem.datamodules._loader import StreamLoader

    dataset = _module(store, val_fraction=0.9).val_dataloader()._loader.dataset  # type: ignore[union-attr]
    parts = [[b["keys"][0] for b in StreamLoader(dataset, batch_size=1, rank=r, world=4, whole=True)] for r in range(4)]
    keys = [key for part in parts for key in part]
    assert len(keys) == len(set(keys)) == len(dataset)


def test_structures_are_sampled_evenly_the_first_channel_too(store: Path) -> None:
    """A patch of one voxel lies on the structure that was drawn, so its target tells which."""
    data = _module(
        store, classes=("aorta", "kidney_left", "liver"), patch_size=(1, 1, 1), positive=1.0, samples_per_epoch=1200,
        batch_size=100, augmentation="none", val_fraction=0.0,
    )  # fmt: skip
    found: Counter[int] = Counter()
    for batch in _finished(data):
        for key, target in zip(batch["keys"], batch["target"].flatten(1), strict=True):
            assert target.any()
            if key[0] == "a":  # b is annotated with the liver alone
                found[int(target.to(torch.uint8).argmax())] += 1
    total = sum(found.values())
    assert 500 < total < 700
    for channel in range(3):
        # five standard deviations of a binomial count
        assert abs(found[channel] - total / 3) < 5 * np.sqrt(total * 2 / 9)


def test_share_of_patches_on_structures(store: Path) -> None:
    data = _module(
        store, classes=("aorta",), patch_size=(1, 1, 1), positive=0.25, samples_per_epoch=1000, batch_size=100,
        augmentation="none", val_fraction=0.0,
    )  # fmt: skip
    hits = sum(int(batch["target"].sum()) for batch in _finished(data))
    assert 250 - 5 * 14 < hits < 250 + 5 * 14 + 20  # the body has some aorta in it, too


def test_datasets_are_drawn_by_weight(store: Path) -> None:
    data = _module(store, weights={"a": 3, "b": 1}, samples_per_epoch=800, batch_size=50, patch_size=(2, 2, 2))
    keys = Counter(key[0] for batch in data.train_dataloader() for key in batch["keys"])
    assert abs(keys["a"] - 600) < 5 * np.sqrt(800 * 3 / 16)


def test_patches_of_one_volume_follow_each_other(store: Path) -> None:
    data = _module(store, samples_per_volume=4, batch_size=4, samples_per_epoch=16)
    batches = list(data.train_dataloader())
    assert all(len(set(batch["keys"])) == 1 for batch in batches)
    assert len({batch["keys"][0] for batch in batches}) == 4


def test_only_the_patch_is_read(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from suprem.volumes.store import StoredCase

    read = []

    def note(self: StoredCase, box: Any = None, *, original: Any = StoredCase.ct) -> Any:
        part = original(self, box)
        read.append(part.shape)
        return part

    monkeypatch.setattr(StoredCase, "ct", note)
    list(_module(store, samples_per_epoch=8).train_dataloader())
    assert len(read) == 8
    assert all(max(shape) <= 16 for shape in read)


def test_the_index_alone_is_enough_to_choose_cases(store: Path, tmp_path: Path) -> None:
    for name in ("store.json", "index.jsonl"):
        shutil.copy(store / name, tmp_path / name)
    module = CTDataModule(tmp_path, CLASSES)
    loader = module.train_dataloader()
    assert len(loader) == len(CTDataModule(store, CLASSES).train_dataloader())
    with pytest.raises(VolumeError, match="is missing"):
        next(iter(loader))


def test_mirroring_swaps_the_sides(store: Path) -> None:
    """A mirrored patient with the swapped names is a patient: the left kidney stays left of the right one."""
    from suprem.datamodules._batch import collate, finish
    from suprem.datamodules._classes import Channels
    from suprem.datamodules._patches import VolumeDataset
    from suprem.transforms import Profile

    for names in (("kidney_left", "kidney_right"), ("kidney_left",)):
        channels = Channels(names)
        split = _module(store, classes=names, val_fraction=0.0).split
        sample = VolumeDataset(split.train, channels)[(0, 0)]
        plain = finish(collate([sample]), channels, (-175, 250), Profile())
        flipped = finish(collate([{**sample, "seed": 1}]), channels, (-175, 250), Profile(flip=1.0))
        assert torch.equal(flipped["image"], plain["image"].flip(2))
        assert flipped["annotated"].all()
        left = [batch["target"][0, 0].nonzero()[:, 0].float().mean() for batch in (plain, flipped)]
        middle = plain["image"].shape[2] / 2
        assert left[0] < middle
        assert left[1] < middle
    both = ("kidney_left", "kidney_right")
    plain, flipped = (
        finish(collate([{**VolumeDataset(_module(store, classes=both, val_fraction=0.0).split.train, Channels(both))[
            (0, 0)], "seed": 1}]), Channels(both), (-175, 250), Profile(flip=p)) for p in (0.0, 1.0)
    )  # fmt: skip
    assert torch.equal(flipped["target"][:, 0], plain["target"][:, 1].flip(1))


def test_exclusive_classes_go_to_the_innermost(tmp_path: Path, phantoms: list[PhantomCase]) -> None:
    create_store(tmp_path, StoreSettings(SPACING))
    for number in range(2):
        add(tmp_path, phantoms[number], "c", f"case_{number}", frozenset({"liver", "liver_tumor"}))
    write_index(tmp_path)
    data = _module(tmp_path, classes=("liver_tumor", "liver"), exclusive=True, val_fraction=0.5)
    (batch,) = data.val_dataloader()
    key = batch["keys"][0]
    target = data.on_after_batch_transfer(batch, 0)["target"]
    assert target.dtype == torch.int64
    case = phantoms[int(key[-1])]
    wanted = np.where(case.mask("liver_tumor"), 1, np.where(case.mask("liver"), 2, 0))
    np.testing.assert_array_equal(target[0].numpy(), wanted)


def test_small_scans_are_filled_up_with_air(store: Path) -> None:
    data = _module(store, patch_size=(64, 64, 64), samples_per_epoch=2, augmentation="none")
    (batch,) = _finished(data)
    assert batch["image"].shape[2:] == (64, 64, 64)
    record = next(r for r in Store.open(store).records if r.key == batch["keys"][0])
    outside = 64**3 - np.prod([min(n, 64) for n in record.shape])
    assert (batch["image"][0] == 0).sum() >= outside > 0


def test_splits_and_subsets(store: Path) -> None:
    few = [{case.record.key for case in _module(store, subset=n, val_fraction=0.25).split.train} for n in (1, 3, 6)]
    assert few[0] < few[1] < few[2]
    assert [len(keys) for keys in few] == [1, 3, 6]
    half = _module(store, subset=0.5, val_fraction=0.25)
    assert {case.record.key for case in half.split.train} == few[1]
    other = _module(store, subset=3, val_fraction=0.25, seed=1)
    assert {case.record.key for case in other.split.train} != few[1]
    val = {case.record.key for case in half.split.val}
    assert len(val) == 2
    assert not val & few[2]


def test_copies_and_patients_stay_on_one_side(tmp_path: Path, phantoms: list[PhantomCase]) -> None:
    create_store(tmp_path, StoreSettings(SPACING))
    for number in range(4):
        add(tmp_path, phantoms[number], "a", f"case_{number}", FIRST, scan=f"scan/{number}", subject=f"p{number // 2}")
        add(tmp_path, phantoms[number], "b", f"copy_{number}", FIRST, scan=f"scan/{number}")
    write_index(tmp_path)
    for seed in range(6):
        data = _module(tmp_path, val_fraction=0.5, seed=seed, classes=("liver",))
        sides = [{int(c.record.case[-1]) // 2 for c in part} for part in (data.split.train, data.split.val)]
        assert [len(side) for side in sides] == [1, 1]
        assert not sides[0] & sides[1]
        one_epoch = _module(tmp_path, val_fraction=0.5, seed=seed, classes=("liver",), samples_per_epoch=2)
        numbers = [key[-1] for batch in one_epoch.train_dataloader() for key in batch["keys"]]
        assert len(set(numbers)) == 2  # one copy of each scan


def test_official_parts(tmp_path: Path, phantoms: list[PhantomCase], caplog: pytest.LogCaptureFixture) -> None:
    create_store(tmp_path, StoreSettings(SPACING))
    for number, part in enumerate(("train", "val", "test", None)):
        add(tmp_path, phantoms[number], "a", f"case_{number}", FIRST, split=part)
    write_index(tmp_path)
    with caplog.at_level(logging.INFO, logger="suprem"):
        split = _module(tmp_path, classes=("liver",), val_fraction=0.5).split
    assert [case.record.case for case in split.val] == ["case_1"]
    assert sorted(case.record.case for case in split.train) == ["case_0", "case_3"]
    assert split.held_out == ("a/case_2",)
    assert "1 groups belong to an official test part" in caplog.text


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"classes": ("livr",)}, UnknownNameError, "did you mean 'liver'"),
        ({"classes": ("pancreas",)}, UnknownNameError, "No case has annotations of it"),
        ({"classes": ()}, ConfigurationError, "name at least one"),
        ({"classes": ("liver", "liver")}, ConfigurationError, "none twice"),
        ({"exclusive": True}, ConfigurationError, "is not annotated with"),
        ({"subset": 100}, ConfigurationError, "there are 7 groups"),
        ({"subset": 1.5}, ConfigurationError, "a share must lie"),
        ({"val_fraction": 1.0}, ConfigurationError, "val_fraction is 1.0"),
        ({"weights": {"c": 1}}, ConfigurationError, "datasets to train on: a, b"),
        ({"hu_window": (250, -175)}, ConfigurationError, "smaller one"),
        ({"augmentation": "storng"}, UnknownNameError, "did you mean 'strong'"),
        ({"patch_size": (0, 16, 16)}, ConfigurationError, "must be positive"),
    ],
)
def test_bad_arguments(store: Path, options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=None) as raised:
        _module(store, **options)
    assert text in str(raised.value)


def test_an_epoch_shorter_than_a_step(store: Path) -> None:
    with pytest.raises(ConfigurationError, match="raise samples_per_epoch"):
        _module(store, samples_per_epoch=1).train_dataloader()


def test_stores_have_to_fit_together(store: Path, tmp_path: Path) -> None:
    create_store(tmp_path, StoreSettings((5.0, 5.0, 5.0)))
    write_index(tmp_path)
    with pytest.raises(ConfigurationError, match="prepare them with the same settings"):
        CTDataModule([store, tmp_path], ("liver",))
