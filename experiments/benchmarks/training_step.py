"""How fast a pre-training step is, with and without what a GPU offers; both in one run.

```
python experiments/benchmarks/training_step.py
python experiments/benchmarks/training_step.py --stores STORE --classes liver spleen --workers 4   # and the data
python experiments/benchmarks/training_step.py --device cpu --base-channels 4 --size 32 --batch 2   # a trial run
```

The step is forward pass, Dice-CE over 25 overlapping classes, backward pass and AdamW on the 19 M U-Net. `plain` is
float32 (TF32 off), eager and channels-first; `fast` is bf16, channels-last and compiled. FLOPs are those of
convolutions and matrix products, forward and backward, counted by `torch.utils.flop_counter`.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning import Trainer
from torch.utils.flop_counter import FlopCounterMode

from suprem.backbones import create_model
from suprem.datamodules import CTDataModule
from suprem.losses import DiceCELoss
from suprem.tasks.callbacks import Throughput
from suprem.tasks.execution import Execution, prepare_network
from suprem.tasks.optimisation import Optimisation
from suprem.tasks.segmentation import SegmentationTask

CLASSES = 25


def make_step(options: argparse.Namespace, execution: Execution, dtype: torch.dtype | None) -> Callable[[], None]:
    """One training step on data that lie on the device."""
    device = torch.device(options.device)
    network = create_model("unet", num_classes=CLASSES, base_channels=options.base_channels).to(device)
    prepare_network(network, execution)
    shape = (options.batch, 1, *(options.size,) * 3)
    image = torch.rand(shape, device=device)
    target = torch.rand((options.batch, CLASSES, *shape[2:]), device=device) < 0.02
    loss, optimizer = DiceCELoss(), torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            logits = network(image)
        loss(logits.float(), target).backward()
        optimizer.step()

    return step


def flops_per_step(options: argparse.Namespace) -> int:
    """Of convolutions and matrix products."""
    step = make_step(options, Execution(), None)
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def measure(step: Callable[[], None], options: argparse.Namespace) -> tuple[float, float]:
    """Seconds per step (median) and peak GiB of the GPU."""
    cuda = options.device.startswith("cuda")
    for _ in range(options.warmup):
        step()
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(options.steps):
        start = time.perf_counter()
        step()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() / 2**30 if cuda else float("nan")
    return sorted(seconds)[len(seconds) // 2], peak


def data_wait(options: argparse.Namespace) -> dict[str, Any]:
    """Throughput of a real training, with its share of waiting for data."""
    cuda = options.device.startswith("cuda")
    data = CTDataModule(
        options.stores,
        options.classes,
        patch_size=(options.size,) * 3,
        batch_size=options.batch,
        samples_per_epoch=options.batch * 63,
        val_fraction=0.0,
        num_workers=options.workers,
    )
    task = SegmentationTask(
        "unet",
        options.classes,
        backbone_kwargs={"base_channels": options.base_channels},
        optimisation=Optimisation(),
        execution=Execution(channels_last=True, compile=cuda),
    )
    trainer = Trainer(
        accelerator="gpu" if cuda else "cpu",
        devices=1,
        precision="bf16-mixed" if cuda else "32-true",
        max_epochs=2,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        callbacks=[Throughput(every=60)],
    )
    trainer.fit(task, data)
    return {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("throughput/")}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--base-channels", type=int, default=32)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--stores", nargs="+", default=[], help="Measures the data-wait fraction too.")
    parser.add_argument("--classes", nargs="+", default=["liver", "spleen", "pancreas"])
    parser.add_argument("--workers", type=int, default=4)
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("There is no GPU here, so nothing was measured; --device cpu makes a trial run.")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    cuda = options.device.startswith("cuda")
    name = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads"
    report: dict[str, Any] = {"device": name, "batch": options.batch, "size": options.size, "torch": torch.__version__}
    flops = flops_per_step(options)
    fast = (Execution(channels_last=True, compile=True), torch.bfloat16 if cuda else None)
    for label, (execution, dtype) in {"plain": (Execution(), None), "fast": fast}.items():
        seconds, peak = measure(make_step(options, execution, dtype), options)
        report[label] = {
            "samples_per_s": round(options.batch / seconds, 2),
            "tflop_per_s": round(flops / seconds / 1e12, 2),
            "peak_gib": round(peak, 2),
        }
        torch.compiler.reset()
        if cuda:
            torch.cuda.empty_cache()
    report["ratio"] = round(report["fast"]["samples_per_s"] / report["plain"]["samples_per_s"], 2)
    if options.stores:
        report["training"] = data_wait(options)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
