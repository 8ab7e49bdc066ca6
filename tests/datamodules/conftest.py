"""Small stores of phantoms: two datasets that annotate different structures, one of them with voxels to ignore."""

from pathlib import Path
from typing import Any

import pytest

from suprem.phantom import PhantomCase, generate
from suprem.volumes import Volume
from suprem.volumes.store import StoreSettings, create_store, write_index
from tests.phantom_store import add_phantom

SPACING = (10.0, 10.0, 10.0)
FIRST = frozenset({"liver", "kidney_left", "kidney_right", "aorta"})
SECOND = frozenset({"liver", "liver_tumor", "spleen"})


def add(
    root: Path,
    case: PhantomCase,
    dataset: str,
    name: str,
    annotated: frozenset[str],
    *,
    ignore: bool = False,
    split: str | None = None,
    scan: str = "",
    subject: str = "",
) -> None:
    """Adds a phantom as if a dataset had annotated some of its structures; with ``ignore`` the top slice is unknown."""
    facts: dict[str, Any] = {"scan": scan, "subject": subject, "split": split}
    if ignore:
        labels, table = case.labels.array.copy(), tuple(entry & annotated for entry in case.table)
        labels[:, :, -1] = len(table)
        facts |= {"labels": Volume(labels, case.ct.affine, name), "table": (*table, frozenset()), "ignore": len(table)}
    add_phantom(root, case, name, dataset=dataset, annotated=annotated, **facts)


@pytest.fixture(scope="session")
def phantoms() -> list[PhantomCase]:
    """Four patients at 10 mm."""
    return [generate(seed, spacing_mm=SPACING) for seed in range(4)]


@pytest.fixture(scope="session")
def store(phantoms: list[PhantomCase], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight cases: a/0 to a/3 annotated with FIRST, b/0 to b/3 with SECOND and a slice to ignore."""
    root = tmp_path_factory.mktemp("store")
    create_store(root, StoreSettings(SPACING))
    for number, case in enumerate(phantoms):
        add(root, case, "a", f"case_{number}", FIRST)
        add(root, case, "b", f"case_{number}", SECOND, ignore=True)
    write_index(root)
    return root
