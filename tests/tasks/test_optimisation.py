"""Schedules against closed forms and the published values, groups of parameters, averages of weights."""

import math
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch.utils.data import DataLoader

from suprem.backbones import create_model
from suprem.errors import ConfigurationError
from suprem.tasks.optimisation import Optimisation, adamw, parameter_groups
from suprem.tasks.schedules import warmup_cosine, warmup_cosine_epochs
from suprem.tasks.segmentation import SegmentationTask
from tests.quiet import QUIET

SMALL = {"init_filters": 8, "blocks_down": (1, 1), "blocks_up": (1,)}


def _rates(schedule: Any, optimizer: torch.optim.Optimizer, count: int) -> list[float]:
    rates = []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def _optimizer(rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)


def test_steps_rise_linearly_and_fall_to_zero_as_a_cosine() -> None:
    optimizer = _optimizer(2.0)
    rates = _rates(warmup_cosine(optimizer, warmup_steps=4, total_steps=12), optimizer, 13)
    assert rates[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert (rates[4], rates[8], rates[12]) == pytest.approx((2.0, 1.0, 0.0))
    with pytest.raises(ConfigurationError, match="12 of 12"):
        warmup_cosine(optimizer, warmup_steps=12, total_steps=12)


def test_epochs_have_the_rates_of_the_paper() -> None:
    """Warm-up 20 of 800 epochs, peak 1e-3: the values measured with the published program."""
    optimizer = _optimizer(1e-3)
    rates = _rates(warmup_cosine_epochs(optimizer, warmup_epochs=20, total_epochs=800), optimizer, 801)
    assert rates[0] == pytest.approx(5.26e-5, rel=1e-3)
    assert rates[1] == pytest.approx(1.05e-4, rel=3e-3)
    assert rates[18:20] == pytest.approx([1e-3, 1e-3])
    assert rates[20] < 1e-3
    assert rates[400] == pytest.approx(5.18e-4, rel=1e-3)
    assert rates[799] == pytest.approx(0.0, abs=1e-12)
    assert rates[800] == pytest.approx(0.0, abs=1e-12)


def test_epochs_follow_the_chained_recursion_of_the_published_program() -> None:
    """Each rate of the cosine from the one before, as LinearWarmupCosineAnnealingLR computes it."""
    base, warmup, total = 1e-4, 5, 40
    optimizer = _optimizer(base)
    rates = _rates(warmup_cosine_epochs(optimizer, warmup_epochs=warmup, total_epochs=total), optimizer, total)
    rate, expected = 0.0, []
    for epoch in range(1, total + 1):  # the program steps before each epoch
        if epoch < warmup:
            rate += base / (warmup - 1)
        elif epoch == warmup:
            rate = base
        else:
            above = 1 + math.cos(math.pi * (epoch - warmup) / (total - warmup))
            rate *= above / (1 + math.cos(math.pi * (epoch - 1 - warmup) / (total - warmup)))
        expected.append(rate)
    assert rates == pytest.approx(expected, rel=1e-9, abs=1e-16)


@pytest.mark.parametrize(("warmup", "total"), [(1, 10), (10, 10)])
def test_epochs_that_cannot_be(warmup: int, total: int) -> None:
    with pytest.raises(ConfigurationError, match=f"{warmup} of {total}"):
        warmup_cosine_epochs(_optimizer(1.0), warmup_epochs=warmup, total_epochs=total)


@pytest.mark.parametrize(
    "options",
    [{"learning_rate": 0}, {"head_rate": -1}, {"layer_decay": 1.5}, {"warmup_epochs": 1}, {"warmup_steps": -1}],
)
def test_settings_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="must"):
        Optimisation(**options)


def test_defaults_are_those_of_the_paper() -> None:
    group = adamw([torch.nn.Parameter(torch.zeros(1))]).param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (1e-4, 1e-5)
    (group,) = parameter_groups(create_model("segresnet_tiny", num_classes=2), Optimisation())
    assert (group["lr"], group["weight_decay"]) == (1e-4, 1e-5)


def test_norms_and_biases_can_be_left_without_decay() -> None:
    network = create_model("unet", num_classes=2, base_channels=4)
    decayed, kept = sorted(
        parameter_groups(network, Optimisation(decay_norms=False)), key=lambda group: -group["weight_decay"]
    )
    assert (decayed["weight_decay"], kept["weight_decay"]) == (1e-5, 0.0)
    assert all(p.ndim == 5 for p in decayed["params"])
    assert all(p.ndim == 1 for p in kept["params"])
    assert len(decayed["params"]) + len(kept["params"]) == len(list(network.parameters()))


@pytest.mark.parametrize("backbone", ["unet", "segresnet_tiny", "swinunetr"])
def test_rates_fall_towards_the_input(backbone: str) -> None:
    options = {"unet": {"base_channels": 4}, "swinunetr": {"feature_size": 12}}.get(backbone, {})
    network = create_model(backbone, num_classes=2, **options)
    groups = parameter_groups(network, Optimisation(learning_rate=1.0, layer_decay=0.5, head_rate=10.0))
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    by_name = {name: rate[id(p)] for name, p in network.named_parameters()}
    stages = len(network.encoder_stages)
    for number, stage in enumerate(network.encoder_stages):
        found = {value for name, value in by_name.items() if name.startswith(stage)}
        assert found == {0.5 ** (stages - number)}, stage
    assert by_name[f"{network.head_path}.weight"] == 10.0
    assert set(by_name.values()) == {0.5**n for n in range(stages + 1)} | {10.0}


def _batches(count: int) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(1, 16, 16, 16, generator=generator)
    return DataLoader([{"image": image, "target": torch.cat([image > 0.7, image < 0.2])}] * count, batch_size=1)


def _task(**options: Any) -> SegmentationTask:
    torch.manual_seed(0)
    return SegmentationTask("segresnet_tiny", ["liver", "spleen"], backbone_kwargs=SMALL, **options)


class _Weights(Callback):
    """The weights after every step, and those that are validated."""

    def __init__(self) -> None:
        self.trained: list[torch.Tensor] = []
        self.validated: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer: Trainer, task: Any, *_: Any) -> None:
        self.trained.append(torch.nn.utils.parameters_to_vector(task.network.parameters()).detach().clone())

    def on_validation_batch_end(self, trainer: Trainer, task: Any, *_: Any) -> None:
        self.validated.append(torch.nn.utils.parameters_to_vector(task.network.parameters()).detach().clone())


def test_averaged_weights_are_what_is_validated_and_exported() -> None:
    """Lightning's callback, as the command line uses it, with our task."""
    task, weights = _task(optimisation=Optimisation(0.01, warmup_steps=0)), _Weights()
    start = torch.nn.utils.parameters_to_vector(task.network.parameters()).detach().clone()
    trainer = Trainer(max_epochs=1, callbacks=[EMAWeightAveraging(decay=0.8), weights], **QUIET)
    trainer.fit(task, _batches(6), _batches(1))
    # The average begins with the first step's weights (torch copies them), and moves by a fifth at every later one.
    average = weights.trained[0]
    for now in weights.trained[1:]:
        average = 0.8 * average + 0.2 * now
    torch.testing.assert_close(weights.validated[0], average, rtol=1e-5, atol=1e-7)
    final = torch.nn.utils.parameters_to_vector(task.network.parameters())
    torch.testing.assert_close(final, average, rtol=1e-5, atol=1e-7)
    assert not torch.allclose(average, weights.trained[-1], rtol=1e-5, atol=1e-7)
    assert not torch.allclose(average, start)


def test_the_schedule_in_epochs_needs_their_number() -> None:
    task = _task(optimisation=Optimisation(warmup_epochs=2))
    with pytest.raises(ConfigurationError, match="max_epochs"):
        Trainer(max_steps=3, max_epochs=-1, **QUIET).fit(task, _batches(1))


def test_the_schedule_in_epochs_changes_between_epochs() -> None:
    class Rates(Callback):
        def __init__(self) -> None:
            self.seen: list[float] = []

        def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
            self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])

    rates = Rates()
    task = _task(optimisation=Optimisation(1.0e-3, warmup_epochs=3))
    Trainer(max_epochs=5, callbacks=[rates], **QUIET).fit(task, _batches(2))
    expected = [0.5, 1.0, 1.0, 0.5, 0.0]
    assert rates.seen == pytest.approx([1e-3 * share for share in expected for _ in range(2)])
