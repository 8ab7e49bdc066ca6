"""Trains `segresnet_tiny.phantom`, the bundled demonstration checkpoint, on synthetic phantoms.

```
python experiments/phantom/train.py --cache CACHE_FOLDER --out RUN_FOLDER
```

One CPU thread and about an hour are enough. The run continues from `RUN_FOLDER/last.ckpt` if that exists.
"""

import argparse
import csv
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from cases import SPACING_MM, prepared_case
from monai.inferers import SlidingWindowInferer
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, Dataset

from suprem.labels import label_space
from suprem.phantom import TRAINING_SEEDS, VALIDATION_SEEDS, phantom_table
from suprem.tasks.optimisation import Optimisation
from suprem.tasks.segmentation import SegmentationTask

CLASSES = label_space("universal_32").names
HU_WINDOW = (-175.0, 250.0)
PATCH = (48, 48, 48)
BACKBONE_KWARGS = {"init_filters": 8, "blocks_down": (1, 1, 1, 2), "blocks_up": (1, 1, 1)}

_log = logging.getLogger("train")


def scaled(image_hu: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """HU window -> [0, 1]."""
    low, high = HU_WINDOW
    return np.clip((image_hu.astype(np.float32) - low) / (high - low), 0.0, 1.0)


class Phantoms:
    """Cases in memory, with the places of every class for balanced sampling."""

    def __init__(self, seeds: range, cache: Path) -> None:
        table = phantom_table()
        self.channels = torch.tensor([[name in entry for entry in table] for name in CLASSES])
        self.cases = [prepared_case(seed, cache) for seed in seeds]
        self.palette = [np.unique(labels)[1:] for _, labels in self.cases]

    def target(self, labels: npt.NDArray[np.uint8]) -> torch.Tensor:
        """Palette index (X, Y, Z) -> bool (C, X, Y, Z)."""
        return self.channels[:, torch.from_numpy(labels.astype(np.int64))]


class Patches(Dataset[dict[str, torch.Tensor]]):
    """Random patches; item i is always the same patch, so that a continued run sees what it would have seen.

    Two of three patches are centred on a voxel of a randomly chosen entry of the label table, the others anywhere.
    """

    def __init__(self, phantoms: Phantoms, length: int, seed: int) -> None:
        self.phantoms, self.length, self.seed = phantoms, length, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, item: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng([self.seed, item])
        which = int(rng.integers(len(self.phantoms.cases)))
        image, labels = self.phantoms.cases[which]
        centre = [int(rng.integers(n)) for n in labels.shape]
        if item % 3:
            value = rng.choice(self.phantoms.palette[which])
            found = np.flatnonzero(labels == value)
            centre = list(np.unravel_index(int(rng.choice(found)), labels.shape))
        places = zip(centre, PATCH, labels.shape, strict=True)
        start = [int(np.clip(c - p // 2 + rng.integers(-8, 9), 0, n - p)) for c, p, n in places]
        window = tuple(slice(s, s + p) for s, p in zip(start, PATCH, strict=True))
        patch = image[window].astype(np.float32)
        patch = patch * rng.uniform(0.97, 1.03) + rng.uniform(-8, 8)
        if rng.random() < 0.3:
            patch += rng.normal(0.0, rng.uniform(2, 8), patch.shape).astype(np.float32)
        return {"image": torch.from_numpy(scaled(patch))[None], "target": self.phantoms.target(labels[window])}


class Volumes(Dataset[dict[str, torch.Tensor]]):
    """Whole validation cases."""

    def __init__(self, phantoms: Phantoms) -> None:
        self.phantoms = phantoms

    def __len__(self) -> int:
        return len(self.phantoms.cases)

    def __getitem__(self, item: int) -> dict[str, torch.Tensor]:
        image, labels = self.phantoms.cases[item]
        return {"image": torch.from_numpy(scaled(image))[None], "target": self.phantoms.target(labels)}


class Record(Callback):
    """Writes loss and validation Dice to CSV and to the log."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started, self.losses = folder, time.monotonic(), list[float]()

    def on_train_batch_end(self, trainer: Trainer, task: Any, outputs: Any, *_: Any) -> None:
        """Logs the mean loss now and then."""
        self.losses.append(float(outputs["loss"]))
        if trainer.global_step % 50 == 0:
            seconds = time.monotonic() - self.started
            _log.info("step %d loss %.4f after %.0f s", trainer.global_step, np.mean(self.losses[-50:]), seconds)

    def on_validation_end(self, trainer: Trainer, task: Any) -> None:
        """Appends one row to ``validation.csv``."""
        seconds = time.monotonic() - self.started
        scores = {name: round(value, 4) for name, value in task.dice_per_class.items()}
        _log.info("step %d val dice %.4f %s", trainer.global_step, np.nanmean(list(scores.values())), scores)
        file = self.folder / "validation.csv"
        new = not file.exists()
        with file.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, ["step", "seconds", *scores])
            if new:
                writer.writeheader()
            writer.writerow({"step": trainer.global_step, "seconds": round(seconds), **scores})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--validate-every", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    seed_everything(options.seed)
    train, val = Phantoms(TRAINING_SEEDS, options.cache), Phantoms(VALIDATION_SEEDS, options.cache)
    _log.info("%d training and %d validation cases at %s mm", len(train.cases), len(val.cases), SPACING_MM)
    task = SegmentationTask(
        "segresnet_tiny",
        CLASSES,
        backbone_kwargs=BACKBONE_KWARGS,
        inferer=SlidingWindowInferer(roi_size=PATCH, sw_batch_size=1, overlap=0.25, mode="gaussian"),
        prior=0.02,
        # AdamW moves a weight by about its learning rate per step at most, and telling rare structures apart with eight
        # features takes large weights in the output layer. See the README for the run without a rate of its own.
        optimisation=Optimisation(options.lr, weight_decay=1e-4, head_rate=15.0),
    )
    task.network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    _log.info("%d parameters", sum(p.numel() for p in task.network.parameters()))
    trainer = Trainer(
        accelerator="cpu",
        max_steps=options.steps,
        val_check_interval=options.validate_every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        gradient_clip_val=1.0,
        logger=False,
        enable_progress_bar=False,
        callbacks=[
            Record(options.out),
            ModelCheckpoint(options.out, filename="last", every_n_train_steps=100, enable_version_counter=False),
        ],
    )
    patches = Patches(train, options.steps * options.batch_size, options.seed)
    last = options.out / "last.ckpt"
    trainer.fit(
        task,
        DataLoader(patches, batch_size=options.batch_size),
        DataLoader(Volumes(val), batch_size=1),
        ckpt_path=last if last.exists() else None,
        weights_only=False,
    )
    trainer.save_checkpoint(last)
    network = options.out / "network.pt"
    torch.save(task.network.state_dict(), network)
    _log.info("%s; export.py makes the published folder of it", network)


if __name__ == "__main__":
    main()
