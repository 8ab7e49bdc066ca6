"""Seconds and memory that it takes to load a network of 19 million parameters from a file that is in the page cache.

    python experiments/benchmarks/load_checkpoint.py

The contenders, each in fresh interpreters that alternate: `load_pretrained` of a published folder, which also checks
hash, names, shapes and values; reading the bytes of the file and building the network, the floor that it is compared
with; and `torch.load` of the same weights into a new network. Imports are not counted. Memory is what the process has
at most beyond what it had before, pages of the mapped file included. Writes results_load_checkpoint.csv beside this
file.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPEATS = 9
CONTENDERS = ("load_pretrained", "read and build", "torch.load")


def status_mib(key: str) -> float:
    """An entry of this process's status, MiB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise KeyError(key)


def write_network(folder: Path) -> None:
    """The U-Net with 32 classes, as a published folder and as a torch file."""
    import torch

    from suprem import create_model
    from suprem.labels import label_space
    from suprem.zoo import ModelConfig, save_folder

    network = create_model("unet", num_classes=32).eval()
    network.config = ModelConfig("unet.benchmark", "unet", label_space("universal_32").names)
    save_folder(network, folder / "model")
    torch.save(network.state_dict(), folder / "model.pth")


def measure(contender: str, folder: Path) -> dict[str, float]:
    """One load in this process."""
    import torch

    from suprem import create_model, load_pretrained

    load_pretrained("segresnet_tiny.phantom")  # imports everything
    create_model("unet", num_classes=1, base_channels=8)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
    before, begin = status_mib("VmRSS"), time.perf_counter()
    if contender == "load_pretrained":
        kept = load_pretrained(f"local-dir:{folder / 'model'}")
    elif contender == "read and build":
        kept = ((folder / "model" / "model.safetensors").read_bytes(), create_model("unet", num_classes=32))
    else:
        kept = create_model("unet", num_classes=32)
        kept.load_state_dict(torch.load(folder / "model.pth", weights_only=True))
    seconds = time.perf_counter() - begin
    peak = status_mib("VmHWM") - before
    del kept
    return {"seconds": seconds, "mib": peak}


def main() -> None:
    """Measures, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    one = parser.parse_args().one
    if one:
        print(json.dumps(measure(one[0], Path(one[1]))))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as folder:
        write_network(Path(folder))
        size = (Path(folder) / "model" / "model.safetensors").stat().st_size / 2**20
        for _ in range(REPEATS):
            for name in CONTENDERS:
                command = [sys.executable, __file__, "--one", name, folder]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for name, runs in found.items()
    }
    floor = medians["read and build"]["seconds"]
    with (Path(__file__).parent / "results_load_checkpoint.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["contender", "median_s", "over_read_and_build", "peak_mib", "over_file", "file_mib", "repeats"])
        for name, row in medians.items():
            shown = (f"{row['seconds']:.3f}", f"{row['seconds'] / floor:.2f}", f"{row['mib']:.0f}")
            table.writerow([name, *shown, f"{row['mib'] / size:.2f}", f"{size:.0f}", REPEATS])
            print(f"{name:16s} {' '.join(shown)} MiB, {row['mib'] / size:.2f} of the file")


if __name__ == "__main__":
    main()
