"""One run of a study: training from its starting point, and scores of the exported model."""

import csv
import glob
import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

from suprem._files import (
    atomic_folder,
    atomic_path,
    is_unwritable,
    make_folder,
    only_user,
    output_error,
    remove_leftovers,
    told_of,
)
from suprem._version import __version__
from suprem.datamodules import CTDataModule
from suprem.errors import CheckpointError, ConfigurationError, first_line
from suprem.evaluation.scores import CaseScore
from suprem.inference.predictor import Predictor
from suprem.tasks.segmentation import SegmentationTask
from suprem.transfer.run_table import CASES, RESULT, StudyFolder
from suprem.transfer.scoring import mean_scores, scored_cases
from suprem.transfer.study import ModelPlan, Run, Study, Training
from suprem.zoo import Preprocessing, card, list_checkpoints, load_pretrained

__all__ = ["architecture", "execute", "execute_by_name", "fit", "new_data", "new_task", "new_trainer"]
__all__ += ["start_training"]

logger = logging.getLogger(__name__)

_LAST = "last.ckpt"


def architecture(plan: ModelPlan) -> tuple[str, dict[str, Any]]:
    """Name and arguments of the backbone that all starting points of a model share.

    Raises:
        ConfigurationError: neither the plan nor its weights tell.
    """
    source = plan.source()
    if plan.backbone is not None or source is None:
        return str(plan.backbone), dict(plan.backbone_kwargs)
    if source in list_checkpoints():
        known = card(source)
        config = known.bundled_config()
        if config is None:
            return known.architecture.backbone, dict(known.architecture.kwargs)
    else:
        config = load_pretrained(source, classes=["liver"], progress=False).config
    if config is None:
        raise ConfigurationError(f"{source} does not say which backbone it is for; name it in the study.")
    return config.backbone, dict(config.backbone_kwargs)


def new_task(study: Study, run: Run, spacing_mm: tuple[float, float, float] | None) -> SegmentationTask:
    """The task of a run, with its starting weights; all runs of a model differ in nothing else."""
    settings, start = study.training, study.start(run)
    backbone, kwargs = architecture(study.models[run.model])
    local = start.source is None or start.source.startswith("local-file:")
    return SegmentationTask(
        backbone,
        study.groups[run.group],
        init=start.source,
        head="conv",
        preprocessing=Preprocessing(spacing_mm, settings.hu_window, settings.patch_size),
        exclusive=settings.exclusive,
        backbone_kwargs=kwargs if local else None,
        prior=settings.prior,
        strategy=run.strategy,  # type: ignore[arg-type]  # checked by the study
        lora_rank=settings.lora_rank,
        optimisation=settings.optimisation,
        execution=settings.execution,
    )


def execute(folder: StudyFolder, run: Run) -> None:
    """Trains and scores one run, unless it is finished; a killed one goes on from its last checkpoint.

    The folder of the run appears when everything in it is complete. Processes that torchrun starts train together, and
    the first of them scores.

    Raises:
        ConfigurationError: another process is at the same run, or the study cannot be run.
        CheckpointError: weights to start from, or a checkpoint to go on from, cannot be read.
        OutputError: the disk is full or read-only.
    """
    if folder.result(run) is not None:
        logger.info("%s is finished", run.name)
        shutil.rmtree(folder.work(run), ignore_errors=True)  # of a process that was killed just then
        return
    work = folder.work(run)
    make_folder(work)
    trainer = new_trainer(folder.study.training, work)
    if not trainer.is_global_zero:
        _train(trainer, folder.study, run, work)
        return
    with only_user(work):
        remove_leftovers(work.parent, glob.escape(folder.folder(run).name))  # other runs are being written there
        _complete(trainer, folder, run, work)
    with told_of(work):
        shutil.rmtree(work)


def execute_by_name(name: str, path: Path) -> None:
    """:func:`execute` for another process, which opens the study itself."""
    # Lightning tells at every start which devices there are, and once how to log to its makers.
    for noisy in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    folder = StudyFolder.open(path)
    execute(folder, next(run for run in folder.runs() if run.name == name))


def _complete(trainer: Trainer, folder: StudyFolder, run: Run, work: Path) -> None:
    study = folder.study
    start = time.monotonic()
    curve = _Curve(study, work)
    if study.training.curve_every is not None:
        trainer.callbacks.append(curve)  # type: ignore[attr-defined]
    task, data = _train(trainer, study, run, work)
    trained = time.monotonic()
    exported = _export(task, work)
    rows = _scores(study, task, exported, str(trainer.strategy.root_device))
    facts = {
        "suprem": __version__,
        "torch": torch.__version__,
        "device": trainer.strategy.root_device.type,
        "processes": trainer.world_size,
        "steps": trainer.global_step,
        "training_seconds": round(trained - start, 2),
        "scoring_seconds": round(time.monotonic() - trained, 2),
        "trained_parameters": sum(p.numel() for p in task.network.parameters() if p.requires_grad),
        "parameters": sum(p.numel() for p in task.network.parameters()),
        "train": [case.record.key for case in data.split.train],
        "curve": curve.points(),
        "cases_scored": len({row.case for row in rows}),
        "settings": asdict(study.training),
    }
    _write(folder, run, rows, facts, exported if study.training.keep_models else None)


def _train(trainer: Trainer, study: Study, run: Run, work: Path) -> tuple[SegmentationTask, CTDataModule]:
    settings = study.training
    start_training(settings, run.seed)
    data = new_data(
        settings,
        study.stores,
        study.groups[run.group],
        subset=run.shots,
        seed=run.seed,
        processes=trainer.world_size,
    )
    task = new_task(study, run, data.spacing_mm)
    fit(trainer, task, data, work, run.name)
    return task, data


def start_training(settings: Training, seed: int) -> None:
    """Sets threads and the seed of everything that is drawn; comes before the network is made."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    seed_everything(seed, verbose=False)


def new_data(
    settings: Training,
    stores: Sequence[str | Path],
    classes: Sequence[str],
    *,
    subset: int | float | None = None,
    seed: int = 0,
    processes: int = 1,
) -> CTDataModule:
    """Patches to train on; nothing validates, beside official parts."""
    return CTDataModule(
        stores,
        classes,
        patch_size=settings.patch_size,
        batch_size=settings.batch_size,
        samples_per_epoch=settings.steps * settings.batch_size * processes,
        hu_window=settings.hu_window,
        augmentation=settings.augmentation,
        exclusive=settings.exclusive,
        val_fraction=0.0,
        subset=subset,
        seed=seed,
        num_workers=settings.num_workers,
    )


def fit(trainer: Trainer, task: SegmentationTask, data: CTDataModule, work: Path, name: str) -> None:
    """Trains, from the last checkpoint in ``work`` where there is one.

    Raises:
        CheckpointError: that checkpoint cannot be read; the message calls the training ``name``.
        OutputError: there is no space for a checkpoint, or the disk is read-only.
    """
    last = work / _LAST
    try:
        trainer.fit(task, data, ckpt_path=str(last) if last.is_file() else None, weights_only=True)
    except OSError as error:
        if not is_unwritable(error):
            raise
        raise output_error(work, error) from error
    except (RuntimeError, UnpicklingError, EOFError, KeyError) as error:
        if not last.is_file() or trainer.global_step:
            raise
        raise CheckpointError(
            f"{last} cannot be read ({first_line(error)}); delete it to start {name} anew."
        ) from error


def new_trainer(settings: Training, work: Path) -> Trainer:
    """A trainer for so many steps, which leaves checkpoints in ``work`` where the settings ask for them."""
    callbacks: list[Callback] = []
    if settings.checkpoint_every is not None:
        callbacks.append(
            ModelCheckpoint(
                dirpath=work,
                filename="last",
                every_n_train_steps=settings.checkpoint_every,
                enable_version_counter=False,
            )
        )
    options: dict[str, Any] = {
        "gradient_clip_val": 1.0,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        **settings.trainer,
    }
    return Trainer(
        max_steps=settings.steps,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=bool(callbacks),
        callbacks=callbacks,
        default_root_dir=str(work),
        **options,
    )


class _Curve(Callback):
    """Scores the weights of a training on its way; kept in a file, so that a killed run keeps its beginning."""

    def __init__(self, study: Study, work: Path) -> None:
        self._study, self._path = study, work / "curve.json"

    def points(self) -> list[list[float]]:
        """Pairs of step and mean Dice coefficient over structures."""
        return json.loads(self._path.read_text(encoding="utf-8")) if self._path.is_file() else []

    def on_train_batch_end(self, trainer: Trainer, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Scores every so many steps."""
        step, every = trainer.global_step, self._study.training.curve_every
        if every is None or step % every or not trainer.is_global_zero:
            return
        rows = _scores(self._study, task, _export(task, self._path.parent), str(trainer.strategy.root_device))
        scores = mean_scores(rows, "dsc")
        earlier = [point for point in self.points() if point[0] < step]
        with atomic_path(self._path) as temporary:
            temporary.write_text(json.dumps([*earlier, [step, sum(scores.values()) / len(scores)]]), encoding="utf-8")


def _export(task: SegmentationTask, work: Path) -> Path:
    return task.export(work / "model", name="transfer.run", overwrite=True)


def _scores(study: Study, task: SegmentationTask, exported: Path, device: str) -> list[CaseScore]:
    # What is scored is the exported model, as anybody would load it.
    network = load_pretrained(f"local-dir:{exported}")
    if study.scoring.window is not None and network.config is not None:
        contract = replace(network.config.preprocessing, patch_size=study.scoring.window)
        network.config = replace(network.config, preprocessing=contract)
    predictor = Predictor(network, device=device, quality="exhaustive", overlap=study.scoring.overlap, max_ram=None)
    rows = []
    for case in scored_cases(study):
        rows += case.scores(predictor, task.classes, study.scoring.tolerance_mm)
    return rows


def _write(folder: StudyFolder, run: Run, rows: list[CaseScore], facts: dict[str, Any], exported: Path | None) -> None:
    content = {"run": run.name, "dsc": mean_scores(rows, "dsc"), "nsd": mean_scores(rows, "nsd"), "facts": facts}
    if not content["dsc"]:
        raise ConfigurationError(f"None of the scored references has a structure of {run.group}; nothing is measured.")
    plain = [row.row() for row in rows]
    with atomic_folder(folder.folder(run)) as target:
        if exported is not None:
            shutil.copytree(exported, target / "model")
        with (target / CASES).open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(plain[0]), lineterminator="\n")
            table.writeheader()
            table.writerows(plain)
        (target / RESULT).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
