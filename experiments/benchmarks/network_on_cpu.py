"""One window through a network on a CPU: as torch runs it, with suprem's functions, and with large pages as well.

    python experiments/benchmarks/network_on_cpu.py           # a quarter of an hour, one thread
    python experiments/benchmarks/network_on_cpu.py --quick   # the bundled network on a tiny window

Weights are random, since time does not depend on them. Every result is asserted to equal torch's. Large pages are what
the command line asks for (`THP_MEM_ALLOC_ENABLE=1`), on Linux alone. Writes results_network_on_cpu.csv beside this
file; `over_suprem` is how many times as long as with both.
"""

from typing import Any

from _harness import Contender, answer, median, median_seconds, ratio, take_turns, write_csv
from _inference import arguments, table_file

NETWORKS = (
    *(("segresnet", 96), ("segresnet", 48), ("segresnet_tiny", 48)),
    *(("unet", 64), ("unet_monai", 64), ("resunet", 64), ("mit", 64), ("swinunetr", 64)),
)
WAYS = {"suprem": (True, True), "suprem's functions alone": (True, False), "torch": (False, False)}
"""Name -> with the functions, with large pages."""


def window(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds of one window."""
    import torch

    from suprem._cpu_functions import FasterOnCpu
    from suprem.backbones import create_model

    torch.manual_seed(0)
    network = create_model(job["network"], num_classes=25).eval()
    image = torch.rand(1, 1, *(job["size"],) * 3)

    def plain() -> torch.Tensor:
        return network.forward_features(image).decoder

    def faster() -> torch.Tensor:
        with FasterOnCpu():
            return plain()

    with torch.inference_mode():
        torch.testing.assert_close(faster(), plain(), rtol=1e-4, atol=1e-4)
        return {"seconds": median_seconds(faster if job["faster"] else plain, job["count"])}


def contenders(network: str, size: int, count: int) -> list[Contender]:
    """The ways to run one network."""
    found = []
    for name, (faster, pages) in WAYS.items():
        environment = {"OMP_NUM_THREADS": "1", "THP_MEM_ALLOC_ENABLE": str(int(pages))}
        job = {"network": network, "size": size, "faster": faster, "count": count}
        found.append(Contender(name, __file__, "window", job, environment=environment))
    return found


def main() -> None:
    """Measures, prints and writes the table."""
    options = arguments(__doc__).parse_args()
    rows = []
    for network, size in (("segresnet_tiny", 16),) if options.quick else NETWORKS:
        runs = take_turns(contenders(network, size, 1 if options.quick else 4), options.repeats, kept=options.kept)
        for name, found in runs.items():
            row: dict[str, Any] = {"network": network, "window": size, "contender": name}
            row |= {"window_s": median(found, "seconds"), "over_suprem": ratio(found, runs["suprem"])[0]}
            rows.append(row | {"repeats": len(found), "load": max(run["load"] for run in found)})
    write_csv(table_file(options, "network_on_cpu"), rows)


if __name__ == "__main__" and not answer({"window": window}):
    main()
