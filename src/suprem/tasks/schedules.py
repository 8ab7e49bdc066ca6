"""Learning-rate schedules, counted in optimiser steps or in epochs."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from suprem.errors import ConfigurationError

__all__ = ["warmup_cosine", "warmup_cosine_epochs"]


def warmup_cosine(optimizer: Optimizer, *, warmup_steps: int, total_steps: int) -> LambdaLR:
    """Linear rise from a ``1 / warmup_steps`` share of the learning rate, then half a cosine down to zero.

    Args:
        optimizer: Its learning rates are the peaks.
        warmup_steps: Steps of the rise.
        total_steps: Steps of the whole run.

    Raises:
        ConfigurationError: the warm-up is not shorter than the run.
    """
    if not 0 <= warmup_steps < total_steps:
        raise ConfigurationError(
            f"warmup_steps is {warmup_steps} of {total_steps} steps; it must be less than the run and not negative."
        )

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        done = min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))
        return 0.5 * (1.0 + math.cos(math.pi * done))

    return LambdaLR(optimizer, factor)


def warmup_cosine_epochs(optimizer: Optimizer, *, warmup_epochs: int, total_epochs: int) -> LambdaLR:
    """The schedule of the paper, stepped once per epoch: peak after ``warmup_epochs - 1`` epochs, then half a cosine.

    Epoch e (from 0) has the share (e + 1) / (warmup_epochs - 1) of the learning rate while that is below 1, and
    0.5 (1 + cos(pi (e + 1 - warmup_epochs) / (total_epochs - warmup_epochs))) from epoch ``warmup_epochs - 1`` on, so
    that the last epoch has 0.

    Args:
        optimizer: Its learning rates are the peaks.
        warmup_epochs: The paper's 20.
        total_epochs: Epochs of the whole run.

    Raises:
        ConfigurationError: the warm-up is shorter than two epochs, or not shorter than the run.
    """
    if not 2 <= warmup_epochs < total_epochs:
        raise ConfigurationError(
            f"warmup_epochs is {warmup_epochs} of {total_epochs} epochs; it must be 2 at least and less than the run."
        )

    def factor(epoch: int) -> float:
        reached = min(epoch + 1, total_epochs)
        if reached < warmup_epochs:
            return reached / (warmup_epochs - 1)
        return 0.5 * (1.0 + math.cos(math.pi * (reached - warmup_epochs) / (total_epochs - warmup_epochs)))

    return LambdaLR(optimizer, factor)
