"""Seconds and memory that it takes to load a network of 19 million parameters from a file that is in the page cache.

    python experiments/benchmarks/load_checkpoint.py

The contenders, each in fresh interpreters that alternate: `load_pretrained` of a published folder, which also checks
hash, names, shapes and values; reading the bytes of the file and building the network, the floor that it is compared
with; and `torch.load` of the same weights into a new network. Imports are not counted. Memory is what the process has
at most beyond what it had before, pages of the mapped file included. Writes results_load_checkpoint.csv beside this
file.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from _harness import Contender, answer, ask, median, take_turns, timed, write_csv

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


def measure(job: dict[str, Any]) -> dict[str, float]:
    """One load in this process."""
    import torch

    from suprem import create_model, load_pretrained

    load_pretrained("segresnet_tiny.phantom")  # imports everything
    create_model("unet", num_classes=1, base_channels=8)
    contender, folder = job["contender"], Path(job["folder"])
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
    before = status_mib("VmRSS")
    with timed() as found:
        if contender == "load_pretrained":
            kept = load_pretrained(f"local-dir:{folder / 'model'}")
        elif contender == "read and build":
            kept = ((folder / "model" / "model.safetensors").read_bytes(), create_model("unet", num_classes=32))
        else:
            kept = create_model("unet", num_classes=32)
            kept.load_state_dict(torch.load(folder / "model.pth", weights_only=True))
    peak = status_mib("VmHWM") - before
    del kept
    return {**found, "mib": peak}


def prepare(job: dict[str, Any]) -> dict[str, float]:
    """Writes the network; returns MiB of its file."""
    write_network(Path(job["folder"]))
    return {"file_mib": (Path(job["folder"]) / "model" / "model.safetensors").stat().st_size / 2**20}


def main() -> None:
    """Measures, prints and writes the table."""
    if answer({"load": measure, "prepare": prepare}):
        return
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        size = ask(Contender("file", __file__, "prepare", {"folder": folder}))["file_mib"]
        jobs = {name: {"contender": name, "folder": folder} for name in CONTENDERS}
        found = take_turns([Contender(name, __file__, "load", job) for name, job in jobs.items()], REPEATS)
    floor, rows = median(found["read and build"], "seconds"), []
    for name, runs in found.items():
        seconds, mib = median(runs, "seconds"), median(runs, "mib")
        row = {"contender": name, "median_s": seconds, "over_read_and_build": seconds / floor, "peak_mib": mib}
        rows.append(row | {"over_file": mib / size, "file_mib": size, "repeats": REPEATS})
    write_csv(Path(__file__).parent / "results_load_checkpoint.csv", rows)


if __name__ == "__main__":
    main()
