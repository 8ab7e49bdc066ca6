"""What all training tasks share: the order of construction, the optimiser and its schedule."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal

import torch
from pytorch_lightning import LightningModule
from torch.optim import Optimizer

from suprem.tasks.schedules import warmup_cosine

__all__ = ["BaseTask", "OptimizerFactory", "adamw"]

OptimizerFactory = Callable[[Iterable[torch.nn.Parameter]], Optimizer]


def adamw(parameters: Iterable[torch.nn.Parameter]) -> Optimizer:
    """AdamW with learning rate 1e-4 and weight decay 1e-5, the values of the paper."""
    return torch.optim.AdamW(parameters, lr=1e-4, weight_decay=1e-5)


class BaseTask(LightningModule, ABC):
    """A LightningModule that builds itself through hooks, in the order models, losses, metrics.

    Args:
        optimizer: makes the optimiser from the trainable parameters.
        warmup_steps: steps of linear warm-up in front of the cosine; see
            :func:`suprem.tasks.schedules.warmup_cosine`.

    Attributes:
        monitor: logged quantity that selects checkpoints.
        mode: whether the best value of ``monitor`` is its largest or its smallest.
    """

    monitor: ClassVar[str] = "val/loss"
    mode: ClassVar[Literal["min", "max"]] = "min"

    def __init__(self, *, optimizer: OptimizerFactory = adamw, warmup_steps: int = 100) -> None:
        super().__init__()
        self.optimizer_factory = optimizer
        self.warmup_steps = warmup_steps

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

    def configure_optimizers(self) -> Any:
        """The optimiser over the trainable parameters, with warm-up and cosine decay per step."""
        optimizer = self.optimizer_factory([p for p in self.parameters() if p.requires_grad])
        total = int(self.trainer.estimated_stepping_batches)
        schedule = warmup_cosine(optimizer, warmup_steps=min(self.warmup_steps, total - 1), total_steps=total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
