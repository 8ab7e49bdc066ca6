"""The parts of the transformer behind :mod:`suprem.backbones.mit`; attribute names are the published tensor names."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["REDUCTIONS", "ConvNorm", "Encoder", "Grid", "GridNorm", "Positions", "Stage", "Upsampling"]

Grid = tuple[int, int, int]

_SLOPE = 0.01
_MLP_RATIO = 4
REDUCTIONS = (6, 4, 2, 1)
"""In each stage of the encoder, by how much attention shrinks the grid of keys and values along each axis."""


def tokens_of(grid: torch.Tensor) -> torch.Tensor:
    """(N, C, X, Y, Z) -> (N, X * Y * Z, C)."""
    return grid.flatten(2).transpose(1, 2)


def grid_of(tokens: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """(N, X * Y * Z, C) -> (N, C, X, Y, Z)."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], *shape)


class ConvNorm(nn.Module):
    """Convolution without bias, norm of each sample and channel, leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int | Grid) -> None:
        super().__init__()
        self.conv = nn.Conv3d(
            in_channels, out_channels, kernel_size=kernel, stride=stride, padding=kernel // 2, bias=False
        )
        self.norm = nn.InstanceNorm3d(out_channels, affine=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, X, Y, Z) -> (N, out_channels, x, y, z)."""
        return F.leaky_relu(self.norm(self.conv(x)), _SLOPE, inplace=True)


class Downsampling(nn.Module):
    """Halves the resolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.proj = ConvNorm(in_channels, out_channels, kernel=3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, X, Y, Z) -> (N, out_channels, X/2, Y/2, Z/2)."""
        features: torch.Tensor = self.proj(x)
        return features


class Upsampling(nn.Module):
    """Doubles the resolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.proj = nn.ConvTranspose3d(in_channels, out_channels, kernel_size=2, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, in_channels, X, Y, Z) -> (N, out_channels, 2X, 2Y, 2Z)."""
        features: torch.Tensor = self.proj(x)
        return features


class Attention(nn.Module):
    """Attention of every token to a coarser grid of tokens.

    Args:
        dim: channels.
        heads: attention heads.
        reduction: edge of the blocks of tokens that are summed up to one key and value; what does not fill a block at
            the far border of the grid is left out.
        qkv_bias: queries, keys and values have biases.
    """

    def __init__(self, dim: int, heads: int, reduction: int, qkv_bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim, bias=qkv_bias)
        self.kv = nn.Linear(dim, 2 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.sr: nn.Conv3d | None = None
        if reduction > 1:
            self.sr = nn.Conv3d(dim, dim, kernel_size=reduction, stride=reduction)
            self.norm = nn.LayerNorm(dim)

    def forward(self, x: torch.Tensor, shape: Grid) -> torch.Tensor:
        """Tokens (N, L, dim) of a grid of this shape -> (N, L, dim)."""
        coarse = x if self.sr is None else self.norm(tokens_of(self.sr(grid_of(x, shape))))
        keys, values = (self._split(part) for part in self.kv(coarse).chunk(2, dim=2))
        mixed = F.scaled_dot_product_attention(self._split(self.q(x)), keys, values)
        projected: torch.Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return projected

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        """(N, L, dim) -> (N, heads, L, dim / heads)."""
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, _MLP_RATIO * dim)
        self.fc2 = nn.Linear(_MLP_RATIO * dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, L, dim) -> (N, L, dim)."""
        mixed: torch.Tensor = self.fc2(F.gelu(self.fc1(x)))
        return mixed


class Block(nn.Module):
    """A transformer block, normalised in front of attention and MLP; ``eps`` is that of these two norms."""

    def __init__(self, dim: int, heads: int, reduction: int, *, qkv_bias: bool, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, heads, reduction, qkv_bias)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim)

    def forward(self, x: torch.Tensor, shape: Grid) -> torch.Tensor:
        """Tokens (N, L, dim) of a grid of this shape -> (N, L, dim)."""
        x = x + self.attn(self.norm1(x), shape)
        mixed: torch.Tensor = x + self.mlp(self.norm2(x))
        return mixed


class Stage(nn.ModuleList):
    """Blocks on one resolution, in front of which positions are added.

    Args:
        dim: channels.
        depth: blocks.
        heads: attention heads.
        reduction: see :class:`Attention`.
        in_decoder: its norms have epsilon 1e-5, not 1e-6, and its queries, keys and values no bias.
    """

    def __init__(self, dim: int, depth: int, heads: int, reduction: int, *, in_decoder: bool) -> None:
        options = {"qkv_bias": not in_decoder, "eps": 1e-5 if in_decoder else 1e-6}
        super().__init__(Block(dim, heads, reduction, **options) for _ in range(depth))  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """(N, dim, X, Y, Z) with a table (1, X * Y * Z, dim) -> (N, dim, X, Y, Z)."""
        shape: Grid = (x.shape[2], x.shape[3], x.shape[4])
        tokens = tokens_of(x) + positions
        for block in self:
            tokens = block(tokens, shape)
        return grid_of(tokens, shape)


class GridNorm(nn.LayerNorm):
    """Normalises the channels of each voxel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, X, Y, Z) -> the same shape."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Positions(nn.Module):
    """Holds position tables, made for grids of certain shapes, and fits them to the grids at hand."""

    def __init__(self) -> None:
        super().__init__()
        self.table_grids: dict[str, Grid] = {}

    def add_table(self, name: str, grid: Grid, dim: int) -> None:
        """Makes the parameter ``name``, (1, X * Y * Z, dim) for a grid (X, Y, Z)."""
        self.table_grids[name] = grid
        table = torch.empty(1, grid[0] * grid[1] * grid[2], dim)
        self.register_parameter(name, nn.Parameter(nn.init.trunc_normal_(table, std=0.02)))

    def positions(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """The table ``name`` (1, xyz, dim) for features (N, dim, x, y, z), interpolated on its grid if need be."""
        table, grid = self.get_parameter(name), self.table_grids[name]
        if tuple(like.shape[2:]) == grid:
            return table
        resized = F.interpolate(grid_of(table, grid), size=like.shape[2:], mode="trilinear", align_corners=False)
        return tokens_of(resized)


class Encoder(Positions):
    """Stem and four stages.

    Args:
        in_channels: channels of the image.
        stem_channels: channels of the stem.
        grids: shape of the four grids, for the position tables.
        dims: channels of the four stages.
        depths: blocks of the four stages.
        heads: attention heads of the four stages.
    """

    def __init__(
        self,
        in_channels: int,
        stem_channels: int,
        grids: Sequence[Grid],
        dims: Sequence[int],
        depths: Sequence[int],
        heads: Sequence[int],
    ) -> None:
        super().__init__()
        for number, (grid, dim) in enumerate(zip(grids, dims, strict=True), 1):
            self.add_table(f"pos_embed{number}", grid, dim)
        # The first axis keeps its resolution once: UniMiSS pre-trained on slabs that are thin along it.
        self.patch_embed0 = ConvNorm(in_channels, stem_channels, kernel=7, stride=(1, 2, 2))
        for number, (width, dim) in enumerate(zip((stem_channels, *dims[:-1]), dims, strict=True), 1):
            self.add_module(f"patch_embed{number}", Downsampling(width, dim))
        for number, parts in enumerate(zip(dims, depths, heads, REDUCTIONS, strict=True), 1):
            self.add_module(f"block{number}", Stage(*parts, in_decoder=False))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(N, in_channels, X, Y, Z) -> features of the stem and of the four stages, each half as fine as the last."""
        features = [self.patch_embed0(image)]
        for number in range(1, 5):
            x = self.get_submodule(f"patch_embed{number}")(features[-1])
            stage = self.get_submodule(f"block{number}")
            features.append(stage(x, self.positions(f"pos_embed{number}", x)))
        return tuple(features)
