"""The interface that every segmentation network of the package offers to heads, inference and training."""

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import nn

from suprem.errors import CheckpointError, ConfigurationError
from suprem.heads.conv import output_convolution

if TYPE_CHECKING:
    from suprem.zoo.config import ModelConfig
    from suprem.zoo.report import LoadReport

__all__ = ["TEXT_HEAD_PREFIXES", "Features", "SegmentationNetwork"]

TEXT_HEAD_PREFIXES = ("organ_embedding", "precls_conv.", "GAP.", "controller.", "text_to_vision.")
"""How the names of the text-driven head start, in every layout that has one."""

_WRAPPERS = re.compile(r"^(?:(?:module|backbone|features|model)\.)+")


class Features(NamedTuple):
    """What a backbone hands to a head.

    Attributes:
        decoder: (N, C, X, Y, Z) at full resolution: the input of the output convolution.
        bottleneck: (N, D, x, y, z): the deepest features.
    """

    decoder: torch.Tensor
    bottleneck: torch.Tensor


class SegmentationNetwork(nn.Module):
    """A backbone with its head; tensor names are those of the published checkpoints.

    ``network(image)`` maps float32 (N, in_channels, X, Y, Z) to logits (N, num_classes, X, Y, Z). Subclasses implement
    :meth:`forward_features`, which starts with :meth:`check_input`; a conv-head network keeps its 1x1x1 output
    convolution under the published path :attr:`head_path`. In evaluation the output for one sample never depends on the
    others of the batch, and no tensor changes; in training neither, unless :attr:`batch_norms`.

    Attributes:
        head_path: dotted path of the output convolution, also the prefix of the only tensors a loader may replace.
        encoder_stages: how the names of the encoder's parameters start, from the input to the bottleneck.
        decoder_pyramid: name of a submodule -> channels of its output, for each level of the decoder below full
            resolution, from the coarsest; each has twice the resolution of the one before.
        level_heads: for a published network that has them, name in :attr:`decoder_pyramid` -> path of an output
            convolution on that level, which only deep supervision uses.
        input_keys: names of the weights whose second dimension is the number of input channels.
        table_keys: names of position tables (1, tokens, channels), which a loader fits to this network's number of
            tokens.
        batch_norms: in training, norms share statistics over the batch and keep running ones, which evaluation uses.
        min_bottleneck_voxels: how many voxels the deepest features need; 2 where each channel of them is normalised
            over space, which one voxel alone would turn into zero.
        in_channels: input channels.
        divisor: spatial sizes must be multiples of this.
        decoder_channels: C of :class:`Features`.
        bottleneck_channels: D of :class:`Features`.
        pointwise_head: ``classify`` acts on each voxel of the decoder features alone and is affine, so blending
            features and classifying once equals blending logits (design decision of the streaming engine).
        channels_last_on_gpu: a GPU takes less time where it keeps the channels of a voxel side by side, as
            ``FasterOnGpu`` makes it; measured, since it is not so for every network.
        exports_any_size: a traced program holds for all spatial sizes that fit; false where Python code follows the
            size, as in an attention over windows.
        config: the contract of the weights it holds, ``None`` for a network made from scratch.
        load_report: what happened to each tensor when weights were loaded.
    """

    head_path: ClassVar[str]
    encoder_stages: tuple[str, ...]
    decoder_pyramid: Mapping[str, int]
    level_heads: Mapping[str, str] = MappingProxyType({})
    input_keys: tuple[str, ...]
    table_keys: tuple[str, ...] = ()
    batch_norms: bool = False
    min_bottleneck_voxels: int = 1
    in_channels: int
    divisor: int
    decoder_channels: int
    bottleneck_channels: int
    pointwise_head: bool = True
    channels_last_on_gpu: bool = False
    exports_any_size: bool = False
    config: "ModelConfig | None" = None
    load_report: "LoadReport | None" = None

    def forward_features(self, image: torch.Tensor) -> Features:
        """(N, in_channels, X, Y, Z) -> decoder and bottleneck features."""
        raise TypeError(f"{type(self).__name__} does not define forward_features; every backbone has to.")

    def forward_encoder(self, image: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, X, Y, Z) -> (N, bottleneck_channels, x, y, z) at 1 / divisor, by the encoder alone.

        It uses all parameters of :attr:`encoder_stages` and no others. Self-supervised training of the encoder needs
        it; a backbone that lacks it can still be trained with its decoder.
        """
        raise TypeError(f"{type(self).__name__} does not define forward_encoder, so its encoder cannot run alone.")

    def classify(self, features: Features) -> torch.Tensor:
        """Features -> logits (N, num_classes, X, Y, Z)."""
        head = self.get_submodule(self.head_path)
        logits: torch.Tensor = head(features.decoder)
        return logits

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, X, Y, Z) -> logits (N, num_classes, X, Y, Z)."""
        return self.classify(self.forward_features(image))

    def check_input(self, image: torch.Tensor) -> None:
        """Refuses an input whose shape the network cannot process.

        Raises:
            ConfigurationError: not (N, in_channels, X, Y, Z), or sizes that do not fit :attr:`divisor`.
        """
        shape = tuple(image.shape)
        if len(shape) != 5 or shape[1] != self.in_channels:
            raise ConfigurationError(
                f"The input has shape {shape}; the network takes (N, {self.in_channels}, X, Y, Z). "
                "Add the batch and channel axes, or create the network with other in_channels."
            )
        sizes = shape[2:]
        if any(size < 1 or size % self.divisor for size in sizes):
            raise ConfigurationError(
                f"The input has spatial sizes {sizes}; each must be a multiple of {self.divisor}. Pad or crop it."
            )
        if math.prod(size // self.divisor for size in sizes) < self.min_bottleneck_voxels:
            raise ConfigurationError(
                f"The input has spatial sizes {sizes}, which leaves one voxel at the lowest resolution, where each "
                f"channel is normalised over space; make one size at least {2 * self.divisor}."
            )

    @property
    def num_classes(self) -> int:
        """Number of output channels."""
        return int(self.get_parameter(f"{self.head_path}.weight").shape[0])

    @property
    def head_keys(self) -> tuple[str, ...]:
        """Names of the tensors whose size is the class count: the only ones a loader may leave at their start."""
        return (f"{self.head_path}.weight", f"{self.head_path}.bias")

    def replace_head(self, num_classes: int) -> None:
        """Puts a new, randomly initialised convolution with ``num_classes`` outputs in the place of the old one."""
        old = self.get_parameter(f"{self.head_path}.weight")
        bias = f"{self.head_path}.bias" in self.head_keys
        new = output_convolution(self.decoder_channels, num_classes, bias=bias)
        self.set_submodule(self.head_path, new.to(device=old.device, dtype=old.dtype))

    def remove_head(self) -> None:
        """Takes the output convolution away, for a network that classifies the features by other means."""
        self.set_submodule(self.head_path, nn.Identity())

    def translate_keys(self, keys: Iterable[str]) -> dict[str, str | None]:
        """Maps the tensor names of a foreign state dict to the names of this network.

        Wrapper prefixes (``module.``, ``backbone.``, ``model.``, ``features.``) are dropped. A name this network has no
        use for by design maps to ``None``; a name that is not understood maps to itself, so that a strict load reports
        it. The output convolution maps to itself: names alone do not tell whose classes it predicts.

        Args:
            keys: all names of the state dict, since some layouts are recognised by the names they hold.

        Raises:
            CheckpointError: two names mean the same tensor.
        """
        plain = self.strip_wrappers(keys)
        renamed = self._translate_plain(set(plain.values()))
        known = self.state_dict().keys() | {None}
        translated = {key: renamed[name] if renamed[name] in known else key for key, name in plain.items()}
        sources = defaultdict(list)
        for key, target in translated.items():
            if target is not None:
                sources[target].append(key)
        for target, found in sources.items():
            if len(found) > 1:
                raise CheckpointError(
                    f"The checkpoint holds tensor {target!r} more than once, as {', '.join(map(repr, sorted(found)))}; "
                    "keep one of them."
                )
        return translated

    @staticmethod
    def strip_wrappers(keys: Iterable[str]) -> dict[str, str]:
        """Each name without the prefixes that training programs put around a network."""
        return {key: _WRAPPERS.sub("", key) for key in keys}

    def monai_definition(self) -> dict[str, Any] | None:
        """How MONAI makes a network of the same tensor names and outputs: class under ``_target_`` and its arguments.

        ``None`` where MONAI has no such class.
        """
        return None

    def absent_by_design(self, keys: Iterable[str]) -> frozenset[str]:
        """Own tensor names that a file with these ``keys`` never holds (an encoder alone); empty for whole networks.

        An encoder alone has all tensors of :attr:`encoder_stages` and nothing else.
        """
        own = self.state_dict().keys()
        encoder = {key for key in own if key.startswith(self.encoder_stages)}
        return frozenset(own - encoder) if set(self.strip_wrappers(keys).values()) == encoder else frozenset()

    def _translate_plain(self, names: Collection[str]) -> dict[str, str | None]:
        """:meth:`translate_keys` after the wrapper prefixes are gone; backbones with foreign layouts override it."""
        return {name: None if name.startswith(TEXT_HEAD_PREFIXES) else name for name in names}

    def supplied(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Tensors that a foreign file does not hold and that follow from it, under this network's names.

        Args:
            tensors: those of the file, under its names.
        """
        del tensors
        return {}

    def resize_tables(self, state: Mapping[str, torch.Tensor], names: Mapping[str, str]) -> dict[str, torch.Tensor]:
        """Fits the position tables of a file to this network; other tensors are returned as they are.

        Args:
            state: tensors under this network's names.
            names: the names that they have in the file, which tell how its tables are made.
        """
        del names
        return dict(state)

    def repeat_input_channels(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Fits weights of a single-channel network to this network's number of input channels.

        The input weights are repeated and divided by the number of channels, so that copies of one image in every
        channel give what the single image gave. All other tensors are returned as they are.

        Args:
            state: tensors under this network's names.
        """
        adapted = dict(state)
        for key in self.input_keys:
            weight = adapted.get(key)
            if weight is not None and weight.ndim == 5 and weight.shape[1] == 1 < self.in_channels:
                adapted[key] = weight.repeat(1, self.in_channels, 1, 1, 1) / self.in_channels
        return adapted
