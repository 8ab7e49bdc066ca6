"""The networks that the paper compares with can be fine-tuned, exported and used, as all others can."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer
from torch.utils.data import DataLoader

from suprem import create_model, load_pretrained
from suprem.inference import Predictor
from suprem.tasks.optimisation import Optimisation
from suprem.tasks.segmentation import SegmentationTask
from suprem.volumes import Volume
from suprem.zoo import Preprocessing
from suprem.zoo.hub import Fetched
from tests.quiet import QUIET

CLASSES = ("liver", "spleen")
SMALL: dict[str, dict[str, Any]] = {
    "mit": {
        "patch_size": (64, 32, 32),
        "depths": (1, 1, 1, 1),
        "decoder_depths": (1, 1, 1),
        "embed_dims": (8, 8, 16, 16),
        "stem_channels": 4,
    },
    "resunet": {"base_channels": 4, "depths": (1, 1, 1, 1), "head_channels": 4},
}


@pytest.mark.parametrize("backbone", sorted(SMALL))
def test_from_a_step_of_training_to_masks(backbone: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    patch = (64, 32, 32)
    settings = Optimisation(learning_rate=0.01, warmup_steps=0)
    task = SegmentationTask(
        *(backbone, CLASSES),
        backbone_kwargs=SMALL[backbone],
        preprocessing=Preprocessing((2.0, 2.0, 2.0), patch_size=patch),
        optimisation=settings,
    )
    before = {name: value.detach().clone() for name, value in task.network.named_parameters()}
    image = torch.rand(1, *patch)
    batch = {"image": image, "target": torch.cat((image > 0.7, image < 0.2))}
    Trainer(max_steps=2, limit_val_batches=0, **QUIET).fit(task, DataLoader([batch] * 4, batch_size=2))
    moved = {name for name, value in task.network.named_parameters() if not torch.equal(value, before[name])}
    idle = tuple(f"{path}." for path in task.network.level_heads.values())
    assert {name for name in before if name not in moved} == {name for name in before if name.startswith(idle)}

    folder = task.export(tmp_path / "model", name=f"{backbone}.small")
    network = load_pretrained(f"local-dir:{folder}")
    trained = task.network.state_dict()
    assert all(torch.equal(value, trained[key]) for key, value in network.state_dict().items())

    noise = np.random.default_rng(0).normal(40, 150, (70, 40, 50)).astype(np.int16)
    case = Volume(noise, np.diag([2.0, 2.0, 2.0, 1.0]), "noise")
    one, three = (
        Predictor(network, device="cpu", window_batch=count, quality="exhaustive").predict(case) for count in (1, 3)
    )
    for name in CLASSES:
        assert one.mask(name).shape == noise.shape
        assert (one.mask(name) != three.mask(name)).mean() < 1e-3  # windows of a batch do not influence each other
    assert 0 < sum(one.mask(name).mean() for name in CLASSES) < len(CLASSES)


def test_fine_tuning_starts_from_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the layout of the published encoder, offered in the place of a download."""
    encoder = {
        f"module.{key}": value
        for key, value in create_model("resunet", num_classes=1).state_dict().items()
        if not key.startswith("conv_seg.")
    }
    torch.save({"state_dict": encoder}, tmp_path / "x.pth")
    monkeypatch.setattr("suprem.zoo.hub.fetch_card", lambda *_, **__: Fetched(tmp_path / "x.pth", "0" * 64, None))
    task = SegmentationTask(None, CLASSES, init="resunet.med3d_1623", strategy="frozen_encoder", prior=0.02)
    assert task.preprocessing is not None
    assert task.preprocessing.patch_size == (96, 96, 96)
    image = torch.rand(1, 16, 16, 16)
    batch = {"image": image, "target": torch.cat((image > 0.7, image < 0.2))}
    Trainer(max_steps=1, limit_val_batches=0, **QUIET).fit(task, DataLoader([batch] * 2, batch_size=2))
    own = dict(task.network.named_parameters())
    assert all(torch.equal(value, own[key[7:]]) for key, value in encoder.items() if key[7:] in own)
    assert {name for name, value in own.items() if value.grad is not None} == {
        name for name in own if name.startswith("conv_seg.")
    }
