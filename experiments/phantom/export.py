"""Turns trained weights into a published folder.

```
python experiments/phantom/export.py RUN_FOLDER/network.pt --out zoo/bundled/segresnet_tiny.phantom
python experiments/phantom/export.py experiments/phantom/segresnet_3mm.safetensors --recipe gpu --out segresnet.phantom
```

The first are the weights of `train.py`, which the package bundles; the size and the hash that are printed belong in
`zoo/segresnet_tiny.phantom.yaml`. The second are those of `train_gpu.py`, kept here in half precision.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import cases
import torch
import train
import train_gpu
from safetensors.torch import load_file

from suprem import create_model
from suprem._files import sha256_file
from suprem.zoo import ModelConfig, Preprocessing, save_folder

NOTES = """Trained on synthetic phantoms (`suprem.phantom`) by `experiments/phantom/{script}`; recipe, cost and scores:
`experiments/phantom/README.md`. {purpose} It has never seen a patient,
and what it says about one means nothing."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a script has trained.

    Attributes:
        name: of the checkpoint.
        backbone: architecture.
        kwargs: its options.
        preprocessing: of the network's input.
        notes: for the model card.
    """

    name: str
    backbone: str
    kwargs: dict[str, Any]
    preprocessing: Preprocessing
    notes: str


RECIPES = {
    "cpu": Recipe(
        "segresnet_tiny.phantom",
        "segresnet_tiny",
        train.BACKBONE_KWARGS,
        Preprocessing(spacing_mm=cases.SPACING_MM, hu_window=train.HU_WINDOW, patch_size=train.PATCH),
        NOTES.format(script="train.py", purpose="It lets the demonstration and the tests run offline."),
    ),
    "gpu": Recipe(
        "segresnet.phantom",
        "segresnet",
        {},
        Preprocessing(spacing_mm=train_gpu.SPACING_MM, hu_window=train_gpu.HU_WINDOW, patch_size=(96, 96, 96)),
        NOTES.format(script="train_gpu.py", purpose="Benchmarks need a network that is worth its accuracy."),
    ),
}


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Weights of either script, in full precision."""
    if path.suffix == ".safetensors":
        return {name: value.float() for name, value in load_file(path).items()}
    found: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--recipe", choices=RECIPES, default="cpu")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    recipe = RECIPES[options.recipe]
    network = create_model(recipe.backbone, num_classes=len(train.CLASSES), **recipe.kwargs)
    network.load_state_dict(read_weights(options.weights))
    network.config = ModelConfig(
        name=recipe.name,
        backbone=recipe.backbone,
        classes=train.CLASSES,
        label_space="universal_32",
        backbone_kwargs=recipe.kwargs,
        preprocessing=recipe.preprocessing,
    )
    folder = save_folder(network.eval(), options.out, notes=recipe.notes, overwrite=True)
    file = folder / "model.safetensors"
    print(f"size_bytes: {file.stat().st_size}\nsha256: {sha256_file(file)}")
    print(f"parameters: {sum(p.numel() for p in network.parameters())}\ntensors: {len(network.state_dict())}")
    print(dataclasses.asdict(recipe.preprocessing))


if __name__ == "__main__":
    main()
