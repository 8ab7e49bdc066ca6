"""What ``suprem pretrain``, ``finetune`` and ``validate`` share: a LightningCLI around one task and one data module."""

import json
import math
import sys
import time
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, ClassVar

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import EMAWeightAveraging, LearningRateMonitor, ModelCheckpoint, RichProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException  # type: ignore[attr-defined]

from suprem._files import atomic_path, is_unwritable, make_folder, output_error, told_of
from suprem._version import __version__
from suprem.cli._provenance import provenance
from suprem.datamodules.ct import CTDataModule
from suprem.datamodules.prepared import TrainingData
from suprem.errors import CheckpointError, ConfigurationError, TrainingError, first_line
from suprem.tasks.base import BaseTask
from suprem.tasks.callbacks import Throughput
from suprem.tasks.pictures import Pictures
from suprem.tasks.segmentation import SCORES, SegmentationTask
from suprem.zoo import Preprocessing, Score

__all__ = ["TrainingCLI", "fit", "train", "validate"]

CONFIG, LAST, MODEL, RUN, PICTURES = "config.yaml", "last.ckpt", "model", "run.json", "pictures"
"""What a run leaves in its folder; ``metrics.csv`` comes from the logger."""

_TRAINER: dict[str, Any] = {"gradient_clip_val": 1.0, "num_sanity_val_steps": 0, "log_every_n_steps": 10}


def _contract(data: CTDataModule) -> Preprocessing:
    return Preprocessing(data.spacing_mm, data.hu_window, data.patches.size)


class TrainingCLI(LightningCLI):
    """Classes are given once, and the input contract of the model follows from the data."""

    task_class: ClassVar[type[BaseTask]] = SegmentationTask
    data_class: ClassVar[type[CTDataModule]] = TrainingData

    def __init__(self, command: str, args: list[str], defaults: dict[str, Any]) -> None:
        self._own_defaults = defaults
        precision = "bf16-mixed" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "32-true"
        super().__init__(
            self.task_class,
            self.data_class,
            args=args,
            run=False,
            save_config_callback=None,
            seed_everything_default=0,
            trainer_defaults={**_TRAINER, "precision": precision},
            parser_kwargs={"prog": f"suprem {command}"},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """As Lightning does; a file given as ``--config`` may hold anything."""
        try:
            super().parse_arguments(parser, args)
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"A file among the arguments is no YAML, but binary ({error}).") from error

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds what concerns the run as a whole, and links what model and data share."""
        parser.add_argument("--out", type=str, default="runs/latest", help="Folder of the run.")
        parser.add_argument(
            "--ckpt_path", type=str | None, default=None, help="Checkpoint to go on from; last takes that of --out."
        )
        parser.add_argument("--ema", type=float | None, default=None, help="Average the weights with this decay.")
        self.add_links(parser)
        parser.link_arguments("data", "model.preprocessing", compute_fn=_contract, apply_on="instantiate")
        parser.set_defaults(self._own_defaults)

    def add_links(self, parser: LightningArgumentParser) -> None:
        """What this kind of task shares with its data."""
        parser.add_argument("--classes", type=list[str], required=True, help="Structures, such as [liver,spleen].")
        parser.add_argument(
            "--pictures", type=int, default=2, help="Validation cases that are drawn at every validation."
        )
        parser.add_argument("--name", type=str | None, default=None, help="What the exported model is called.")
        parser.link_arguments("classes", "model.classes")
        parser.link_arguments("classes", "data.classes")
        parser.link_arguments("model.exclusive", "data.exclusive")

    def own_callbacks(self) -> list[Any]:
        """Callbacks of this kind of task."""
        cases = self.config["pictures"]
        return [Pictures(self.out / PICTURES, cases)] if cases > 0 else []

    @property
    def out(self) -> Path:
        """Folder of the run."""
        return Path(self.config["out"])

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Adds loggers and callbacks that write into the folder of the run."""
        kwargs.setdefault("default_root_dir", str(self.out))
        # CSV always; a chosen logger gets everything beside it.
        chosen = self.config_init["trainer"]["logger"]
        if chosen is not False:
            more = [] if chosen in (None, True) else chosen if isinstance(chosen, list) else [chosen]
            kwargs["logger"] = [CSVLogger(str(self.out), name="", version=""), *more]
        return super().instantiate_trainer(**kwargs)

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Any]) -> Trainer:
        own: list[Any] = [Throughput()]
        if config.get("enable_checkpointing") is not False and not config.get("fast_dev_run"):
            monitor, mode = self.task_class.monitor, self.task_class.mode
            options: dict[str, Any] = {"dirpath": str(self.out), "enable_version_counter": False}
            if self.datamodule.split.val:
                own.append(ModelCheckpoint(filename="best", monitor=monitor, mode=mode, **options))
            own.append(ModelCheckpoint(filename="last", save_on_train_epoch_end=True, **options))
        if config.get("logger") is not False:
            own.append(LearningRateMonitor())
        if self.config["ema"] is not None:
            own.append(EMAWeightAveraging(decay=self.config["ema"]))
        own += self.own_callbacks()
        if sys.stderr.isatty() and config.get("enable_progress_bar") is not False:
            own.append(RichProgressBar())
        try:
            return super()._instantiate_trainer(config, [*own, *callbacks])
        except (MisconfigurationException, ValueError) as error:
            # Lightning's refusals, such as FSDP without a GPU; its own errors have no class of theirs.
            raise ConfigurationError(f"The trainer refuses its settings: {' '.join(str(error).split())}") from error

    def save_config(self) -> None:
        """Writes the resolved configuration, with which ``--config`` repeats the run."""
        make_folder(self.out)
        with told_of(self.out):
            self.parser.save(self.config, self.out / CONFIG, overwrite=True, skip_unset=False)


def fit(command: str, args: list[str], defaults: dict[str, Any]) -> None:
    """Trains, keeps the best and the last checkpoint, and exports the best one as a model folder."""
    cli = TrainingCLI(command, args, defaults)
    seconds = train(cli, args)
    if seconds is None:
        return
    task = cli.model
    known = task.network.config
    backbone = known.backbone if known else task.backbone
    name = cli.config["name"] or f"{backbone}.{cli.out.name}"
    facts = provenance(task, cli.datamodule, cli.trainer, cli.config, seconds)
    task.export(cli.out / MODEL, name=name, provenance=facts, overwrite=True)
    print(f"The model is in {cli.out / MODEL}: suprem predict SCANS -o OUT --model local-dir:{cli.out / MODEL}")


def train(cli: TrainingCLI, args: list[str]) -> float | None:
    """Trains and writes down what was done.

    Returns:
        How many seconds it took, where this process shall go on with the best weights, now in the task; else ``None``.
    """
    task, trainer = cli.model, cli.trainer
    start, resume = time.monotonic(), _checkpoint(cli)
    if resume is not None:
        _weights(_read(resume), resume, task)
    if trainer.is_global_zero:
        cli.save_config()
    try:
        trainer.fit(task, cli.datamodule, ckpt_path=resume and str(resume), weights_only=True if resume else None)
    except OSError as error:
        if not is_unwritable(error):
            raise
        raise output_error(cli.out, error) from error
    except RuntimeError as error:
        if trainer.world_size == 1 or "peer" not in str(error):
            raise
        raise TrainingError(
            f"Another process of this training has ended ({first_line(error)}). Look at its messages; the "
            "same command with --ckpt_path last goes on from the last checkpoint."
        ) from error
    if not trainer.is_global_zero or cli.config["trainer"]["fast_dev_run"]:
        return None
    best = _best(trainer)
    if best is not None and best.best_model_path:  # not just any best.ckpt, which an earlier run may have left
        content = _read(Path(best.best_model_path))
        task.load_state_dict(_weights(content, Path(best.best_model_path), task))
        if isinstance(task, SegmentationTask):
            task.scores = tuple(Score(**score) for score in content.get(SCORES, ()))
    seconds = time.monotonic() - start
    _write_run(cli, args, seconds)
    return seconds


def _checkpoint(cli: TrainingCLI) -> Path | None:
    wanted: str | None = cli.config["ckpt_path"]
    if wanted is None:
        return None
    path = cli.out / LAST if wanted == "last" else Path(wanted)
    if not path.is_file():
        raise ConfigurationError(f"ckpt_path is {wanted!r}, but {path} does not exist; leave it out to start anew.")
    return path


def _read(path: Path) -> Any:
    """The content of a checkpoint.

    Raises:
        CheckpointError: it is damaged.
    """
    try:
        return torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    except (OSError, RuntimeError, ValueError, EOFError, UnpicklingError) as error:
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {first_line(error)}") from error


def _weights(content: Any, path: Path, task: BaseTask) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint, which have to be those of the task.

    Raises:
        CheckpointError: it is no checkpoint of a training, or one of another network.
    """
    found = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} is no checkpoint of a training; to start from its weights, give model.init.")
    own = task.state_dict()
    wrong = sorted(own.keys() ^ found.keys()) or [name for name in own if own[name].shape != found[name].shape]
    if wrong:
        shapes = (str(list(t[wrong[0]].shape)) if wrong[0] in t else "absent" for t in (found, own))
        raise CheckpointError(
            f"{path} is a checkpoint of another network: {len(wrong)} tensors differ, the first is {wrong[0]} "
            f"({next(shapes)} there, {next(shapes)} here). Give the settings it was trained with, or start anew."
        )
    return found


def _write_run(cli: TrainingCLI, args: list[str], seconds: float) -> None:
    task, data = cli.model, cli.datamodule
    record = {
        "suprem": __version__,
        "torch": torch.__version__,
        "arguments": args,
        "seconds": round(seconds, 1),
        "steps": cli.trainer.global_step,
        "epochs": cli.trainer.current_epoch,
        **({"dice_at_the_end": _scores(task)} if isinstance(task, SegmentationTask) else {}),
        "best": _best_score(cli.trainer),
        "preprocessing": asdict(_contract(data)),
        "train": [case.record.key for case in data.split.train],
        "val": [case.record.key for case in data.split.val],
        "held_out": list(data.split.held_out),
    }
    with atomic_path(cli.out / RUN) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _scores(task: SegmentationTask) -> dict[str, float | None]:
    """Dice coefficient of every class; ``None`` where no validation case has it, since JSON has no NaN."""
    return {name: None if math.isnan(value) else value for name, value in task.dice_per_class.items()}


def _best(trainer: Trainer) -> ModelCheckpoint | None:
    """The callback that keeps the best checkpoint; ``None`` when nothing validates."""
    found = [c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint) and c.monitor]
    return found[0] if found else None


def _best_score(trainer: Trainer) -> float | None:
    best = _best(trainer)
    return None if best is None or best.best_model_score is None else float(best.best_model_score)


def validate(args: list[str]) -> None:
    """Prints the Dice coefficient of every structure, as one JSON document."""
    defaults = {"out": "runs/validate", "trainer.logger": False, "trainer.enable_checkpointing": False}
    cli = TrainingCLI("validate", args, defaults)
    checkpoint = _checkpoint(cli)
    if checkpoint is not None:
        cli.model.load_state_dict(_weights(_read(checkpoint), checkpoint, cli.model))
    cli.trainer.validate(cli.model, cli.datamodule, verbose=False)
    mean = cli.trainer.callback_metrics.get("val/dice")
    document = {
        "mean": None if mean is None else float(mean),
        "dice": _scores(cli.model),
        "cases": [case.record.key for case in cli.datamodule.split.val],
    }
    print(json.dumps(document, indent=1))
