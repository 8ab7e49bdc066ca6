"""A tiny store and tiny models for rounds of an atlas."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from suprem.atlas.ensemble import begin_atlas
from suprem.atlas.models import describe_models
from suprem.atlas.workspace import Atlas
from suprem.backbones import create_model
from suprem.volumes.geometry import Volume
from suprem.volumes.store import StoreSettings, create_store, write_case, write_index
from suprem.zoo import ModelConfig, Preprocessing, save_folder
from tests.inference.tiny_model import SHAPE, tiny_hu

SPACING = (5.0, 5.0, 6.0)
AFFINE = np.array([[5.0, 0, 0, -60], [0, 5.0, 0, -50], [0, 0, 6.0, 10], [0, 0, 0, 1]])


def make_case(store: Path, name: str, seed: int) -> None:
    """One CT; its dataset annotates the spleen of case ``a``, as everything."""
    labels: dict[str, Any] = {}
    if name == "a":
        everything = np.ones(SHAPE, dtype=np.uint8)
        table = (frozenset(), frozenset({"spleen"}))
        labels = {"labels": Volume(everything, AFFINE), "table": table, "annotated": frozenset({"spleen"})}
    write_case(
        store,
        dataset="own",
        case=name,
        scan=name,
        subject=name,
        split=None,
        ct=Volume(tiny_hu(seed), AFFINE),
        original_shape=SHAPE,
        original_affine=AFFINE,
        **labels,
    )


def make_store(folder: Path, names: str = "ab") -> Path:
    """One case per letter."""
    create_store(folder, StoreSettings(SPACING))
    for seed, name in enumerate(names):
        make_case(folder, name, seed)
    write_index(folder)
    return folder


def save_model(
    folder: Path,
    classes: tuple[str, ...],
    *,
    seed: int = 0,
    softmax: bool = False,
    spacing: tuple[float, float, float] | None = (6.0, 6.0, 6.0),
    name: str | None = None,
) -> str:
    """Random weights that find something of every class; returns what ``--model`` takes."""
    torch.manual_seed(seed)
    options = {"blocks_down": (1, 1), "blocks_up": (1,)}
    network = create_model("segresnet_tiny", num_classes=len(classes) + softmax, **options)
    network.config = ModelConfig(
        name or folder.name,
        "segresnet_tiny",
        classes,
        activation="softmax" if softmax else "sigmoid",
        backbone_kwargs=options,
        preprocessing=Preprocessing(spacing, patch_size=(16, 16, 16)),
    )
    return f"local-dir:{save_folder(network, folder)}"


def three_models(folder: Path) -> list[str]:
    """Overlapping sets of classes, sigmoid and softmax, on other grids and on that of the store."""
    return [
        save_model(folder / "first", ("spleen", "liver", "liver_tumor"), seed=1),
        save_model(folder / "second", ("liver", "spleen"), seed=2, spacing=None),
        save_model(folder / "third", ("aorta", "liver"), seed=3, softmax=True),
    ]


def make_atlas(folder: Path, store: Path, models: list[str]) -> Atlas:
    """An atlas of all that the models know."""
    return begin_atlas(folder, store, describe_models(models))


def content(atlas: Path) -> dict[str, Any]:
    """Every file of an atlas; of the journal what happened, not when."""
    found: dict[str, Any] = {p.relative_to(atlas).as_posix(): p for p in sorted(atlas.rglob("*")) if p.is_file()}
    events = [json.loads(line) for line in found.pop("journal.jsonl").read_text().splitlines()]
    for event in events:
        del event["time"]
    return {**{name: path.read_bytes() for name, path in found.items()}, "events": events}
