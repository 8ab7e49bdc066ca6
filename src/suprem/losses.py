"""Dice plus cross-entropy for exclusive, overlapping and partially annotated classes.

Everything is computed per volume patch and per sample, so the loss of a batch is the mean of the losses of its
samples: data-parallel training equals a bigger batch, and a sample with few annotated classes counts as much as one
with many.
"""

import torch
from torch import nn
from torch.nn import functional as F

from suprem.errors import ConfigurationError

__all__ = ["DiceCELoss", "exclusive_dice_ce", "overlapping_dice_ce", "soft_dice_loss"]

_SPATIAL = (2, 3, 4)


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
    return 1.0 - (2.0 * overlap + smooth) / (total + smooth)


def overlapping_dice_ce(
    logits: torch.Tensor,
    target: torch.Tensor,
    annotated: torch.Tensor | None = None,
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
        dice_weight: Weight of the Dice part.
        ce_weight: Weight of the cross-entropy part.
        smooth: See :func:`soft_dice_loss`.

    Returns:
        Scalar: the mean over samples of the mean over that sample's annotated classes. A sample without any annotated
        class contributes zero and still counts as a sample. Channels that are not annotated get a gradient of exactly
        zero.

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
    chosen, wanted = logits.flatten(0, 1), target.flatten(0, 1)
    share = torch.full((len(chosen),), 1.0 / max(len(chosen), 1), dtype=logits.dtype, device=logits.device)
    if annotated is not None:
        # Selecting first keeps infinities and NaN of a masked channel out of the graph: 0 * inf would be NaN.
        sample = annotated.nonzero(as_tuple=True)[0]
        chosen, wanted = chosen[annotated.flatten()], wanted[annotated.flatten()]
        share = 1.0 / (annotated.sum(1).to(logits.dtype) * len(logits))[sample]
    wanted = wanted.to(logits.dtype)
    dice = soft_dice_loss(chosen.sigmoid()[:, None], wanted[:, None], smooth=smooth)[:, 0]
    ce = F.binary_cross_entropy_with_logits(chosen, wanted, reduction="none").mean((1, 2, 3))
    per_class = dice_weight * dice + ce_weight * ce
    # An empty selection still belongs to the graph, so the sum of nothing can be backpropagated.
    return (per_class * share).sum()


def exclusive_dice_ce(
    logits: torch.Tensor,
    target: torch.Tensor,
    *,
    dice_weight: float = 1.0,
    ce_weight: float = 1.0,
    smooth: float = 1e-5,
) -> torch.Tensor:
    """Softmax Dice over the foreground classes plus cross-entropy, for classes that exclude each other.

    Args:
        logits: float (N, C, X, Y, Z); channel 0 is background.
        target: integer (N, X, Y, Z), channel of the class at each voxel.
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
    index = target.long()
    one_hot = F.one_hot(index, logits.shape[1]).movedim(-1, 1)
    dice = soft_dice_loss(logits.softmax(1)[:, 1:], one_hot[:, 1:], smooth=smooth).mean()
    return dice_weight * dice + ce_weight * F.cross_entropy(logits, index)


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
        self, logits: torch.Tensor, target: torch.Tensor, annotated: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Scalar loss; see the two functions for shapes.

        Raises:
            ConfigurationError: ``annotated`` is given for exclusive classes, or shapes do not fit.
        """
        weights = {"dice_weight": self.dice_weight, "ce_weight": self.ce_weight, "smooth": self.smooth}
        if not self.exclusive:
            return overlapping_dice_ce(logits, target, annotated, **weights)
        if annotated is not None:
            raise ConfigurationError("Exclusive classes cannot be annotated in part; use exclusive=False.")
        return exclusive_dice_ce(logits, target, **weights)
