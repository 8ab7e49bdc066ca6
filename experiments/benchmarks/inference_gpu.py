"""How long a whole CT takes on a GPU, and how much of that is the network; both in one run.

```
python experiments/benchmarks/inference_gpu.py
python experiments/benchmarks/inference_gpu.py --device cpu --backbone segresnet_tiny --spacing 6 --patch 32   # a trial
```

The CT is a phantom on 512 x 512 x 300 voxels of about 0.75 x 0.75 x 1.5 mm; the network has random weights and 25
classes at 1.5 mm. `network_s` are as many windows run alone, in the same batches, with inputs that lie on the device;
`inside_s` are what passes on the GPU between the beginning and the end of the forward calls of a run itself. Both ways
of a scan, on the GPU and by way of the CPU, take turns in one process; `largest_difference` is the share of the voxels
of a class in which they differ, where random weights are undecided everywhere. Writes results_inference_gpu.csv beside
this file, or --table.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _harness import write_csv

from suprem.backbones import create_model
from suprem.inference.levels import LEVELS, QualityName
from suprem.inference.predictor import Predictor
from suprem.labels import label_space
from suprem.phantom import generate
from suprem.volumes.geometry import Volume, resample_linear
from suprem.zoo.config import ModelConfig, Preprocessing

CLASSES = label_space("universal_32").names[:25]


def make_scan(size: tuple[int, int, int]) -> Volume:
    """A phantom on another grid; int16 HU."""
    case = generate(1, spacing_mm=(4.0, 4.0, 4.0))
    steps = tuple((n - 1) / (m - 1) for n, m in zip(case.ct.shape, size, strict=True))
    array = np.rint(resample_linear(case.ct.array, size, (steps[0], steps[1], steps[2]))).astype(np.int16)
    spacing = [4.0 * s for s in steps]
    return Volume(array, np.diag([*spacing, 1.0]), "phantom")


def network_alone(predictor: Predictor, windows: int, batch: int, size: Sequence[int]) -> float:
    """Seconds of the forward passes of as many windows of a size."""
    device = predictor.device
    images = torch.rand((batch, 1, *size), device=device)
    with torch.inference_mode():
        for _ in range(2):
            predictor._network.run(images, [False] * batch)
        _wait(device)
        begin = time.perf_counter()
        for left in range(windows, 0, -batch):
            count = min(left, batch)
            predictor._network.run(images[:count], [False] * count)
        _wait(device)
    return time.perf_counter() - begin


class Inside:
    """What passes on the GPU between the beginning and the end of each forward call; stands in for the network."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._marks: list[tuple[Any, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def run(self, windows: torch.Tensor, mirror: Sequence[bool]) -> torch.Tensor:
        """One forward pass, between two marks."""
        marks = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        marks[0].record()
        found = self._network.run(windows, mirror)
        marks[1].record()
        self._marks.append(marks)
        return found

    def seconds(self) -> float:
        """Of all calls since this was asked last."""
        found = sum(begin.elapsed_time(end) for begin, end in self._marks) / 1000
        self._marks.clear()
        return found


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def make_predictor(options: argparse.Namespace, quality: QualityName, precision: Any) -> Predictor:
    """With random weights, the same ones each time."""
    torch.manual_seed(0)
    network = create_model(options.backbone, num_classes=len(CLASSES))
    contract = Preprocessing(spacing_mm=(options.spacing,) * 3, patch_size=(options.patch,) * 3)
    network.config = ModelConfig("benchmark", options.backbone, CLASSES, preprocessing=contract)
    return Predictor(
        network,
        device=options.device,
        quality=quality,
        precision=precision,
        max_ram=None,
    )


class HostPredictor(Predictor):
    """Scan and labels stay in RAM, as on a CPU."""

    def _on_device(self, resident: int, free: int | None) -> bool:
        return False


def measure(options: argparse.Namespace, scan: Volume, quality: QualityName, precision: Any) -> dict[str, Any]:
    """Cold and warm seconds both ways, and the network's share."""
    predictor = make_predictor(options, quality, precision)
    seconds, inside, host_seconds = [], [], []
    cuda = options.device.startswith("cuda")
    if cuda:
        predictor._network = Inside(predictor._network)
        torch.cuda.reset_peak_memory_stats()
    for _ in range(options.repeats + 1):
        begin = time.perf_counter()
        result = predictor.predict(scan)
        seconds.append(time.perf_counter() - begin)
        inside.append(predictor._network.seconds() if cuda else result.info["seconds"]["network"])
        predictor.__class__ = HostPredictor
        begin = time.perf_counter()
        host = predictor.predict(scan)
        host_seconds.append(time.perf_counter() - begin)
        predictor.__class__ = Predictor
        if cuda:
            predictor._network.seconds()
    info, warm = result.info, seconds[1:]
    windows, batch = info["windows"]["run"], info["plan"]["window_batch"]
    alone = network_alone(predictor, windows, batch, info["windows"]["size"])
    begin = time.perf_counter()
    for name in CLASSES:
        result.mask(name)
    masks = time.perf_counter() - begin
    apart = [float((result.grid_mask(name) != host.grid_mask(name)).mean()) for name in CLASSES]
    return {
        **{"quality": quality, "precision": precision, "warm_s": statistics.median(warm)},
        **{"least_s": min(warm), "most_s": max(warm), "cold_s": seconds[0]},
        "by_way_of_the_cpu_s": statistics.median(host_seconds[1:]),
        "inside_s": statistics.median(inside[1:]),
        "inside_share": statistics.median(i / s for i, s in zip(inside[1:], warm, strict=True)),
        **{"network_s": alone, "network_share": alone / statistics.median(warm)},
        **{"one_mask_s": masks / len(CLASSES), "largest_difference": max(apart)},
        **{"windows": windows, "window": " x ".join(map(str, info["windows"]["size"])), "batch": batch},
        **{"gpu_gib": torch.cuda.max_memory_allocated() / 2**30 if cuda else None, "repeats": len(warm)},
    }


def profile(options: argparse.Namespace, scan: Volume) -> str:
    """What one warm run spends its time on, on the CPU and on the GPU."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    predictor = make_predictor(options, "exhaustive", "bfloat16")
    predictor.predict(scan)
    with record(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        predictor.predict(scan)
    return str(found.key_averages().table(sort_by="self_cuda_time_total", row_limit=14, max_name_column_width=60))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--backbone", default="unet")
    parser.add_argument("--size", type=int, nargs=3, default=[512, 512, 300])
    parser.add_argument("--spacing", type=float, default=1.5)
    parser.add_argument("--patch", type=int, default=96)
    parser.add_argument("--qualities", nargs="+", default=["exhaustive", "balanced"], choices=list(LEVELS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--table", type=Path, help="CSV to write; beside this file with a GPU")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("There is no GPU here, so nothing was measured; --device cpu makes a trial run.")
    cuda = options.device.startswith("cuda")
    x, y, z = options.size
    scan = make_scan((x, y, z))
    rows = []
    for quality in options.qualities:
        for precision in ("float32", "bfloat16") if cuda else ("float32",):  # a CPU without bf16 takes minutes
            rows.append(measure(options, scan, quality, precision))
            print(rows[-1], flush=True)
    table = options.table or (Path(__file__).with_name("results_inference_gpu.csv") if cuda else None)
    if table:
        write_csv(table, rows, digits=4)
    if options.profile:
        print(profile(options, scan))


if __name__ == "__main__":
    main()
