"""Volumes in parts: the logits of MONAI's sliding windows, and the loss and Dice coefficients of the whole."""

from typing import Any

import numpy as np
import pytest
import torch
from monai.inferers.utils import sliding_window_inference
from torch import nn

from suprem.evaluation.metrics import dice
from suprem.losses import DiceCELoss
from suprem.tasks.validation import Region, VolumeScore, stream_logits

SHAPE = (20, 17, 23)


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(20, 17, 23), (8, 30, 5), (8, 8, 8)])
@pytest.mark.parametrize("window_batch", [1, 3])
def test_streamed_logits_are_those_of_monai(shape: tuple[int, int, int], window_batch: int) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 3, 3, padding=1)).eval()
    image, patch = _random(1, *shape), (8, 8, 8)
    with torch.no_grad():
        expected: Any = sliding_window_inference(image[None], patch, 2, network, overlap=0.5, mode="gaussian")
    whole, seen = torch.full((3, *shape), torch.nan), torch.zeros(shape, dtype=torch.long)
    for region, logits in stream_logits(network, image, patch, window_batch=window_batch):
        whole[(slice(None), *region)] = logits
        seen[region] += 1
    assert (seen == 1).all()
    torch.testing.assert_close(whole, expected[0], rtol=1e-4, atol=1e-5)


def test_a_slab_of_logits_exists_at_a_time() -> None:
    largest = 0
    for _, logits in stream_logits(nn.Conv3d(1, 2, 1), _random(1, 24, 24, 96), (8, 8, 8)):
        largest = max(largest, logits.shape[-1])
    assert largest <= 8


def _parts() -> list[Region]:
    return [(x, slice(0, SHAPE[1]), z) for x in (slice(0, 7), slice(7, 20)) for z in (slice(0, 11), slice(11, 23))]


def _score(loss: DiceCELoss, logits: torch.Tensor, batch: dict[str, torch.Tensor], classes: int) -> VolumeScore:
    score = VolumeScore(loss, batch, classes)
    for region in _parts():
        score.add(region, logits[(0, slice(None), *region)])
    return score


@pytest.mark.parametrize("masked", [False, True])
def test_the_loss_of_the_parts_is_that_of_the_whole(masked: bool) -> None:
    logits, target = _random(1, 3, *SHAPE), _random(1, 3, *SHAPE, seed=1) > 0.7
    batch: dict[str, torch.Tensor] = {"target": target}
    if masked:
        batch |= {"annotated": torch.tensor([[True, False, True]]), "known": _random(1, 1, *SHAPE, seed=2) > 0}
    for loss in (DiceCELoss(), DiceCELoss(dice_weight=0.3, ce_weight=2.0, smooth=1.0)):
        expected = loss(logits, target, batch.get("annotated"), batch.get("known"))
        torch.testing.assert_close(_score(loss, logits, batch, 3).total_loss(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
def test_the_loss_of_exclusive_classes_too(masked: bool) -> None:
    logits, target = _random(1, 4, *SHAPE), _random(1, *SHAPE, seed=1).mul(2).long().clamp(0, 3)
    batch: dict[str, torch.Tensor] = {"target": target}
    if masked:
        batch["known"] = _random(1, 1, *SHAPE, seed=2) > 0
    loss = DiceCELoss(exclusive=True)
    expected = loss(logits, target, None, batch.get("known"))
    torch.testing.assert_close(_score(loss, logits, batch, 3).total_loss(), expected, rtol=1e-5, atol=1e-6)


def test_dice_is_that_of_the_metrics_and_nan_without_support() -> None:
    logits, target = _random(1, 4, *SHAPE), _random(1, 4, *SHAPE, seed=1) > 0.5
    target[0, 2] = False
    known = _random(1, 1, *SHAPE, seed=2) > 0
    batch = {"target": target, "known": known, "annotated": torch.tensor([[True, True, True, False]])}
    found = _score(DiceCELoss(), logits, batch, 4).dice()
    inside = known[0, 0].numpy()
    for number in (0, 1):
        predicted, truth = (logits[0, number] > 0).numpy() & inside, target[0, number].numpy() & inside
        assert float(found[number]) == pytest.approx(dice(predicted, truth))
    assert found[2:].isnan().all()


def test_exclusive_dice_follows_the_argmax() -> None:
    guess, target = torch.tensor([[[[0, 1, 2, 2]]]]), torch.tensor([[[[0, 1, 2, 1]]]])
    logits = nn.functional.one_hot(guess, 3).movedim(-1, 1).float()
    score = VolumeScore(DiceCELoss(exclusive=True), {"target": target}, 2)
    mask = score.add((slice(0, 1), slice(0, 1), slice(0, 4)), logits[0])
    assert score.dice().tolist() == pytest.approx([2 / 3, 2 / 3])
    np.testing.assert_array_equal(mask[1, 0, 0].numpy(), [False, False, True, True])
