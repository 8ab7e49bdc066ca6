"""Learning-rate schedules, counted in optimiser steps."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from suprem.errors import ConfigurationError

__all__ = ["warmup_cosine"]


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
