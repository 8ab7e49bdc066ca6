"""Which of the pre-trained parameters a fine-tuning changes."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Literal, get_args

from suprem.adapters.lora import LowRank, add_lora
from suprem.errors import UnknownNameError, did_you_mean
from suprem.heads._classification import Network
from suprem.heads.universal import UniversalNetwork

__all__ = ["STRATEGIES", "Strategy", "apply_strategy"]

Strategy = Literal["full", "frozen_encoder", "norm_and_bias", "head", "lora"]


def _full(network: Network, rank: int) -> set[str]:
    return {name for name, _ in network.named_parameters()}


def _frozen_encoder(network: Network, rank: int) -> set[str]:
    return {name for name, _ in network.named_parameters() if not name.startswith(network.encoder_stages)}


def _norm_and_bias(network: Network, rank: int) -> set[str]:
    # Norms have one number per channel, and so have biases.
    return {name for name, parameter in network.named_parameters() if parameter.ndim <= 1}


def _head(network: Network, rank: int) -> set[str]:
    return set()


def _lora(network: Network, rank: int) -> set[str]:
    add_lora(network, rank=rank, alpha=2.0 * rank)
    adapters = [name for name, module in network.named_modules() if isinstance(module, LowRank)]
    return {f"{name}.{part}" for name in adapters for part in ("up", "down")}


STRATEGIES: MappingProxyType[str, Callable[[Network, int], set[str]]] = MappingProxyType(
    {
        "full": _full,
        "frozen_encoder": _frozen_encoder,
        "norm_and_bias": _norm_and_bias,
        "head": _head,
        "lora": _lora,
    }
)
"""Name -> what is trained besides the output layer; adapters are added where they are needed."""


def apply_strategy(network: Network, strategy: str, *, lora_rank: int = 4) -> int:
    """Lets only a part of the parameters be trained; the output layer always is.

    Args:
        network: Changed in place.
        strategy: ``"full"``; ``"frozen_encoder"``; ``"norm_and_bias"`` (scales and offsets only); ``"head"`` (the
            output layer alone); ``"lora"`` (low-rank adapters, :mod:`suprem.adapters.lora`).
        lora_rank: Rank of the adapters.

    Returns:
        Number of trained parameters.

    Raises:
        UnknownNameError: there is no such strategy.

    References:
        Ben Zaken et al., "BitFit", ACL 2022, for ``"norm_and_bias"``; Hu et al., "LoRA", ICLR 2022.
    """
    if strategy not in STRATEGIES:
        raise UnknownNameError(did_you_mean("strategy", strategy, get_args(Strategy)))
    trained = STRATEGIES[strategy](network, lora_rank) | _head_parameters(network)
    count = 0
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in trained)
        count += parameter.numel() if name in trained else 0
    return count


def _head_parameters(network: Network) -> set[str]:
    """Everything that makes logits of features: the text-driven head has parameters beside its table of classes."""
    if isinstance(network, UniversalNetwork):
        return {name for name, _ in network.named_parameters() if not name.startswith("backbone.")}
    return set(network.head_keys)
