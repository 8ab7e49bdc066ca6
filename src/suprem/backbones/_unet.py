"""The U-Net behind :mod:`suprem.backbones.unet`; attribute names are the published tensor names."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from suprem.backbones._base import Features, SegmentationNetwork
from suprem.errors import ConfigurationError
from suprem.heads.conv import output_convolution

__all__ = ["UNet"]


class PatchNorm(nn.Module):
    """Normalises each channel of each sample with its own mean and variance, then scales and shifts.

    The published network is a batch norm that always used the statistics of the batch at hand, and was applied to one
    patch at a time. The running statistics of that batch norm never reached an output; they are kept as buffers only
    so that a checkpoint is exported as it came in. This is not a subclass of torch's batch norm, because tools that
    synchronise or freeze batch norms would then change what it computes.

    Args:
        channels: C.
        batch_statistics: share the statistics over the batch, as the reference program does with more than one patch.
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor
    num_batches_tracked: torch.Tensor

    def __init__(self, channels: int, batch_statistics: bool) -> None:
        super().__init__()
        self.eps = 1e-5
        self.batch_statistics = batch_statistics
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, X, Y, Z) -> the same shape."""
        if self.batch_statistics:
            return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)
        return F.instance_norm(x, weight=self.weight, bias=self.bias, use_input_stats=True, eps=self.eps)


class ConvBeforeNorm(nn.Conv3d):
    """A convolution whose bias the norm behind it takes away again; it exists because the published weights have it.

    Without gradients it is not added: that is a tenth of the time of the network on a GPU.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, X, Y, Z) -> (N, out_channels, X, Y, Z)."""
        bias = self.bias if torch.is_grad_enabled() else None
        return F.conv3d(input, self.weight, bias, self.stride, self.padding)


class ConvUnit(nn.Module):
    """Convolution 3x3x3, per-patch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, batch_statistics: bool) -> None:
        super().__init__()
        self.conv1 = ConvBeforeNorm(in_channels, out_channels, kernel_size=3, padding=1)
        self.bn1 = PatchNorm(out_channels, batch_statistics)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, X, Y, Z) -> (N, out_channels, X, Y, Z)."""
        return F.relu_(self.bn1(self.conv1(x)))


class DownStage(nn.Module):
    """Two units; pooling happens in the network, which needs both resolutions."""

    def __init__(self, in_channels: int, mid_channels: int, out_channels: int, batch_statistics: bool) -> None:
        super().__init__()
        self.ops = nn.Sequential(
            ConvUnit(in_channels, mid_channels, batch_statistics),
            ConvUnit(mid_channels, out_channels, batch_statistics),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, X, Y, Z) -> (N, out_channels, X, Y, Z)."""
        features: torch.Tensor = self.ops(x)
        return features


class UpStage(nn.Module):
    """Doubles the resolution, appends the skip connection, two units."""

    def __init__(self, in_channels: int, skip_channels: int, batch_statistics: bool) -> None:
        super().__init__()
        self.up_conv = nn.ConvTranspose3d(in_channels, in_channels, kernel_size=2, stride=2)
        self.ops = nn.Sequential(
            ConvUnit(in_channels + skip_channels, skip_channels, batch_statistics),
            ConvUnit(skip_channels, skip_channels, batch_statistics),
        )

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, x, y, z) and (N, skip_channels, 2x, 2y, 2z) -> the shape of ``skip``."""
        features: torch.Tensor = self.ops(torch.cat((self.up_conv(x), skip), dim=1))
        return features


class OutputStage(nn.Module):
    """Level of names above the output convolution."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.final_conv = output_convolution(in_channels, num_classes)


class UNet(SegmentationNetwork):
    """3D U-Net with four resolutions.

    Args:
        in_channels: input channels.
        num_classes: output channels.
        base_channels: output channels of the first convolution.
        batch_statistics: normalise over the whole batch instead of each patch alone.
    """

    head_path: ClassVar[str] = "out_tr.final_conv"
    encoder_stages = ("down_tr64.", "down_tr128.", "down_tr256.", "down_tr512.")
    input_keys = ("down_tr64.ops.0.conv1.weight",)
    min_bottleneck_voxels = 2
    channels_last_on_gpu = True
    exports_any_size = True
    divisor = 8

    def __init__(self, in_channels: int, num_classes: int, *, base_channels: int, batch_statistics: bool) -> None:
        super().__init__()
        if base_channels < 1:
            raise ConfigurationError(f"base_channels is {base_channels}; it must be at least 1.")
        self.in_channels = in_channels
        c1, c2, c4, c8, c16 = (base_channels * factor for factor in (1, 2, 4, 8, 16))
        self.decoder_channels, self.bottleneck_channels = c2, c16
        self.decoder_pyramid = {"up_tr256": c8, "up_tr128": c4}
        self.down_tr64 = DownStage(in_channels, c1, c2, batch_statistics)
        self.down_tr128 = DownStage(c2, c2, c4, batch_statistics)
        self.down_tr256 = DownStage(c4, c4, c8, batch_statistics)
        self.down_tr512 = DownStage(c8, c8, c16, batch_statistics)
        self.up_tr256 = UpStage(c16, c8, batch_statistics)
        self.up_tr128 = UpStage(c8, c4, batch_statistics)
        self.up_tr64 = UpStage(c4, c2, batch_statistics)
        self.out_tr = OutputStage(c2, num_classes)

    def forward_encoder(self, image: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, X, Y, Z) -> bottleneck features."""
        self.check_input(image)
        x: torch.Tensor = self.down_tr64(image)
        for stage in (self.down_tr128, self.down_tr256, self.down_tr512):
            x = stage(F.max_pool3d(x, 2))
        return x

    def forward_features(self, image: torch.Tensor) -> Features:
        """(N, in_channels, X, Y, Z) -> decoder and bottleneck features."""
        self.check_input(image)
        full = self.down_tr64(image)
        half = self.down_tr128(F.max_pool3d(full, 2))
        quarter = self.down_tr256(F.max_pool3d(half, 2))
        bottleneck = self.down_tr512(F.max_pool3d(quarter, 2))
        x = self.up_tr64(self.up_tr128(self.up_tr256(bottleneck, quarter), half), full)
        return Features(decoder=x, bottleneck=bottleneck)
