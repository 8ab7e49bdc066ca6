"""One training in processes of its own: `python training_client.py STORE OUT OPTIONS`, OPTIONS as JSON.

Options: devices, batch, epochs, checkpoint (to go on from), die (rank and step at which that process kills itself).
Writes the loss of every step to ``OUT/rank_R.jsonl`` and, at the end, the weights to ``OUT/weights.pt``.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint

from suprem.datamodules import CTDataModule
from suprem.tasks.optimisation import Optimisation
from suprem.tasks.segmentation import SegmentationTask
from suprem.zoo import Preprocessing

CLASSES = ["liver", "kidney_left", "spleen"]


class Losses(Callback):
    """Writes each loss down, and may end the process."""

    def __init__(self, out: Path, die: tuple[int, int] | None) -> None:
        self.out, self.die = out, die

    def on_train_batch_end(self, trainer: Trainer, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        row = {"step": trainer.global_step, "loss": float(outputs["loss"]), "keys": batch["keys"]}
        with (self.out / f"rank_{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        if self.die == (trainer.global_rank, trainer.global_step):
            os.kill(os.getpid(), signal.SIGKILL)

    def on_validation_end(self, trainer: Trainer, task: Any) -> None:
        if trainer.is_global_zero:
            with (self.out / "dice.jsonl").open("a") as file:
                file.write(json.dumps(task.dice_per_class) + "\n")


def main() -> None:
    store, out = sys.argv[1], Path(sys.argv[2])
    options = json.loads(sys.argv[3])
    torch.set_num_threads(1)
    seed_everything(0)
    data = CTDataModule(
        store, CLASSES, patch_size=(16, 16, 16), batch_size=options["batch"], samples_per_epoch=8, val_fraction=0.4
    )
    torch.manual_seed(0)  # the same start on every rank and in every run
    task = SegmentationTask(
        "segresnet_tiny", CLASSES, preprocessing=Preprocessing((10.0, 10.0, 10.0), patch_size=(16, 16, 16)),
        optimisation=Optimisation(1e-3, warmup_steps=2),
    )  # fmt: skip
    devices = options["devices"]
    trainer = Trainer(
        accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto", max_epochs=options["epochs"],
        logger=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        deterministic=True,
        callbacks=[
            ModelCheckpoint(out, filename="last", every_n_train_steps=1, enable_version_counter=False),
            Losses(out, tuple(options["die"]) if options.get("die") else None),
        ],
    )  # fmt: skip
    trainer.fit(task, data, ckpt_path=options.get("checkpoint"), weights_only=True)
    if trainer.is_global_zero:
        torch.save(task.network.state_dict(), out / "weights.pt")


if __name__ == "__main__":
    main()
