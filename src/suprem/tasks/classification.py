"""Classification of scans or lesions with a pre-trained segmentation backbone."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NotRequired, TypedDict, get_args

import torch
from torch import nn
from torchmetrics.classification import MulticlassAccuracy, MulticlassAUROC

from suprem.adapters import apply_strategy
from suprem.backbones import create_model
from suprem.errors import ConfigurationError, UnknownNameError, did_you_mean
from suprem.heads._classification import ClassificationNetwork
from suprem.tasks.base import BaseTask
from suprem.tasks.execution import Execution, prepare_network
from suprem.tasks.optimisation import Optimisation
from suprem.zoo import Preprocessing, load_body

__all__ = ["CategoryBatch", "ClassificationTask", "Trained"]

Trained = Literal["full", "frozen_encoder", "linear_probe"]
"""What is trained: everything, all but the encoder, or the output layer (and its normalisation) alone."""


class CategoryBatch(TypedDict):
    """What the task is fed with.

    Attributes:
        image: float32 (N, 1, X, Y, Z), HU window scaled to [0, 1].
        category: int64 (N,), index of the category.
        region: bool (N, 1, X, Y, Z), voxels to pool over; absent means all.
        keys: names of the cases, for messages.
    """

    image: torch.Tensor
    category: torch.Tensor
    region: NotRequired[torch.Tensor]
    keys: NotRequired[list[str]]


class ClassificationTask(BaseTask):
    """Trains a :class:`suprem.heads._classification.ClassificationNetwork` with cross-entropy.

    Logged are the loss, the macro area under the ROC curve (one against the rest) and the mean accuracy of the
    categories (balanced accuracy).

    Args:
        backbone: a name of :func:`suprem.list_backbones`; ``None`` takes that of ``init``.
        categories: names in the order of the outputs.
        init: weights to start from, as for :func:`suprem.load_pretrained`; ``None`` starts from random values.
        trained: see :data:`Trained`.
        class_weights: category -> weight of its cases in the loss; those that are not named have 1.
        dropout: of the pooled features.
        preprocessing: what the data module does to a scan, for the record; ``None`` takes that of ``init``.
        backbone_kwargs: arguments of the backbone's builder, without ``init``.
        optimisation: learning rates, weight decay and schedule.
        execution: memory layout, recomputation, compilation.

    Raises:
        ConfigurationError: neither or both of ``backbone`` and ``init`` are given, or less than two categories.
        UnknownNameError: a class weight is for no category, or ``trained`` is unknown.

    Example:
        >>> task = ClassificationTask("segresnet_tiny", ["cyst", "tumour"])
        >>> task(torch.zeros(2, 1, 16, 16, 16)).shape
        torch.Size([2, 2])
    """

    network: nn.Module
    monitor: ClassVar[str] = "val/auroc"
    mode: ClassVar[Literal["min", "max"]] = "max"

    def __init__(
        self,
        backbone: str | None,
        categories: Sequence[str],
        *,
        init: str | None = None,
        trained: Trained = "full",
        class_weights: Mapping[str, float] | None = None,
        dropout: float = 0.0,
        preprocessing: Preprocessing | None = None,
        backbone_kwargs: Mapping[str, Any] | None = None,
        optimisation: Optimisation | None = None,
        execution: Execution | None = None,
    ) -> None:
        super().__init__(optimisation=optimisation)
        self.save_hyperparameters(
            "backbone", "categories", "init", "trained", "class_weights", "dropout", "backbone_kwargs"
        )
        self.backbone, self.init, self.backbone_kwargs = backbone, init, dict(backbone_kwargs or {})
        self.categories, self.class_weights = tuple(categories), dict(class_weights or {})
        self.trained, self.dropout, self.preprocessing = trained, dropout, preprocessing
        self.execution = execution or Execution()
        if len(set(self.categories)) != len(self.categories) or len(self.categories) < 2:
            raise ConfigurationError(f"categories are {list(categories)}; name at least two, and none twice.")
        if trained not in get_args(Trained):
            raise UnknownNameError(did_you_mean("choice of what is trained", trained, get_args(Trained)))
        for name in self.class_weights:
            if name not in self.categories:
                raise UnknownNameError(did_you_mean("category", name, self.categories))
        self.build()

    def configure_models(self) -> None:
        """Makes the network, and decides what is trained."""
        if (self.backbone is None) == (self.init is None):
            raise ConfigurationError(
                f"backbone is {self.backbone} and init {self.init}; give an architecture, or weights to start from."
            )
        if self.init is not None:
            segmentation = load_body(self.init).train()
            if self.preprocessing is None and segmentation.config is not None:
                self.preprocessing = segmentation.config.preprocessing
        else:
            segmentation = create_model(str(self.backbone), num_classes=1, **self.backbone_kwargs)
        network = ClassificationNetwork(segmentation, len(self.categories), dropout=self.dropout)
        prepare_network(network.backbone, self.execution)
        apply_strategy(network, "head" if self.trained == "linear_probe" else self.trained)
        self.network = network

    def configure_losses(self) -> None:
        """Makes the weighted cross-entropy."""
        weights = torch.tensor([self.class_weights.get(name, 1.0) for name in self.categories])
        self.loss = nn.CrossEntropyLoss(weights)

    def configure_metrics(self) -> None:
        """Makes the metrics of the validation, which add up over all processes."""
        count = len(self.categories)
        self.auroc = MulticlassAUROC(count, average="macro")
        self.accuracy = MulticlassAccuracy(count, average="macro")

    def forward(self, image: torch.Tensor, region: torch.Tensor | None = None) -> torch.Tensor:
        """(N, 1, X, Y, Z), region bool of the same shape -> logits (N, categories)."""
        logits: torch.Tensor = self.network(image, region)
        return logits

    def training_step(self, batch: CategoryBatch, batch_idx: int) -> torch.Tensor:
        """Cross-entropy of one batch."""
        return self._step(batch, "train")[0]

    def validation_step(self, batch: CategoryBatch, batch_idx: int) -> None:
        """Loss and metrics of one batch."""
        _, logits = self._step(batch, "val")
        for name, metric in (("auroc", self.auroc), ("balanced_accuracy", self.accuracy)):
            metric.update(logits.softmax(1), batch["category"])
            self.log(f"val/{name}", metric, on_epoch=True, on_step=False)

    def predict_step(self, batch: CategoryBatch, batch_idx: int) -> dict[str, Any]:
        """``probabilities`` float (N, categories), and ``keys`` of the batch."""
        return {"probabilities": self(batch["image"], batch.get("region")).softmax(1), "keys": batch.get("keys")}

    def _step(self, batch: CategoryBatch, stage: str) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self(batch["image"], batch.get("region"))
        loss: torch.Tensor = self.loss(logits, batch["category"])
        self.log_loss(loss, stage, batch)
        return loss, logits
