"""What all training tasks share: the order of construction, the optimiser and its schedule."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pytorch_lightning import LightningModule
from torch import nn
from torch.optim import Optimizer

from suprem.errors import ConfigurationError, TrainingError
from suprem.tasks.optimisation import Optimisation, adamw, parameter_groups
from suprem.tasks.schedules import warmup_cosine, warmup_cosine_epochs

__all__ = ["BaseTask"]


class BaseTask(LightningModule, ABC):
    """A LightningModule that builds itself through hooks, in the order models, losses, metrics.

    Args:
        optimisation: learning rates, weight decay and schedule.

    Attributes:
        network: what is trained.
        monitor: logged quantity that selects checkpoints.
        mode: whether the best value of ``monitor`` is its largest or its smallest.
    """

    monitor: ClassVar[str] = "val/loss"
    mode: ClassVar[Literal["min", "max"]] = "min"
    network: nn.Module

    def __init__(self, *, optimisation: Optimisation | None = None) -> None:
        super().__init__()
        self.optimisation = optimisation or Optimisation()

    def build(self) -> None:
        """Calls the hooks; subclasses do so at the end of ``__init__``, when their arguments are stored."""
        self.configure_models()
        self.configure_losses()
        self.configure_metrics()

    @abstractmethod
    def configure_models(self) -> None:
        """Makes the networks."""

    @abstractmethod
    def configure_losses(self) -> None:
        """Makes the losses."""

    @abstractmethod
    def configure_metrics(self) -> None:
        """Makes the metrics."""

    def log_loss(self, loss: torch.Tensor, stage: str, batch: Mapping[str, Any]) -> None:
        """Logs the loss of a batch as ``STAGE/loss``.

        Raises:
            TrainingError: it is infinite or NaN; the message names the cases of the batch.
        """
        if not torch.isfinite(loss):
            keys = batch.get("keys")
            cases = ", ".join(dict.fromkeys(keys)) if keys else "a batch without names of cases"
            raise TrainingError(
                f"The {stage} loss became {float(loss)} at step {self.global_step}, in {cases}. Look at these scans, "
                "lower the learning rate, or clip gradients; the last checkpoint is from before."
            )
        size, validates = len(batch["image"]), stage == "val"
        self.log(f"{stage}/loss", loss, batch_size=size, on_epoch=validates, sync_dist=validates)

    def make_optimizer(self, groups: list[dict[str, Any]]) -> Optimizer:
        """AdamW; override it for another one. Rates and decay stand in the groups."""
        return adamw(groups)

    def optimised(self) -> list[dict[str, Any]]:
        """Groups of trainable parameters with their rates; a task with more than a network adds its own."""
        return parameter_groups(self.network, self.optimisation)

    def configure_optimizers(self) -> Any:
        """The optimiser over the trainable parameters, with warm-up and cosine decay per step or per epoch.

        Raises:
            ConfigurationError: the schedule is in epochs, but the run has no number of epochs.
        """
        settings = self.optimisation
        optimizer = self.make_optimizer(self.optimised())
        # A trial run of a batch has fewer epochs than any warm-up.
        if settings.warmup_epochs is None or getattr(self.trainer, "fast_dev_run", False):
            total = int(self.trainer.estimated_stepping_batches)
            warmup = min(settings.warmup_steps, total - 1)
            schedule = warmup_cosine(optimizer, warmup_steps=warmup, total_steps=total)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
        epochs = self.trainer.max_epochs
        if epochs is None or epochs < 1:
            raise ConfigurationError("warmup_epochs needs a number of epochs; give the trainer max_epochs.")
        by_epoch = warmup_cosine_epochs(optimizer, warmup_epochs=settings.warmup_epochs, total_epochs=epochs)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": by_epoch, "interval": "epoch"}}
