"""The network behind :mod:`suprem.backbones.unet_monai`; tensor names are MONAI's."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from monai.networks.layers.simplelayers import SkipConnection
from monai.networks.nets.unet import UNet
from torch import nn

from suprem.backbones._base import Features, SegmentationNetwork
from suprem.errors import ConfigurationError, brief
from suprem.heads.conv import output_convolution

__all__ = ["UNetMonai", "options_of"]

_NEXT = "1.submodule."  # the way from a level to the next coarser one
_NORMS = {"instance": "INSTANCE", "batch": "BATCH"}


class UNetMonai(SegmentationNetwork):
    """MONAI's ``UNet`` with a 1x1x1 convolution behind it.

    Args:
        in_channels: input channels.
        num_classes: output channels.
        channels: channels per level, from the finest.
        strides: between the levels.
        num_res_units: convolutions per residual unit.
        norm: ``"instance"`` or ``"batch"``.
        features: output channels of MONAI's network.
    """

    head_path: ClassVar[str] = "head"
    exports_any_size = True

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        channels: Sequence[int],
        strides: Sequence[int],
        num_res_units: int,
        norm: str,
        features: int,
    ) -> None:
        super().__init__()
        if len(channels) < 2 or len(strides) != len(channels) - 1 or not set(strides) <= {1, 2}:
            raise ConfigurationError(
                f"channels is {brief(channels)} and strides {brief(strides)}; there must be at least two levels, and "
                "one stride of 1 or 2 fewer than levels."
            )
        if min(*channels, features) < 1 or num_res_units < 0 or norm not in _NORMS:
            raise ConfigurationError(
                f"channels is {brief(channels)}, features {features}, num_res_units {num_res_units} and norm {norm!r}; "
                f"numbers must be positive, and norm one of {', '.join(_NORMS)}."
            )
        self.model = UNet(
            spatial_dims=3,
            in_channels=in_channels,
            out_channels=features,
            channels=tuple(channels),
            strides=tuple(strides),
            num_res_units=num_res_units,
            norm=_NORMS[norm],
        ).model
        self.head = output_convolution(features, num_classes)
        levels = len(strides)
        self.in_channels, self.divisor = in_channels, math.prod(strides)
        self.decoder_channels, self.bottleneck_channels = features, channels[-1]
        self.batch_norms = norm == "batch"
        self.min_bottleneck_voxels = 1 if self.batch_norms else 2
        self.encoder_stages = (*(f"model.{_NEXT * n}0." for n in range(levels)), f"model.{_NEXT * levels}")
        self.decoder_pyramid = {
            f"model.{_NEXT * n}2": channels[n - 1] for n in range(levels - 1, 0, -1) if strides[n - 1] == 2
        }
        first = "model.0.conv.unit0.conv.weight" if num_res_units else "model.0.conv.weight"
        self.input_keys = (first, "model.0.residual.weight") if num_res_units else (first,)

    def forward_encoder(self, image: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, X, Y, Z) -> bottleneck features."""
        self.check_input(image)
        block, x = self.model, image
        while (parts := _parts(block)) is not None:
            down, block, _ = parts
            x = down(x)
        bottleneck: torch.Tensor = block(x)
        return bottleneck

    def forward_features(self, image: torch.Tensor) -> Features:
        """(N, in_channels, X, Y, Z) -> the output of MONAI's network, and bottleneck features."""
        self.check_input(image)
        return Features(*_through(self.model, image))

    @staticmethod
    def strip_wrappers(keys: Iterable[str]) -> dict[str, str]:
        """As for others, for which ``model.`` is a wrapper; here it is part of the names."""
        plain = SegmentationNetwork.strip_wrappers(keys)
        return {key: f"model.{name}" if name[:1].isdigit() else name for key, name in plain.items()}

    def supplied(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The identity as output convolution of a file of MONAI, whose output are logits already."""
        found = set(self.translate_keys(tensors).values())
        if found & set(self.head_keys) or not any(name is not None and name.startswith("model.2.") for name in found):
            return {}
        count = self.decoder_channels
        eye = torch.eye(count).reshape(count, count, 1, 1, 1)
        return {f"{self.head_path}.weight": eye, f"{self.head_path}.bias": torch.zeros(count)}


def _through(block: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Output of a level with all coarser ones, and the features of the coarsest."""
    parts = _parts(block)
    if parts is None:
        deepest = block(x)
        return deepest, deepest
    down, coarser, up = parts
    skip = down(x)
    inner, deepest = _through(coarser, skip)
    return up(torch.cat([skip, inner], dim=1)), deepest


def _parts(block: nn.Module) -> tuple[nn.Module, nn.Module, nn.Module] | None:
    """The way down, the coarser levels, and the way up; ``None`` for the coarsest level."""
    if not isinstance(block, nn.Sequential) or not isinstance(block[1], SkipConnection):
        return None
    coarser: Any = block[1].submodule
    return block[0], coarser, block[2]


def options_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any] | None:
    """The options with which :class:`UNetMonai` has the tensors of a file of MONAI; ``None`` where it is none of it.

    Without residual units a file does not tell strides, and 2 is taken.
    """
    own = {name.partition("model.")[2] if name.startswith("model.") else name: t for name, t in tensors.items()}
    channels: list[int] = []
    strides: list[int] = []
    level = ""
    while (width := _width(own, f"{level}0.")) is not None:
        residual = own.get(f"{level}0.residual.weight")
        channels.append(width)
        strides.append(1 if residual is not None and residual.shape[-1] == 1 else 2)
        level += _NEXT
    deepest = _width(own, level)
    last = next((own[name] for name in ("2.conv.bias", "2.0.conv.bias") if name in own), None)
    if not channels or deepest is None or last is None:
        return None
    units = sum(f"0.conv.unit{n}.conv.weight" in own for n in range(16))
    norm = "batch" if any(name.endswith(".adn.N.running_mean") for name in own) else "instance"
    return {
        "channels": [*channels, deepest],
        "strides": strides,
        "num_res_units": units,
        "norm": norm,
        "features": len(last),
    }


def _width(own: Mapping[str, torch.Tensor], place: str) -> int | None:
    for name in (f"{place}conv.weight", f"{place}conv.unit0.conv.weight"):
        if name in own and own[name].ndim == 5:
            return int(own[name].shape[0])
    return None
