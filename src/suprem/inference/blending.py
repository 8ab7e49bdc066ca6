"""What the windows contribute to the slabs, decoder features or logits, and how finished slabs become labels."""

from collections.abc import Sequence
from math import log, prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from suprem._cpu_functions import faster_on
from suprem._gpu_functions import FasterOnGpu
from suprem.errors import ConfigurationError, UnknownNameError
from suprem.inference.store import BitStore, IndexStore
from suprem.labels import known_name, mirrored

if TYPE_CHECKING:
    from suprem.backbones._base import Features, SegmentationNetwork
    from suprem.zoo.config import ModelConfig

__all__ = ["ClassChannels", "Decision", "WindowNetwork"]

_CLOSE = log(3.0)
"""Difference of two logits where one class is three times as likely as the other."""

_HALF = 1.5 * 2.0**-24
"""The largest logit whose sigmoid is one half in float32; to compare with it saves the exponential."""


class Decision(NamedTuple):
    """What the logits of V voxels say.

    Attributes:
        labels: (V,) class indices, uint8, int32 where there are more than 255 classes; or uint8 (planes, V) bits.
        undecided: int64 (K,), voxels of each output channel that are a close call.
    """

    labels: torch.Tensor
    undecided: torch.Tensor


class ClassChannels:
    """Which output channels are needed for the classes that were asked for.

    Attributes:
        names: the classes asked for, in the order of the result.
        exclusive: softmax: channel 0 is background and all channels compete.
        rows: output channels to compute.
        mirrored_rows: for each of ``rows``, the channel of its counterpart on the other side.
    """

    def __init__(self, config: "ModelConfig", chosen: Sequence[int], *, flip: bool) -> None:
        self.names = tuple(config.classes[i] for i in chosen)
        self.exclusive = config.activation == "softmax"
        if self.exclusive:
            self.rows = list(range(len(config.classes) + 1))
            self._asked = [index + 1 for index in chosen]
            self._index = np.zeros(len(self.rows), dtype=np.uint16 if len(chosen) > 255 else np.uint8)
            for position, index in enumerate(chosen):
                self._index[index + 1] = position + 1
        else:
            self.rows = list(chosen)
        self.mirrored_rows = _mirrored_rows(config, self.rows, self.exclusive) if flip else self.rows

    def store(self, shape: tuple[int, int, int]) -> "BitStore | IndexStore":
        """An empty label store for the classes."""
        return (IndexStore if self.exclusive else BitStore)(len(self.names), shape)

    def store_bytes(self, shape: tuple[int, int, int]) -> int:
        """Size of :meth:`store`."""
        return prod(shape) * (self._index.itemsize if self.exclusive else self.planes)

    @property
    def planes(self) -> int:
        """How many numbers the labels of a voxel are: one, or one for every eight classes that may overlap."""
        return 1 if self.exclusive else -(-len(self.names) // 8)

    def decide(self, logits: torch.Tensor, inside: torch.Tensor | None) -> Decision:
        """What blended logits say, and where that is a close call.

        Close are voxels whose winner is less than three times as likely as what came next: with a sigmoid those with a
        probability between 1/4 and 3/4. Where classes exclude each other a voxel counts for both the winner and the
        runner-up.

        Args:
            logits: of :attr:`rows`, (K, V).
            inside: bool (V,) where labels may lie, which is all that close calls are counted in; ``None`` for
                everywhere.

        Returns:
            Labels and counts, on the device of the logits; :meth:`by_name` says which counts belong to which class.
        """
        if not self.exclusive:
            near = _compared(np.less, logits.abs(), _CLOSE)
            if inside is not None:
                near &= inside
            # Counting rows one by one is faster on a CPU, but would keep a GPU waiting.
            counts = near.sum(dim=1) if near.is_cuda else torch.stack([torch.count_nonzero(row) for row in near])
            return Decision(_packed(_compared(np.greater, logits, _HALF)), counts)
        winner, lead = _winners(logits)
        near = lead < _CLOSE
        if inside is not None:
            near &= inside
        first_two = logits[:, near].topk(2, dim=0).indices
        table = torch.from_numpy(self._index.astype(np.int32)).to(logits.device, self.label_dtype)
        return Decision(table[winner], torch.bincount(first_two.flatten(), minlength=len(self.rows)))

    def by_name(self, counts: torch.Tensor) -> npt.NDArray[np.int64]:
        """Counts of :attr:`rows` as counts of :attr:`names`, int64; what was not asked for is dropped."""
        found: npt.NDArray[np.int64] = counts.cpu().numpy()
        return found[self._asked] if self.exclusive else found

    @property
    def label_dtype(self) -> torch.dtype:
        """Of labels on a device: uint8, or int32 where there are more than 255 classes that exclude each other."""
        return torch.int32 if self.exclusive and len(self.names) > 255 else torch.uint8

    def probabilities(self, logits: torch.Tensor) -> npt.NDArray[np.uint8]:
        """Blended logits of :attr:`rows`, (K, V), to probabilities of :attr:`names`, uint8 (len(names), V).

        A probability p becomes 255 p to the nearest whole number, so that one above 127 says more than one half.
        """
        shares = torch.softmax(logits, dim=0)[self._asked] if self.exclusive else torch.sigmoid(logits)
        # Exactly one half goes down, to the side where labels() has it.
        return np.asarray(shares.mul_(255).sub_(0.5).ceil_().to(torch.uint8).cpu().numpy())


def _compared(how: np.ufunc, values: torch.Tensor, limit: float) -> torch.Tensor:
    """A comparison with a number; on a CPU by NumPy, which is ten times as fast at it as torch (measured)."""
    if values.is_cuda:
        return torch.lt(values, limit) if how is np.less else torch.gt(values, limit)
    return torch.from_numpy(how(values.numpy(), np.float32(limit)))


def _winners(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest of (K, V) logits per voxel, int64 (V,), and how far it lies above the second, float32 (V,)."""
    if logits.is_cuda:
        best, rows = logits.topk(2, dim=0)
        return rows[0], best[0] - best[1]
    # Row by row, in the cache: torch's `argmax` and `topk` across rows take eight times as long (measured).
    values = logits.numpy()
    winner = np.zeros(values.shape[1], dtype=np.int64)
    best, second = values[0].copy(), np.full_like(values[0], -np.inf)
    larger, lesser = np.empty(winner.shape, dtype=np.bool_), np.empty_like(best)
    for index, row in enumerate(values[1:], start=1):
        np.greater(row, best, out=larger)
        np.minimum(row, best, out=lesser)
        np.maximum(second, lesser, out=second)
        np.maximum(best, row, out=best)
        np.copyto(winner, index, where=larger)
    return torch.from_numpy(winner), torch.from_numpy(np.subtract(best, second, out=best))


def _packed(present: torch.Tensor) -> torch.Tensor:
    """Bool (K, V) as bits, the first class the lowest: uint8 (planes, V)."""
    bits = F.pad(present.view(torch.uint8), (0, 0, 0, -len(present) % 8)).view(-1, 8, present.shape[1])
    packed = bits[:, 0].clone()
    for place in range(1, 8):
        packed |= bits[:, place] << place
    return packed


def _mirrored_rows(config: "ModelConfig", rows: Sequence[int], exclusive: bool) -> list[int]:
    """The channel of the counterpart on the other side, for each of ``rows``."""
    names = [known_name(name) for name in config.classes]
    offset = int(exclusive)  # background is its own counterpart
    result = []
    for row in rows:
        other = _counterpart(names[row - offset]) if row >= offset else None
        if other is not None and other not in names:
            raise ConfigurationError(
                f"flip_tta needs both sides, but {config.name} predicts {names[row - offset]!r} without {other!r}; "
                "turn it off."
            )
        result.append(row if other is None else names.index(other) + offset)
    return result


def _counterpart(name: str) -> str:
    try:
        return mirrored(name)
    except UnknownNameError:  # a class that the registry does not know has no side
        return name


class WindowNetwork:
    """Runs a network on windows and, once a slab is finished, its head.

    Blending is linear and a 1x1x1 convolution is affine, so where the decoder has fewer channels than there are classes
    the features are blended and the head runs once per voxel. With mirrored windows the head differs between windows
    (sides are swapped), so logits are blended then.

    Args:
        network: in evaluation mode, on its device.
        channels: the output channels that are needed.
        flip: mirrored windows will be run.
        mixed: run the network in bfloat16 where that is safe.

    Attributes:
        blends: ``"features"`` or ``"logits"``.
        channels: how many channels are blended.
        feature_channels: channels of the decoder features.
    """

    def __init__(
        self, network: "SegmentationNetwork", channels: ClassChannels, *, flip: bool, mixed: bool = False
    ) -> None:
        self._network, self._mixed = network, mixed
        self._rows, self._mirrored = channels.rows, channels.mirrored_rows
        self._head = _pointwise_head(network)
        self.feature_channels = network.decoder_channels
        if self._head is not None and not flip and network.decoder_channels < len(self._rows):
            self.blends, self.channels = "features", network.decoder_channels
        else:
            self.blends, self.channels = "logits", len(self._rows)

    def run(self, windows: torch.Tensor, mirror: Sequence[bool]) -> torch.Tensor:
        """One forward pass.

        Args:
            windows: float32 (N, 1, x, y, z), overwritten where mirrored.
            mirror: for each of them, whether the network sees it mirrored.

        Returns:
            float32 (N, :attr:`channels`, x, y, z), in the windows' own orientation and class order.
        """
        for i, flag in enumerate(mirror):
            if flag:
                windows[i] = windows[i].flip(1)
        device = windows.device
        on_gpu = device.type == "cuda" and self._network.channels_last_on_gpu
        faster = FasterOnGpu() if on_gpu else faster_on(device)
        with faster, torch.autocast(device.type, dtype=torch.bfloat16, enabled=self._mixed):
            return self._run(windows, mirror).float()

    def _run(self, windows: torch.Tensor, mirror: Sequence[bool]) -> torch.Tensor:
        features = self._network.forward_features(windows)
        if self.blends == "features":
            return features.decoder
        if not any(mirror):
            return self._classified(features, self._rows)
        parts = []
        for i, flag in enumerate(mirror):
            one = type(features)(features.decoder[i : i + 1], features.bottleneck[i : i + 1])
            part = self._classified(one, self._mirrored if flag else self._rows)
            parts.append(part.flip(2) if flag else part)
        return torch.cat(parts)

    def logits(self, blended: torch.Tensor) -> torch.Tensor:
        """Blended values (:attr:`channels`, V) -> blended logits (K, V), one channel after the other in memory."""
        if self.blends == "features" and self._head is not None:
            weight, bias = self._head
            return torch.addmm(bias[self._rows, None], weight[self._rows].flatten(1), blended)
        return blended.contiguous()

    def _classified(self, features: "Features", rows: list[int]) -> torch.Tensor:
        """Logits of ``rows`` alone, (N, K, x, y, z); a 1x1x1 convolution computes no others."""
        everything = rows == list(range(self._network.num_classes))
        if self._head is None:
            logits = self._network.classify(features)
            return logits if everything else logits[:, rows]
        weight, bias = self._head
        return F.conv3d(features.decoder, weight if everything else weight[rows], bias if everything else bias[rows])


def _pointwise_head(network: "SegmentationNetwork") -> tuple[torch.Tensor, torch.Tensor] | None:
    """Weight (K, C, 1, 1, 1) and bias (K,) of the output convolution, ``None`` where the head is something else."""
    if not network.pointwise_head:
        return None
    head = network.get_submodule(network.head_path)
    weight = head.get_parameter("weight")
    bias = head.get_parameter("bias") if head.bias is not None else weight.new_zeros(weight.shape[0])
    return weight.detach().float(), bias.detach().float()
