"""Training crops per second of `CTDataModule`, against MONAI, MONAI's PersistentDataset, nnU-Net and TorchIO.

    python experiments/benchmarks/data_loading.py           # about an hour
    python experiments/benchmarks/data_loading.py --quick   # a minute, on tiny volumes: does it still run?

All contenders load 96^3 crops from the same eight phantoms of about 300^3 voxels, with two workers, batches of four and
one thread each; the files are in the page cache. Every measurement is a process of its own, and contenders take turns.
The peers live in a virtual environment of their own (`--peers-venv`), made on first use.

Everybody ends with float32 images in the network's range and a map of label numbers. What a crop costs differs: MONAI
and TorchIO read and orient the whole `.nii.gz`; PersistentDataset reads the whole prepared volume and the indices of
its labelled voxels; nnU-Net and suprem read the chunks that the crop lies in. suprem is timed to the end of
`on_after_batch_transfer`, with exclusive classes, all on the CPU. Three more rows are not comparable: "up to the
transfer" stops where a GPU takes over, "32 channels" makes one mask per class for overlapping classes, and "600^3" has
volumes eight times as large. "Per volume" is how many crops are taken before the next volume is opened; nnU-Net has no
setting for it. Augmentation is quarter turns and shifts of intensity, as in `suprem.transforms`.

Writes `results_data_loading.csv`, one row per measurement, `results_data_loading_ratios.csv`, how many times as fast as
each peer suprem is, and `results_data_loading.md` beside itself.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import _peers_data_loading as shared
import numpy as np
from _harness import write_csv
from _peers_data_loading import Job

HERE = Path(__file__).parent
PINNED = ("torch==2.13.0", "torchvision==0.28.0")  # without them the peers would bring another torch
PEERS = ("monai", "nnunetv2", "torchio", "nibabel", "psutil")
OURS = ("suprem", "torch", "numpy", "blosc2")
SEED = 3000
LABELS = {
    "suprem": "suprem",
    "monai": "MONAI, `.nii.gz`",
    "monai_persistent": "MONAI PersistentDataset",
    "nnunet": "nnU-Net",
    "torchio": "TorchIO Queue",
    "suprem_loader": "suprem, up to the transfer",
    "suprem_overlapping": "suprem, 32 channels",
    "suprem_large": "suprem, volumes of 600^3",
}
COMPARED = ("suprem", "monai", "monai_persistent", "nnunet", "torchio")
TABLE_NOTES = """
Crops per second are medians over the repeats. "suprem is faster by" is the ratio of two measurements of the same
repeat: median, least and most. CPU time is that of the contender's processes together, and depends less than the clock
on what else runs. "Worker adds" is the memory of its own (USS) above what it starts with, in the worker
and the repeat that add most; batches that wait to be fetched and pages of files that only this worker has mapped count
towards it. "Others" is how many cores other programs kept busy meanwhile.
"""
ROWS = (
    *((name, 1, augmentation) for augmentation in ("none", "default") for name in COMPARED),
    *((name, 4, augmentation) for augmentation in ("none", "default") for name in COMPARED if name != "nnunet"),
    *((name, 1, "default") for name in LABELS if name not in COMPARED),
)


@dataclass(frozen=True)
class Plan:
    """What is measured, and how long."""

    volumes: int = 8
    spacing: tuple[float, float, float] = (1.25, 1.0, 1.8)
    patch: int = 96
    seconds: float = 10.0
    repeats: int = 3
    rows: tuple[tuple[str, int, str], ...] = ROWS


QUICK = Plan(2, (5.0, 4.0, 6.0), 48, 0.5, 1, tuple(r for r in ROWS if r[2] == "default" and r[1] == 1))


def prepare_volumes(plan: Plan, data: Path) -> None:
    """Writes phantoms as `.nii.gz` in LPS, as scanners do, unless they are there."""
    from suprem.phantom import generate
    from suprem.volumes.io import write_volume

    for name in ("images", "labels"):
        (data / name).mkdir(parents=True, exist_ok=True)
    for number in range(plan.volumes):
        if (data / "labels" / f"{number}.nii.gz").exists():
            continue
        case = generate(SEED + number, spacing_mm=plan.spacing, orientation="LPS")
        print(f"phantom {number}: {case.ct.shape}", flush=True)
        write_volume(case.ct, data / "images" / f"{number}.nii.gz")
        write_volume(case.labels, data / "labels" / f"{number}.nii.gz")


def prepare_stores(data: Path) -> None:
    """Writes the volumes as a store, and the first two of them, repeated to eight times the size, as another one."""
    from suprem.phantom import phantom_table
    from suprem.volumes.geometry import to_ras
    from suprem.volumes.io import read_volume
    from suprem.volumes.store import StoreSettings, create_store, write_case, write_index

    table = phantom_table()
    for name, tiles, most in (("store", 1, None), ("store_large", 2, 2)):
        shutil.rmtree(data / name, ignore_errors=True)
        create_store(data / name, StoreSettings(None))
        for number, image in enumerate(sorted((data / "images").glob("*.nii.gz"))[:most]):
            ct, labels = (to_ras(read_volume(path))[0] for path in (image, data / "labels" / image.name))
            ct, labels = (replace(volume, array=np.tile(volume.array, (tiles,) * 3)) for volume in (ct, labels))
            write_case(
                data / name,
                dataset="phantom",
                case=f"{number}",
                scan=f"phantom/{number}",
                subject=f"phantom/{number}",
                split="train",
                ct=ct,
                labels=labels,
                original_shape=ct.shape,
                original_affine=ct.affine,
                table=table,
                annotated=frozenset[str]().union(*table),
            )
        write_index(data / name)


def prepare_peers(folder: Path) -> Path:
    """The interpreter of the peers' environment, which is made when it is missing."""
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"installing the peers into {folder}", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        constraints = folder / "constraints.txt"
        constraints.write_text("\n".join(PINNED) + "\n")
        # Not --only-binary: acvl-utils, which nnU-Net needs, is published as source alone.
        command = [str(python), "-m", "pip", "install", "--prefer-binary", "-c", str(constraints), "torch", *PEERS]
        subprocess.run(command, check=True, timeout=1800, stdout=subprocess.DEVNULL)
        (folder / "complete").touch()
    return python


def ask(python: str | Path, action: str, job: Job) -> dict[str, Any]:
    """Runs one job with an interpreter, in a process of its own."""
    script = __file__ if python == sys.executable else shared.__file__
    # nnU-Net says on import where it would look for data; warnings of all are theirs.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [str(python), script, "--job", action, json.dumps(asdict(job))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1800)
    if done.returncode:
        raise RuntimeError(f"{action} of {job} failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def suprem(job: Job) -> tuple[Iterator[int], int]:
    """Our datamodule, to the batch that the task is given."""
    from suprem.datamodules import CTDataModule
    from suprem.labels import label_space

    exclusive = job.contender != "suprem_overlapping"
    names = [name for name in label_space("universal_32").names if not (exclusive and name == "hepatic_vessel_tumor")]
    module = CTDataModule(
        Path(job.data) / ("store_large" if job.contender == "suprem_large" else "store"),
        names,
        patch_size=job.shape,
        batch_size=shared.BATCH,
        samples_per_epoch=50_000,  # more than are measured
        samples_per_volume=job.per_volume,
        augmentation=job.augmentation,
        positive=0.5,
        val_fraction=0.0,
        exclusive=exclusive,
        num_workers=shared.WORKERS,
    )

    def batches() -> Iterator[int]:
        for batch in module.train_dataloader():
            if job.contender == "suprem_loader":
                yield len(batch["image"])
                continue
            ready = module.on_after_batch_transfer(batch, 0)
            yield shared.checked(ready["image"], ready["target"], job)

    return batches(), shared.WORKERS


def run_job(action: str, job: Job) -> None:
    """Our side of `ask`."""
    import torch

    torch.set_num_threads(1)
    if action == "versions":
        print(json.dumps({name: version(name) for name in OURS}))
        return
    print(json.dumps(shared.measure(*suprem(job), job)), flush=True)
    shared.end_now()


def median(results: list[dict[str, Any]], key: str, row: tuple[str, int, str]) -> float:
    """Median of a figure over the repeats of one row."""
    return statistics.median(values(results, key, row))


def values(results: list[dict[str, Any]], key: str, row: tuple[str, int, str]) -> list[float]:
    """A figure of one row in each repeat."""
    return [r[key] for r in results if (r["contender"], r["per_volume"], r["augmentation"]) == row]


def machine(versions: dict[str, dict[str, str]]) -> str:
    """What the figures hold for."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    memory = shared.psutil.virtual_memory().total / 2**30
    text = f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Python {platform.python_version()}"
    for who, packages in versions.items():
        text += f"; {who}: " + ", ".join(f"{name} {number}" for name, number in packages.items())
    return text


def ratios(results: list[dict[str, Any]], row: tuple[str, int, str]) -> list[float]:
    """Ours over a peer's crops per second, repeat by repeat; nothing for rows that are not comparable."""
    ours = values(results, "crops_per_second", ("suprem", *row[1:]))
    theirs = values(results, "crops_per_second", row)
    return [a / b for a, b in zip(ours, theirs, strict=False)] if row[0] in COMPARED[1:] else []


def ratio(results: list[dict[str, Any]], row: tuple[str, int, str]) -> str:
    """The same as text: median (least to most)."""
    found = ratios(results, row)
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})" if found else ""


def table(results: list[dict[str, Any]], plan: Plan, about: str) -> str:
    """The results as Markdown."""
    lines = ["# Training crops per second", "", *(__doc__ or "").splitlines()[2:], ""]
    lines += [f"{about}.", "", TABLE_NOTES.strip(), ""]
    columns = ["per volume", "augmentation", "pipeline", "crops/s", "suprem is faster by", "CPU ms per crop"]
    lines += ["| " + " | ".join([*columns, "worker adds, MiB", "others"]) + " |"]
    lines += ["|--:|---|---|--:|--:|--:|--:|--:|"]
    for row in plan.rows:
        if not values(results, "crops", row):
            continue
        memory = max(values(results, "worker_added_mib", row))
        cells = [row[1], row[2], LABELS[row[0]], f"{median(results, 'crops_per_second', row):.1f}", ratio(results, row)]
        cells += [f"{median(results, 'cpu_ms_per_crop', row):.1f}", f"{memory:.0f}"]
        cells += [f"{median(results, 'other_cores', row):.2f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def save(results: list[dict[str, Any]], plan: Plan, about: str, folder: Path) -> None:
    """Writes the CSV and the Markdown."""
    compared = [
        {"contender": who, "per_volume": per, "augmentation": how, "suprem_faster_by": statistics.median(found)}
        for who, per, how in plan.rows
        if (found := ratios(results, (who, per, how)))
    ]
    write_csv(folder / "results_data_loading.csv", results)
    if compared:
        write_csv(folder / "results_data_loading_ratios.csv", compared)
    (folder / "results_data_loading.md").write_text(table(results, plan, about), encoding="utf-8")


def run(plan: Plan, data: Path, peers: Path, out: Path, only: list[str]) -> None:
    """Prepares everything that is missing, then measures all rows in turn, repeat by repeat."""
    prepare_volumes(plan, data)
    prepare_stores(data)
    other = prepare_peers(peers)
    interpreters = {name: sys.executable if name.startswith("suprem") else other for name in LABELS}
    for name in shared.PREPARE:
        if not (data / f"{name}.complete").exists():
            ask(other, "prepare", Job(name, str(data), "none", 1, plan.patch, 0))
            (data / f"{name}.complete").touch()
    anything = Job("suprem", str(data), "none", 1, plan.patch, 0)
    about = machine({"ours": ask(sys.executable, "versions", anything), "peers": ask(other, "versions", anything)})
    results: list[dict[str, Any]] = []
    for repeat in range(1, plan.repeats + 1):
        for name, per_volume, augmentation in plan.rows:
            if only and name not in only:
                continue
            job = Job(name, str(data), augmentation, per_volume, plan.patch, plan.seconds)
            found = ask(interpreters[name], "measure", job)
            row = {"repeat": repeat, "contender": name, "per_volume": per_volume, "augmentation": augmentation}
            results.append({**row, **found})
            save(results, plan, about, out)
            print({**row, **{key: round(value, 2) for key, value in found.items()}}, flush=True)


def main() -> None:
    """Measures, or does one job for the driver."""
    temporary = Path(tempfile.gettempdir())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny volumes, one repeat; results stay beside the data")
    parser.add_argument("--data", type=Path, default=temporary / "suprem_data_loading", help="made when it is missing")
    parser.add_argument("--peers-venv", type=Path, default=temporary / "suprem_data_loading_peers", help="likewise")
    parser.add_argument("--only", nargs="*", default=[], choices=list(LABELS))
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        run_job(arguments.job[0], Job(**json.loads(arguments.job[1])))
        return
    plan = QUICK if arguments.quick else Plan()
    plan = replace(plan, repeats=arguments.repeats or plan.repeats)
    data = arguments.data / ("quick" if arguments.quick else "full")
    run(plan, data, arguments.peers_venv, data if arguments.quick or arguments.only else HERE, arguments.only)


if __name__ == "__main__":
    main()
