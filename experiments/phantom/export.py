"""Turns the weights that `train.py` wrote into the published folder that the package bundles.

```
python experiments/phantom/export.py RUN_FOLDER/network.pt --out zoo/bundled/segresnet_tiny.phantom
```

Prints the size and the hash that belong in `zoo/segresnet_tiny.phantom.yaml`.
"""

import argparse
import dataclasses
from pathlib import Path

import torch
from cases import SPACING_MM
from train import BACKBONE_KWARGS, CLASSES, HU_WINDOW, PATCH

from suprem import create_model
from suprem._files import sha256_file
from suprem.zoo import ModelConfig, Preprocessing, save_folder

NOTES = """Trained on synthetic phantoms (`suprem.phantom`) by `experiments/phantom/train.py`; recipe, cost and scores:
`experiments/phantom/README.md`. It lets the demonstration and the tests run offline. It has never seen a patient,
and what it says about one means nothing."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    network = create_model("segresnet_tiny", num_classes=len(CLASSES), **BACKBONE_KWARGS)
    network.load_state_dict(torch.load(options.weights, map_location="cpu", weights_only=True))
    network.config = ModelConfig(
        name="segresnet_tiny.phantom",
        backbone="segresnet_tiny",
        classes=CLASSES,
        label_space="universal_32",
        backbone_kwargs=BACKBONE_KWARGS,
        preprocessing=Preprocessing(spacing_mm=SPACING_MM, hu_window=HU_WINDOW, patch_size=PATCH),
    )
    folder = save_folder(network.eval(), options.out, notes=NOTES, overwrite=True)
    file = folder / "model.safetensors"
    print(f"size_bytes: {file.stat().st_size}\nsha256: {sha256_file(file)}")
    print(f"parameters: {sum(p.numel() for p in network.parameters())}\ntensors: {len(network.state_dict())}")
    print(dataclasses.asdict(network.config.preprocessing))


if __name__ == "__main__":
    main()
