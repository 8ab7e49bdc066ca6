"""The segmentation task: hooks, steps, validation metric, schedule; a few real optimiser steps."""

import copy
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from torch.utils.data import DataLoader

from suprem.errors import ConfigurationError, TrainingError, UnknownNameError
from suprem.tasks.optimisation import Optimisation
from suprem.tasks.segmentation import SegmentationTask
from tests.quiet import QUIET

SMALL = {"init_filters": 8, "blocks_down": (1, 1), "blocks_up": (1,)}
CLASSES = ("liver", "spleen")


def _task(**arguments: Any) -> SegmentationTask:
    torch.manual_seed(0)
    return SegmentationTask("segresnet_tiny", CLASSES, backbone_kwargs=SMALL, **arguments)


def _batch(samples: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(samples, 1, 16, 16, 16, generator=generator)
    return {"image": image, "target": torch.cat([image > 0.7, image < 0.2], dim=1)}


def _fit(task: SegmentationTask, batches: list[dict[str, torch.Tensor]], steps: int) -> None:
    data = DataLoader([{k: v[0] for k, v in b.items()} for b in batches] * steps, batch_size=1)
    trainer = Trainer(max_steps=steps, limit_val_batches=0, **QUIET)
    trainer.fit(task, data)


def test_network_has_one_channel_per_class_and_background_when_exclusive() -> None:
    assert _task().network.num_classes == 2
    assert _task(exclusive=True).network.num_classes == 3


def test_prior_sets_the_bias_of_the_head() -> None:
    task = _task(prior=0.02)
    bias = task.network.get_submodule(task.network.head_path).bias
    assert isinstance(bias, torch.Tensor)
    assert bias.sigmoid().tolist() == pytest.approx([0.02, 0.02])


def test_prior_sets_the_bias_of_new_classes_alone() -> None:
    known = SegmentationTask(None, ["liver", "vertebrae_L1"], init="segresnet_tiny.phantom")
    task = SegmentationTask(None, ["liver", "vertebrae_L1"], init="segresnet_tiny.phantom", prior=0.02)
    before, after = (t.network.get_parameter(f"{t.network.head_path}.bias") for t in (known, task))
    assert after[0] == before[0]
    assert float(after[1].sigmoid()) == pytest.approx(0.02)


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_few_steps_reduce_the_loss(exclusive: bool) -> None:
    task = _task(exclusive=exclusive, optimisation=Optimisation(learning_rate=0.02, warmup_steps=2))
    batch = _batch(1)
    if exclusive:
        image = batch["image"][:, 0]
        batch["target"] = (image > 0.7).long() + 2 * (image < 0.2).long()
    before = float(task.loss(task.network(batch["image"]), batch["target"]))
    _fit(task, [batch], 12)
    after = float(task.loss(task.network(batch["image"]), batch["target"]))
    assert after < 0.75 * before


def test_unannotated_class_leaves_its_head_row_untouched() -> None:
    task = _task(optimisation=Optimisation(learning_rate=0.5, weight_decay=0.0, warmup_steps=0))
    task.make_optimizer = torch.optim.SGD  # type: ignore[method-assign, assignment]  # AdamW moves by its momentum too
    head = task.network.get_submodule(task.network.head_path)
    before = copy.deepcopy(head.weight.detach())
    batch = {**_batch(1), "annotated": torch.tensor([[True, False]])}
    _fit(task, [batch], 2)
    assert torch.equal(head.weight[1], before[1])
    assert not torch.equal(head.weight[0], before[0])


def test_validation_uses_the_inferer_and_logs_the_monitored_mean() -> None:
    calls = []

    def inferer(image: torch.Tensor, network: torch.nn.Module) -> torch.Tensor:
        calls.append(tuple(image.shape))
        return torch.cat([100 * (image - 0.7), 100 * (0.5 - image)], dim=1)

    task = _task(inferer=inferer)
    batch = _batch(1)
    empty = {"image": torch.full_like(batch["image"], 0.6), "target": torch.zeros_like(batch["target"])}
    data = DataLoader([{k: v[0] for k, v in b.items()} for b in (batch, empty)], batch_size=1)
    trainer = Trainer(**QUIET)
    logged = trainer.validate(task, data, verbose=False)[0]
    share = float(batch["target"][:, 1].float().mean())
    predicted = float((batch["image"] < 0.5).float().mean())
    second = 2 * share / (share + predicted)
    assert calls == [(1, 1, 16, 16, 16)] * 2
    assert task.dice_per_class == pytest.approx({"liver": 1.0, "spleen": second})
    assert logged[SegmentationTask.monitor] == pytest.approx((1 + second) / 2)


def test_unknown_voxels_and_unannotated_classes_do_not_enter_the_training() -> None:
    task, batch = _task(), _batch(1)
    known = torch.zeros(1, 1, 16, 16, 16, dtype=torch.bool)
    known[..., :8] = True
    other = batch["target"].clone()
    other[..., 8:] = ~other[..., 8:]
    other[:, 1] = ~other[:, 1]
    annotated = torch.tensor([[True, False]])
    task.log = lambda *_, **__: None  # type: ignore[method-assign, assignment]
    losses = [
        task.training_step({"image": batch["image"], "target": t, "annotated": annotated, "known": known}, 0)
        for t in (batch["target"], other)
    ]
    assert losses[0] == losses[1]


def test_a_loss_that_is_no_number_stops_and_names_the_cases() -> None:
    task = _task()
    batch: Any = {**_batch(2), "keys": ["word/12", "word/7"]}
    batch["image"][0, 0, 3] = float("nan")
    with pytest.raises(TrainingError, match=r"train loss became nan at step 0, in word/12, word/7"):
        task.training_step(batch, 0)


def test_synonyms_are_accepted_and_unknown_names_refused() -> None:
    task = SegmentationTask("segresnet_tiny", ["gallbladder"], backbone_kwargs=SMALL)
    assert task.classes == ("gall_bladder",)
    with pytest.raises(UnknownNameError, match="liver"):
        SegmentationTask("segresnet_tiny", ["livr"], backbone_kwargs=SMALL)
    with pytest.raises(UnknownNameError, match="segresnet_tiny"):
        SegmentationTask("segresnet_tinny", ["liver"])
    with pytest.raises(ConfigurationError, match="prior"):
        _task(prior=1.0)
