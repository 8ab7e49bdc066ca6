"""Supervised segmentation."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal, NotRequired, TypedDict

import torch

from suprem.adapters import Strategy, apply_strategy, merge_lora
from suprem.backbones import create_model
from suprem.backbones._base import SegmentationNetwork
from suprem.errors import ConfigurationError
from suprem.evaluation.statistics import mean_interval
from suprem.heads.universal import UniversalNetwork
from suprem.labels import canonical_name
from suprem.losses import DiceCELoss
from suprem.tasks.base import BaseTask
from suprem.tasks.deep_supervision import DeepSupervision, coarser, level_weights, rest_idle_heads
from suprem.tasks.execution import Execution, prepare_network
from suprem.tasks.optimisation import Optimisation
from suprem.tasks.text import provide_codes
from suprem.tasks.validation import Region, VolumeScore, stream_logits
from suprem.zoo import ModelConfig, Preprocessing, Provenance, Score, load_pretrained, save_folder

__all__ = ["SCORES", "Batch", "Inferer", "SegmentationTask"]

SCORES = "scores"
"""Where a checkpoint keeps the scores of its weights."""

_PER_SAMPLE = ("target", "annotated", "known")

Inferer = Callable[[torch.Tensor, torch.nn.Module], torch.Tensor]
"""Maps (image, network) to logits of the whole image, e.g. ``monai.inferers.SlidingWindowInferer``."""


class Batch(TypedDict):
    """What the task is fed with.

    Attributes:
        image: float32 (N, 1, X, Y, Z), HU window scaled to [0, 1].
        target: bool (N, C, X, Y, Z) for overlapping classes; integer (N, X, Y, Z), 0 background, for exclusive ones.
        annotated: bool (N, C), classes annotated in each sample; absent means all. Exclusive classes always are.
        known: bool (N, 1, X, Y, Z), voxels that count; absent means all.
        keys: names of the cases, for messages.
    """

    image: torch.Tensor
    target: torch.Tensor
    annotated: NotRequired[torch.Tensor]
    known: NotRequired[torch.Tensor]
    keys: NotRequired[list[str]]


class SegmentationTask(BaseTask):
    """Trains one network with Dice and cross-entropy; patches in training, whole volumes in validation.

    Args:
        backbone: a name of :func:`suprem.list_backbones`; ``None`` takes that of ``init``.
        classes: structure names in channel order, without background; synonyms are accepted.
        exclusive: softmax over background and exclusive classes, else one sigmoid per class.
        init: weights to start from, as for :func:`suprem.load_pretrained`; rows of the output layer are copied by the
            name of the class, the others start anew. ``None`` starts from random values.
        head: ``"conv"`` or ``"universal"``; ``None`` keeps that of ``init``.
        text: where the text-driven head takes codes of classes that ``init`` does not know: ``"learned"``,
            ``clip:MODEL`` or other weights, see :func:`suprem.tasks.text.text_codes`. ``"learned"`` trains all codes.
        preprocessing: what the data module does to a scan, recorded in what is exported; ``None`` takes that of
            ``init``.
        backbone_kwargs: arguments of the backbone's builder; with ``init`` for local files only.
        inferer: how a validation image is predicted; ``None`` slides a window of the patch size of ``preprocessing``,
            and without one runs the network on the whole image at once.
        prior: foreground probability that new classes of a convolutional head start with; ``None`` keeps random biases.
        strategy: which parameters are trained, see :func:`suprem.adapters.strategies.apply_strategy`.
        lora_rank: rank of the adapters of the strategy ``"lora"``.
        deep_supervision: how many coarser levels of the decoder have a loss of their own.
        optimisation: learning rates, weight decay and schedule.
        execution: memory layout, recomputation, compilation; ``None`` runs the network as it is.

    Raises:
        ConfigurationError: neither ``backbone`` nor ``init`` is given, or they contradict each other.

    Attributes:
        network: the :class:`suprem.backbones._base.SegmentationNetwork` being trained.
        dice_per_class: after a validation, mean Dice coefficient of each class over the cases that have it (NaN if
            none does).
        scores: the same with confidence intervals, for those that a case has; saved with every checkpoint.

    Example:
        >>> task = SegmentationTask("segresnet_tiny", ["liver", "spleen"])
        >>> task.network(torch.zeros(1, 1, 16, 16, 16)).shape
        torch.Size([1, 2, 16, 16, 16])
    """

    network: SegmentationNetwork
    monitor: ClassVar[str] = "val/dice"
    mode: ClassVar[Literal["min", "max"]] = "max"

    def __init__(
        self,
        backbone: str | None,
        classes: Sequence[str],
        *,
        init: str | None = None,
        head: Literal["conv", "universal"] | None = None,
        text: str | None = None,
        preprocessing: Preprocessing | None = None,
        exclusive: bool = False,
        backbone_kwargs: Mapping[str, Any] | None = None,
        inferer: Inferer | None = None,
        prior: float | None = None,
        strategy: Strategy = "full",
        lora_rank: int = 4,
        deep_supervision: int = 0,
        optimisation: Optimisation | None = None,
        execution: Execution | None = None,
    ) -> None:
        super().__init__(optimisation=optimisation)
        if prior is not None and not 0 < prior < 1:
            raise ConfigurationError(f"prior is {prior}; it must lie strictly between 0 and 1.")
        plain = (
            "backbone",
            "classes",
            "init",
            "head",
            "text",
            "exclusive",
            "backbone_kwargs",
            "prior",
            "strategy",
            "lora_rank",
            "deep_supervision",
        )
        self.save_hyperparameters(*plain)
        self.backbone, self.backbone_kwargs = backbone, backbone_kwargs
        self.init, self.head, self.text, self.preprocessing = init, head, text, preprocessing
        self.strategy, self.lora_rank = strategy, lora_rank
        self.deep_supervision, self.execution = deep_supervision, execution or Execution()
        self.classes = tuple(canonical_name(c) for c in classes)
        self.exclusive, self.inferer, self.prior = exclusive, inferer, prior
        self.build()

    def configure_models(self) -> None:
        """Makes the network: from pre-trained weights, or new with a head that starts from the prior."""
        self.network = self._new() if self.init is None else self._pretrained(self.init)
        self._set_prior()
        self._provide_text()
        apply_strategy(self.network, self.strategy, lora_rank=self.lora_rank)
        self.deep = None
        if self.deep_supervision:
            if self.execution.compile:
                raise ConfigurationError(
                    "deep_supervision looks into the network, which compile forbids; leave one out."
                )
            self.deep = DeepSupervision(self.network, self.network.num_classes, self.deep_supervision)
        rest_idle_heads(self.network, self.deep.own if self.deep else ())
        prepare_network(self.network, self.execution)

    def _new_classes(self) -> tuple[str, ...]:
        """Those that ``init`` does not know; all of them without it."""
        report = self.network.load_report
        return self.classes if report is None else report.new_classes

    def _set_prior(self) -> None:
        """The bias of new classes; a probability of one half everywhere would cost many steps to unlearn."""
        if self.prior is None or self.exclusive or isinstance(self.network, UniversalNetwork):
            return
        rows = [self.classes.index(name) for name in self._new_classes()]
        bias = self.network.get_submodule(self.network.head_path).bias
        if isinstance(bias, torch.Tensor):
            with torch.no_grad():
                bias[rows] = math.log(self.prior / (1 - self.prior))

    def _provide_text(self) -> None:
        if isinstance(self.network, UniversalNetwork):
            provide_codes(self.network, self.classes, self._new_classes(), self.text)
        elif self.text is not None:
            raise ConfigurationError(f"text is {self.text!r}, but the network has no text-driven head; leave text out.")

    def _new(self) -> SegmentationNetwork:
        if self.backbone is None:
            raise ConfigurationError(
                "Neither backbone nor init is given; name an architecture, or weights to start from."
            )
        channels = len(self.classes) + self.exclusive
        return create_model(
            self.backbone, num_classes=channels, head=self.head or "conv", **dict(self.backbone_kwargs or {})
        )

    def _pretrained(self, init: str) -> SegmentationNetwork:
        local = init.startswith("local-file:")
        network = load_pretrained(
            init,
            backbone=self.backbone if local else None,
            classes=self.classes,
            head=self.head,
            activation="softmax" if self.exclusive else "sigmoid",
            backbone_kwargs=self.backbone_kwargs,
            preprocessing=self.preprocessing,
        )
        config = _config_of(network)
        if self.backbone is not None and self.backbone != config.backbone:
            raise ConfigurationError(
                f"{init} is a {config.backbone!r}, not a {self.backbone!r}; leave backbone out, or take other weights."
            )
        self.preprocessing = config.preprocessing
        return network.train()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the scores of the latest validation, which tell how good these weights are."""
        checkpoint[SCORES] = [asdict(score) for score in self.scores]

    def export(
        self,
        folder: str | Path,
        *,
        name: str,
        notes: str = "",
        provenance: Provenance | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Writes the network as a folder that :func:`suprem.load_pretrained` and ``suprem predict`` take.

        Args:
            folder: Must not exist, unless ``overwrite``.
            name: What the model is called, ``architecture.tag``.
            notes: Markdown for its README.
            provenance: Data, training, licence and results for its README; ``None`` records the scores alone.
            overwrite: Replace an existing folder.

        Raises:
            ConfigurationError: the task has no ``preprocessing``, so nobody could tell how to feed the network.
            OutputError: the folder exists, or cannot be written.
        """
        if self.preprocessing is None:
            raise ConfigurationError("The task has no preprocessing; give it that of the data module to export it.")
        network = copy.deepcopy(self.network).eval()
        merge_lora(network)
        known = network.config
        backbone = known.backbone if known else self.backbone
        network.config = ModelConfig(
            name=name,
            backbone=str(backbone),
            classes=self.classes,
            head=known.head if known else self.head or "conv",
            activation="softmax" if self.exclusive else "sigmoid",
            backbone_kwargs=dict(known.backbone_kwargs if known else self.backbone_kwargs or {}),
            in_channels=network.in_channels,
            preprocessing=self.preprocessing,
        )
        known_facts = provenance or Provenance(scores=self.scores)
        return save_folder(network, folder, notes=notes, provenance=known_facts, overwrite=overwrite)

    def configure_losses(self) -> None:
        """Makes the Dice-CE loss for overlapping or exclusive classes."""
        self.loss = DiceCELoss(exclusive=self.exclusive)

    def configure_metrics(self) -> None:
        """Starts counting Dice coefficients from zero."""
        # Rows: number of cases with the class, sum of their Dice coefficients, sum of the squares of these.
        self._dice_sums = torch.zeros(3, len(self.classes), dtype=torch.float64)
        self.dice_per_class: dict[str, float] = {}
        self.scores: tuple[Score, ...] = ()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(N, 1, X, Y, Z) -> logits; patches in training, the inferer's sliding window otherwise."""
        if self.training or (self.inferer is None and self.preprocessing is None):
            logits: torch.Tensor = self.network(image)
            return logits
        if self.inferer is not None:
            return self.inferer(image, self.network)
        whole = None
        for number, sample in enumerate(image):
            for region, part in self._parts(sample):
                if whole is None:
                    whole = part.new_empty((len(image), len(part), *image.shape[2:]))
                whole[(number, slice(None), *region)] = part
        if whole is None:
            raise ConfigurationError(f"The image has shape {tuple(image.shape)}; there is nothing in it.")
        return whole

    def _parts(self, image: torch.Tensor) -> Iterator[tuple[Region, torch.Tensor]]:
        """Logits of a volume (1, X, Y, Z): slab by slab where windows slide, else in one piece."""
        if self.inferer is None and self.preprocessing is not None:
            yield from stream_logits(self.network, image, self.preprocessing.patch_size)
            return
        x, y, z = (slice(0, size) for size in image.shape[1:])
        yield (x, y, z), self(image[None])[0]

    def optimised(self) -> list[dict[str, Any]]:
        """The parameters of the network, and the output convolutions of deep supervision at the rate of the head."""
        groups, settings = super().optimised(), self.optimisation
        if self.deep is None or not self.deep.heads:
            return groups
        rate = settings.learning_rate * settings.head_rate
        own = {"params": list(self.deep.parameters()), "lr": rate, "weight_decay": settings.weight_decay}
        return [*groups, own]

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Loss of one batch of patches."""
        levels: list[torch.Tensor] = []
        if self.deep is None:
            logits = self(batch["image"])
        else:
            with self.deep.watch(self.network) as levels:
                logits = self(batch["image"])
        weights = level_weights(1 + len(levels))
        losses = [weight * self._loss(level, batch) for weight, level in zip(weights, (logits, *levels), strict=True)]
        loss = torch.stack(losses).sum()
        self.log_loss(loss, "train", batch)
        return loss

    def _loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Of logits at the resolution of the batch or a coarser one."""
        annotated, known = None if self.exclusive else batch.get("annotated"), batch.get("known")
        shape = logits.shape[2:]
        if known is not None:
            known = coarser(known, shape)
        loss: torch.Tensor = self.loss(logits, coarser(batch["target"], shape), annotated, known)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, torch.Tensor]:
        """Loss and Dice coefficients of whole volumes; returns ``mask``, bool (N, C, X, Y, Z), for callbacks."""
        losses, masks = [], []
        for number, image in enumerate(batch["image"]):
            sample = {name: batch[name][number : number + 1] for name in _PER_SAMPLE if name in batch}  # type: ignore[literal-required]
            score = VolumeScore(self.loss, sample, len(self.classes))
            mask = torch.empty((len(self.classes), *image.shape[1:]), dtype=torch.bool, device=image.device)
            for region, logits in self._parts(image):
                mask[(slice(None), *region)] = score.add(region, logits)
            losses.append(score.total_loss())
            masks.append(mask)
            dice = score.dice()
            sums = torch.stack([(~dice.isnan()).double(), dice.nan_to_num(0), dice.nan_to_num(0) ** 2])
            self._dice_sums = self._dice_sums.to(dice.device) + sums
        self.log_loss(torch.stack(losses).mean(), "val", batch)
        return {"mask": torch.stack(masks)}

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Masks of whole scans, as from :class:`suprem.datamodules.ScanDataModule`.

        Returns:
            ``mask`` bool (N, C, X, Y, Z), or for exclusive classes int64 (N, X, Y, Z) with 0 for background, on the
            grid of the batch; ``keys`` and ``affine`` of the batch.
        """
        logits = self(batch["image"])
        kept = {name: value for name, value in batch.items() if name in ("keys", "affine")}
        return {"mask": logits.argmax(1) if self.exclusive else logits > 0, **kept}

    def on_validation_epoch_start(self) -> None:
        """Starts counting from zero, whatever an interrupted validation has left."""
        self._dice_sums = torch.zeros_like(self._dice_sums)

    def on_validation_epoch_end(self) -> None:
        """Logs the mean Dice coefficient of each class over its cases, and the mean of these over the classes.

        Every process has counted its own cases; sums are added up, so that no case counts twice and a process with
        fewer cases does not count more.
        """
        gathered: torch.Tensor = self.all_gather(self._dice_sums)  # type: ignore[assignment]
        sums = gathered.view(-1, *self._dice_sums.shape).sum(0)
        per_class = sums[1] / sums[0]  # NaN where no case has the class
        self.dice_per_class = dict(zip(self.classes, per_class.tolist(), strict=True))
        self.scores = tuple(_score(*row) for row in zip(self.classes, *sums.tolist(), strict=True) if row[1])
        for name, score in self.dice_per_class.items():
            if not math.isnan(score):
                self.log(f"val/dice/{name}", score)
        self.log("val/dice", per_class.nanmean().float())


def _score(name: str, count: float, total: float, squares: float) -> Score:
    interval = mean_interval(total, squares, int(count))
    # A coefficient lies between 0 and 1, which Student's t does not know.
    low, high = (max(interval.low, 0.0), min(interval.high, 1.0)) if interval else (None, None)
    return Score(name, total / count, low, high, int(count))


def _config_of(network: SegmentationNetwork) -> ModelConfig:
    if network.config is None:
        raise ConfigurationError("The pre-trained network has no configuration; load it with load_pretrained().")
    return network.config
