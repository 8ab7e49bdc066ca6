"""How a network is run in training: memory layout, recomputation and compilation; none of them changes what it learns.

Deterministic algorithms are the trainer's: ``Trainer(deterministic=True)``.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint

from suprem.backbones._base import SegmentationNetwork

__all__ = ["Execution", "prepare_network", "recompute_blocks"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Execution:
    """What is done to a network before it is trained.

    Attributes:
        channels_last: Keep channels innermost in memory, which 3D convolutions prefer on CPUs and in bf16 on GPUs.
        recompute: Forget the activations inside each block and compute them again in the backward pass: less memory,
            one more forward pass.
        compile: Let ``torch.compile`` fuse operations. Where that fails, a warning says why and the network runs as it
            is.
    """

    channels_last: bool = False
    recompute: bool = False
    compile: bool = False


def prepare_network(network: nn.Module, execution: Execution) -> None:
    """Applies the settings to a network, in place; names of parameters and results stay the same."""
    if execution.channels_last:
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    if execution.recompute:
        recompute_blocks(network)
    if execution.compile:
        network.compile(backend=_compile_or_warn)


def recompute_blocks(network: nn.Module) -> list[str]:
    """Checkpoints the activations of every block, in place; returns the names of the blocks.

    A block is a part of the network that is more than one layer: members of lists of levels are blocks of their own.
    """
    names = []
    for name, module in list(_blocks(network)):
        # A subclass made for this block, not a function put into the instance: copies of the network, such as that of
        # weight averaging, must run their own parameters.
        module.__class__ = type(f"Recomputed{type(module).__name__}", (_Recomputed, type(module)), {})
        names.append(name)
    return names


def _blocks(network: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    for name, child in network.named_children():
        if isinstance(child, nn.ModuleList | SegmentationNetwork):
            yield from _blocks(child, f"{prefix}{name}.")
        elif sum(any(True for _ in part.parameters(recurse=False)) for part in child.modules()) > 1:
            yield prefix + name, child


class _Recomputed(nn.Module):
    """Put before a module's own class: runs it under a checkpoint."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(*args, **kwargs)
        options: dict[str, Any] = {}
        if any(isinstance(part, _NormBase) for part in self.modules()):  # what torch.compile does not understand
            options["context_fn"] = lambda: (nullcontext(), _seen_once(self))
        return checkpoint(super().forward, *args, use_reentrant=False, **options, **kwargs)


@contextmanager
def _seen_once(module: nn.Module) -> Iterator[None]:
    """While a block is computed again, its batch norms do not count the batch a second time."""
    norms = [part for part in module.modules() if isinstance(part, _NormBase) and part.track_running_stats]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked = None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def _compile_or_warn(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
    """A backend of ``torch.compile``: the default one, or the graph as it is."""
    from torch._inductor.compile_fx import compile_fx

    try:
        return compile_fx(graph, inputs)
    except Exception as error:
        logger.warning("torch.compile failed, and the network runs as it is: %s", _last_line(error))
        return graph.forward


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"
