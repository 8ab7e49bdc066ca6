"""The network behind :mod:`suprem.backbones.segresnet` and :mod:`suprem.backbones.segresnet_tiny`."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from monai.networks.nets.segresnet import SegResNet as MonaiSegResNet

from suprem.backbones._base import Features, SegmentationNetwork
from suprem.errors import ConfigurationError, brief

__all__ = ["SegResNet"]

_GROUPS = 8


class SegResNet(SegmentationNetwork, MonaiSegResNet):
    """MONAI's SegResNet behind the package's interface; names and numbers are MONAI's.

    Args:
        in_channels: input channels.
        num_classes: output channels.
        init_filters: channels at full resolution.
        blocks_down: residual blocks per encoder level.
        blocks_up: residual blocks per decoder level.
        dropout_prob: channel dropout after the first convolution.
    """

    head_path: ClassVar[str] = "conv_final.2.conv"
    input_keys = ("convInit.conv.weight",)
    channels_last_on_gpu = True
    exports_any_size = True

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        init_filters: int,
        blocks_down: Sequence[int],
        blocks_up: Sequence[int],
        dropout_prob: float,
    ) -> None:
        if init_filters < _GROUPS or init_filters % _GROUPS:
            raise ConfigurationError(f"init_filters is {init_filters}; it must be a positive multiple of {_GROUPS}.")
        if len(blocks_up) != len(blocks_down) - 1 or min((*blocks_down, *blocks_up)) < 1:
            raise ConfigurationError(
                f"blocks_down is {brief(blocks_down)} and blocks_up {brief(blocks_up)}; blocks_up must have one entry "
                "fewer, and every entry must be at least 1."
            )
        super().__init__(
            spatial_dims=3,
            init_filters=init_filters,
            in_channels=in_channels,
            out_channels=num_classes,
            dropout_prob=dropout_prob,
            norm=("GROUP", {"num_groups": _GROUPS}),
            # conv_final is built regardless; the flag only makes `decode` stop in front of it.
            use_conv_final=False,
            blocks_down=tuple(blocks_down),
            blocks_up=tuple(blocks_up),
            upsample_mode="nontrainable",
        )
        levels = len(blocks_down) - 1
        self.encoder_stages = ("convInit.", *(f"down_layers.{level}." for level in range(len(blocks_down))))
        self.decoder_pyramid = {f"up_layers.{n}": init_filters * 2 ** (levels - 1 - n) for n in range(levels - 1)}
        self.divisor = 2**levels
        self.decoder_channels, self.bottleneck_channels = init_filters, init_filters * 2**levels

    def forward_encoder(self, image: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, X, Y, Z) -> bottleneck features."""
        self.check_input(image)
        bottleneck: torch.Tensor = self.encode(image)[0]
        return bottleneck

    def forward_features(self, image: torch.Tensor) -> Features:
        """(N, in_channels, X, Y, Z) -> normalised decoder features and bottleneck features."""
        self.check_input(image)
        bottleneck, skips = self.encode(image)
        norm, activation = self.conv_final[0], self.conv_final[1]
        return Features(decoder=activation(norm(self.decode(bottleneck, skips[::-1]))), bottleneck=bottleneck)

    def monai_definition(self) -> dict[str, Any]:
        """MONAI's own class, whose names and numbers these are."""
        return {
            "_target_": "monai.networks.nets.SegResNet",
            "spatial_dims": 3,
            "init_filters": self.init_filters,
            "in_channels": self.in_channels,
            "out_channels": self.num_classes,
            "norm": ["GROUP", {"num_groups": _GROUPS}],
            "blocks_down": list(self.blocks_down),
            "blocks_up": list(self.blocks_up),
            "upsample_mode": "nontrainable",
        }
