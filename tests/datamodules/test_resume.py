"""A run that is interrupted in the middle of an epoch goes on with the batch that would have come."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from suprem.datamodules import CTDataModule
from tests.datamodules.test_ct import CLASSES


class _Recorder(pl.LightningModule):
    """Keeps the seed of every sample it sees."""

    def __init__(self, asks_for_steps: bool) -> None:
        super().__init__()
        self.asks_for_steps = asks_for_steps
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, float]] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        self.seen.append((self.current_epoch, float(batch["image"].sum())))
        return self.weight * batch["image"].mean()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        assert batch["image"].shape[0] == 1

    def configure_optimizers(self) -> torch.optim.Optimizer:
        if self.asks_for_steps:
            assert self.trainer.estimated_stepping_batches == 12
        return torch.optim.SGD(self.parameters(), lr=0.1)


class _Killed(Exception):
    pass


class _SaveAndDie(pl.Callback):
    """Saves a checkpoint after a step, and ends the process's run as a crash would."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            raise _Killed


def _fit(store: Path, root: Path, asks: bool, *callbacks: pl.Callback, resume: Path | None = None) -> _Recorder:
    data = CTDataModule(store, CLASSES, patch_size=(8, 8, 8), samples_per_epoch=10, augmentation="none", seed=5)
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=12, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=root, num_sanity_val_steps=1, callbacks=list(callbacks),
    )  # fmt: skip
    task = _Recorder(asks)
    try:
        trainer.fit(task, data, ckpt_path=resume, weights_only=True if resume else None)
    except _Killed:
        assert resume is None
    return task


# A task that has asked for the number of steps, for its schedule, has had the loader made before the state is there.
@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("stop", [3, 5, 8])
def test_resume_in_the_middle_of_an_epoch(store: Path, tmp_path: Path, stop: int, asks: bool) -> None:
    straight = _fit(store, tmp_path, asks)
    assert len(straight.seen) == len(set(straight.seen)) == 12
    path = tmp_path / "stopped.ckpt"
    first = _fit(store, tmp_path, asks, _SaveAndDie(stop, path))
    assert len(first.seen) == stop
    second = _fit(store, tmp_path, asks, resume=path)
    assert first.seen + second.seen == straight.seen
