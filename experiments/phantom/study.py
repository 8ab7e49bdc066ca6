"""What the phantom-sized experiments share: phantoms, pre-trained networks of tiny width, and studies that use them.

Everything lies under one working folder and is made once, so that experiments share it and a stopped one goes on. The
grid is coarse (6 mm) and the networks small, because a whole experiment has to end within half an hour on two cores.
"""

import argparse
import csv
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from pytorch_lightning import LightningDataModule, Trainer, seed_everything

from experiments.phantom.phantoms import write_dataset
from suprem._files import read_csv
from suprem._workers import map_unordered
from suprem.datamodules import CTDataModule, UnlabelledDataModule
from suprem.datasets._prepare import prepare
from suprem.evaluation.statistics import welch_t
from suprem.tasks.execution import Execution
from suprem.tasks.optimisation import Optimisation
from suprem.tasks.segmentation import SegmentationTask
from suprem.tasks.self_supervised import SelfSupervisedTask
from suprem.transfer.leakage import check_study
from suprem.transfer.run_table import StudyFolder, create_folder
from suprem.transfer.study import study_from
from suprem.transfer.summary import Cell
from suprem.transfer.training import execute_by_name
from suprem.zoo import Preprocessing

T = TypeVar("T")
R = TypeVar("R")

HERE = Path(__file__).resolve().parents[1]

KNOWN = (
    *("spleen", "kidney_right", "kidney_left", "gall_bladder", "liver", "aorta", "postcava"),
    *("portal_vein_and_splenic_vein", "pancreas", "adrenal_gland_right", "adrenal_gland_left", "hepatic_vessel"),
    *("colon", "intestine", "rectum", "prostate", "celiac_trunk"),
)
"""Structures of the supervised pre-training."""

GROUPS = {
    "digestive": ("stomach", "duodenum", "esophagus", "bladder"),
    "thorax_and_legs": ("lung_right", "lung_left", "femur_right", "femur_left"),
}
"""Structures that no pre-training has seen the masks of."""

BACKBONES: dict[str, dict[str, Any]] = {
    "unet": {"base_channels": 4},
    "swinunetr": {"feature_size": 12, "depths": [1, 1, 1, 1], "window_size": 4},
    "segresnet_tiny": {},
}
"""Tiny width of each backbone of the paper's Table 2."""

SPACING = (6.0, 6.0, 6.0)
PATCH = (32, 32, 32)
PATCHES = {"swinunetr": (32, 32, 64)}
"""Where it is not :data:`PATCH`: Swin UNETR halves an edge five times, and has to be left more than one voxel."""

SEEDS = {"pretrain": range(3000, 3032), "pool": range(3100, 3120), "test": range(3200, 3204)}
SUPERVISED_STEPS, SELF_SUPERVISED_STEPS = 400, 150
DRAWS = (0, 1, 2)

TRAINING: dict[str, Any] = {
    "steps": 60,
    "batch_size": 2,
    "patch_size": list(PATCH),
    "threads": 1,
    "checkpoint_every": 30,
    "optimisation": {"learning_rate": 3e-3, "weight_decay": 1e-4, "head_rate": 10.0, "warmup_steps": 10},
    "execution": {"channels_last": True},
    "trainer": {"accelerator": "cpu"},
}
"""Of every fine-tuning; other numbers of steps are given by the experiments."""

WINDOW: dict[str, Any] = {"window": [64, 64, 96], "overlap": 0.0}


@dataclass(frozen=True)
class Pretraining:
    """One network that is pre-trained.

    Attributes:
        backbone: one of :data:`BACKBONES`.
        kind: ``"supervised"`` or ``"self_supervised"``.
        volumes: phantoms that it sees; ``None`` for all.
        seed: of everything that is drawn.
        store: of the phantoms.
    """

    backbone: str
    kind: str
    volumes: int | None = None
    seed: int = 0
    store: str = "pretrain"

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.backbone}-{self.kind}-{self.store}-{self.volumes or 'all'}-{self.seed}"


def make_store(
    work: Path,
    name: str,
    seeds: range,
    *,
    jobs: int,
    scan_spacing: tuple[float, float, float] = SPACING,
    spacing: tuple[float, float, float] = SPACING,
    lesions: float = 0.3,
) -> Path:
    """A store of phantoms, scanned at one spacing and stored at another; what is there is not made again."""
    store = work / f"{name}-store"
    write_dataset(work / f"{name}-raw", seeds, spacings=(scan_spacing,), lesions=lesions, jobs=jobs)
    prepare("folder", work / f"{name}-raw", store, spacing_mm=spacing, jobs=jobs)
    return store


def make_stores(work: Path, jobs: int) -> None:
    """Phantoms for pre-training, for fine-tuning and for scores."""
    for name, seeds in SEEDS.items():
        make_store(work, name, seeds, jobs=jobs)


def pretrain(run: Pretraining, work: Path) -> str:
    """Trains and exports a network, unless it is there; returns how ``load_pretrained`` finds it."""
    out = work / "pretrained" / run.name
    if not out.exists():
        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        torch.set_num_threads(1)
        seed_everything(run.seed, verbose=False)
        task, data, steps = (_supervised if run.kind == "supervised" else _self_supervised)(run, work)
        trainer = Trainer(
            accelerator="cpu", max_steps=steps, gradient_clip_val=1.0, limit_val_batches=0, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(task, data)
        task.export(out, name=f"{run.backbone}.{run.kind}")
    return f"local-dir:{out}"


def _settings(run: Pretraining, learning_rate: float) -> dict[str, Any]:
    return {
        "preprocessing": Preprocessing(SPACING, (-175.0, 250.0), PATCHES.get(run.backbone, PATCH)),
        "execution": Execution(channels_last=True),
        "optimisation": Optimisation(
            learning_rate=learning_rate, weight_decay=1e-4, head_rate=10.0, warmup_steps=20
        ),
    }  # fmt: skip


def _patches(run: Pretraining) -> dict[str, Any]:
    size = PATCHES.get(run.backbone, PATCH)
    return {"patch_size": size, "batch_size": 2, "val_fraction": 0.0, "subset": run.volumes, "seed": run.seed}


def _supervised(run: Pretraining, work: Path) -> tuple[SegmentationTask, LightningDataModule, int]:
    data = CTDataModule(work / f"{run.store}-store", KNOWN, samples_per_epoch=2 * SUPERVISED_STEPS, **_patches(run))
    task = SegmentationTask(
        run.backbone, KNOWN, backbone_kwargs=BACKBONES[run.backbone], prior=0.02, **_settings(run, 3e-3)
    )
    return task, data, SUPERVISED_STEPS


def _self_supervised(run: Pretraining, work: Path) -> tuple[SelfSupervisedTask, LightningDataModule, int]:
    """Swin UNETR has the proxies of Tang et al., as in the paper, the others the restoration of Models Genesis."""
    proxies = ("inpainting", "rotation", "contrastive") if run.backbone == "swinunetr" else ("restoration",)
    data = UnlabelledDataModule(
        stores=str(work / f"{run.store}-store"), samples_per_epoch=2 * SELF_SUPERVISED_STEPS, **_patches(run)
    )
    task = SelfSupervisedTask(run.backbone, proxies, backbone_kwargs=BACKBONES[run.backbone], **_settings(run, 1e-3))  # type: ignore[arg-type]
    return task, data, SELF_SUPERVISED_STEPS


def collect(function: Callable[[T], R], items: Sequence[T], jobs: int) -> dict[T, R]:
    """What a function gives for every item, in processes; the first failure ends it."""
    found: dict[T, R] = {}
    for item, outcome in map_unordered(function, list(items), jobs=jobs):
        if isinstance(outcome, Exception):
            raise outcome
        found[item] = outcome
        logging.warning("done: %s", item)
    return {item: found[item] for item in items}  # in their order, whichever ended first


def pretrain_all(runs: Sequence[Pretraining], work: Path, jobs: int) -> dict[Pretraining, str]:
    """All of them, in processes of one thread each."""
    return collect(partial(pretrain, work=work), runs, jobs)


def starts(work: Path, sources: Mapping[str, str | None]) -> dict[str, Any]:
    """Starting points of a study, which name what they were trained on."""
    seen = [str(work / "pretrain-store")]
    return {name: source and {"source": source, "trained_on": seen} for name, source in sources.items()}


def run_study(work: Path, name: str, jobs: int, **values: Any) -> StudyFolder:
    """Plans a study, checks it for leakage, and runs what is not finished."""
    study = study_from(
        {"stores": [str(work / "pool-store")], "scoring": {"store": str(work / "test-store"), **WINDOW},
         "training": TRAINING, "seeds": list(DRAWS), "groups": GROUPS, **values},
        name,
    )  # fmt: skip
    check_study(study)
    folder = create_folder(work / "studies" / name, study)
    waiting = [run.name for run in folder.runs() if folder.result(run) is None]
    collect(partial(execute_by_name, path=folder.path), waiting, jobs)
    return folder


def dsc_row(cell: Cell, **keys: Any) -> dict[str, Any]:
    """A row of ``results.csv``: mean and deviation in percent, and Welch's test, not corrected, as in the paper."""
    row = number_row("dsc", [100 * value for value in cell.values], cell.p_welch, "Welch's t", **keys)
    return {**row, "note": cell.note}


def welch_p(values: Sequence[float], against: Sequence[float]) -> float:
    """P-value of Welch's test; NaN where one side has no spread."""
    spread = np.ptp(values) > 0 and np.ptp(against) > 0
    return float(welch_t(values, against).p_value) if spread else math.nan


def number_row(
    metric: str, values: Sequence[float], p_value: float = math.nan, test: str = "", *, digits: int = 2, **keys: Any
) -> dict[str, Any]:
    """A row of ``results.csv`` from the values of all draws; NaN is no test."""
    tested = not math.isnan(p_value)
    return {
        **keys,
        "metric": metric,
        "mean": f"{np.mean(values):.{digits}f}",
        "sd": f"{np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else "",
        "n": len(values),
        "p_value": f"{p_value:.3g}" if tested else "",
        "test": test if tested else "",
        "note": "",
    }


def write_results(item: str, rows: Iterable[Mapping[str, Any]], out: Path | None = None) -> Path:
    """``results.csv`` of an experiment, with the columns of its ``expected.csv``."""
    columns, _ = read_csv(HERE / item / "expected.csv", advice="It is part of the repository.")
    path = (out or HERE / item) / "results.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n", restval="")
        table.writeheader()
        table.writerows(rows)
    return path


def main(
    item: str, doc: str | None, experiment: Callable[[Path, int], list[dict[str, Any]]], *, stores: bool = True
) -> None:
    """The command line of every phantom-sized experiment; ``stores`` makes the phantoms that most of them share."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="Folder for phantoms, networks and runs; shared by the experiments.")
    parser.add_argument("--jobs", type=int, default=2, help="Processes, of one thread each.")
    parser.add_argument("--out", type=Path, help="Folder of results.csv; default: that of the experiment.")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    start, work = time.monotonic(), options.work.resolve()
    if stores:
        make_stores(work, options.jobs)
    rows = experiment(work, options.jobs)
    path = write_results(item, rows, options.out)
    print(f"{path}: {len(rows)} rows; {time.monotonic() - start:.0f} s in all")
