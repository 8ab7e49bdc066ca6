"""A segmentation backbone with the output layers of self-supervised proxy tasks."""

from collections.abc import Collection

import torch
from torch import nn

from suprem.backbones._base import SegmentationNetwork
from suprem.errors import ConfigurationError

__all__ = ["ROTATIONS", "SelfSupervisedNetwork"]

ROTATIONS = 4
_ON_ENCODER = frozenset({"inpainting", "rotation", "contrastive"})


class SelfSupervisedNetwork(nn.Module):
    """Runs the encoder alone on views, the whole network on distorted patches, as the proxies need it.

    On the deepest features of the encoder sit one transposed convolution back to full resolution (inpainting), two
    linear layers on their mean over space (rotation), and one linear layer on it (contrastive coding). Restoration uses
    the backbone's own output convolution, with one channel per input channel. Parts that no proxy trains are frozen.

    Args:
        network: Its output layer is replaced.
        proxies: Some of ``"inpainting"``, ``"rotation"``, ``"contrastive"`` and ``"restoration"``.
        embedding: Width of the contrastive embedding.

    Raises:
        ConfigurationError: a proxy needs the encoder alone, and the backbone cannot run it.

    References:
        Tang et al., CVPR 2022, section 3; Zhou et al., Medical Image Analysis 67 (2021), section 2.
    """

    def __init__(self, network: SegmentationNetwork, proxies: Collection[str], *, embedding: int = 512) -> None:
        super().__init__()
        wanted = sorted(_ON_ENCODER.intersection(proxies))
        if wanted and type(network).forward_encoder is SegmentationNetwork.forward_encoder:
            raise ConfigurationError(
                f"{type(network).__name__} cannot run its encoder alone, as {' and '.join(wanted)} needs; choose "
                "another backbone, or proxies=['restoration']."
            )
        self.on_encoder, self.on_decoder = bool(wanted), "restoration" in proxies
        network.replace_head(network.in_channels)
        if not self.on_decoder:
            for name, parameter in network.named_parameters():
                parameter.requires_grad_(name.startswith(network.encoder_stages))
        self.backbone = network
        width = network.bottleneck_channels
        if "inpainting" in proxies:
            step = network.divisor
            self.inpainting = nn.ConvTranspose3d(width, network.in_channels, kernel_size=step, stride=step)
        if "rotation" in proxies:
            self.rotation = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, ROTATIONS))
        if "contrastive" in proxies:
            self.contrastive = nn.Linear(width, embedding)

    @property
    def encoder_stages(self) -> tuple[str, ...]:
        """How the names of the encoder's parameters start, from the input to the bottleneck."""
        return tuple(f"backbone.{stage}" for stage in self.backbone.encoder_stages)

    @property
    def head_keys(self) -> tuple[str, ...]:
        """Names of all parameters that are thrown away after the training."""
        own = tuple(name for name, _ in self.named_parameters() if not name.startswith("backbone."))
        return (*own, *(f"backbone.{key}" for key in self.backbone.head_keys))

    def forward(
        self, views: torch.Tensor | None = None, distorted: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """What every proxy predicts.

        Args:
            views: (N, C, X, Y, Z) for the encoder; ``None`` where no proxy needs it.
            distorted: (M, C, X, Y, Z) for the whole network; ``None`` without restoration.

        Returns:
            Of the chosen ones: ``inpainting`` (N, C, X, Y, Z); ``rotation``, logits (N, 4); ``contrastive``, embeddings
            (N, E); ``restoration``, logits (M, C, X, Y, Z).
        """
        outputs: dict[str, torch.Tensor] = {}
        if views is not None:
            features = self.backbone.forward_encoder(views)
            pooled = features.mean((2, 3, 4))
            for name, argument in (("inpainting", features), ("rotation", pooled), ("contrastive", pooled)):
                if hasattr(self, name):
                    outputs[name] = self.get_submodule(name)(argument)
        if distorted is not None:
            outputs["restoration"] = self.backbone(distorted)
        return outputs
