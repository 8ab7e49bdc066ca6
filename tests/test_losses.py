"""Dice-CE against closed forms and MONAI."""

import math

import pytest
import torch
from monai.losses import DiceCELoss as MonaiDiceCELoss
from monai.losses import DiceLoss

from suprem.errors import ConfigurationError
from suprem.losses import DiceCELoss, exclusive_dice_ce, overlapping_dice_ce, soft_dice_loss

SHAPE = (6, 5, 4)


def _batch(classes: int = 3, samples: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(samples, classes, *SHAPE, generator=generator, dtype=torch.float64)
    target = torch.rand(samples, classes, *SHAPE, generator=generator) < 0.3
    return logits, target


def test_soft_dice_of_half_overlap_is_closed_form() -> None:
    probabilities = torch.zeros(1, 1, 4, 1, 1)
    probabilities[0, 0, :2] = 1
    target = torch.zeros(1, 1, 4, 1, 1)
    target[0, 0, 1:3] = 1
    assert soft_dice_loss(probabilities, target, smooth=0.0).item() == pytest.approx(0.5)
    assert soft_dice_loss(probabilities, target, smooth=1.0).item() == pytest.approx(1 - 3 / 5)


def test_sigmoid_form_equals_monai() -> None:
    logits, target = _batch()
    dice = DiceLoss(
        include_background=True, sigmoid=True, squared_pred=False, jaccard=False, reduction="mean",
        smooth_nr=1e-5, smooth_dr=1e-5, batch=False,
    )(logits, target.double())  # fmt: skip
    bce = torch.nn.BCEWithLogitsLoss()(logits, target.double())
    assert overlapping_dice_ce(logits, target).item() == pytest.approx((dice + bce).item(), rel=1e-12)


def test_softmax_form_equals_monai() -> None:
    logits, _ = _batch(classes=4)
    target = torch.randint(0, 4, (2, *SHAPE), generator=torch.Generator().manual_seed(3))
    reference = MonaiDiceCELoss(
        include_background=False, to_onehot_y=True, softmax=True, squared_pred=False, jaccard=False,
        reduction="mean", smooth_nr=1e-5, smooth_dr=1e-5, batch=False, lambda_dice=0.7, lambda_ce=1.3,
    )(logits, target[:, None])  # fmt: skip
    # MONAI drops the background from its Dice part only; its cross-entropy keeps it, as ours does.
    ours = exclusive_dice_ce(logits, target, dice_weight=0.7, ce_weight=1.3)
    assert ours.item() == pytest.approx(reference.item(), rel=1e-6)


def test_uniform_probability_is_closed_form() -> None:
    target = torch.zeros(1, 1, *SHAPE)
    target[0, 0, :3] = 1  # half of all voxels
    voxels = math.prod(SHAPE)
    dice = 1 - (2 * 0.5 * voxels / 2) / (voxels / 2 + voxels / 2)
    assert overlapping_dice_ce(torch.zeros(1, 1, *SHAPE), target).item() == pytest.approx(dice + math.log(2), rel=1e-6)


@pytest.mark.parametrize("empty", [False, True])
def test_zero_at_perfection(empty: bool) -> None:
    _, target = _batch()
    if empty:
        target = torch.zeros_like(target)
    logits = torch.where(target, 60.0, -60.0)
    assert overlapping_dice_ce(logits, target).item() == pytest.approx(0.0, abs=1e-6)
    index = target[:, 0].long()
    exclusive = torch.stack([torch.where(index == c, 60.0, -60.0) for c in (0, 1)], dim=1)
    assert exclusive_dice_ce(exclusive, index).item() == pytest.approx(0.0, abs=1e-6)


def test_masked_classes_have_exactly_zero_gradient_whatever_they_hold() -> None:
    logits, target = _batch()
    annotated = torch.tensor([[True, False, True], [False, True, True]])
    logits[0, 1, 0] = math.inf
    logits[1, 0, 1] = math.nan
    logits.requires_grad_()
    loss = overlapping_dice_ce(logits, target, annotated)
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert (logits.grad[~annotated] == 0).all()
    assert (logits.grad[annotated].abs().sum((1, 2, 3)) > 0).all()


def test_masked_loss_is_the_loss_of_the_annotated_classes() -> None:
    logits, target = _batch()
    annotated = torch.tensor([[True, False, True], [True, False, True]])
    expected = overlapping_dice_ce(logits[:, [0, 2]], target[:, [0, 2]])
    assert overlapping_dice_ce(logits, target, annotated).item() == pytest.approx(expected.item(), rel=1e-12)
    everything = torch.ones(2, 3, dtype=torch.bool)
    whole = overlapping_dice_ce(logits, target, everything).item()
    assert whole == pytest.approx(overlapping_dice_ce(logits, target).item(), rel=1e-12)


def test_batch_is_the_mean_of_its_samples_however_many_classes_each_has() -> None:
    logits, target = _batch(samples=3)
    annotated = torch.tensor([[True, False, False], [True, True, True], [False, True, True]])
    single = [overlapping_dice_ce(logits[i : i + 1], target[i : i + 1], annotated[i : i + 1]).item() for i in range(3)]
    assert overlapping_dice_ce(logits, target, annotated).item() == pytest.approx(sum(single) / 3, rel=1e-12)


def test_sample_without_annotation_counts_as_zero_and_can_be_backpropagated() -> None:
    logits, target = _batch()
    logits.requires_grad_()
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    loss = overlapping_dice_ce(logits, target, nothing)
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert (logits.grad == 0).all()
    half = nothing.clone()
    half[0] = True
    alone = overlapping_dice_ce(logits[:1], target[:1]).item()
    assert overlapping_dice_ce(logits, target, half).item() == pytest.approx(alone / 2, rel=1e-12)


def test_gradient_agrees_with_finite_differences() -> None:
    logits, target = _batch(classes=2, samples=1)
    small = logits[..., :2, :2, :2].clone().requires_grad_()
    annotated = torch.tensor([[True, False]])
    assert torch.autograd.gradcheck(lambda x: overlapping_dice_ce(x, target[..., :2, :2, :2], annotated), (small,))


def _boxes() -> torch.Tensor:
    """Voxels that count: a box per sample, of different size."""
    known = torch.zeros(2, 1, *SHAPE, dtype=torch.bool)
    known[0, :, :4, :3, :2] = True
    known[1, :, 2:, 1:] = True
    return known


def test_unknown_voxels_have_exactly_zero_gradient_whatever_they_hold() -> None:
    known = _boxes()
    target = torch.randint(0, 3, (2, *SHAPE), generator=torch.Generator().manual_seed(3))
    for exclusive in (False, True):
        logits, masks = _batch()
        logits[0, 1, -1] = math.inf
        logits[1, 0, 0] = math.nan
        logits.requires_grad_()
        loss = DiceCELoss(exclusive=exclusive)(logits, target if exclusive else masks, None, known)
        loss.backward()
        assert torch.isfinite(loss)
        assert logits.grad is not None
        everywhere = known.expand_as(logits)
        assert (logits.grad[~everywhere] == 0).all()
        assert (logits.grad[everywhere] != 0).all()


def test_loss_of_the_known_voxels_is_the_loss_of_a_smaller_patch() -> None:
    logits, masks = _batch()
    target = torch.randint(0, 3, (2, *SHAPE), generator=torch.Generator().manual_seed(3))
    known = torch.zeros(2, 1, *SHAPE, dtype=torch.bool)
    known[:, :, :4, :3, :2] = True
    box = (..., slice(4), slice(3), slice(2))
    annotated = torch.tensor([[True, False, True], [True, True, True]])
    ours = overlapping_dice_ce(logits, masks, annotated, known)
    assert ours.item() == pytest.approx(overlapping_dice_ce(logits[box], masks[box], annotated).item(), rel=1e-12)
    ours = exclusive_dice_ce(logits, target, known)
    assert ours.item() == pytest.approx(exclusive_dice_ce(logits[box], target[box]).item(), rel=1e-12)
    everything = torch.ones_like(known)
    assert exclusive_dice_ce(logits, target, everything).item() == exclusive_dice_ce(logits, target).item()


def test_a_sample_of_which_nothing_is_known_can_be_backpropagated() -> None:
    logits, masks = _batch()
    logits.requires_grad_()
    nothing = torch.zeros(2, 1, *SHAPE, dtype=torch.bool)
    for loss in (overlapping_dice_ce(logits, masks, None, nothing), exclusive_dice_ce(logits, masks[:, 0], nothing)):
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.item() == pytest.approx(0.0, abs=1e-12)
        assert (gradient == 0).all()


def test_module_equals_functions_and_refuses_what_cannot_work() -> None:
    logits, target = _batch()
    weights = {"dice_weight": 0.5, "ce_weight": 2.0, "smooth": 0.1}
    index = target[:, 0].long()
    assert DiceCELoss(**weights)(logits, target) == overlapping_dice_ce(logits, target, **weights)
    assert DiceCELoss(exclusive=True, **weights)(logits, index) == exclusive_dice_ce(logits, index, **weights)
    known = _boxes()
    assert DiceCELoss()(logits, target, None, known) == overlapping_dice_ce(logits, target, None, known)
    assert DiceCELoss(exclusive=True)(logits, index, None, known) == exclusive_dice_ce(logits, index, known)
    with pytest.raises(ConfigurationError, match="annotated in part"):
        DiceCELoss(exclusive=True)(logits, index, torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(ConfigurationError, match="must match"):
        overlapping_dice_ce(logits, target[:, :2])
    with pytest.raises(ConfigurationError, match="samples, classes"):
        overlapping_dice_ce(logits, target, torch.ones(3, dtype=torch.bool))
    with pytest.raises(ConfigurationError, match="known is"):
        overlapping_dice_ce(logits, target, None, torch.ones(2, *SHAPE, dtype=torch.bool))
    with pytest.raises(ConfigurationError, match="known is"):
        exclusive_dice_ce(logits, index, torch.ones(2, 3, *SHAPE, dtype=torch.bool))
    with pytest.raises(ConfigurationError, match="C >= 2"):
        exclusive_dice_ce(logits[:, :1], index)
