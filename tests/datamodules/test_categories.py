"""Boxes of cases with a category."""

from pathlib import Path
from typing import Any

import pytest
import torch

from suprem.datamodules import CategoryDataModule
from suprem.datamodules.categories import read_categories
from suprem.errors import ConfigurationError
from suprem.volumes.store import Store
from tests.phantom_store import phantom_store

SPACING = (10.0, 10.0, 10.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phantom_store(tmp_path_factory.mktemp("categories"), range(60, 65), SPACING)


def _table(folder: Path, lines: dict[str, str]) -> str:
    path = folder / "table.csv"
    path.write_text("case,other,category\n" + "".join(f"{case},x,{name}\n" for case, name in lines.items()))
    return str(path)


def _data(store: Path, tmp_path: Path, lines: dict[str, str] | None = None, **options: Any) -> CategoryDataModule:
    lines = lines or {f"case_{number}": "ab"[number % 2] for number in range(4)}
    options = {"patch_size": (16, 16, 8), "val_fraction": 0.25, "augmentation": "none", **options}
    return CategoryDataModule(str(store), table=_table(tmp_path, lines), **options)


def _training_batch(data: CategoryDataModule) -> dict[str, Any]:
    batch: dict[str, Any] = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    return batch


def test_a_batch_holds_the_structure_and_the_category_of_the_table(store: Path, tmp_path: Path) -> None:
    data = _data(store, tmp_path, region="liver")
    batch = _training_batch(data)
    assert data.categories == ("a", "b")
    assert batch["image"].shape == batch["region"].shape == (2, 1, 16, 16, 8)
    assert batch["category"].tolist() == [int(key[-1]) % 2 for key in batch["keys"]]
    used = {case.record.key for case in (*data.split.train, *data.split.val)}
    assert used == {f"a/case_{number}" for number in range(4)}  # the fifth is not in the table
    # The middle of the structure is in the middle of the box, up to the jitter.
    for region in batch["region"][:, 0]:
        assert region.any()


def test_the_box_of_a_validation_case_lies_around_the_structure(store: Path, tmp_path: Path) -> None:
    data = _data(store, tmp_path, region="bladder", patch_size=(24, 24, 24))
    (batch,) = data.validation_batches(torch.device("cpu"))
    case = Store.open(store).case(batch["keys"][0])
    wanted = int(case.record.voxels["bladder"])
    assert int(batch["region"].sum()) == wanted  # all of it fits
    places = batch["region"][0, 0].nonzero()
    middle = (places.amin(0) + places.amax(0) + 1) / 2
    assert (middle - 12).abs().max() <= 1.5


def test_without_a_region_the_box_lies_in_the_body(store: Path, tmp_path: Path) -> None:
    batch = _training_batch(_data(store, tmp_path, region=None, jitter=0.0, patch_size=(8, 8, 8)))
    assert "region" not in batch
    assert float(batch["image"].mean()) > 0.2  # air is 0


@pytest.mark.parametrize(
    ("lines", "options", "says"),
    [
        ({"case_0": "a"}, {}, "at least two are needed"),
        ({"case_0": "a", "case_1": "c"}, {"categories": ["a", "b"]}, "a, c, the task a, b"),
        ({"elsewhere": "a", "nowhere": "b"}, {}, "No case of the stores is named"),
        (None, {"jitter": 0.7}, "jitter is 0.7"),
    ],
)
def test_what_cannot_be(
    lines: dict[str, str] | None, options: dict[str, Any], says: str, store: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        _data(store, tmp_path, lines, **options)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("case,kind\na,b\n", "has no column category"),
        ("", "has no column case, category"),
        ("case,category\na,x\na,y\n", "says that a is 'x' and 'y'"),
        ("case,category\n" + "a" * 200_000, "cannot be read: field larger than field limit"),
    ],
)
def test_tables_that_cannot_be_used(content: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=says):
        read_categories(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_categories(tmp_path / "absent.csv")
