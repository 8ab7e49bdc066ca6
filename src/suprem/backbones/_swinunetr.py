"""The network behind :mod:`suprem.backbones.swinunetr`, with the patch merging that its published weights expect."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, ClassVar

import torch
from monai.networks.nets.swin_unetr import SwinUNETR as MonaiSwinUNETR
from torch import nn

from suprem.backbones._base import Features, SegmentationNetwork
from suprem.errors import ConfigurationError

__all__ = ["LegacyPatchMerging", "SwinUNETR"]

# Offsets along the three spatial axes of the eight half-resolution grids that are concatenated. Two occur twice and two
# never: MONAI had it so until 1.4, the published weights were trained with it, and MONAI >= 1.5 takes another order
# under the same tensor names.
_LEGACY_OFFSETS = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1))

_RAW_ENCODER = re.compile(r"^layers\d\.0\.")
_AUTOENCODER_LAYER = re.compile(r"^encoder\.(layers\d\.0)\.[^.]\.")
_PRETEXT_HEADS = ("rotation", "contrastive", "mask_token", "norm.", "conv.")


class LegacyPatchMerging(nn.Module):
    """Halves the resolution of a token grid, doubling its channels, in the order of MONAI 0.9 to 1.4.

    Args:
        dim: channels.
        norm_layer: class of the norm in front of the reduction.
        spatial_dims: spatial dimensions; three.
    """

    def __init__(self, dim: int, norm_layer: type[nn.LayerNorm] = nn.LayerNorm, spatial_dims: int = 3) -> None:
        super().__init__()
        if spatial_dims != 3:
            raise ConfigurationError(f"spatial_dims is {spatial_dims}; this patch merging is three-dimensional.")
        self.reduction = nn.Linear(8 * dim, 2 * dim, bias=False)
        self.norm = norm_layer(8 * dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, X, Y, Z, dim), even sizes -> (N, X/2, Y/2, Z/2, 2 dim)."""
        grids = [x[:, i::2, j::2, k::2] for i, j, k in _LEGACY_OFFSETS]
        merged: torch.Tensor = self.reduction(self.norm(torch.cat(grids, dim=-1)))
        return merged


class SwinUNETR(SegmentationNetwork, MonaiSwinUNETR):
    """MONAI's Swin UNETR with the patch merging of its published weights, behind the package's interface.

    Args:
        in_channels: input channels.
        num_classes: output channels.
        feature_size: channels at full resolution.
        depths: transformer blocks per stage.
        num_heads: attention heads per stage.
        window_size: edge of an attention window, in tokens.
        **rates: dropout rates and ``use_checkpoint``, as MONAI names them.
    """

    head_path: ClassVar[str] = "out.conv.conv"
    # The convolutions beside the transformer (encoder1 to encoder10) work on skip connections and count as decoder.
    encoder_stages = ("swinViT.patch_embed.", *(f"swinViT.layers{number}." for number in range(1, 5)))
    input_keys = (
        "swinViT.patch_embed.proj.weight",
        "encoder1.layer.conv1.conv.weight",
        "encoder1.layer.conv3.conv.weight",
    )
    min_bottleneck_voxels = 2
    divisor = 32

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        feature_size: int,
        depths: Sequence[int],
        num_heads: Sequence[int],
        window_size: int,
        **rates: Any,
    ) -> None:
        if feature_size < 12 or feature_size % 12:
            raise ConfigurationError(f"feature_size is {feature_size}; it must be a positive multiple of 12.")
        if len(depths) != 4 or len(num_heads) != 4:
            raise ConfigurationError(
                f"depths is {tuple(depths)} and num_heads {tuple(num_heads)}; each needs four entries, one per stage."
            )
        wrong = [(n, feature_size * 2**i) for i, n in enumerate(num_heads) if n < 1 or feature_size * 2**i % n]
        if wrong:
            heads, channels = wrong[0]
            raise ConfigurationError(f"{heads} attention heads cannot share {channels} channels; change num_heads.")
        super().__init__(
            in_channels=in_channels,
            out_channels=num_classes,
            feature_size=feature_size,
            depths=tuple(depths),
            num_heads=tuple(num_heads),
            window_size=window_size,
            norm_name="instance",
            spatial_dims=3,
            downsample=LegacyPatchMerging,  # type: ignore[arg-type]  # MONAI annotates an instance, and takes a class
            **rates,
        )
        self.in_channels = in_channels
        self.decoder_channels, self.bottleneck_channels = feature_size, 16 * feature_size
        self.decoder_pyramid = {f"decoder{n}": feature_size * width for n, width in ((5, 8), (4, 4), (3, 2), (2, 1))}

    def forward_encoder(self, image: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, X, Y, Z) -> what the last transformer stage gives; no convolution has seen it."""
        self.check_input(image)
        deepest: torch.Tensor = self.swinViT(image, self.normalize)[4]
        return deepest

    def forward_features(self, image: torch.Tensor) -> Features:
        """(N, in_channels, X, Y, Z) -> decoder and bottleneck features."""
        self.check_input(image)
        hidden = self.swinViT(image, self.normalize)
        bottleneck = self.encoder10(hidden[4])
        x = self.decoder5(bottleneck, hidden[3])
        x = self.decoder4(x, self.encoder4(hidden[2]))
        x = self.decoder3(x, self.encoder3(hidden[1]))
        x = self.decoder2(x, self.encoder2(hidden[0]))
        return Features(decoder=self.decoder1(x, self.encoder1(image)), bottleneck=bottleneck)

    def absent_by_design(self, keys: Iterable[str]) -> frozenset[str]:
        """All of the convolutional part when the file is a bare, self-supervised Swin encoder."""
        names = tuple(self.strip_wrappers(keys).values())
        alone = super().absent_by_design(names)
        if alone or not any(_RAW_ENCODER.match(name) for name in names):
            return alone
        return frozenset(own for own in self.state_dict() if not own.startswith("swinViT."))

    def _translate_plain(self, names: Collection[str]) -> dict[str, str | None]:
        raw_encoder = any(_RAW_ENCODER.match(name) for name in names)
        autoencoder = any(name.startswith("encoder.") for name in names)
        translated = super()._translate_plain(names)
        for name, own in translated.items():
            if own is not None and autoencoder:
                own = _from_autoencoder(own)
            elif own is not None and raw_encoder:
                own = _from_raw_encoder(own)
            translated[name] = own and own.replace(".mlp.fc1.", ".mlp.linear1.").replace(".mlp.fc2.", ".mlp.linear2.")
        return translated


def _from_autoencoder(name: str) -> str | None:
    """Names of the 50,000-volume denoising autoencoder, which has another output layer and an extra level of names."""
    if name in ("encoder.mask_token", "encoder.norm.weight", "encoder.norm.bias") or name.startswith("out."):
        return None
    if name.startswith("encoder.patch_embed."):
        return name.replace("encoder.", "swinViT.", 1)
    return _AUTOENCODER_LAYER.sub(r"swinViT.\1.", name)


def _from_raw_encoder(name: str) -> str | None:
    """Names of a self-supervised Swin encoder alone, whose pretext heads are not needed."""
    if name.startswith(_PRETEXT_HEADS):
        return None
    return f"swinViT.{name}" if name.startswith(("patch_embed.", "layers")) else name
