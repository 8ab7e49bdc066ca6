"""Supervised segmentation."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NotRequired, TypedDict

import torch

from suprem.backbones import create_model
from suprem.errors import ConfigurationError
from suprem.labels import canonical_name
from suprem.losses import DiceCELoss
from suprem.tasks.base import BaseTask, OptimizerFactory, adamw

__all__ = ["Batch", "Inferer", "SegmentationTask"]

Inferer = Callable[[torch.Tensor, torch.nn.Module], torch.Tensor]
"""Maps (image, network) to logits of the whole image, e.g. ``monai.inferers.SlidingWindowInferer``."""


class Batch(TypedDict):
    """What the task is fed with.

    Attributes:
        image: float32 (N, 1, X, Y, Z), HU window scaled to [0, 1].
        target: bool (N, C, X, Y, Z) for overlapping classes; integer (N, X, Y, Z), 0 background, for exclusive ones.
        annotated: bool (N, C), classes annotated in each sample; absent means all. Overlapping classes only.
    """

    image: torch.Tensor
    target: torch.Tensor
    annotated: NotRequired[torch.Tensor]


class SegmentationTask(BaseTask):
    """Trains one network with Dice and cross-entropy; patches in training, whole volumes in validation.

    Args:
        backbone: a name of :func:`suprem.list_backbones`.
        classes: structure names in channel order, without background; synonyms are accepted.
        exclusive: softmax over background and exclusive classes, else one sigmoid per class.
        backbone_kwargs: arguments of the backbone's builder.
        inferer: sliding window of the validation; ``None`` runs the network on the whole validation image at once.
        prior: foreground probability that the new head starts with; ``None`` keeps its random bias.
        optimizer: see :class:`suprem.tasks.base.BaseTask`.
        warmup_steps: see :class:`suprem.tasks.base.BaseTask`.

    Attributes:
        network: the :class:`suprem.backbones._base.SegmentationNetwork` being trained.
        dice_per_class: after a validation, mean Dice coefficient of each class over the cases that have it (NaN if
            none does).

    Example:
        >>> task = SegmentationTask("segresnet_tiny", ["liver", "spleen"])
        >>> task.network(torch.zeros(1, 1, 16, 16, 16)).shape
        torch.Size([1, 2, 16, 16, 16])
    """

    monitor: ClassVar[str] = "val/dice"
    mode: ClassVar[Literal["min", "max"]] = "max"

    def __init__(
        self,
        backbone: str,
        classes: Sequence[str],
        *,
        exclusive: bool = False,
        backbone_kwargs: Mapping[str, Any] | None = None,
        inferer: Inferer | None = None,
        prior: float | None = None,
        optimizer: OptimizerFactory = adamw,
        warmup_steps: int = 100,
    ) -> None:
        super().__init__(optimizer=optimizer, warmup_steps=warmup_steps)
        if prior is not None and not 0 < prior < 1:
            raise ConfigurationError(f"prior is {prior}; it must lie strictly between 0 and 1.")
        self.save_hyperparameters("backbone", "classes", "exclusive", "backbone_kwargs", "prior", "warmup_steps")
        self.backbone, self.backbone_kwargs = backbone, dict(backbone_kwargs or {})
        self.classes = tuple(canonical_name(c) for c in classes)
        self.exclusive, self.inferer, self.prior = exclusive, inferer, prior
        self.build()

    def configure_models(self) -> None:
        """Makes the network, with a head that starts from the prior."""
        channels = len(self.classes) + self.exclusive
        self.network = create_model(self.backbone, num_classes=channels, **self.backbone_kwargs)
        if self.prior is not None and not self.exclusive:
            bias = self.network.get_submodule(self.network.head_path).bias
            if isinstance(bias, torch.Tensor):
                torch.nn.init.constant_(bias, float(torch.logit(torch.tensor(self.prior))))

    def configure_losses(self) -> None:
        """Makes the Dice-CE loss for overlapping or exclusive classes."""
        self.loss = DiceCELoss(exclusive=self.exclusive)

    def configure_metrics(self) -> None:
        """Empties the list of Dice coefficients per validation case."""
        self._case_dice: list[torch.Tensor] = []
        self.dice_per_class: dict[str, float] = {}

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(N, 1, X, Y, Z) -> logits; patches in training, the inferer's sliding window otherwise."""
        if self.training or self.inferer is None:
            logits: torch.Tensor = self.network(image)
            return logits
        return self.inferer(image, self.network)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Loss of one batch of patches."""
        return self._step(batch, "train")[0]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and Dice coefficients of whole volumes."""
        _, logits = self._step(batch, "val")
        self._case_dice.append(self._dice(logits, batch["target"], batch.get("annotated")))

    def _step(self, batch: Batch, stage: str) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self(batch["image"])
        loss: torch.Tensor = self.loss(logits, batch["target"], batch.get("annotated"))
        self.log(f"{stage}/loss", loss, batch_size=len(logits), on_epoch=stage == "val")
        return loss, logits

    def _dice(self, logits: torch.Tensor, target: torch.Tensor, annotated: torch.Tensor | None) -> torch.Tensor:
        """Hard Dice coefficient (N, classes); NaN where the reference is empty or not annotated."""
        if self.exclusive:
            numbers = torch.arange(1, len(self.classes) + 1, device=logits.device).view(1, -1, 1, 1, 1)
            predicted, wanted = logits.argmax(1, keepdim=True) == numbers, target[:, None] == numbers
        else:
            predicted, wanted = logits > 0, target > 0
        overlap, size = ((m).sum((2, 3, 4)) for m in (predicted & wanted, wanted))
        score = 2.0 * overlap / (predicted.sum((2, 3, 4)) + size).clamp(min=1)
        support = size > 0 if annotated is None else (size > 0) & annotated
        return torch.where(support, score, torch.nan)

    def on_validation_epoch_end(self) -> None:
        """Logs the mean Dice coefficient over cases, then over the classes that occur."""
        per_class = torch.cat(self._case_dice).nanmean(0)
        self._case_dice.clear()
        self.dice_per_class = dict(zip(self.classes, per_class.tolist(), strict=True))
        self.log("val/dice", per_class.nanmean())
