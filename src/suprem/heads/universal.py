"""The text-driven head: one small network per class, generated from an image code and a text code."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from suprem.backbones._base import TEXT_HEAD_PREFIXES, Features, SegmentationNetwork
from suprem.errors import ConfigurationError
from suprem.heads import HEADS

__all__ = ["UniversalNetwork", "attach_universal_head", "random_codes"]

_TEXT_WIDTH = 512
_TEXT_NORM = 8.5  # of the text features that the published files hold
_CODE_WIDTH = 256
_WIDTH = 8  # channels of the generated networks
_GROUPS = 16
_SPLIT = (_WIDTH * _WIDTH, _WIDTH * _WIDTH, _WIDTH, _WIDTH, _WIDTH, 1)
"""The numbers of one class, in order: weights of three 1x1x1 convolutions, then their biases."""

_TILE_BYTES = {"cpu": 8 * 2**20}
"""Size of one intermediate of the generated networks, by device type; bounds the extra memory whatever the classes and
the patch. On a CPU it should stay near the cores (32 MiB takes twice as long), on a GPU fewer launches count."""
_OTHER_TILE_BYTES = 64 * 2**20
_EXPORTED_TILES = 16


class UniversalNetwork(SegmentationNetwork):
    """A backbone with the text-driven head of the CLIP-Driven Universal Model.

    The features are reduced to 8 channels; each class then has its own three 1x1x1 convolutions, whose 153 numbers a
    linear controller derives from the pooled bottleneck features and the class's text embedding. Voxels are processed
    in tiles whose size is fixed in bytes, and the backward pass recomputes them, so that memory does not grow with the
    number of classes beyond the logits themselves.

    ``organ_embedding`` starts as NaN: until weights are loaded or :meth:`set_embedding` is called, a forward pass is
    refused.

    Args:
        backbone: its output convolution is removed.
        num_classes: number of classes, one sigmoid logit each.

    Raises:
        ConfigurationError: the feature channels of the backbone cannot be split into 16 groups.

    References:
        Liu et al., "CLIP-Driven Universal Model for Organ Segmentation and Tumor Detection", ICCV (2023), section 3.
    """

    head_path: ClassVar[str] = "organ_embedding"
    text_width: ClassVar[int] = _TEXT_WIDTH
    pointwise_head = False  # the generated weights depend on the whole patch
    organ_embedding: torch.Tensor

    def __init__(self, backbone: SegmentationNetwork, num_classes: int) -> None:
        super().__init__()
        decoder, bottleneck = backbone.decoder_channels, backbone.bottleneck_channels
        if decoder % _GROUPS or bottleneck % _GROUPS:
            raise ConfigurationError(
                f"The universal head normalises in {_GROUPS} groups, but {type(backbone).__name__} has {decoder} "
                f"decoder and {bottleneck} bottleneck channels; choose a width that makes both multiples of {_GROUPS}."
            )
        backbone.remove_head()
        self.register_buffer("organ_embedding", torch.full((num_classes, _TEXT_WIDTH), torch.nan))
        self.backbone = backbone
        self.in_channels, self.divisor = backbone.in_channels, backbone.divisor
        self.min_bottleneck_voxels, self.batch_norms = backbone.min_bottleneck_voxels, backbone.batch_norms
        self.encoder_stages = tuple(f"backbone.{stage}" for stage in backbone.encoder_stages)
        self.decoder_pyramid = {f"backbone.{name}": width for name, width in backbone.decoder_pyramid.items()}
        self.input_keys = tuple(f"backbone.{key}" for key in backbone.input_keys)
        self.table_keys = tuple(f"backbone.{key}" for key in backbone.table_keys)
        self.decoder_channels, self.bottleneck_channels = decoder, bottleneck
        self.precls_conv = nn.Sequential(
            nn.GroupNorm(_GROUPS, decoder), nn.ReLU(inplace=True), nn.Conv3d(decoder, _WIDTH, kernel_size=1)
        )
        self.GAP = nn.Sequential(
            nn.GroupNorm(_GROUPS, bottleneck),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool3d(1),
            nn.Conv3d(bottleneck, _CODE_WIDTH, kernel_size=1),
        )
        self.controller = nn.Conv3d(2 * _CODE_WIDTH, sum(_SPLIT), kernel_size=1)
        self.text_to_vision = nn.Linear(_TEXT_WIDTH, _CODE_WIDTH)

    @property
    def num_classes(self) -> int:
        """Number of output channels: the rows of the text table."""
        return int(self.organ_embedding.shape[0])

    @property
    def head_keys(self) -> tuple[str, ...]:
        """Only the text table follows the class count."""
        return ("organ_embedding",)

    def set_embedding(self, embedding: torch.Tensor) -> None:
        """Stores the text embeddings of the classes.

        Args:
            embedding: (num_classes, 512), one row per class in channel order, any float type.

        Raises:
            ConfigurationError: another shape, or values that are not finite.
        """
        _check_codes(embedding, self.num_classes)
        with torch.no_grad():
            self.organ_embedding.copy_(embedding)

    def learn_codes(self, rows: Sequence[int] = ()) -> None:
        """Makes the table of text codes a parameter, trained like all others.

        Args:
            rows: classes whose codes start from random values; the others start from what they are.
        """
        table = self.organ_embedding.detach().clone()
        table[list(rows)] = random_codes(len(rows)).to(table)
        self._replace_table(nn.Parameter(table))

    def append_codes(self, codes: torch.Tensor, count: int) -> None:
        """Adds classes, whose logits come behind those of the present ones.

        Args:
            codes: (count, 512), any float type.
            count: number of classes.

        Raises:
            ConfigurationError: another shape, or values that are not finite.
        """
        _check_codes(codes, count)
        old = self.organ_embedding
        table = torch.cat((old.detach(), codes.to(old)))
        self._replace_table(nn.Parameter(table) if isinstance(old, nn.Parameter) else table)

    def _replace_table(self, table: torch.Tensor) -> None:
        del self.organ_embedding
        if isinstance(table, nn.Parameter):
            self.organ_embedding = table
        else:
            self.register_buffer("organ_embedding", table)

    def replace_head(self, num_classes: int) -> None:
        """Makes room for ``num_classes`` text embeddings, all of them unset."""
        self._replace_table(self.organ_embedding.detach().new_full((num_classes, _TEXT_WIDTH), torch.nan))

    def remove_head(self) -> None:
        """Not possible: the head is what this network adds to its backbone.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError("The universal head cannot be removed; use the `backbone` it was built on.")

    def forward_features(self, image: torch.Tensor) -> Features:
        """(N, in_channels, X, Y, Z) -> decoder and bottleneck features of the backbone."""
        return self.backbone.forward_features(image)

    def classify(self, features: Features) -> torch.Tensor:
        """Features -> one logit per class and voxel, (N, num_classes, X, Y, Z).

        Raises:
            ConfigurationError: the text embedding of a class was never set.
        """
        self._refuse_unset_embedding()
        text = torch.relu(self.text_to_vision(self.organ_embedding))
        image = self.GAP(features.bottleneck).flatten(1)
        samples, classes = image.shape[0], text.shape[0]
        codes = torch.cat((image[:, None].expand(-1, classes, -1), text[None].expand(samples, -1, -1)), dim=2)
        parameters = self.controller(codes.reshape(-1, 2 * _CODE_WIDTH, 1, 1, 1)).reshape(samples, classes, sum(_SPLIT))
        reduced = self.precls_conv(features.decoder)
        return _apply_generated(reduced.flatten(2), parameters).reshape(samples, classes, *reduced.shape[2:])

    def _refuse_unset_embedding(self) -> None:
        if torch.compiler.is_exporting():  # a program has no branches on values; the exporter runs the network first
            return
        unset = int(torch.isnan(self.organ_embedding).any(dim=1).sum())
        if unset:
            raise ConfigurationError(
                f"The text embedding of {unset} of {self.num_classes} classes is not set, so the output would be "
                "meaningless; load pre-trained weights or call set_embedding."
            )

    def absent_by_design(self, keys: Iterable[str]) -> frozenset[str]:
        """What the backbone says, under this network's names."""
        return frozenset(f"backbone.{key}" for key in self.backbone.absent_by_design(keys))

    def resize_tables(self, state: Mapping[str, torch.Tensor], names: Mapping[str, str]) -> dict[str, torch.Tensor]:
        """What the backbone does, under this network's names."""
        plain = {key.removeprefix("backbone."): key for key in self.table_keys if key in state}
        tables = {name: state[key] for name, key in plain.items()}
        fitted = self.backbone.resize_tables(tables, {name: names[key] for name, key in plain.items()})
        return {**state, **{plain[name]: table for name, table in fitted.items()}}

    def _translate_plain(self, names: Collection[str]) -> dict[str, str | None]:
        head = {name for name in names if name.startswith(TEXT_HEAD_PREFIXES)}
        rest = self.backbone._translate_plain(set(names) - head)
        removed = set(self.backbone.head_keys)
        translated: dict[str, str | None] = {name: name for name in head}
        for name, own in rest.items():
            translated[name] = None if own is None or own in removed else f"backbone.{own}"
        return translated


def random_codes(count: int, norm: float = _TEXT_NORM) -> torch.Tensor:
    """Random text codes (count, 512) of the length that encoded ones have."""
    return nn.functional.normalize(torch.randn(count, _TEXT_WIDTH), dim=1) * norm


def _check_codes(codes: torch.Tensor, count: int) -> None:
    if tuple(codes.shape) != (count, _TEXT_WIDTH):
        raise ConfigurationError(
            f"The text embedding has shape {tuple(codes.shape)}; it must be {(count, _TEXT_WIDTH)}."
        )
    if not bool(torch.isfinite(codes).all()):
        raise ConfigurationError("The text embedding holds NaN or infinite values; compute it again.")


def _apply_generated(features: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
    """Runs every class's network on every voxel: (N, 8, V) and (N, C, 153) -> (N, C, V)."""
    samples, classes, _ = parameters.shape
    w1, w2, w3, b1, b2, b3 = torch.split(parameters, list(_SPLIT), dim=2)
    layers = (
        # All classes read the same features, so their first layers are one dense layer; no repetition of the features.
        w1.reshape(samples, classes * _WIDTH, _WIDTH),
        b1.reshape(samples, classes * _WIDTH, 1),
        w2.reshape(samples * classes, _WIDTH, _WIDTH),
        b2.reshape(samples * classes, _WIDTH, 1),
        w3.reshape(samples * classes, 1, _WIDTH),
        b3.reshape(samples * classes, 1, 1),
    )
    if torch.compiler.is_exporting():  # the number of tiles is part of the program, so it cannot follow the batch
        return torch.cat([_three_layers(tile, *layers) for tile in features.chunk(_EXPORTED_TILES, dim=2)], dim=2)
    tile_bytes = _TILE_BYTES.get(features.device.type, _OTHER_TILE_BYTES)
    voxels = max(1, tile_bytes // (samples * classes * _WIDTH * features.element_size()))
    tiles = torch.split(features, voxels, dim=2)
    if torch.is_grad_enabled() and (features.requires_grad or parameters.requires_grad):
        recomputed: list[Any] = [
            checkpoint(_three_layers, tile, *layers, use_reentrant=False, preserve_rng_state=False) for tile in tiles
        ]
        return torch.cat(recomputed, dim=2)
    logits = features.new_empty(samples, classes, features.shape[2])
    for tile, target in zip(tiles, torch.split(logits, voxels, dim=2), strict=True):
        target.copy_(_three_layers(tile, *layers))
    return logits


def _three_layers(
    tile: torch.Tensor,
    w1: torch.Tensor,
    b1: torch.Tensor,
    w2: torch.Tensor,
    b2: torch.Tensor,
    w3: torch.Tensor,
    b3: torch.Tensor,
) -> torch.Tensor:
    """(N, 8, T) -> (N, C, T); weights (N, 8 C, 8), (N C, 8, 8), (N C, 1, 8), biases with a last axis of 1."""
    samples, _, voxels = tile.shape
    x = torch.relu_(torch.baddbmm(b1, w1, tile)).reshape(w2.shape[0], _WIDTH, voxels)
    x = torch.relu_(torch.baddbmm(b2, w2, x))
    return torch.baddbmm(b3, w3, x).reshape(samples, -1, voxels)


@HEADS.register("universal")
def attach_universal_head(backbone: SegmentationNetwork, num_classes: int) -> UniversalNetwork:
    """Replaces the output convolution of ``backbone`` by the text-driven head."""
    return UniversalNetwork(backbone, num_classes)
