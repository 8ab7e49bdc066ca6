"""What is watched during a training, outside its steps."""

import time
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

__all__ = ["GradualUnfreezing", "Throughput"]


class Throughput(Callback):
    """Logs ``throughput/patches_per_s``, ``throughput/data_wait`` (share of the time) and the memory of the GPU.

    Over windows of some batches of all processes; the first batch of an epoch, which waits for workers to start, counts
    towards none.

    Args:
        every: Batches per window.
    """

    def __init__(self, every: int = 20) -> None:
        self.every = every
        self._reset()

    def _reset(self) -> None:
        self._patches, self._batches, self._waited, self._worked = 0, 0, 0.0, 0.0
        self._ended = self._began = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts a window."""
        self._reset()
        self._batches = -1

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Notes how long the batch was waited for."""
        self._began = time.perf_counter()
        if self._batches >= 0:
            self._waited += self._began - self._ended

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Notes how long it took, and logs at the end of a window."""
        self._ended = time.perf_counter()
        if self._batches < 0:
            self._batches = 0
            return
        self._worked += self._ended - self._began
        self._batches += 1
        self._patches += len(batch["image"]) * trainer.world_size
        if self._batches < self.every:
            return
        whole = self._waited + self._worked
        values = {
            "throughput/patches_per_s": self._patches / whole,
            "throughput/data_wait": self._waited / whole,
        }
        if pl_module.device.type == "cuda":
            values["throughput/gpu_memory_gib"] = torch.cuda.max_memory_allocated(pl_module.device) / 2**30
        pl_module.log_dict(values)
        self._reset()


class GradualUnfreezing(Callback):
    """Trains the decoder first, then one encoder stage more after every few epochs, from the deepest to the first.

    Stages that are still frozen keep their gradients out of the step; they stay part of the graph, so that processes
    which train together need not agree anew on what is trained.

    Args:
        every_epochs: Epochs between two stages.
    """

    def __init__(self, every_epochs: int = 5) -> None:
        self.every_epochs = every_epochs

    def frozen(self, stages: tuple[str, ...], epoch: int) -> tuple[str, ...]:
        """Stages that are not trained yet in an epoch (from 0).

        Example:
            >>> GradualUnfreezing(2).frozen(("first.", "second."), 2)
            ('first.',)
        """
        return stages[: max(0, len(stages) - epoch // self.every_epochs)]

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Drops the gradients of frozen stages: AdamW leaves parameters without gradient alone."""
        network: Any = pl_module.network
        frozen = self.frozen(network.encoder_stages, trainer.current_epoch)
        if frozen:
            for name, parameter in network.named_parameters():
                if name.startswith(frozen):
                    parameter.grad = None
