"""Windows through a network on a GPU: as torch runs it, with suprem's functions, and compiled by torch.

    python experiments/benchmarks/network_on_gpu.py           # three minutes
    python experiments/benchmarks/network_on_gpu.py --quick   # tiny windows; on a CPU as well, where it means nothing

Weights are random, since time does not depend on them; the windows lie on the device. `apart` is how far the result is
from that of float32 without TF32, root mean square over that of the result. Ways take turns in one process; the seconds
of `compiled` come after those of compiling. Writes results_network_on_gpu.csv beside this file, or --table.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from _harness import write_csv

from suprem._gpu_functions import FasterOnGpu
from suprem.backbones import create_model

NETWORKS = (
    *(("unet", 8), ("segresnet", 8), ("segresnet_tiny", 8), ("swinunetr", 4)),
    *(("unet_monai", 8), ("mit", 2), ("resunet", 4)),
)
COMPILED = ("unet", "segresnet")


class Runner:
    """One network on a device, in one precision.

    Args:
        network: a name of :func:`suprem.backbones.create_model`.
        image: float32 (N, 1, x, y, z) on the device.
        mixed: in bfloat16.
    """

    def __init__(self, network: str, image: torch.Tensor, *, mixed: bool) -> None:
        torch.manual_seed(0)
        self.network = create_model(network, num_classes=25).to(image.device).eval()
        self.image, self.mixed = image, mixed
        self.compiled = torch.compile(self.network)

    def run(self, way: str, *, mixed: bool | None = None) -> torch.Tensor:
        """One forward pass."""
        mixed = self.mixed if mixed is None else mixed
        functions = FasterOnGpu() if way == "suprem" else nullcontext()
        network: Callable[..., torch.Tensor] = self.compiled if way == "compiled" else self.network
        with functions, torch.autocast(self.image.device.type, torch.bfloat16, enabled=mixed):
            return network(self.image).float()

    def seconds(self, way: str, count: int) -> float:
        """Of one forward pass, the mean of ``count``."""
        _wait(self.image.device)
        begin = time.perf_counter()
        for _ in range(count):
            self.run(way)
        _wait(self.image.device)
        return (time.perf_counter() - begin) / count


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


@torch.inference_mode()
def measured(name: str, image: torch.Tensor, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of one network."""
    rows = []
    for mixed in (True, False) if image.is_cuda else (False,):  # a CPU without bfloat16 takes minutes
        runner = Runner(name, image, mixed=mixed)
        ways = ["torch", "suprem", *(["compiled"] if name in COMPILED and mixed and not options.quick else [])]
        torch.backends.cudnn.allow_tf32 = False
        exact = runner.run("torch", mixed=False)
        torch.backends.cudnn.allow_tf32 = True
        apart = {way: float((runner.run(way) - exact).norm() / exact.norm()) for way in ways}
        for way in ways:
            runner.run(way)
        turns = [{way: runner.seconds(way, options.count) for way in ways} for _ in range(options.repeats)]
        for way in ways:
            row: dict[str, Any] = {"network": name, "precision": "bfloat16" if mixed else "float32", "way": way}
            row["default"] = way == ("suprem" if runner.network.channels_last_on_gpu else "torch")
            row |= {"windows": len(image), "ms": 1000 * statistics.median(turn[way] for turn in turns)}
            row["torch_over_it"] = statistics.median(turn["torch"] / turn[way] for turn in turns)
            rows.append(row | {"apart": round(apart[way], 5), "repeats": len(turns)})
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measures, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--count", type=int, default=4, help="forward passes of which the mean is taken")
    parser.add_argument("--quick", action="store_true", help="two tiny windows, two networks; no table is written")
    parser.add_argument("--table", type=Path, default=Path(__file__).with_name("results_network_on_gpu.csv"))
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not options.quick:
        raise SystemExit("There is no GPU here, so nothing was measured; --quick makes a trial run.")
    rows = []
    for name, windows in (("segresnet_tiny", 2), ("resunet", 2)) if options.quick else NETWORKS:
        size = 32 if options.quick else 96
        rows += measured(name, torch.rand((windows, 1, size, size, size), device=device), options)
    if not options.quick:
        write_csv(options.table, rows)


if __name__ == "__main__":
    main()
