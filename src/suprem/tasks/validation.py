"""Whole volumes in validation: logits slab by slab, and the loss and Dice coefficients of what came by.

The logits of 32 classes on a body at 1.5 mm take gigabytes; here only a slab of them exists at a time.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from suprem._cpu_functions import faster_on
from suprem.inference.slabs import SlabAccumulator, SlabLayout
from suprem.inference.windows import importance_map, in_batches, plan_windows
from suprem.losses import DiceCELoss, dice_loss_of_sums

__all__ = ["Region", "VolumeScore", "one_hot", "stream_logits"]

Region = tuple[slice, slice, slice]


@torch.no_grad()
def stream_logits(
    network: nn.Module,
    image: torch.Tensor,
    patch_size: tuple[int, int, int],
    *,
    overlap: float = 0.5,
    window_batch: int = 2,
) -> Iterator[tuple[Region, torch.Tensor]]:
    """Blended logits of a volume, part by part; every voxel comes once.

    Args:
        network: Maps (N, C, x, y, z) to logits (N, K, x, y, z).
        image: float (C, X, Y, Z); a volume smaller than a window is padded with zeros.
        patch_size: Voxels (x, y, z) of a window.
        overlap: Of neighbouring windows.
        window_batch: Windows per forward pass.

    Yields:
        Where the part lies, and its logits, float32 (K, x, y, z); what MONAI's sliding-window inference with Gaussian
        weights gives.
    """
    shape = (image.shape[1], image.shape[2], image.shape[3])
    layout = SlabLayout(shape, patch_size, plan_windows(shape, patch_size, overlap))
    importance = importance_map(patch_size).to(image.device)
    # Windows begin in front of a volume that is smaller than they are, and nowhere else.
    missing = [max(size - n, 0) for size, n in zip(patch_size, shape, strict=True)]
    before = [lacking // 2 for lacking in missing]
    if any(missing):
        pads = [(first, lacking - first) for first, lacking in zip(before, missing, strict=True)]
        image = F.pad(image, (*pads[2], *pads[1], *pads[0]))
    accumulator: SlabAccumulator | None = None
    done = 0
    for group in in_batches(layout.windows, window_batch):
        starts = ([n + first for n, first in zip(window.start, before, strict=True)] for window in group)
        with faster_on(image.device):
            outputs = network(torch.stack([_box(image, start, patch_size) for start in starts]))
        if not isinstance(outputs, torch.Tensor):
            raise TypeError(f"The network gave {type(outputs).__name__}; one tensor of logits is needed.")
        if accumulator is None:
            accumulator = SlabAccumulator(layout, importance, outputs.shape[1])
        for window, output in zip(group, outputs.float(), strict=True):
            accumulator.add(window, output)
        done += len(group)
        for cell in accumulator.close(done):
            yield (cell.x, slice(0, shape[1]), cell.z), cell.values / cell.weights


def _box(image: torch.Tensor, start: Sequence[int], size: Sequence[int]) -> torch.Tensor:
    x, y, z = (slice(first, first + length) for first, length in zip(start, size, strict=True))
    return image[:, x, y, z]


def one_hot(index: torch.Tensor, classes: int) -> torch.Tensor:
    """Index (x, y, z), 0 for background -> bool (classes, x, y, z)."""
    return index == torch.arange(1, classes + 1, device=index.device).view(-1, 1, 1, 1)


class VolumeScore:
    """Sums over the parts of one volume, from which its loss and its Dice coefficients follow exactly.

    Args:
        loss: Says how classes relate, and weighs the two parts.
        batch: The case: ``target``, ``annotated`` and ``known`` as in :class:`suprem.tasks.segmentation.Batch`, with
            one sample.
        classes: Number of classes, without background.
    """

    def __init__(self, loss: DiceCELoss, batch: Mapping[str, torch.Tensor], classes: int) -> None:
        self.loss, self.classes = loss, classes
        self.target = batch["target"][0]
        known, annotated = batch.get("known"), batch.get("annotated")
        self.known = None if known is None else known[0, 0]
        self.annotated = None if annotated is None else annotated[0]
        # Rows: soft overlap, soft size, hard overlap, hard size, size of the reference, cross-entropy.
        self._sums = torch.zeros((6, classes), dtype=torch.float64, device=self.target.device)
        self._voxels = 0

    def add(self, region: Region, logits: torch.Tensor) -> torch.Tensor:
        """Counts one part; returns its prediction, bool (classes, x, y, z)."""
        target = self.target[(..., *region)]
        known = None if self.known is None else self.known[region]
        if self.loss.exclusive:
            mask, truth = one_hot(logits.argmax(0), self.classes), one_hot(target, self.classes)
            shares = logits.log_softmax(0)
            entropy = -shares.gather(0, target.long()[None])  # (1, x, y, z): all classes share it
            probabilities = shares[1:].exp()
        else:
            mask, truth = logits > 0, target > 0
            probabilities = logits.sigmoid()
            entropy = F.binary_cross_entropy_with_logits(logits, truth.to(logits.dtype), reduction="none")
        if known is not None:
            mask, truth = mask & known, truth & known
            probabilities, entropy = torch.where(known, probabilities, 0), torch.where(known, entropy, 0)
        parts = (probabilities * truth, probabilities, mask & truth, mask, truth, entropy.expand_as(probabilities))
        self._sums += torch.stack([part.sum((1, 2, 3), dtype=torch.float64) for part in parts])
        self._voxels += logits[0].numel() if known is None else int(known.sum())
        return mask

    def total_loss(self) -> torch.Tensor:
        """What ``loss`` of the whole volume would be, float32."""
        overlap, size, _, _, reference, entropy = self._sums
        dice = dice_loss_of_sums(overlap, size + reference, self.loss.smooth)
        per_class = self.loss.dice_weight * dice + self.loss.ce_weight * entropy / max(self._voxels, 1)
        if self.annotated is not None and not self.loss.exclusive:
            per_class = per_class[self.annotated]
        mean: torch.Tensor = per_class.sum() / max(len(per_class), 1)
        return mean.float()

    def dice(self) -> torch.Tensor:
        """Hard Dice coefficient of each class, float64 (classes,); NaN where it is absent or not annotated."""
        _, _, overlap, size, reference, _ = self._sums
        score = 2 * overlap / (size + reference).clamp(min=1)
        support = reference > 0 if self.annotated is None else (reference > 0) & self.annotated
        return torch.where(support, score, torch.nan)
