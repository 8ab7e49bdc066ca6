"""Dice plus cross-entropy for exclusive, overlapping and partially annotated classes.

Everything is computed per volume patch and per sample, so the loss of a batch is the mean of the losses of its
samples: data-parallel training equals a bigger batch, and a sample with few annotated classes counts as much as one
with many.
"""

import torch
from torch import nn
from torch.nn import functional as F

from suprem.errors import ConfigurationError

__all__ = ["DiceCELoss", "dice_loss_of_sums", "exclusive_dice_ce", "overlapping_dice_ce", "soft_dice_loss"]

_SPATIAL = (2, 3, 4)


def dice_loss_of_sums(overlap: torch.Tensor, total: torch.Tensor, smooth: float) -> torch.Tensor:
    """One minus the soft Dice coefficient, from the sum of the overlap and that of both masks, of the same shape."""
    return 1.0 - (2.0 * overlap + smooth) / (total + smooth)


def soft_dice_loss(probabilities: torch.Tensor, target: torch.Tensor, *, smooth: float = 1e-5) -> torch.Tensor:
    """One minus the soft Dice coefficient of every sample and channel.

    Args:
        probabilities: float (N, C, X, Y, Z) in [0, 1].
        target: (N, C, X, Y, Z), 0 or 1.
        smooth: Added to numerator and denominator, in voxels; a channel that is empty in both has loss 0. Far below one
            voxel: with 1, a patch without the structure has a steep gradient towards zero wherever the summed
            probability is small, and that meets rare structures in most patches.

    Returns:
        float (N, C). The denominator is the sum of both masks (not of their squares), as in MONAI's default.

    References:
        Milletari et al., V-Net, 3DV 2016, equation 1 (there with squares).
    """
    target = target.to(probabilities.dtype)
    overlap = (probabilities * target).sum(_SPATIAL)
    total = probabilities.sum(_SPATIAL) + target.sum(_SPATIAL)
    return dice_loss_of_sums(overlap, total, smooth)


def overlapping_dice_ce(
    logits: torch.Tensor,
    target: torch.Tensor,
    annotated: torch.Tensor | None = None,
    known: torch.Tensor | None = None,
    *,
    dice_weight: float = 1.0,
    ce_weight: float = 1.0,
    smooth: float = 1e-5,
) -> torch.Tensor:
    """Sigmoid Dice plus binary cross-entropy, for classes that may overlap or are not annotated everywhere.

    Args:
        logits: float (N, C, X, Y, Z).
        target: bool, uint8 or float (N, C, X, Y, Z); what stands in channels that are not annotated does not matter.
        annotated: bool (N, C), the classes that were annotated in each sample; ``None`` means all.
        known: bool (N, 1, X, Y, Z), voxels that count; ``None`` means all.
        dice_weight: Weight of the Dice part.
        ce_weight: Weight of the cross-entropy part.
        smooth: See :func:`soft_dice_loss`.

    Returns:
        Scalar: the mean over samples of the mean over that sample's annotated classes. A sample without any annotated
        class contributes zero and still counts as a sample. Channels that are not annotated and voxels that are not
        known get a gradient of exactly zero.

    Raises:
        ConfigurationError: shapes do not fit.

    Example:
        >>> logits = torch.full((1, 2, 4, 4, 4), 20.0)
        >>> float(overlapping_dice_ce(logits, torch.ones(1, 2, 4, 4, 4))) < 1e-6
        True
    """
    if logits.shape != target.shape:
        raise ConfigurationError(
            f"logits are {tuple(logits.shape)} but target is {tuple(target.shape)}; they must match."
        )
    if annotated is not None and annotated.shape != logits.shape[:2]:
        raise ConfigurationError(
            f"annotated is {tuple(annotated.shape)}; it must be (samples, classes) = {tuple(logits.shape[:2])}."
        )
    _check_known(known, logits)
    chosen, wanted = logits.flatten(0, 1), target.flatten(0, 1)
    counted = None if known is None else known.expand_as(logits).flatten(0, 1)
    share = torch.full((len(chosen),), 1.0 / max(len(chosen), 1), dtype=logits.dtype, device=logits.device)
    if annotated is not None:
        # Selecting first keeps infinities and NaN of a masked channel out of the graph: 0 * inf would be NaN.
        sample = annotated.nonzero(as_tuple=True)[0]
        chosen, wanted = chosen[annotated.flatten()], wanted[annotated.flatten()]
        counted = None if counted is None else counted[annotated.flatten()]
        share = 1.0 / (annotated.sum(1).to(logits.dtype) * len(logits))[sample]
    dice, ce = _sigmoid_parts(chosen, wanted.to(logits.dtype), counted, smooth)
    per_class = dice_weight * dice + ce_weight * ce
    # An empty selection still belongs to the graph, so the sum of nothing can be backpropagated.
    return (per_class * share).sum()


def _sigmoid_parts(
    logits: torch.Tensor, target: torch.Tensor, counted: torch.Tensor | None, smooth: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Dice and cross-entropy, each (K,), of maps (K, X, Y, Z)."""
    if counted is None:
        ce = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((1, 2, 3))
        return soft_dice_loss(logits.sigmoid()[:, None], target[:, None], smooth=smooth)[:, 0], ce
    # Taken out before anything is computed of them: an infinite logit must not become NaN on the way back.
    target, logits = torch.where(counted, target, 0), torch.where(counted, logits, 0)
    probabilities = torch.where(counted, logits.sigmoid(), 0)
    ce = torch.where(counted, F.binary_cross_entropy_with_logits(logits, target, reduction="none"), 0)
    dice = soft_dice_loss(probabilities[:, None], target[:, None], smooth=smooth)[:, 0]
    return dice, ce.sum((1, 2, 3)) / counted.sum((1, 2, 3)).clamp(min=1)


def exclusive_dice_ce(
    logits: torch.Tensor,
    target: torch.Tensor,
    known: torch.Tensor | None = None,
    *,
    dice_weight: float = 1.0,
    ce_weight: float = 1.0,
    smooth: float = 1e-5,
) -> torch.Tensor:
    """Softmax Dice over the foreground classes plus cross-entropy, for classes that exclude each other.

    The target is never expanded to one channel per class: what Dice needs of it is summed at the target's index.

    Args:
        logits: float (N, C, X, Y, Z); channel 0 is background.
        target: integer (N, X, Y, Z), channel of the class at each voxel.
        known: bool (N, 1, X, Y, Z), voxels that count; ``None`` means all. The others get a gradient of exactly zero.
        dice_weight: Weight of the Dice part.
        ce_weight: Weight of the cross-entropy part.
        smooth: See :func:`soft_dice_loss`.

    Returns:
        Scalar: the mean over samples.

    Raises:
        ConfigurationError: shapes do not fit, or there is no foreground channel.
    """
    if target.shape != (logits.shape[0], *logits.shape[2:]) or logits.shape[1] < 2:
        raise ConfigurationError(
            f"logits are {tuple(logits.shape)} and target is {tuple(target.shape)}; exclusive classes need "
            "(N, C, X, Y, Z) with C >= 2 and (N, X, Y, Z)."
        )
    _check_known(known, logits)
    index = target.long().flatten(1)
    scores = (logits if known is None else torch.where(known, logits, 0)).flatten(2)
    counted = torch.ones_like(index, dtype=torch.bool) if known is None else known.flatten(1)
    log_shares = scores.log_softmax(1)
    weight = counted.to(logits.dtype)
    at_target = log_shares.gather(1, index[:, None])[:, 0]
    ce = -(at_target * weight).sum(1) / weight.sum(1).clamp(min=1)
    sizes = torch.zeros(logits.shape[:2], dtype=logits.dtype, device=logits.device).scatter_add(1, index, weight)
    overlap = torch.zeros_like(sizes).scatter_add(1, index, at_target.exp() * weight)
    total = sizes + (log_shares.exp() * weight[:, None]).sum(2)
    dice = dice_loss_of_sums(overlap, total, smooth)
    return (dice_weight * dice[:, 1:].mean(1) + ce_weight * ce).mean()


def _check_known(known: torch.Tensor | None, logits: torch.Tensor) -> None:
    if known is not None and known.shape != (logits.shape[0], 1, *logits.shape[2:]):
        wanted = (logits.shape[0], 1, *logits.shape[2:])
        raise ConfigurationError(f"known is {tuple(known.shape)}; it must be (samples, 1, X, Y, Z) = {wanted}.")


class DiceCELoss(nn.Module):
    """Dice plus cross-entropy as one module.

    Args:
        exclusive: softmax over exclusive classes (:func:`exclusive_dice_ce`), else sigmoid over overlapping or
            partially annotated ones (:func:`overlapping_dice_ce`).
        dice_weight: Weight of the Dice part.
        ce_weight: Weight of the cross-entropy part.
        smooth: See :func:`soft_dice_loss`.
    """

    def __init__(
        self, *, exclusive: bool = False, dice_weight: float = 1.0, ce_weight: float = 1.0, smooth: float = 1e-5
    ) -> None:
        super().__init__()
        self.exclusive = exclusive
        self.dice_weight, self.ce_weight, self.smooth = dice_weight, ce_weight, smooth

    def forward(
        self,
        logits: torch.Tensor,
        target: torch.Tensor,
        annotated: torch.Tensor | None = None,
        known: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Scalar loss; see the two functions for shapes.

        Raises:
            ConfigurationError: ``annotated`` is given for exclusive classes, or shapes do not fit.
        """
        weights = {"dice_weight": self.dice_weight, "ce_weight": self.ce_weight, "smooth": self.smooth}
        if not self.exclusive:
            return overlapping_dice_ce(logits, target, annotated, known, **weights)
        if annotated is not None:
            raise ConfigurationError("Exclusive classes cannot be annotated in part; use exclusive=False.")
        return exclusive_dice_ce(logits, target, known, **weights)
