"""Losses on the coarser levels of a decoder, beside that on its output."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from suprem.backbones._base import SegmentationNetwork
from suprem.errors import ConfigurationError

__all__ = ["DeepSupervision", "coarser", "level_weights", "rest_idle_heads"]


class DeepSupervision(nn.Module):
    """One output convolution for each of the finest decoder levels below full resolution; used in training alone.

    A network that brings such convolutions uses its own; those of levels that are left out rest.

    Args:
        network: Its ``decoder_pyramid`` names the levels.
        channels: Output channels of the network.
        levels: How many of them, from the finest.

    Raises:
        ConfigurationError: the decoder has less levels.

    References:
        Lee et al., "Deeply-supervised nets", AISTATS 2015; the weights are those of nnU-Net (Isensee et al., 2021).
    """

    def __init__(self, network: SegmentationNetwork, channels: int, levels: int) -> None:
        super().__init__()
        pyramid = tuple(network.decoder_pyramid.items())
        if not 1 <= levels <= len(pyramid):
            raise ConfigurationError(
                f"deep_supervision is {levels}; the decoder of this network has {len(pyramid)} levels below full "
                "resolution."
            )
        chosen = pyramid[len(pyramid) - levels :][::-1]
        self.names = tuple(name for name, _ in chosen)
        # By path and not as members, since the network trains and exports them.
        self.own = tuple(network.level_heads[name] for name in self.names if name in network.level_heads)
        new = [width for name, width in chosen if name not in network.level_heads]
        self.heads = nn.ModuleList(nn.Conv3d(width, channels, kernel_size=1) for width in new)

    @contextmanager
    def watch(self, network: nn.Module) -> Iterator[list[torch.Tensor]]:
        """While the block runs the network, its list is filled with the logits of the levels, finest first."""
        seen: dict[str, torch.Tensor] = {}

        def keep(name: str) -> Any:
            def hook(module: nn.Module, arguments: Any, output: torch.Tensor) -> None:
                seen[name] = output

            return hook

        handles = [network.get_submodule(name).register_forward_hook(keep(name)) for name in self.names]
        logits: list[torch.Tensor] = []
        try:
            yield logits
        finally:
            for handle in handles:
                handle.remove()
        heads = [network.get_submodule(path) for path in self.own] or self.heads
        logits += [head(seen[name]) for name, head in zip(self.names, heads, strict=True)]


def rest_idle_heads(network: SegmentationNetwork, used: Collection[str] = ()) -> None:
    """Takes the output convolutions of coarser levels out of the training, but for the ``used`` paths.

    Processes that train together would wait for their gradients, which never come.
    """
    for path in set(network.level_heads.values()) - set(used):
        network.get_submodule(path).requires_grad_(False)


def level_weights(levels: int) -> tuple[float, ...]:
    """Weights of the losses: each level half of the finer one, all together 1.

    Example:
        >>> level_weights(2)
        (0.6666666666666666, 0.3333333333333333)
    """
    whole = 2 - 0.5 ** (levels - 1)
    return tuple(0.5**level / whole for level in range(levels))


def coarser(target: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """The voxels of a target (..., X, Y, Z) next to the middle of those of a coarser grid (x, y, z)."""
    x, y, z = (
        slice(size // small // 2, None, size // small) for size, small in zip(target.shape[-3:], shape, strict=True)
    )
    return target[..., x, y, z]
