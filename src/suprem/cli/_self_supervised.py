"""What ``suprem pretrain-self`` does: the training of :mod:`suprem.cli._training` with another task and its data."""

from typing import Any, ClassVar

from pytorch_lightning.cli import LightningArgumentParser

from suprem.cli._provenance import provenance
from suprem.cli._training import MODEL, TrainingCLI, train
from suprem.datamodules.ct import CTDataModule
from suprem.datamodules.unlabelled import UnlabelledDataModule
from suprem.tasks.base import BaseTask
from suprem.tasks.self_supervised import SelfSupervisedTask

__all__ = ["SelfSupervisedCLI", "fit"]


class SelfSupervisedCLI(TrainingCLI):
    """There are no classes: the task gets its targets from the scans."""

    task_class: ClassVar[type[BaseTask]] = SelfSupervisedTask
    data_class: ClassVar[type[CTDataModule]] = UnlabelledDataModule

    def add_links(self, parser: LightningArgumentParser) -> None:
        """Model and data share nothing but the input contract."""
        parser.add_argument("--name", type=str | None, default=None, help="What the exported weights are called.")

    def own_callbacks(self) -> list[Any]:
        """None: there is no mask to draw."""
        return []


def fit(command: str, args: list[str], defaults: dict[str, Any]) -> None:
    """Trains, keeps the best and the last checkpoint, and exports what the best one has learned."""
    cli = SelfSupervisedCLI(command, args, defaults)
    seconds = train(cli, args)
    if seconds is None:
        return
    task, folder = cli.model, cli.out / MODEL
    name = cli.config["name"] or f"{task.backbone}.{cli.out.name}"
    task.export(
        folder,
        name=name,
        provenance=provenance(task, cli.datamodule, cli.trainer, cli.config, seconds),
        overwrite=True,
    )
    part = "encoder and decoder are" if "restoration" in task.proxies else "encoder is"
    print(f"The {part} in {folder}: suprem finetune --model.init local-dir:{folder} --classes ... --data.stores ...")
