"""The network behind :mod:`suprem.backbones.mit`; attribute names are the published tensor names."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from suprem.backbones._base import Features, SegmentationNetwork
from suprem.backbones._mit_blocks import REDUCTIONS, ConvNorm, Encoder, Grid, GridNorm, Positions, Stage, Upsampling
from suprem.errors import ConfigurationError
from suprem.heads.conv import output_convolution

__all__ = ["MiT"]

_TABLES = (
    *(f"DecPosEmbed{number}" for number in range(3)),
    *(f"transformer.pos_embed{number}" for number in range(1, 5)),
)
# Of these the published program cuts off the token of the class. The other tables have one too, and there it is resized
# like a position.
_WITHOUT_CLASS_TOKEN = (*_TABLES[:3], "transformer.pos_embed4")
_NEVER_PUBLISHED = ("transposeconv_stage3.", "stage3_de.")


class MiT(SegmentationNetwork, Positions):
    """A pyramid transformer as encoder and decoder, with convolutions at the highest resolution.

    The published network has an output convolution for each level of its decoder; :attr:`level_heads` names those
    below full resolution, which only deep supervision uses. :meth:`deep_outputs` computes what it returned.

    Args:
        in_channels: input channels.
        num_classes: output channels.
        patch_size: input size of the position tables.
        depths: blocks per encoder stage.
        decoder_depths: blocks per decoder stage.
        embed_dims: channels per stage.
        num_heads: attention heads per stage.
        stem_channels: channels at the highest resolution.
    """

    head_path: ClassVar[str] = "cls_conv"
    encoder_stages = (
        "transformer.patch_embed0.",
        *(f"transformer.{part}{number}" for number in range(1, 5) for part in ("patch_embed", "pos_embed", "block")),
    )
    input_keys = ("transformer.patch_embed0.conv.weight",)
    table_keys = _TABLES
    divisor = 32

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        patch_size: Sequence[int],
        depths: Sequence[int],
        decoder_depths: Sequence[int],
        embed_dims: Sequence[int],
        num_heads: Sequence[int],
        stem_channels: int,
    ) -> None:
        super().__init__()
        _check(patch_size, depths, decoder_depths, embed_dims, num_heads, stem_channels, self.divisor)
        self.in_channels = in_channels
        grids = _grids(patch_size)
        for level in range(3):
            self.add_table(f"DecPosEmbed{level}", grids[2 - level], embed_dims[2 - level])
        self.transformer = Encoder(in_channels, stem_channels, grids, embed_dims, depths, num_heads)
        for level in range(3):
            self.add_module(f"DecEmbed{level}", Upsampling(embed_dims[3 - level], embed_dims[2 - level]))
        for level, depth in enumerate(decoder_depths):
            stage = Stage(embed_dims[2 - level], depth, num_heads[3 - level], REDUCTIONS[2 - level], in_decoder=True)
            self.add_module(f"Decblock{level}", stage)
        self.norm = GridNorm(embed_dims[0])
        self.transposeconv_stage3 = nn.ConvTranspose3d(embed_dims[0], stem_channels, kernel_size=2, stride=2)
        self.stage3_de = ConvNorm(stem_channels, stem_channels, kernel=3, stride=1)
        self.decoder_pyramid = {
            "Decblock0": embed_dims[2],
            "Decblock1": embed_dims[1],
            "norm": embed_dims[0],
            "stage3_de": stem_channels,
        }
        self.level_heads = {name: f"ds{level}_cls_conv" for level, name in enumerate(self.decoder_pyramid)}
        self.decoder_channels, self.bottleneck_channels = stem_channels, embed_dims[3]
        for path, width in self._heads():
            self.add_module(path, output_convolution(width, num_classes))

    def _heads(self) -> list[tuple[str, int]]:
        """Path and input channels of each output convolution, in the published order."""
        levels = [(path, self.decoder_pyramid[name]) for name, path in self.level_heads.items()]
        return [*levels, (self.head_path, self.decoder_channels)]

    @property
    def head_keys(self) -> tuple[str, ...]:
        """Those of the output convolution, then those of the coarser levels."""
        paths = (self.head_path, *self.level_heads.values())
        return tuple(f"{path}.{kind}" for path in paths for kind in ("weight", "bias"))

    def replace_head(self, num_classes: int) -> None:
        """Puts new output convolutions with ``num_classes`` outputs in the places of all five."""
        for path, width in self._heads():
            old = self.get_parameter(f"{path}.weight")
            self.set_submodule(path, output_convolution(width, num_classes).to(device=old.device, dtype=old.dtype))

    def remove_head(self) -> None:
        """Takes all output convolutions away."""
        for path, _ in self._heads():
            self.set_submodule(path, nn.Identity())

    def forward_features(self, image: torch.Tensor) -> Features:
        """(N, in_channels, X, Y, Z) -> decoder features, interpolated to full resolution, and bottleneck features."""
        bottleneck, *_, finest = self._levels(image)
        full = F.interpolate(finest, size=image.shape[2:], mode="trilinear", align_corners=False)
        return Features(decoder=full, bottleneck=bottleneck)

    def deep_outputs(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What the published network returned.

        Args:
            image: float32 (N, in_channels, X, Y, Z).

        Returns:
            Logits (N, num_classes, ...) of this network's output and of the levels of its decoder, from the finest.

        Raises:
            ConfigurationError: the shape does not fit, see :meth:`check_input`.
        """
        bottleneck, *levels = self._levels(image)
        full = F.interpolate(levels[-1], size=image.shape[2:], mode="trilinear", align_corners=False)
        heads = [self.get_submodule(path) for path in self.level_heads.values()]
        coarse = [head(level) for head, level in zip(heads, levels, strict=True)]
        return (self.classify(Features(full, bottleneck)), *reversed(coarse))

    def _levels(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Bottleneck features, and those of the levels of the decoder from the coarsest."""
        self.check_input(image)
        features = self.transformer(image)
        found = [features[4]]
        for level in range(3):
            x = self.get_submodule(f"DecEmbed{level}")(found[-1]) + features[3 - level]
            stage = self.get_submodule(f"Decblock{level}")
            found.append(stage(x, self.positions(f"DecPosEmbed{level}", x)))
        found[-1] = self.norm(found[-1])
        finest = self.stage3_de(self.transposeconv_stage3(found[-1]) + features[0])
        return [*found, finest]

    def resize_tables(self, state: Mapping[str, torch.Tensor], names: Mapping[str, str]) -> dict[str, torch.Tensor]:
        """Fits position tables to :attr:`patch_size`, as the published program does.

        It interpolates linearly along the flattened tokens, first to first and last to last, not on the grid; and it
        drops the token of the class from some tables only.

        Args:
            state: tensors under this network's names.
            names: the names that they have in the file; those of the published files have ``3D`` in them.
        """
        fitted = dict(state)
        for key in self.table_keys:
            table = fitted.get(key)
            if table is None:
                continue
            if key in _WITHOUT_CLASS_TOKEN and "3D" in names[key]:
                table = table[:, 1:]
            count = self.get_parameter(key).shape[1]
            if table.shape[1] != count:
                # In float64: positions among thousands of tokens have no room for fractions in float32.
                table = F.interpolate(table.double().mT, size=count, mode="linear", align_corners=True).mT.float()
            fitted[key] = table
        return fitted

    def absent_by_design(self, keys: Iterable[str]) -> frozenset[str]:
        """The last convolutions of the decoder when the file is a published one, which ends in front of them."""
        names = set(self.strip_wrappers(keys).values())
        if not _is_published(names):
            return super().absent_by_design(names)
        if any(name.startswith(_NEVER_PUBLISHED) for name in names):
            return frozenset()
        return frozenset(own for own in self.state_dict() if own.startswith(_NEVER_PUBLISHED))

    def _translate_plain(self, names: Collection[str]) -> dict[str, str | None]:
        translated = super()._translate_plain(names)
        if not _is_published(names):
            return translated
        return {name: own and _from_two_modalities(own) for name, own in translated.items()}


def _is_published(names: Iterable[str]) -> bool:
    return any("3D" in name for name in names)


def _from_two_modalities(name: str) -> str | None:
    """Names of the pre-training network, which has branches for slices and volumes, class tokens and a pretext head."""
    if "2D" in name or "cls_tokens" in name or name.startswith("head."):
        return None
    return name.replace("3D", "")


def _grids(patch_size: Sequence[int]) -> list[Grid]:
    """The grids of the four stages; the first axis is finer by a factor of 2."""
    x, y, z = patch_size
    return [(x // (step // 2), y // step, z // step) for step in (4, 8, 16, 32)]


def _check(
    patch_size: Sequence[int],
    depths: Sequence[int],
    decoder_depths: Sequence[int],
    embed_dims: Sequence[int],
    num_heads: Sequence[int],
    stem_channels: int,
    divisor: int,
) -> None:
    """Refuses options that cannot make a network."""
    if len(patch_size) != 3 or any(size < 1 or size % divisor for size in patch_size):
        raise ConfigurationError(f"patch_size is {tuple(patch_size)}; it needs three positive multiples of {divisor}.")
    for name, values, count in (
        ("depths", depths, 4),
        ("decoder_depths", decoder_depths, 3),
        ("embed_dims", embed_dims, 4),
        ("num_heads", num_heads, 4),
        ("stem_channels", (stem_channels,), 1),
    ):
        if len(values) != count or min(values) < 1:
            raise ConfigurationError(f"{name} is {tuple(values)}; it needs entries of at least 1, {count} of them.")
    for stage, dim in enumerate(embed_dims):
        # A stage of the decoder has the channels of one of the encoder, and the heads of the next.
        for heads in num_heads[stage : stage + 2]:
            if dim % heads:
                raise ConfigurationError(f"{heads} attention heads cannot share {dim} channels; change num_heads.")
