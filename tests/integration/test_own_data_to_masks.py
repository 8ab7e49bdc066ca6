"""The whole way of a user's own data: folder, store, training from the bundled weights, export, masks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from suprem.cli import main
from suprem.datamodules import CTDataModule
from suprem.errors import ConfigurationError
from suprem.phantom import generate
from suprem.volumes import Volume, read_volume, write_volume

CLASSES = ("liver", "spleen", "kidney_left")
INIT = "segresnet_tiny.phantom"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scans with label maps, and what the integers mean."""
    root = tmp_path_factory.mktemp("raw")
    (root / "dataset.yaml").write_text(
        "image: images/{case}.nii.gz\nlabel: labels/{case}.nii.gz\nlabels: {1: liver, 2: spleen, 3: kidney_left}\n"
    )
    for seed in (31, 32, 33):
        case = generate(seed, spacing_mm=(6.0, 6.0, 6.0), orientation="LPS")
        labels = np.zeros(case.ct.shape, dtype=np.uint8)
        for value, name in enumerate(CLASSES, start=1):
            labels[case.mask(name)] = value
        write_volume(case.ct, root / "images" / f"p{seed}.nii.gz")
        write_volume(Volume(labels, case.ct.affine), root / "labels" / f"p{seed}.nii.gz")
    return root


def test_from_own_data_to_masks(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import pytorch_lightning as pl

    from suprem.tasks.optimisation import Optimisation
    from suprem.tasks.segmentation import SegmentationTask
    from suprem.zoo import Preprocessing

    store = tmp_path / "store"
    assert main(["data", "prepare", "folder", "--root", str(raw), "--out", str(store), "--spacing", "6"]) == 0
    pl.seed_everything(1)
    data = CTDataModule(
        store,
        CLASSES,
        patch_size=(32, 32, 32),
        samples_per_epoch=4,
        hu_window=(-175.0, 250.0),
        val_fraction=0.3,
        seed=1,
    )
    contract = Preprocessing(spacing_mm=(6.0, 6.0, 6.0), hu_window=data.hu_window, patch_size=data.patches.size)
    task = SegmentationTask(None, CLASSES, init=INIT, preprocessing=contract, optimisation=Optimisation(warmup_steps=1))
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.validate(task, data, verbose=False)
    assert task.dice_per_class["liver"] > 0.3  # the rows of the output layer were copied by name
    start = [p.detach().clone() for p in task.network.parameters()]
    trainer.fit(task, data)
    assert all(not torch.equal(p, q) for p, q in zip(task.network.parameters(), start, strict=True))
    assert set(task.dice_per_class) == set(CLASSES)
    assert trainer.callback_metrics["val/dice"] == pytest.approx(np.nanmean(list(task.dice_per_class.values())))

    model = task.export(tmp_path / "model", name="segresnet_tiny.own")
    capsys.readouterr()
    assert main(["zoo", "verify", f"local-dir:{model}"]) == 0
    scan = raw / "images" / "p31.nii.gz"
    out = tmp_path / "out"
    assert main(["predict", str(scan), "-o", str(out), "--model", f"local-dir:{model}", "--device", "cpu"]) == 0
    mask = read_volume(out / "p31" / "segmentations" / "liver.nii.gz")
    source = read_volume(scan)
    assert mask.shape == source.shape
    np.testing.assert_array_equal(mask.affine, source.affine)
    manifest = json.loads((out / "p31" / "manifest.json").read_text())
    assert "segresnet_tiny.own" in json.dumps(manifest)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "Neither backbone nor init"),
        ({"init": INIT, "backbone": "unet"}, "is a 'segresnet_tiny', not a 'unet'"),
    ],
)
def test_tasks_that_cannot_be_made(options: dict[str, Any], text: str) -> None:
    from suprem.tasks.segmentation import SegmentationTask

    with pytest.raises(ConfigurationError, match=text):
        SegmentationTask(options.pop("backbone", None), CLASSES, **options)
