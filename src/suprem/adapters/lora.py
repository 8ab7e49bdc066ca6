"""Low-rank adapters for 3D convolutions and linear layers.

A weight W is replaced by W + (alpha / rank) * B A, where A has ``rank`` rows and B ``rank`` columns; W stays as it was,
A and B are trained. For a convolution W is taken as a matrix of one row per output channel. B starts at zero, so that
nothing changes before the first step.

References:
    Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, section 4.1.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import parametrize

from suprem._files import atomic_path
from suprem.backbones._base import SegmentationNetwork
from suprem.errors import CheckpointError, ConfigurationError, first_line
from suprem.heads._classification import Network

__all__ = ["LowRank", "add_lora", "has_lora", "load_lora", "merge_lora", "save_lora"]

_LAYERS = (nn.Conv3d, nn.ConvTranspose3d, nn.Linear)
_META = "lora"


class LowRank(nn.Module):
    """The sum of a weight and a product of two thin matrices.

    Args:
        weight: What is adapted.
        rank: Rows of ``down`` and columns of ``up``.
        alpha: The product is multiplied by ``alpha / rank``.
    """

    def __init__(self, weight: torch.Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        self.scale = alpha / rank
        self.down = nn.Parameter(weight.new_empty(rank, columns))
        self.up = nn.Parameter(weight.new_zeros(rows, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The adapted weight, in the shape of the original one."""
        return weight + (self.scale * (self.up @ self.down)).view_as(weight)


def add_lora(network: Network, *, rank: int = 4, alpha: float = 8.0) -> tuple[str, ...]:
    """Adds an adapter to every convolution and linear layer that is larger than its adapter would be.

    The output layer has none: it is small, and new for a new task. What is trained is not changed here; see
    :func:`suprem.adapters.strategies.apply_strategy`.

    Args:
        network: Changed in place.
        rank: Of the adapters.
        alpha: Scale, in units of the rank.

    Returns:
        Paths of the adapted layers.

    Raises:
        ConfigurationError: rank or alpha is not positive, adapters are there already, or no layer is large enough.
    """
    if rank < 1 or alpha <= 0:
        raise ConfigurationError(f"rank is {rank} and alpha {alpha}; both must be positive.")
    if has_lora(network):
        raise ConfigurationError("The network has adapters already; merge them first with merge_lora().")
    chosen = {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, _LAYERS) and f"{name}.weight" not in network.head_keys and _is_worth_it(layer.weight, rank)
    }
    if not chosen:
        raise ConfigurationError(f"No layer is large enough for adapters of rank {rank}; lower it.")
    for layer in chosen.values():
        adapter = LowRank(layer.weight, rank, alpha)
        # Unsafe: what checks shapes would also compute the weight once more.
        parametrize.register_parametrization(layer, "weight", adapter, unsafe=True)
    return tuple(chosen)


def _is_worth_it(weight: torch.Tensor, rank: int) -> bool:
    rows, columns = weight.shape[0], weight[0].numel()
    return rank * (rows + columns) < weight.numel()


def has_lora(network: nn.Module) -> bool:
    """Whether some layer has an adapter."""
    return any(isinstance(module, LowRank) for module in network.modules())


def merge_lora(network: nn.Module) -> int:
    """Replaces every adapted weight by its value, bit by bit what was computed with; returns their number."""
    adapted = [layer for layer in network.modules() if _adapter(layer) is not None]
    for layer in adapted:
        weight = layer.get_parameter("parametrizations.weight.original")
        value = nn.Parameter(layer.weight.detach(), requires_grad=weight.requires_grad)  # type: ignore[operator]
        # Not parametrize.remove_parametrizations: it would change the class, which a deep copy has in common with what
        # it was copied from.
        layer.__class__ = parametrize.type_before_parametrizations(layer)
        del layer.parametrizations
        layer.register_parameter("weight", value)
    return len(adapted)


def save_lora(network: SegmentationNetwork, path: str | Path) -> None:
    """Writes the adapters and the output layer as one safetensors file, without the weights they adapt.

    Raises:
        ConfigurationError: there are no adapters.
        OutputError: the file cannot be written.
    """
    from safetensors.torch import save_file

    adapters = _adapters(network)
    if not adapters:
        raise ConfigurationError("The network has no adapters to save; add them with add_lora().")
    first = next(iter(adapters.values()))
    rank = first.down.shape[0]
    facts = {"rank": rank, "alpha": first.scale * rank, "num_classes": network.num_classes}
    tensors = {key: network.state_dict()[key].contiguous() for key in network.head_keys}
    for name, adapter in adapters.items():
        tensors |= {f"{name}.{part}": value.detach().contiguous() for part, value in adapter.named_parameters()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={_META: json.dumps(facts)})


def load_lora(network: SegmentationNetwork, path: str | Path) -> None:
    """Adds the adapters of a file to the network that they were trained on, and takes its output layer.

    Args:
        network: With the weights that were adapted, and without adapters; changed in place.
        path: From :func:`save_lora`.

    Raises:
        CheckpointError: the file is damaged, or was made for another network.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get(_META, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        rank, alpha, classes = int(facts["rank"]), float(facts["alpha"]), int(facts["num_classes"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} holds no adapters that can be read ({first_line(error)}). Save them again."
        ) from error
    count, head = network.num_classes, _head(network)
    if classes != count:
        network.replace_head(classes)
    add_lora(network, rank=rank, alpha=alpha)
    own = _head(network)
    for name, adapter in _adapters(network).items():
        own |= {f"{name}.{part}": value for part, value in adapter.named_parameters()}
    wrong = sorted(own.keys() ^ tensors.keys()) or sorted(n for n in own if own[n].shape != tensors[n].shape)
    if wrong:
        merge_lora(network)  # they were zero: the weights are what they were
        if classes != count:
            network.replace_head(count)
            _copy(head, _head(network))
        raise CheckpointError(f"{path} was made for another network: {', '.join(wrong[:3])} do not fit.")
    _copy(tensors, own)


def _head(network: SegmentationNetwork) -> dict[str, torch.Tensor]:
    """The tensors of the output layer themselves."""
    state = network.state_dict(keep_vars=True)
    return {key: state[key] for key in network.head_keys}


def _copy(source: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, value in target.items():
            value.copy_(source[name])


def _adapter(layer: nn.Module) -> LowRank | None:
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    found = layer.parametrizations["weight"][0]  # type: ignore[index]
    return found if isinstance(found, LowRank) else None


def _adapters(network: nn.Module) -> dict[str, LowRank]:
    found = {name: _adapter(layer) for name, layer in network.named_modules()}
    return {name: adapter for name, adapter in found.items() if adapter is not None}
