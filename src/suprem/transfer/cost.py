"""What a study will take, before it starts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from suprem.backbones import create_model
from suprem.inference.devices import resolve_device
from suprem.inference.windows import plan_windows
from suprem.losses import DiceCELoss
from suprem.transfer.run_table import StudyFolder
from suprem.transfer.study import Run, Study
from suprem.transfer.training import architecture
from suprem.volumes.store import Store

__all__ = ["Cost", "ModelCost", "estimate"]

_STEPS, _WARM_UP = 3, 1


@dataclass(frozen=True)
class ModelCost:
    """One architecture.

    Attributes:
        model: name in the study.
        parameters: with the classes of its largest group.
        runs: that are not finished.
        step_seconds: measured, of one optimiser step.
        scoring_seconds: estimated, of all cases in one run; ``None`` where they are scans whose size was not read.
    """

    model: str
    parameters: int
    runs: int
    step_seconds: float
    scoring_seconds: float | None


@dataclass(frozen=True)
class Cost:
    """All of them, one run after the other.

    Attributes:
        device: that was measured.
        runs: in the table.
        finished: of these.
        steps: of one run.
        models: each architecture.
    """

    device: str
    runs: int
    finished: int
    steps: int
    models: tuple[ModelCost, ...]

    @property
    def hours(self) -> float:
        """Of what is left, on one device."""
        each = (m.runs * (self.steps * m.step_seconds + (m.scoring_seconds or 0.0)) for m in self.models)
        return sum(each) / 3600


def estimate(folder: StudyFolder) -> Cost:
    """Times a few optimiser steps of every architecture on random patches, on the device that will be used.

    Reading and augmenting patches is not in it, nor is the time until weights are loaded; with other work on the
    machine it takes longer.
    """
    study, runs = folder.study, folder.runs()
    left = [run for run in runs if folder.result(run) is None]
    accelerator = study.training.trainer.get("accelerator", "auto")
    device = resolve_device("cpu" if accelerator == "cpu" else "auto")
    shapes = _shapes(study)
    models = tuple(
        _model_cost(study, name, [run for run in left if run.model == name], device, shapes)
        for name in study.models
        if any(run.model == name for run in left)
    )
    return Cost(str(device), len(runs), len(runs) - len(left), study.training.steps, models)


def _shapes(study: Study) -> list[tuple[int, int, int]] | None:
    """Sizes of the scored cases on the grid of the network, where an index tells them."""
    scoring = study.scoring
    if scoring.images is not None:
        return None
    stores = [scoring.store] if scoring.store is not None else list(study.stores)
    records = [record for path in stores for record in Store.open(path).records if record.labelled]
    return [record.shape for record in records if scoring.store is not None or record.split == "test"]


def _model_cost(
    study: Study, name: str, runs: Sequence[Run], device: torch.device, shapes: Sequence[tuple[int, int, int]] | None
) -> ModelCost:
    settings = study.training
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    classes = max(len(members) for members in study.groups.values())
    backbone, kwargs = architecture(study.models[name])
    network = create_model(backbone, num_classes=classes, **kwargs).to(device)
    if settings.execution.channels_last:
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    image = torch.rand((settings.batch_size, 1, *settings.patch_size), device=device)
    target = torch.rand((settings.batch_size, classes, *settings.patch_size), device=device) > 0.9
    loss, optimiser = DiceCELoss(), torch.optim.AdamW(network.parameters(), lr=1e-6)
    mixed = "bf16" in str(settings.trainer.get("precision", ""))

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            value = loss(network(image), target)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()

    training = _median_seconds(step, device)
    forward = None
    if shapes is not None:
        size = study.scoring.window or settings.patch_size
        windows = sum(len(plan_windows(shape, size, study.scoring.overlap)) for shape in shapes)
        pair = torch.rand((2, 1, *size), device=device)  # a window alone is slower on a CPU than two are each
        network.eval()
        with torch.inference_mode():
            forward = windows * _median_seconds(lambda: network(pair), device) / len(pair)
    return ModelCost(name, sum(p.numel() for p in network.parameters()), len(runs), training, forward)


def _median_seconds(work: Callable[[], object], device: torch.device) -> float:
    times = []
    for _ in range(_WARM_UP + _STEPS):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return sorted(times[_WARM_UP:])[_STEPS // 2]
