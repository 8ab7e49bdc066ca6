"""A small atlas after its first round: two organs, three models that nearly agree, and errors in two cases."""

from pathlib import Path

import numpy as np

from suprem.atlas.label_set import LabelSet, Provenance
from suprem.atlas.predictions import write_prediction
from suprem.atlas.workspace import Atlas
from suprem.volumes.geometry import Volume
from suprem.volumes.store import StoreSettings, create_store, write_case, write_index

SHAPE, AFFINE = (40, 24, 20), np.diag([3.0, 3.0, 3.0, 1.0])
STRUCTURES, MODELS = ("spleen", "liver"), ("model.a", "model.b", "model.c")
CASES = 12
NO_SPLEEN, HOLE, EXPERT, NEVER = "own/c04", "own/c09", "own/c11", "own/c06"
"""A case whose labels lack the spleen, one where two models and the labels have a hole in the liver, one that is
annotated by experts throughout, and one in whose spleen nobody believes."""


def organs(number: int) -> dict[str, np.ndarray]:
    """The truth of a case."""
    masks = {name: np.zeros(SHAPE, dtype=bool) for name in STRUCTURES}
    masks["spleen"][4:14, 5 + number % 3 : 17, 4:15] = True
    masks["liver"][18:38, 3:20, 3 + number % 2 : 18] = True
    return masks


def make_atlas(root: Path) -> Atlas:
    """The atlas, with a finished round."""
    store = root / "store"
    create_store(store, StoreSettings((3.0, 3.0, 3.0)))
    for number in range(CASES):
        masks = organs(number)
        expert = f"own/c{number:02d}" == EXPERT
        ct = np.full(SHAPE, -100, dtype=np.int16) + 150 * (masks["spleen"] | masks["liver"])
        write_case(
            store,
            dataset="own",
            case=f"c{number:02d}",
            scan=f"c{number:02d}",
            subject=f"c{number:02d}",
            split=None,
            ct=Volume(ct.astype(np.int16), AFFINE),
            original_shape=SHAPE,
            original_affine=AFFINE,
            labels=Volume((masks["spleen"] + 2 * masks["liver"]).astype(np.uint8), AFFINE) if expert else None,
            table=(frozenset(), frozenset({"spleen"}), frozenset({"liver"})) if expert else (frozenset(),),
            annotated=frozenset(STRUCTURES) if expert else frozenset(),
        )
    write_index(store)
    atlas = Atlas.create(root / "atlas", store, STRUCTURES)
    for number, key in enumerate(atlas.cases):
        write_round(atlas, 1, key, number)
    atlas.journal.append(
        "ensemble", round=1, models=[{"name": name, "version": "1"} for name in MODELS], fusion="majority"
    )
    return atlas


def write_round(atlas: Atlas, round_: int, key: str, number: int) -> None:
    """Predictions and fused labels of one case."""
    rng = np.random.default_rng([round_, number])
    masks, hole = organs(number), np.zeros(SHAPE, dtype=bool)
    masks["spleen"] &= key != NEVER
    hole[24:32, 8:15, 7:14] = key == HOLE
    for index, name in enumerate(MODELS):
        values = {}
        for organ, mask in masks.items():
            shifted = np.roll(mask, int(rng.integers(-1, 2)), axis=int(rng.integers(3)))
            if organ == "liver" and index:
                shifted &= ~hole
            values[organ] = np.where(shifted, 242, 13).astype(np.uint8)
        write_prediction(
            atlas.prediction_folder(round_, name, key), values.items(), exclusive=False, info={"model": name}
        )
    labels = {"spleen": masks["spleen"] & (key != NO_SPLEEN), "liver": masks["liver"] & ~hole}
    folder = atlas.pseudo_folder(round_, key)
    folder.mkdir(parents=True)
    provenance = dict.fromkeys(STRUCTURES, Provenance("pseudo", "models", round_))
    LabelSet.from_masks(labels.items(), SHAPE, AFFINE, provenance).write(folder)
