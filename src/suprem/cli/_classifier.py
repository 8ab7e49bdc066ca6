"""What ``suprem train-classifier`` does: the training of :mod:`suprem.cli._training` with another task and its data."""

import csv
from typing import Any, ClassVar

import torch
from pytorch_lightning.cli import LightningArgumentParser

from suprem.cli._training import TrainingCLI, train
from suprem.datamodules.categories import CategoryDataModule
from suprem.datamodules.ct import CTDataModule
from suprem.tasks.base import BaseTask
from suprem.tasks.classification import ClassificationTask

__all__ = ["ClassifierCLI", "fit"]

PREDICTIONS = "predictions.csv"


class ClassifierCLI(TrainingCLI):
    """The categories of the table are the outputs of the network."""

    task_class: ClassVar[type[BaseTask]] = ClassificationTask
    data_class: ClassVar[type[CTDataModule]] = CategoryDataModule

    def add_links(self, parser: LightningArgumentParser) -> None:
        """The categories come from the data, when these have been read."""
        parser.link_arguments("data.categories", "model.categories", apply_on="instantiate")

    def own_callbacks(self) -> list[Any]:
        """None: there is nothing to draw."""
        return []


def fit(command: str, args: list[str], defaults: dict[str, Any]) -> None:
    """Trains, and writes the probabilities of the validation cases."""
    cli = ClassifierCLI(command, args, defaults)
    if train(cli, args) is None or not cli.datamodule.split.val:
        return
    # In this process alone: others have ended.
    data, task = cli.datamodule, cli.model.eval()
    rows = []
    for batch in data.validation_batches(task.device):
        with torch.no_grad():
            output = task.predict_step(batch, 0)
        for key, row in zip(output["keys"], output["probabilities"].tolist(), strict=True):
            rows.append((key, str(data.category(key)), *(f"{share:.6f}" for share in row)))
    path = cli.out / PREDICTIONS
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("case", "category", *data.categories))
        writer.writerows(rows)
    print(f"The probabilities of {len(rows)} validation cases are in {path}.")
