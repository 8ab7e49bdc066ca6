"""Self-supervised pre-training: what a network can learn from scans without labels."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NotRequired, TypedDict, get_args

import torch
import torch.nn.functional as F
from monai.losses.contrastive import ContrastiveLoss
from torchmetrics.classification import MulticlassAccuracy

from suprem.backbones import create_model
from suprem.backbones._base import SegmentationNetwork
from suprem.errors import ConfigurationError, UnknownNameError, did_you_mean
from suprem.heads._self_supervised import ROTATIONS, SelfSupervisedNetwork
from suprem.tasks.base import BaseTask
from suprem.tasks.distortions import Distortion, Masking, apply_distortion, apply_view, draw_distortion, draw_view
from suprem.tasks.execution import Execution, prepare_network
from suprem.tasks.optimisation import Optimisation
from suprem.zoo import ModelConfig, Preprocessing, Provenance, load_body, save_folder

__all__ = ["Proxy", "SelfSupervisedTask", "UnlabelledBatch"]

Proxy = Literal["inpainting", "rotation", "contrastive", "restoration"]
_TANG: tuple[Proxy, ...] = ("inpainting", "rotation", "contrastive")
_RESTORATION = 2  # what the seeds of distortions are told from those of views 0 and 1 by
_COLDEST = 0.02
"""Below this temperature exp(1 / temperature) leaves the range of float32."""


class UnlabelledBatch(TypedDict):
    """What the task is fed with, as by :class:`suprem.datamodules.UnlabelledDataModule`.

    Attributes:
        image: float32 (N, 1, X, Y, Z), HU window scaled to [0, 1].
        seeds: N numbers that are not negative; everything random is drawn from them.
        keys: names of the cases, for messages.
    """

    image: torch.Tensor
    seeds: Sequence[int]
    keys: NotRequired[list[str]]


class SelfSupervisedTask(BaseTask):
    """Trains a backbone with proxy tasks that need no labels.

    Each patch is seen in two views (one, without contrastive coding), each turned about the z axis and masked:

    - ``inpainting``: mean absolute error of the reconstruction of the turned patch without mask;
    - ``rotation``: cross-entropy of the number of quarter turns, 0 to 3;
    - ``contrastive``: NT-Xent (InfoNCE) between the two views, against all other views of the batch of this process.

    These three train the encoder alone (Tang et al. 2022). ``restoration`` trains the decoder too: mean squared error
    between the sigmoid of the output and the patch, whose distorted form is the input (Models Genesis, Zhou et al.).

    Logged are the loss and each proxy's under its name, in training and on patches of held-out cases, where the
    accuracy of the rotation stands beside them.

    Args:
        backbone: a name of :func:`suprem.list_backbones`; ``None`` takes that of ``init``.
        proxies: which of these four; any combination.
        init: weights to start from, as for :func:`suprem.load_pretrained`, whose output layer is left out; ``None``
            starts from random values.
        proxy_weights: proxy -> weight of its loss in the sum; those that are not named have 1.
        masking: of the views.
        distortion: of the patches to restore.
        temperature: of contrastive coding.
        embedding: width of the contrastive embedding.
        preprocessing: what the data module does to a scan, recorded in what is exported; ``None`` takes that of
            ``init``.
        backbone_kwargs: arguments of the backbone's builder; with ``init`` for local files only.
        optimisation: learning rates, weight decay and schedule.
        execution: memory layout, recomputation, compilation.

    Raises:
        ConfigurationError: neither ``backbone`` nor ``init`` is given, or they contradict each other; no proxy is
            chosen, or one twice; the backbone lacks what a proxy needs; a number is out of its range.
        UnknownNameError: a proxy is unknown, or a weight is for one that was not chosen.

    Example:
        >>> task = SelfSupervisedTask("segresnet_tiny", ["rotation"])
        >>> batch = {"image": torch.rand(2, 1, 16, 16, 16), "seeds": [1, 2]}
        >>> sorted(task.losses(batch))
        ['rotation']

    References:
        Tang et al., "Self-supervised pre-training of Swin Transformers for 3D medical image analysis", CVPR 2022,
        section 3: the proxies, the transposed convolution, the linear contrastive layer of width 512, and equal weights
        of the losses. The temperature could not be confirmed; 0.5 is the default of MONAI's loss. Rotation and contrast
        sit on the mean of the deepest features over space; how the paper pools them could not be confirmed either.

        Zhou et al., "Models Genesis", Medical Image Analysis 67 (2021), section 2: restoration, with the mean squared
        error.
    """

    network: SelfSupervisedNetwork
    monitor: ClassVar[str] = "val/loss"
    mode: ClassVar[Literal["min", "max"]] = "min"

    def __init__(
        self,
        backbone: str | None,
        proxies: Sequence[Proxy] = _TANG,
        *,
        init: str | None = None,
        proxy_weights: Mapping[str, float] | None = None,
        masking: Masking | None = None,
        distortion: Distortion | None = None,
        temperature: float = 0.5,
        embedding: int = 512,
        preprocessing: Preprocessing | None = None,
        backbone_kwargs: Mapping[str, Any] | None = None,
        optimisation: Optimisation | None = None,
        execution: Execution | None = None,
    ) -> None:
        super().__init__(optimisation=optimisation)
        self.save_hyperparameters(
            "backbone", "proxies", "init", "proxy_weights", "temperature", "embedding", "backbone_kwargs"
        )
        self.backbone, self.init, self.backbone_kwargs = backbone, init, dict(backbone_kwargs or {})
        self.proxies: tuple[Proxy, ...] = tuple(proxies)
        self.proxy_weights = dict(proxy_weights or {})
        self.masking, self.distortion = masking or Masking(), distortion or Distortion()
        self.temperature, self.embedding = temperature, embedding
        self.preprocessing, self.execution = preprocessing, execution or Execution()
        self._check()
        self.build()

    def _check(self) -> None:
        for name in self.proxies:
            if name not in get_args(Proxy):
                raise UnknownNameError(did_you_mean("proxy", str(name), get_args(Proxy)))
        if not self.proxies or len(set(self.proxies)) != len(self.proxies):
            raise ConfigurationError(f"proxies are {list(self.proxies)}; choose at least one, and none twice.")
        for weighted, weight in self.proxy_weights.items():
            if weighted not in self.proxies:
                raise UnknownNameError(did_you_mean("chosen proxy", weighted, self.proxies))
            if weight <= 0:
                raise ConfigurationError(
                    f"The weight of {weighted} is {weight}; it must be positive, or leave {weighted} out."
                )
        if self.temperature < _COLDEST or self.embedding < 1:
            raise ConfigurationError(
                f"temperature is {self.temperature} and embedding {self.embedding}; they must be at least {_COLDEST} "
                "and 1."
            )
        if self.backbone is None and self.init is None:
            raise ConfigurationError(
                "Neither backbone nor init is given; name an architecture, or weights to start from."
            )

    def configure_models(self) -> None:
        """Makes the network, new or from pre-trained weights."""
        if self.init is None:
            backbone = create_model(str(self.backbone), num_classes=1, **self.backbone_kwargs)
        else:
            backbone = self._pretrained(self.init)
        self.network = SelfSupervisedNetwork(backbone, self.proxies, embedding=self.embedding)
        prepare_network(self.network, self.execution)

    def _pretrained(self, init: str) -> SegmentationNetwork:
        local = init.startswith("local-file:")
        network = load_body(
            init, backbone=self.backbone if local else None, head="conv", backbone_kwargs=self.backbone_kwargs or None
        )
        config = network.config
        if config is not None:
            if self.backbone not in (None, config.backbone):
                raise ConfigurationError(
                    f"{init} is a {config.backbone!r}, not a {self.backbone!r}; leave backbone out, or take other "
                    "weights."
                )
            self.backbone, self.backbone_kwargs = config.backbone, dict(config.backbone_kwargs)
            self.preprocessing = self.preprocessing or config.preprocessing
        return network.train()

    def configure_losses(self) -> None:
        """Makes the contrastive loss; the others are functions."""
        self.contrast = ContrastiveLoss(self.temperature)

    def configure_metrics(self) -> None:
        """Makes the accuracy of the rotation, which adds up over all processes."""
        self.accuracy = MulticlassAccuracy(ROTATIONS, average="micro") if "rotation" in self.proxies else None

    def losses(self, batch: UnlabelledBatch) -> dict[str, torch.Tensor]:
        """The loss of every chosen proxy, without its weight.

        Raises:
            ConfigurationError: contrastive coding of a single patch, rotation of patches that are not as wide in x as
                in y, or a batch without a seed per patch.
        """
        return self._losses(batch)[0]

    def _losses(
        self, batch: UnlabelledBatch
    ) -> tuple[dict[str, torch.Tensor], tuple[torch.Tensor, torch.Tensor] | None]:
        """The losses; and logits and labels of the rotation, where it is chosen."""
        image, seeds = batch["image"][:, 0], [int(seed) for seed in batch["seeds"]]
        self._check_batch(image, seeds)
        shape = (image.shape[1], image.shape[2], image.shape[3])
        views = turned = turns = distorted = restored = None
        if self.network.on_encoder:
            number = 2 if "contrastive" in self.proxies else 1
            drawn = [draw_view(self.masking, [seed, view], shape) for view in range(number) for seed in seeds]
            pairs = [apply_view(view, image[place % len(image)]) for place, view in enumerate(drawn)]
            views, turned = (torch.stack(part)[:, None] for part in zip(*pairs, strict=True))
            turns = torch.tensor([view.turns for view in drawn], device=image.device)
        if self.network.on_decoder:
            patches = (draw_distortion(self.distortion, [seed, _RESTORATION], shape) for seed in seeds)
            both = [apply_distortion(drawn, patch) for drawn, patch in zip(patches, image, strict=True)]
            distorted, restored = (torch.stack(part)[:, None] for part in zip(*both, strict=True))
        found = {name: value.float() for name, value in self.network(views, distorted).items()}
        losses: dict[str, torch.Tensor] = {}
        if "inpainting" in found and turned is not None:
            losses["inpainting"] = F.l1_loss(found["inpainting"], turned)
        if "rotation" in found and turns is not None:
            losses["rotation"] = F.cross_entropy(found["rotation"], turns)
        if "contrastive" in found:
            losses["contrastive"] = self.contrast(*found["contrastive"].chunk(2))
        if "restoration" in found and restored is not None:
            losses["restoration"] = F.mse_loss(found["restoration"].sigmoid(), restored)
        return losses, None if turns is None or "rotation" not in found else (found["rotation"], turns)

    def _check_batch(self, image: torch.Tensor, seeds: Sequence[int]) -> None:
        if len(seeds) != len(image):
            raise ConfigurationError(
                f"The batch has {len(image)} patches and {len(seeds)} seeds; each patch needs one."
            )
        if "contrastive" in self.proxies and len(image) < 2:
            raise ConfigurationError(
                "The batch has one patch, and contrastive coding needs another one to tell it from; raise batch_size, "
                "or leave it out."
            )
        if "rotation" in self.proxies and image.shape[1] != image.shape[2]:
            raise ConfigurationError(
                f"Patches of {tuple(image.shape[1:])} voxels cannot be turned by 90 degrees about z; make them as wide "
                "in x as in y, or leave rotation out."
            )

    def _step(self, batch: UnlabelledBatch, stage: str) -> torch.Tensor:
        losses, rotation = self._losses(batch)
        total = torch.stack([self.proxy_weights.get(name, 1.0) * loss for name, loss in losses.items()]).sum()
        self.log_loss(total, stage, batch)
        size, validates = len(batch["image"]), stage == "val"
        parts = {f"{stage}/{name}": loss for name, loss in losses.items()}
        self.log_dict(parts, batch_size=size, on_epoch=validates, sync_dist=validates)
        if validates and self.accuracy is not None and rotation is not None:
            self.accuracy.update(*rotation)
            self.log("val/rotation_accuracy", self.accuracy, on_epoch=True, on_step=False)
        return total

    def training_step(self, batch: UnlabelledBatch, batch_idx: int) -> torch.Tensor:
        """Weighted sum of the losses of one batch."""
        return self._step(batch, "train")

    def validation_step(self, batch: UnlabelledBatch, batch_idx: int) -> None:
        """The same losses on patches of held-out cases."""
        self._step(batch, "val")

    def export(
        self,
        folder: str | Path,
        *,
        name: str,
        notes: str = "",
        provenance: Provenance | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Writes what was trained, without output layers, as a folder that :func:`suprem.load_pretrained` takes.

        That is the encoder, with restoration the decoder too. The folder has no classes: whoever loads it gives them.

        Args:
            folder: Must not exist, unless ``overwrite``.
            name: What the model is called, ``architecture.tag``.
            notes: Markdown for its README.
            provenance: Data, training and licence for its README.
            overwrite: Replace an existing folder.

        Raises:
            ConfigurationError: the task has no ``preprocessing``, so nobody could tell how to feed the network.
            OutputError: the folder exists, or cannot be written.
        """
        if self.preprocessing is None:
            raise ConfigurationError("The task has no preprocessing; give it that of the data module to export it.")
        network = copy.deepcopy(self.network.backbone).eval()
        network.config = ModelConfig(
            name=name,
            backbone=str(self.backbone),
            classes=(),
            head="none",
            backbone_kwargs=self.backbone_kwargs,
            in_channels=network.in_channels,
            preprocessing=self.preprocessing,
        )
        encoder_only = not self.network.on_decoder
        return save_folder(
            network, folder, notes=notes, provenance=provenance, overwrite=overwrite, encoder_only=encoder_only
        )
