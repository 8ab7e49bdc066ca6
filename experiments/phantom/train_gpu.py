"""Trains `segresnet.phantom` on a GPU in a few minutes, while the other cores of the machine make the phantoms.

```
python experiments/phantom/train_gpu.py --out RUN_FOLDER --seconds 300
python experiments/phantom/train_gpu.py --out RUN_FOLDER --seconds 20 --device cpu --filters 8 --patch 32 --phantoms 4
```

Cases lie in the memory of the GPU, patches are cut and changed there, and training starts with the first phantoms. The
learning rate falls with the time that is left, so the result depends on the machine; `train.csv` tells what was done.
"""

import argparse
import csv
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from cases import LESION_PROBABILITY, resampled
from monai.inferers import SlidingWindowInferer
from safetensors.torch import save_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from suprem.labels import label_space
from suprem.losses import DiceCELoss
from suprem.phantom import VALIDATION_SEEDS, generate, phantom_table
from suprem.tasks.segmentation import SegmentationTask

CLASSES = label_space("universal_32").names
HU_WINDOW = (-175.0, 250.0)
SPACING_MM = (3.0, 3.0, 3.0)
SCAN_SPACINGS_MM = ((3.0, 3.0, 3.0), (2.5, 2.5, 3.0), (2.5, 2.5, 2.5), (2.5, 2.5, 5.0), (2.0, 2.0, 3.0))
FIRST_SEED = 10_000


@dataclass(frozen=True, eq=False)
class Case:
    """One phantom on the network's grid.

    Attributes:
        image: int16 HU (X, Y, Z).
        labels: uint8 palette index (X, Y, Z).
        places: some voxels (K, 3) of each palette value that occurs.
    """

    image: Any
    labels: Any
    places: list[npt.NDArray[np.int64]]


def make_case(seed: int, size: int) -> Case:
    """A phantom at :data:`SPACING_MM`, padded with air to at least ``size`` voxels along each axis."""
    spacing = SCAN_SPACINGS_MM[seed % len(SCAN_SPACINGS_MM)]
    case = generate(seed, spacing_mm=spacing, lesion_probability=LESION_PROBABILITY)
    image, labels = resampled(case, SPACING_MM)
    margins = [(0, max(0, size - n)) for n in image.shape]
    image = np.pad(image, margins, constant_values=-1024)
    labels = np.pad(labels, margins)
    rng, places = np.random.default_rng(seed), []
    for value in np.unique(labels)[1:]:
        found = np.flatnonzero(labels == value)
        chosen = rng.choice(found, min(64, len(found)), replace=False)
        places.append(np.column_stack(np.unravel_index(chosen, labels.shape)).astype(np.int64))
    return Case(image, labels, places)


def _one_thread() -> None:
    torch.set_num_threads(1)


class Pool:
    """The cases made so far, on the device; more arrive while it is used."""

    def __init__(self, count: int, size: int, workers: int, device: torch.device) -> None:
        self.cases: list[Case] = []
        self._device = device
        context = multiprocessing.get_context("spawn")
        self._executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread)
        self._validation = [self._executor.submit(make_case, seed, size) for seed in VALIDATION_SEEDS]
        self._open = {self._executor.submit(make_case, seed, size) for seed in range(FIRST_SEED, FIRST_SEED + count)}

    def collect(self, at_least: int = 0) -> None:
        """Takes what is ready, and waits until there are ``at_least`` cases."""
        for future in as_completed(self._open) if len(self.cases) < at_least else [f for f in self._open if f.done()]:
            self._open.discard(future)
            self.cases.append(on_device(future.result(), self._device))
            if len(self.cases) >= at_least > 0:
                return

    def validation(self) -> list[Case]:
        """The phantoms that are watched; they are made first."""
        return [on_device(future.result(), self._device) for future in self._validation]

    def close(self) -> None:
        """Stops making cases."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def on_device(case: Case, device: torch.device) -> Case:
    """The same with arrays on the device."""
    image, labels = (torch.from_numpy(array).to(device) for array in (case.image, case.labels))
    return Case(image, labels, case.places)


class Batches:
    """Random patches; two of three lie around a voxel of a random entry of the label table."""

    def __init__(self, pool: Pool, size: int, batch: int, device: torch.device, seed: int) -> None:
        self.pool, self.size, self.batch, self.device = pool, size, batch, device
        self.rng = np.random.default_rng(seed)
        table = phantom_table()
        self.members = torch.tensor([[name in entry for name in CLASSES] for entry in table], device=device)

    def next(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Images float32 (N, 1, x, y, z) in [0, 1], targets bool (N, C, x, y, z)."""
        rng, images, labels = self.rng, [], []
        for _ in range(self.batch):
            case = self.pool.cases[int(rng.integers(len(self.pool.cases)))]
            shape = case.labels.shape
            centre = [int(rng.integers(n)) for n in shape]
            if rng.random() < 2 / 3:
                places = case.places[int(rng.integers(len(case.places)))]
                centre = list(places[int(rng.integers(len(places)))])
            half, jitter = self.size // 2, self.size // 6
            starts = [
                int(np.clip(c - half + rng.integers(-jitter, jitter + 1), 0, n - self.size))
                for c, n in zip(centre, shape, strict=True)
            ]
            window = tuple(slice(s, s + self.size) for s in starts)
            images.append(case.image[window])
            labels.append(case.labels[window])
        image = torch.stack(images)[:, None].float()
        one = (self.batch, 1, 1, 1, 1)
        image = image * torch.from_numpy(rng.uniform(0.97, 1.03, one)).to(image) + torch.from_numpy(
            rng.uniform(-8, 8, one)
        ).to(image)
        noise = torch.from_numpy(rng.uniform(0, 8, one) * (rng.random(one) < 0.3)).to(image)
        image = image + noise * torch.randn_like(image)
        return scaled(image), self.members[torch.stack(labels).long()].movedim(-1, 1)


def scaled(image: torch.Tensor) -> torch.Tensor:
    """HU window -> [0, 1]."""
    low, high = HU_WINDOW
    return ((image - low) / (high - low)).clamp(0.0, 1.0)


class Step:
    """One optimiser step in one way of running it."""

    def __init__(self, task: SegmentationTask, options: argparse.Namespace, device: torch.device) -> None:
        self.network, self.device = task.network, device
        head = list(self.network.get_submodule(self.network.head_path).parameters())
        others = [p for p in self.network.parameters() if all(p is not h for h in head)]
        groups = [{"params": others, "rate": 1.0}, {"params": head, "rate": options.head_rate}]
        fused = device.type == "cuda"
        self.optimizer = torch.optim.AdamW(groups, lr=options.lr, weight_decay=1e-4, fused=fused)
        self.loss = DiceCELoss()

    def run(self, image: torch.Tensor, target: torch.Tensor, rate: float) -> torch.Tensor:
        """The loss, still on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate"]
        self.optimizer.zero_grad(set_to_none=True)
        mixed = self.device.type == "cuda"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=mixed):
            logits = self.network(image)
        loss = self.loss(logits.float(), target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        return loss.detach()


def fastest(task: SegmentationTask, batches: Batches, options: argparse.Namespace, device: torch.device) -> list[str]:
    """Times the ways to run a step on this device, chooses the fastest, and tells the times; weights come back."""
    start = {name: value.clone() for name, value in task.network.state_dict().items()}
    notes, best = [], (float("inf"), torch.contiguous_format)
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        task.network.to(memory_format=layout)  # type: ignore[call-overload]
        seconds = _timed(Step(task, options, device), batches)
        notes.append(f"{layout}: {seconds * 1000:.1f} ms")
        best = min(best, (seconds, layout), key=lambda pair: pair[0])
    task.network.to(memory_format=best[1])  # type: ignore[call-overload]
    if options.compile:
        task.network.compile()
        notes.append(f"compiled: {_timed(Step(task, options, device), batches) * 1000:.1f} ms")
    task.network.load_state_dict(start)
    return notes


def _timed(step: Step, batches: Batches) -> float:
    image, target = batches.next()
    seconds = []
    for _ in range(6):
        begin = time.perf_counter()
        float(step.run(image, target, 0.0))  # waits for the device
        seconds.append(time.perf_counter() - begin)
    return sorted(seconds)[len(seconds) // 2]


def validate(network: Any, cases: list[Case], size: int, members: torch.Tensor) -> dict[str, float]:
    """Mean Dice coefficient of each class over the cases that have it, on the network's grid."""
    inferer = SlidingWindowInferer((size,) * 3, sw_batch_size=4, overlap=0.5, mode="gaussian")
    scores: dict[str, list[float]] = {name: [] for name in CLASSES}
    with torch.inference_mode():
        for case in cases:
            found = inferer(scaled(case.image[None, None].float()), network)[0] > 0
            truth = members[case.labels.long()].movedim(-1, 0)
            both = (found & truth).sum((1, 2, 3)).tolist()
            total = (found.sum((1, 2, 3)) + truth.sum((1, 2, 3))).tolist()
            present = truth.any(3).any(2).any(1).tolist()
            for name, a, b, there in zip(CLASSES, both, total, present, strict=True):
                if there:
                    scores[name].append(2 * a / b)
    return {name: float(np.mean(values)) for name, values in scores.items() if values}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=300, help="of training, choosing how to run excluded")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--phantoms", type=int, default=400)
    parser.add_argument("--first", type=int, default=48, help="phantoms to wait for before the first step")
    parser.add_argument("--workers", type=int, default=max(1, (multiprocessing.cpu_count() or 2) - 2))
    parser.add_argument("--filters", type=int, default=16)
    parser.add_argument("--patch", type=int, default=96)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--head-rate", type=float, default=5.0)
    parser.add_argument("--warmup", type=float, default=0.04, help="share of the time")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def train(options: argparse.Namespace, task: SegmentationTask, batches: Batches) -> tuple[AveragedModel, list[Any]]:
    """Trains until the time is over; returns the running average of the weights and the log."""
    average = AveragedModel(task.network, multi_avg_fn=get_ema_multi_avg_fn(0.998))
    step, log, losses = Step(task, options, batches.device), [], []
    begin, number = time.monotonic(), 0
    while (done := (time.monotonic() - begin) / options.seconds) < 1:
        rate = options.lr * min(done / options.warmup, 0.5 * (1 + np.cos(np.pi * done)))
        losses.append(step.run(*batches.next(), rate))
        average.update_parameters(task.network)
        number += 1
        if number % 50 == 0:
            batches.pool.collect()
            mean = float(torch.stack(losses).mean())
            losses.clear()
            log.append((number, round(time.monotonic() - begin, 1), len(batches.pool.cases), round(mean, 4)))
            print(*log[-1], flush=True)
    return average, log


def main() -> None:
    """Command line."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    device = torch.device(options.device)
    torch.manual_seed(options.seed)
    torch.backends.cudnn.benchmark = True
    begin = time.monotonic()
    pool = Pool(options.phantoms, options.patch, options.workers, device)
    kwargs = {"init_filters": options.filters}
    task = SegmentationTask("segresnet", CLASSES, backbone_kwargs=kwargs, prior=0.02)
    task.build()
    task.network.to(device).train()
    batches = Batches(pool, options.patch, options.batch, device, options.seed)
    pool.collect(min(options.first, options.phantoms))
    print(f"{len(pool.cases)} phantoms after {time.monotonic() - begin:.0f} s", flush=True)
    notes = fastest(task, batches, options, device)
    print(notes, flush=True)
    average, log = train(options, task, batches)
    cases = pool.validation()
    pool.close()
    network = average.module.eval()
    weights = {name: value.half().contiguous().cpu() for name, value in network.state_dict().items()}
    save_file(weights, options.out / "network.safetensors")
    with (options.out / "train.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("step", "seconds", "phantoms", "loss"), *log])
    network.load_state_dict({name: value.float() for name, value in weights.items()})
    scores = validate(network, cases, options.patch, batches.members)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    facts = {"device": name, "torch": torch.__version__, "how": notes, "total_seconds": time.monotonic() - begin}
    report = {**facts, "options": {k: str(v) for k, v in vars(options).items()}, "dice": scores}
    (options.out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({"mean": float(np.mean(list(scores.values()))), **scores}, indent=1))


if __name__ == "__main__":
    main()
