"""A small atlas with something to review, and people who review it."""

from pathlib import Path

import numpy as np

from suprem.atlas.label_set import LabelSet, Provenance
from suprem.atlas.ranking import CasePriority, Region, attention_path, write_ranking, write_regions
from suprem.atlas.workspace import Atlas
from suprem.volumes import _chunks as chunks
from suprem.volumes.geometry import Volume
from suprem.volumes.slicer import write_segmentation
from suprem.volumes.store import StoreSettings, create_store, write_case, write_index

SHAPE = (9, 7, 6)
AFFINE = np.array([[2.0, 0, 0, -31.5], [0, 2.0, 0, 12.25], [0, 0, 3.0, -400.0], [0, 0, 0, 1]])
STRUCTURES = ("spleen", "liver", "aorta", "pancreas", "liver_tumor")
KEYS = ("own/one", "own/three", "own/two")
EXPERT = "spleen"


def random_masks(
    seed: int, names: tuple[str, ...] = ("liver", "aorta", "liver_tumor"), share: float = 0.3
) -> dict[str, np.ndarray]:
    """Overlapping masks."""
    rng = np.random.default_rng(seed)
    return {name: rng.random(SHAPE) < share for name in names}


def add_case(store: Path, key: str, seed: int) -> None:
    """A case whose dataset annotates the spleen."""
    rng = np.random.default_rng(seed)
    dataset, case = key.split("/")
    write_case(
        store,
        dataset=dataset,
        case=case,
        scan=key,
        subject=case,
        split=None,
        ct=Volume(rng.integers(-1000, 1000, SHAPE, dtype=np.int16), AFFINE),
        original_shape=SHAPE,
        original_affine=AFFINE,
        labels=Volume((rng.random(SHAPE) < 0.2).astype(np.uint8), AFFINE),
        table=(frozenset(), frozenset({EXPERT})),
        annotated=frozenset({EXPERT}),
    )


def review_atlas(folder: Path) -> Atlas:
    """Three cases after the first round: models know liver, aorta and liver tumour; nobody knows the pancreas."""
    store = folder / "store"
    create_store(store, StoreSettings((2.0, 2.0, 3.0)))
    for seed, key in enumerate(KEYS):
        add_case(store, key, seed)
    write_index(store)
    atlas = Atlas.create(folder / "atlas", store, STRUCTURES)
    finish_round(atlas, 1)
    return atlas


def finish_round(atlas: Atlas, number: int) -> None:
    """Labels of models, and a ranking: ``own/two`` before ``own/one`` before ``own/three``."""
    for seed, key in enumerate(KEYS):
        masks = random_masks(10 * number + seed)
        provenance = dict.fromkeys(masks, Provenance("pseudo", "a model", number))
        pseudo = atlas.pseudo_folder(number, key)
        pseudo.mkdir(parents=True)
        LabelSet.from_masks(masks.items(), SHAPE, AFFINE, provenance).write(pseudo)
    priority = atlas.priority_folder(number)
    order = ("own/two", "own/one", "own/three")
    names = ("liver_tumor", "aorta")
    write_ranking(priority, [CasePriority(n, key, 4.0 - n, 0.5, 0.5, 0.0, names) for n, key in enumerate(order, 1)])
    write_regions(priority, [Region("own/two", "aorta", 3.0, 1, 2, 3, 1.5, "two models of three see it")])
    attention_path(priority, "own/two").parent.mkdir(parents=True)
    chunks.write(np.full(SHAPE, 7, dtype=np.uint8), attention_path(priority, "own/two"))
    atlas.journal.append("ensemble", "ann", round=number, models=[], fusion="majority")


def save(folder: Path, masks: dict[str, np.ndarray], name: str = "labels.seg.nrrd") -> None:
    """Saves masks as a person does who works in 3D Slicer."""
    provenance = dict.fromkeys(masks, Provenance("revised", "a person"))
    labels = LabelSet.from_masks(masks.items(), SHAPE, AFFINE, provenance)
    write_segmentation(folder / name, labels.indices, labels.table, AFFINE, labels.structures)


def masks_of(labels: LabelSet) -> dict[str, np.ndarray]:
    """All masks of a case."""
    return {name: labels.mask(name) for name in labels.structures}
