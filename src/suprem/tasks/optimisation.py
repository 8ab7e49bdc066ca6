"""How fast each parameter is trained, and for how long."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import AdamW, Optimizer

from suprem.errors import ConfigurationError
from suprem.heads._classification import Network
from suprem.heads._self_supervised import SelfSupervisedNetwork

__all__ = ["Optimisation", "adamw", "parameter_groups"]


@dataclass(frozen=True)
class Optimisation:
    """Learning rates, weight decay and schedule; the defaults are the paper's fine-tuning.

    Attributes:
        learning_rate: peak.
        weight_decay: of AdamW, decoupled.
        decay_norms: let weight decay shrink norms and biases too, as the paper does.
        head_rate: learning rate of the output layer, relative to the peak.
        layer_decay: learning rate of each encoder stage relative to the next one; 1 trains all alike.
        warmup_steps: optimiser steps of the linear rise, when ``warmup_epochs`` is ``None``.
        warmup_epochs: count the schedule in epochs, as the paper does; ``None`` counts steps.
    """

    learning_rate: float = 1e-4
    weight_decay: float = 1e-5
    decay_norms: bool = True
    head_rate: float = 1.0
    layer_decay: float = 1.0
    warmup_steps: int = 100
    warmup_epochs: int | None = None

    def __post_init__(self) -> None:
        if self.learning_rate <= 0 or self.head_rate <= 0 or self.weight_decay < 0 or not 0 < self.layer_decay <= 1:
            raise ConfigurationError(
                f"learning_rate {self.learning_rate} and head_rate {self.head_rate} must be positive, weight_decay "
                f"{self.weight_decay} not negative, and layer_decay {self.layer_decay} in (0, 1]."
            )
        if self.warmup_steps < 0 or (self.warmup_epochs is not None and self.warmup_epochs < 2):
            raise ConfigurationError(
                f"warmup_steps is {self.warmup_steps} and warmup_epochs {self.warmup_epochs}; steps must not be "
                "negative, and a warm-up in epochs takes two of them at least."
            )


def adamw(groups: Iterable[nn.Parameter] | Iterable[dict[str, Any]]) -> Optimizer:
    """AdamW; learning rate and weight decay stand in the groups, else they are the paper's 1e-4 and 1e-5."""
    return AdamW(groups, lr=1e-4, weight_decay=1e-5)


def parameter_groups(network: nn.Module, settings: Optimisation) -> list[dict[str, Any]]:
    """The trainable parameters, those with equal learning rate and weight decay together.

    Args:
        network: One that segments, classifies or is trained without labels, whose encoder stages and output layers can
            have rates of their own, or any module, whose parameters have the peak rate.
        settings: Rates and decay.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = settings.learning_rate * _factor(network, name, settings)
        decay = settings.weight_decay if settings.decay_norms or parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()]


def _factor(network: nn.Module, name: str, settings: Optimisation) -> float:
    if not isinstance(network, Network | SelfSupervisedNetwork):
        return 1.0
    if name in network.head_keys:
        return settings.head_rate
    stages = network.encoder_stages
    for number, stage in enumerate(stages):
        if name.startswith(stage):
            # The deepest stage is one step away from the decoder, which has the peak rate.
            return float(settings.layer_decay ** (len(stages) - number))
    return 1.0
