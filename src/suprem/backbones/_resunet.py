"""The network behind :mod:`suprem.backbones.resunet`; attribute names are the published tensor names."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from suprem.backbones._base import Features, SegmentationNetwork
from suprem.errors import ConfigurationError
from suprem.heads.conv import output_convolution

__all__ = ["ResUNet"]

_EXPANSION = 4
# Stride and dilation of the four stages: the last two look further instead of halving the resolution again.
_STAGES = ((1, 1), (2, 1), (1, 2), (1, 4))


class Bottleneck(nn.Module):
    """Residual block: 1x1x1 to few channels, 3x3x3, 1x1x1 to four times as many, each with a batch norm.

    Args:
        in_channels: channels of the input.
        channels: channels of the 3x3x3 convolution; the output has four times as many.
        stride: of the 3x3x3 convolution.
        dilation: of the 3x3x3 convolution.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, dilation: int) -> None:
        super().__init__()
        out_channels = _EXPANSION * channels
        self.conv1 = nn.Conv3d(in_channels, channels, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm3d(channels)
        self.conv2 = nn.Conv3d(
            channels, channels, kernel_size=3, stride=stride, padding=dilation, dilation=dilation, bias=False
        )
        self.bn2 = nn.BatchNorm3d(channels)
        self.conv3 = nn.Conv3d(channels, out_channels, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm3d(out_channels)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv3d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm3d(out_channels),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, X, Y, Z) -> (N, 4 * channels, X / stride, Y / stride, Z / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu_(self.bn1(self.conv1(x)))
        x = F.relu_(self.bn2(self.conv2(x)))
        return F.relu_(self.bn3(self.conv3(x)) + shortcut)


class ResUNet(SegmentationNetwork):
    """A residual encoder whose deepest features have an eighth of the resolution, and a head at a quarter.

    The published network ends at a quarter of the resolution. Here the features in front of its output convolution are
    interpolated trilinearly to that of the input. Since the output convolution is linear in each voxel, this gives the
    same logits as interpolating the published output, which ``classify(quarter_features(image))`` computes.

    Args:
        in_channels: input channels.
        num_classes: output channels.
        base_channels: channels of the first convolution.
        depths: residual blocks per stage.
        head_channels: channels in front of the output convolution.
    """

    head_path: ClassVar[str] = "conv_seg.6"
    encoder_stages = ("conv1.", "bn1.", *(f"layer{number}." for number in range(1, 5)))
    input_keys = ("conv1.weight",)
    batch_norms = True
    min_bottleneck_voxels = 2
    divisor = 8

    def __init__(
        self, in_channels: int, num_classes: int, *, base_channels: int, depths: Sequence[int], head_channels: int
    ) -> None:
        super().__init__()
        if base_channels < 1 or head_channels < 1:
            raise ConfigurationError(
                f"base_channels is {base_channels} and head_channels {head_channels}; both must be at least 1."
            )
        if len(depths) != len(_STAGES) or min(depths) < 1:
            raise ConfigurationError(
                f"depths is {tuple(depths)}; it needs four entries of at least 1, one per stage of residual blocks."
            )
        self.in_channels = in_channels
        self.conv1 = nn.Conv3d(in_channels, base_channels, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(base_channels)
        width = base_channels
        for number, (depth, (stride, dilation)) in enumerate(zip(depths, _STAGES, strict=True)):
            channels = base_channels * 2**number
            blocks = [Bottleneck(width, channels, stride, dilation)]
            width = _EXPANSION * channels
            blocks += [Bottleneck(width, channels, 1, dilation) for _ in range(depth - 1)]
            self.add_module(f"layer{number + 1}", nn.Sequential(*blocks))
        self.decoder_channels, self.bottleneck_channels = head_channels, width
        self.decoder_pyramid = {}  # the only level of the decoder is the one that the output is made of
        self.conv_seg = nn.Sequential(
            nn.ConvTranspose3d(width, head_channels, kernel_size=2, stride=2),
            nn.BatchNorm3d(head_channels),
            nn.ReLU(inplace=True),
            nn.Conv3d(head_channels, head_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm3d(head_channels),
            nn.ReLU(inplace=True),
            output_convolution(head_channels, num_classes, bias=False),
        )

    @property
    def head_keys(self) -> tuple[str, ...]:
        """The weight alone: the published output convolution has no bias."""
        return (f"{self.head_path}.weight",)

    def forward_encoder(self, image: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, X, Y, Z) -> bottleneck features."""
        self.check_input(image)
        x = F.relu_(self.bn1(self.conv1(image)))
        x = F.max_pool3d(x, kernel_size=3, stride=2, padding=1)
        for number in range(1, len(_STAGES) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        return x

    def quarter_features(self, image: torch.Tensor) -> Features:
        """What the published network computes.

        Args:
            image: float32 (N, in_channels, X, Y, Z).

        Returns:
            Decoder features (N, head_channels, X/4, Y/4, Z/4) and bottleneck features at an eighth; ``classify`` of
            them is the published output.

        Raises:
            ConfigurationError: the shape does not fit, see :meth:`check_input`.
        """
        x = bottleneck = self.forward_encoder(image)
        for layer in list(self.conv_seg)[:-1]:
            x = layer(x)
        return Features(decoder=x, bottleneck=bottleneck)

    def forward_features(self, image: torch.Tensor) -> Features:
        """(N, in_channels, X, Y, Z) -> decoder features, interpolated to full resolution, and bottleneck features."""
        coarse = self.quarter_features(image)
        full = F.interpolate(coarse.decoder, size=image.shape[2:], mode="trilinear", align_corners=False)
        return Features(decoder=full, bottleneck=coarse.bottleneck)

    def absent_by_design(self, keys: Iterable[str]) -> frozenset[str]:
        """The head when the file is an encoder alone, and the counters of batches when it is older than these."""
        names = set(self.strip_wrappers(keys).values())
        counters = {own for own in self.state_dict() if own.endswith(".num_batches_tracked")}
        encoder = {own for own in self.state_dict() if own.startswith(self.encoder_stages)}
        absent = set() if counters & names else counters
        if not any(name.startswith("conv_seg.") for name in names):
            absent |= self.state_dict().keys() - encoder
        return frozenset(absent)
