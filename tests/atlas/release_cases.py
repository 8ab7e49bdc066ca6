"""Atlases to release: phantoms as if from datasets with different terms, with pseudo and revised labels."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from suprem.atlas.label_set import LabelSet, Provenance
from suprem.atlas.workspace import Atlas
from suprem.volumes.geometry import Volume
from suprem.volumes.store import StoreSettings, create_store, write_case, write_index

SHAPE = (10, 8, 6)
STRUCTURES = ("liver", "liver_tumor", "spleen", "my organ")


def rotated(degrees: float, shift: tuple[float, float, float]) -> np.ndarray:
    """An oblique affine of 2 mm, turned about the long axis and moved."""
    angle = np.radians(degrees)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:2, :2] = 2 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    affine[:3, 3] = shift
    return affine


AFFINE = rotated(7.3, (-123.456, 78.9, -1012.34))


def block(start: int, stop: int) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[start:stop, 2:6, 1:4] = True
    return mask


def scan(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 1500, SHAPE).astype(np.int16)


def add_case(store: Path, dataset: str, case: str, *, seed: int, spleen: bool = True, **facts: object) -> None:
    """A case whose dataset annotates the spleen, at 0 to 2."""
    labels = {"labels": Volume(block(0, 2).astype(np.uint8), AFFINE), "table": (frozenset(), frozenset({"spleen"}))}
    known: dict[str, object] = {"annotated": frozenset({"spleen"}), **labels} if spleen else {}
    options: dict[str, object] = {"scan": f"{dataset}/{case}", "subject": case, "split": None, **known, **facts}
    write_case(
        store,
        dataset=dataset,
        case=case,
        ct=Volume(scan(seed), AFFINE),
        original_shape=SHAPE,
        original_affine=AFFINE,
        **options,  # type: ignore[arg-type]
    )


def add_labels(folder: Path, masks: Mapping[str, np.ndarray], provenance: Provenance) -> None:
    folder.mkdir(parents=True)
    LabelSet.from_masks(masks.items(), SHAPE, AFFINE, dict.fromkeys(masks, provenance)).write(folder)


def make_atlas(root: Path, cases: tuple[tuple[str, str], ...], structures: tuple[str, ...] = STRUCTURES) -> Atlas:
    """Cases (dataset, case); their spleen is the expert's, the rest is predicted in round 1."""
    store = root / "store"
    create_store(store, StoreSettings((2.0, 2.0, 2.0)))
    for seed, (dataset, case) in enumerate(cases):
        add_case(store, dataset, case, seed=seed)
    write_index(store)
    atlas = Atlas.create(root / "atlas", store, structures)
    for key in atlas.cases:
        predict(atlas, key)
    atlas.journal.append("ensemble", "ann", round=1)
    return atlas


def predict(atlas: Atlas, key: str) -> None:
    """Liver at 3 to 8 with a tumour at 5 to 6, and no own organ."""
    masks = {"liver": block(3, 8), "liver_tumor": block(5, 6), "my organ": np.zeros(SHAPE, dtype=bool)}
    masks = {name: mask for name, mask in masks.items() if name in atlas.structures}
    add_labels(atlas.pseudo_folder(1, key), masks, Provenance("pseudo", "unet.suprem_2100, segresnet.mine", 1))


def revise(atlas: Atlas, key: str, person: str, masks: Mapping[str, np.ndarray]) -> None:
    number = len(atlas.revisions(key)) + 1
    add_labels(atlas.revision_folder(key, number), masks, Provenance("revised", person, 1))
    atlas.journal.append("revision", person, case=key, revision=number)
