"""Does supervised pre-training help with structures it has not seen? A small answer, on synthetic CTs.

```
python experiments/phantom/transfer.py WORK --jobs 2
```

One network is pre-trained on 17 structures. Then few-shot training on 8 other structures starts from it and from
random weights, with the same cases, settings and number of steps. The cases of every draw are other ones; all runs are
scored on the same unseen phantoms. `results.csv` gets one row per run and `results_tests.csv` the tests.
"""

import argparse
import csv
import logging
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.inferers.inferer import SlidingWindowInferer
from phantoms import write_dataset
from pytorch_lightning import Trainer, seed_everything

from suprem.datamodules import CTDataModule
from suprem.datasets._prepare import prepare
from suprem.evaluation.metrics import dice
from suprem.evaluation.statistics import paired_t, welch_t
from suprem.tasks.execution import Execution
from suprem.tasks.optimisation import Optimisation
from suprem.tasks.segmentation import SegmentationTask
from suprem.volumes.store import Store
from suprem.zoo import Preprocessing

KNOWN = (
    *("spleen", "kidney_right", "kidney_left", "gall_bladder", "liver", "aorta", "postcava"),
    *("portal_vein_and_splenic_vein", "pancreas", "adrenal_gland_right", "adrenal_gland_left", "hepatic_vessel"),
    *("colon", "intestine", "rectum", "prostate", "celiac_trunk"),
)
NEW = ("esophagus", "stomach", "duodenum", "lung_right", "lung_left", "bladder", "femur_right", "femur_left")
SPACING = (4.0, 4.0, 4.0)
SEEDS = {"pretrain": range(3000, 3040), "pool": range(3100, 3120), "test": range(3200, 3208)}
PREPROCESSING = Preprocessing(SPACING, (-175.0, 250.0), (32, 32, 32))
SHOTS, DRAWS = (1, 5), range(6)
ARMS = ("scratch", "pretrained")


@dataclass(frozen=True)
class Run:
    """One few-shot training: where it starts, how many cases it sees, and which draw of them."""

    arm: str
    shots: int
    draw: int


def train(
    store: Path,
    classes: tuple[str, ...],
    steps: int,
    *,
    init: str | None,
    seed: int,
    batch: int,
    warmup: int,
    **few: int,
) -> SegmentationTask:
    """Trains for some steps and keeps the last weights, which needs no validation cases."""
    torch.set_num_threads(1)
    seed_everything(seed, verbose=False)
    data = CTDataModule(
        store,
        classes,
        patch_size=PREPROCESSING.patch_size,
        batch_size=batch,
        val_fraction=0.0,
        samples_per_epoch=batch * steps,
        seed=seed,
        **few,
    )
    task = SegmentationTask(
        "segresnet_tiny",
        classes,
        init=init,
        prior=0.02,
        preprocessing=PREPROCESSING,
        optimisation=Optimisation(learning_rate=3e-3, weight_decay=1e-4, head_rate=10.0, warmup_steps=warmup),
        execution=Execution(channels_last=True),
    )
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        gradient_clip_val=1.0,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, data)
    return task


def pretrain(work: Path, steps: int) -> str:
    """Trains on the known structures of all pre-training phantoms; returns the exported model."""
    task = train(work / "pretrain-4mm", KNOWN, steps, init=None, seed=0, batch=4, warmup=100)
    return f"local-dir:{task.export(work / 'pretrained', name='segresnet_tiny.transfer', overwrite=True)}"


def few_shot(work: Path, run: Run, init: str | None, steps: int) -> dict[str, float]:
    """Trains on the new structures and scores the unseen phantoms; returns the mean DSC of each structure."""
    task = train(work / "pool-4mm", NEW, steps, init=init, seed=run.draw, batch=2, warmup=20, subset=run.shots)
    return score(task, Store.open(work / "test-4mm"))


@torch.no_grad()
def score(task: SegmentationTask, store: Store) -> dict[str, float]:
    """Mean DSC of each structure over the cases that have it; scans and network share one grid."""
    task.eval()
    low, high = PREPROCESSING.hu_window
    task.inferer = SlidingWindowInferer((48, 48, 48), sw_batch_size=2, overlap=0.25, mode="gaussian")
    found: dict[str, list[float]] = {name: [] for name in task.classes}
    for record in store.records:
        case = store.case(record.key)
        image = torch.from_numpy(case.ct()).float().sub(low).div(high - low).clamp(0, 1)
        masks, labels = (task(image[None, None])[0] > 0).numpy(), case.labels()
        for mask, name in zip(masks, task.classes, strict=True):
            truth = np.isin(labels, [index for index, names in enumerate(case.table) if name in names])
            if truth.any():
                found[name].append(dice(mask, truth))
    return {name: float(np.mean(scores)) for name, scores in found.items() if scores}


def timed_few_shot(work: Path, run: Run, init: str | None, steps: int) -> tuple[Run, dict[str, float], float]:
    """:func:`few_shot` with its seconds."""
    start = time.monotonic()
    scores = few_shot(work, run, init, steps)
    return run, scores, time.monotonic() - start


def make_stores(work: Path, jobs: int) -> None:
    """Phantoms for pre-training, for few-shot training and for the scores; what is there is not made again."""
    for part, seeds in SEEDS.items():
        write_dataset(work / part, seeds, spacings=(SPACING,), lesions=0.3, jobs=jobs)
        prepare("folder", work / part, work / f"{part}-4mm", spacing_mm=SPACING, jobs=jobs)


def compare(rows: list[tuple[Run, dict[str, float], float]]) -> list[dict[str, object]]:
    """Pre-trained against scratch for each number of shots: paired over draws first, then Welch's as in the paper."""
    means = {run: float(np.mean(list(scores.values()))) for run, scores, _ in rows}
    table = []
    for shots in SHOTS:
        scratch, pretrained = ([means[Run(arm, shots, draw)] for draw in DRAWS] for arm in ARMS)
        paired, welch = paired_t(pretrained, scratch), welch_t(pretrained, scratch)
        table.append(
            {
                "shots": shots,
                "draws": len(DRAWS),
                "scratch": f"{np.mean(scratch):.4f}",
                "pretrained": f"{np.mean(pretrained):.4f}",
                "paired_t_p": f"{float(paired.p_value):.2e}",
                "welch_p": f"{float(welch.p_value):.2e}",
            }
        )
    return table


def write_rows(path: Path, rows: list[dict[str, object]]) -> None:
    """A CSV file with the keys of the first row as its header."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="Folder for phantoms, stores and the pre-trained network.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="Folder of the two tables.")
    parser.add_argument("--jobs", type=int, default=2, help="Processes, of one thread each.")
    parser.add_argument("--pretrain-steps", type=int, default=1500)
    parser.add_argument("--steps", type=int, default=300, help="Of every few-shot training.")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    work, start = options.work, time.monotonic()
    make_stores(work, options.jobs)
    runs = {arm: [Run(arm, shots, draw) for shots in SHOTS for draw in DRAWS] for arm in ARMS}
    with ProcessPoolExecutor(options.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        pretrained = pool.submit(pretrain, work, options.pretrain_steps)
        waiting = [pool.submit(timed_few_shot, work, run, None, options.steps) for run in runs["scratch"]]
        init = pretrained.result()
        waiting += [pool.submit(timed_few_shot, work, run, init, options.steps) for run in runs["pretrained"]]
        rows = [future.result() for future in waiting]
    table = [
        {
            "start": run.arm,
            "shots": run.shots,
            "draw": run.draw,
            "mean": f"{np.mean(list(scores.values())):.4f}",
            **{name: f"{value:.4f}" for name, value in scores.items()},
            "steps": options.steps,
            "seconds": f"{seconds:.0f}",
        }
        for run, scores, seconds in rows
    ]
    write_rows(options.out / "results.csv", table)
    tests = compare(rows)
    write_rows(options.out / "results_tests.csv", tests)
    print(*tests, f"{time.monotonic() - start:.0f} s in all", sep="\n")


if __name__ == "__main__":
    main()
