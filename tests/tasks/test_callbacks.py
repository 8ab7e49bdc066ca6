"""Gradual unfreezing and the throughput: what moves when, and what is counted."""

from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from suprem.tasks import callbacks
from suprem.tasks.callbacks import GradualUnfreezing, Throughput
from suprem.tasks.optimisation import Optimisation
from suprem.tasks.segmentation import SegmentationTask
from tests.quiet import QUIET

SMALL = {"init_filters": 8, "blocks_down": (1, 1, 1), "blocks_up": (1, 1)}


class _Weights(Callback):
    """Weights after every epoch, and before the first."""

    def __init__(self) -> None:
        self.seen: list[dict[str, torch.Tensor]] = []

    def _keep(self, module: LightningModule) -> None:
        self.seen.append({name: value.detach().clone() for name, value in module.network.named_parameters()})  # type: ignore[operator, union-attr]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._keep(pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._keep(pl_module)


def _task() -> SegmentationTask:
    torch.manual_seed(0)
    settings = Optimisation(learning_rate=0.01, warmup_steps=0)
    return SegmentationTask("segresnet_tiny", ["liver", "spleen"], backbone_kwargs=SMALL, optimisation=settings)


def _fit(task: SegmentationTask, epochs: int, *watching: Callback) -> Trainer:
    image = torch.rand(1, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    sample = {"image": image, "target": torch.cat([image > 0.7, image < 0.2])}
    trainer = Trainer(max_epochs=epochs, limit_val_batches=0, callbacks=list(watching), **QUIET)
    trainer.fit(task, DataLoader([sample] * 8, batch_size=2))
    return trainer


def test_one_stage_more_moves_after_every_few_epochs_from_the_deepest() -> None:
    task, weights = _task(), _Weights()
    _fit(task, 5, GradualUnfreezing(every_epochs=1), weights)
    stages = task.network.encoder_stages
    for epoch, (before, after) in enumerate(zip(weights.seen, weights.seen[1:], strict=False)):
        moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
        still = tuple(stages[: max(0, len(stages) - epoch)])
        # With weight decay and without gradient AdamW would move a parameter too; here it must not.
        assert {stage for stage in stages if any(name.startswith(stage) for name in moved)} == set(stages) - set(still)
        assert any(not name.startswith(stages) for name in moved)


def test_the_share_of_waiting_and_the_patches_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def clock() -> float:
        return now

    monkeypatch.setattr(callbacks.time, "perf_counter", clock)
    watch, logged = Throughput(every=2), {}

    class Module:
        device = torch.device("cpu")

        @staticmethod
        def log_dict(values: dict[str, float]) -> None:
            logged.update(values)

    class Run:
        world_size = 3

    run: Any = Run()
    module: Any = Module()
    batch = {"image": torch.zeros(4, 1)}
    watch.on_train_epoch_start(run, module)
    for wait, work in ((100.0, 50.0), (1.0, 3.0), (2.0, 4.0)):  # the first batch of an epoch does not count
        now += wait
        watch.on_train_batch_start(run, module, batch, 0)
        now += work
        watch.on_train_batch_end(run, module, None, batch, 0)
    assert logged == pytest.approx({"throughput/patches_per_s": 2 * 4 * 3 / 10, "throughput/data_wait": 0.3})
