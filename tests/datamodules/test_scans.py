from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from suprem.datamodules import CTDataModule, ScanDataModule
from suprem.errors import ConfigurationError
from suprem.phantom import PhantomCase
from suprem.tasks.segmentation import SegmentationTask
from suprem.volumes import write_volume
from suprem.zoo import Preprocessing
from tests.datamodules.conftest import SPACING


@pytest.fixture
def folder(tmp_path: Path, phantoms: list[PhantomCase]) -> Path:
    for number, case in enumerate(phantoms[:3]):
        write_volume(case.ct, tmp_path / f"scans/case_{number}.nii.gz")
    return tmp_path / "scans"


def test_scans_are_what_training_sees(folder: Path, store: Path) -> None:
    stored = CTDataModule(store, ["liver"], augmentation="none", val_fraction=0.9)
    known = {}
    for batch in stored.val_dataloader():
        ready = stored.on_after_batch_transfer(batch, 0)
        known[ready["keys"][0]] = ready["image"]
    batches = list(ScanDataModule(folder, spacing_mm=SPACING).predict_dataloader())
    assert [batch["keys"] for batch in batches] == [["case_0"], ["case_1"], ["case_2"]]
    compared = [batch for batch in batches if f"a/{batch['keys'][0]}" in known]
    assert compared
    for batch in compared:
        torch.testing.assert_close(batch["image"], known[f"a/{batch['keys'][0]}"], rtol=0, atol=0)
        np.testing.assert_allclose(batch["spacing_mm"], [SPACING])


def test_trainer_predicts_a_folder(folder: Path) -> None:
    contract = Preprocessing(SPACING, patch_size=(16, 16, 16))
    task = SegmentationTask("segresnet_tiny", ["liver", "spleen"], preprocessing=contract)
    trainer = pl.Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")
    results = trainer.predict(task, ScanDataModule(folder, spacing_mm=(20.0, 20.0, 20.0)))
    assert results is not None
    assert [result["keys"] for result in results] == [["case_0"], ["case_1"], ["case_2"]]
    for result in results:
        assert result["mask"].dtype == torch.bool
        assert result["mask"].shape[:2] == (1, 2)
        np.testing.assert_allclose(np.abs(np.diag(result["affine"][0])[:3]), 20.0)


def test_bad_arguments(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        ScanDataModule(tmp_path / "nothing", spacing_mm=None)
    with pytest.raises(ConfigurationError, match="hu_window"):
        ScanDataModule(folder, spacing_mm=None, hu_window=(1.0, 1.0))
