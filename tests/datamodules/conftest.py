"""Small stores of phantoms: two datasets that annotate different structures, one of them with voxels to ignore."""

from pathlib import Path

import numpy as np
import pytest

from suprem.phantom import PhantomCase, generate
from suprem.volumes import Volume
from suprem.volumes.store import StoreSettings, create_store, write_case, write_index

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
    table = tuple(entry & annotated for entry in case.table)
    labels = case.labels.array.copy()
    if ignore:
        labels[:, :, -1] = len(table)
        table = (*table, frozenset())
    ct = Volume(case.ct.array.astype(np.int16), case.ct.affine, name)
    write_case(
        root,
        dataset=dataset,
        case=name,
        scan=scan or f"{dataset}/{name}",
        subject=subject,
        split=split,
        ct=ct,
        original_shape=ct.shape,
        original_affine=ct.affine,
        labels=Volume(labels, ct.affine, name),
        table=table,
        ignore=len(table) - 1 if ignore else None,
        annotated=annotated,
    )


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
