"""Teaches a model of an ensemble what people have revised."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from suprem._files import make_folder, only_user, told_of
from suprem.errors import ConfigurationError
from suprem.labels import ordered
from suprem.tasks.segmentation import SegmentationTask
from suprem.transfer.study import Training
from suprem.transfer.training import fit, new_data, new_trainer, start_training
from suprem.volumes.store import Store
from suprem.zoo import Preprocessing

__all__ = ["FineTuned", "fine_tune"]


@dataclass(frozen=True)
class FineTuned:
    """One model after its training.

    Attributes:
        source: how :func:`suprem.load_pretrained` finds it.
        classes: canonical names, in channel order.
        cases: that it was trained on.
        steps: of the optimiser.
        seconds: of wall time; 0 where it was there already.
    """

    source: str
    classes: tuple[str, ...]
    cases: int
    steps: int
    seconds: float


def fine_tune(
    start: str,
    store: str | Path,
    out: str | Path,
    *,
    name: str,
    settings: Training,
    window: tuple[int, int, int] | None = None,
    seed: int = 0,
) -> FineTuned:
    """Trains a model further on every structure that is annotated in a store, and exports it.

    The output layer keeps the rows of structures that the weights know and gets new ones for the others. A killed
    training goes on from its last checkpoint, where ``settings.checkpoint_every`` leaves some; a finished one stands.

    Args:
        start: Weights, as for :func:`suprem.load_pretrained`.
        store: As :func:`suprem.atlas.training.write_training_store` makes it.
        out: Folder of the exported model; it appears when it is complete.
        name: What the model is called, ``architecture.tag``.
        settings: Of the training.
        window: Voxels of the windows with which the model predicts; ``None`` for the patch size of the training.
        seed: Of everything that is drawn.

    Raises:
        ConfigurationError: the store has no annotation, or another process is at the same training.
        CheckpointError: weights to start from, or a checkpoint to go on from, cannot be read.
        OutputError: the place cannot be written.
    """
    target, opened = Path(out), Store.open(store)
    classes = ordered({name for record in opened.records for name in record.annotated})
    if not classes:
        raise ConfigurationError(f"{store} has no annotation to train on; review some cases first.")
    training = sum(record.split == "train" for record in opened.records)
    work, began = target.parent / f".{target.name}.training", time.monotonic()
    if target.is_dir():
        shutil.rmtree(work, ignore_errors=True)  # of a process that was killed just then
        return FineTuned(f"local-dir:{target.resolve()}", classes, training, settings.steps, 0.0)
    make_folder(work)
    with only_user(work):
        start_training(settings, seed)
        trainer = new_trainer(settings, work)
        data = new_data(settings, [store], classes, seed=seed, processes=trainer.world_size)
        task = SegmentationTask(
            None,
            classes,
            init=start,
            preprocessing=Preprocessing(data.spacing_mm, settings.hu_window, window or settings.patch_size),
            exclusive=settings.exclusive,
            prior=settings.prior,
            optimisation=settings.optimisation,
            execution=settings.execution,
        )
        fit(trainer, task, data, work, name)
        task.export(target, name=name)
    with told_of(work):
        shutil.rmtree(work)
    seconds = round(time.monotonic() - began, 2)
    return FineTuned(f"local-dir:{target.resolve()}", classes, training, trainer.global_step, seconds)
