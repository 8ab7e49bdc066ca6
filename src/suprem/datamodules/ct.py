"""The data module: patches of many datasets, as one LightningDataModule."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningDataModule
from torch.utils.data import Dataset

from suprem.datamodules._batch import finish
from suprem.datamodules._classes import Channels, check_available, known_names
from suprem.datamodules._loader import StreamLoader
from suprem.datamodules._patches import PatchDataset, PatchSettings, VolumeDataset
from suprem.datamodules._splits import Split, split_cases
from suprem.errors import ConfigurationError
from suprem.transforms import ProfileName, profile
from suprem.volumes.store import Store, StoredCase

__all__ = ["CTDataModule"]

logger = logging.getLogger(__name__)

_START = {"epoch": 0, "batches": 0}


class CTDataModule(LightningDataModule):
    """Patches for training and whole volumes for validation, streamed from stores.

    A batch holds ``image`` float32 (N, 1, X, Y, Z) in [0, 1]; ``target`` bool (N, C, X, Y, Z), for exclusive classes
    int64 (N, X, Y, Z) with 0 for background; ``annotated`` bool (N, C), the classes that mean something in that sample;
    ``known`` bool (N, 1, X, Y, Z), false where nothing is known; ``keys``, the cases; ``spacing_mm`` float32 (N, 3).

    Every patch is a function of seed, epoch and its number, so a run does not depend on the number of workers, and a
    resumed one goes on with the patch that would have come.

    Args:
        stores: Folder or address of a store (see :meth:`suprem.volumes.store.Store.open`), or several with the same
            spacing.
        classes: Structures in channel order; synonyms are accepted.
        patch_size: Voxels (x, y, z).
        batch_size: Patches per batch and process.
        samples_per_epoch: Patches of all processes in one epoch; ``None`` takes ``samples_per_volume`` of every case.
        samples_per_volume: Consecutive patches from one case.
        hu_window: Mapped to [0, 1] and clipped.
        augmentation: ``"default"`` (the paper's), ``"strong"`` or ``"none"``, see :mod:`suprem.transforms`.
        positive: Probability that a patch is placed on a structure; the paper's 2 : 1.
        weights: Dataset -> how often it is drawn, relative to the others; ``None`` draws every scan equally often.
        val_fraction: Share of the groups of cases that validates, where the datasets have no part for it.
        subset: Number (or share, as a float) of the groups of cases to train on, for few-shot learning. A smaller one
            is part of a larger one with the same seed.
        all_copies: Draw every copy of a scan, instead of one of them per round.
        exclusive: Classes exclude each other; every case then has to be annotated with all of them.
        seed: Of everything that is drawn.
        num_workers: Reading processes; 0 reads in the training process.
        cache_dir: Where cases of remote stores are kept; ``None`` takes ``$SUPREM_CACHE`` or ``~/.cache/suprem``.
        cache_size: What they may take there.

    Raises:
        ConfigurationError: the stores do not fit together, or nothing is left to train on.
        RemoteError: an address cannot be read.
        UnknownNameError: a class is annotated nowhere; the message offers the closest names.
    """

    # With more processes than validation cases some have nothing to do.
    allow_zero_length_dataloader_with_multiple_devices = True

    def __init__(
        self,
        stores: str | Path | Sequence[str | Path],
        classes: Sequence[str],
        *,
        patch_size: tuple[int, int, int] = (96, 96, 96),
        batch_size: int = 2,
        samples_per_epoch: int | None = None,
        samples_per_volume: int = 1,
        hu_window: tuple[float, float] = (-175.0, 250.0),
        augmentation: ProfileName = "default",
        positive: float = 2 / 3,
        weights: Mapping[str, float] | None = None,
        val_fraction: float = 0.1,
        subset: int | float | None = None,
        all_copies: bool = False,
        exclusive: bool = False,
        seed: int = 0,
        num_workers: int = 0,
        cache_dir: str | Path | None = None,
        cache_size: str | int = "50GiB",
    ) -> None:
        super().__init__()
        if hu_window[0] >= hu_window[1]:
            raise ConfigurationError(f"hu_window is {hu_window}; the first value must be the smaller one.")
        paths = [stores] if isinstance(stores, str | Path) else list(stores)
        self.stores = tuple(Store.open(path, cache_dir=cache_dir, cache_size=cache_size) for path in paths)
        self.channels = self._channels(classes, exclusive)
        self.hu_window, self.batch_size, self.num_workers = hu_window, batch_size, num_workers
        self.weights, self.all_copies = weights, all_copies
        x, y, z = patch_size
        outside = max(round(hu_window[0]), -32768)
        self.patches = PatchSettings((x, y, z), samples_per_volume, positive, seed, outside)
        self.profile = profile(augmentation)
        self._training: StreamLoader | None = None
        self._progress = _START
        self._check_spacing(paths)
        self.split = self._split(val_fraction, subset)
        self._check_weights()
        self.samples_per_epoch = samples_per_epoch or samples_per_volume * len(self.split.train)

    def _channels(self, classes: Sequence[str], exclusive: bool) -> Channels:
        return Channels(known_names(classes), exclusive)

    @property
    def classes(self) -> tuple[str, ...]:
        """Canonical names in channel order."""
        return self.channels.names

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Of all cases; ``None`` when each has its own."""
        return self.stores[0].settings.spacing_mm

    def _check_spacing(self, paths: Sequence[str | Path]) -> None:
        if not self.stores:
            raise ConfigurationError("No store is given; make one with `suprem data prepare`.")
        for path, store in zip(paths, self.stores, strict=True):
            if store.settings != self.stores[0].settings:
                raise ConfigurationError(
                    f"{paths[0]} was made with {self.stores[0].settings}, {path} with {store.settings}; prepare them "
                    "with the same settings to train on both."
                )

    def _split(self, val_fraction: float, subset: int | float | None) -> Split:
        cases = [store.case(record.key) for store in self.stores for record in store.records]
        return split_cases(self._usable(cases), val_fraction=val_fraction, subset=subset, seed=self.patches.seed)

    def _usable(self, cases: Sequence[StoredCase]) -> list[StoredCase]:
        check_available(self.classes, (case.record for case in cases))
        usable = [case for case in cases if self.channels.annotated(case.record).any()]
        if len(usable) < len(cases):
            logger.info("%d of %d cases are annotated with none of the classes", len(cases) - len(usable), len(cases))
        if self.channels.exclusive:
            self._check_complete(usable)
        return usable

    def _check_complete(self, cases: Sequence[StoredCase]) -> None:
        for case in cases:
            missing = [name for name in self.classes if name not in case.record.annotated]
            if missing:
                raise ConfigurationError(
                    f"{case.record.key} is not annotated with {', '.join(missing)}; exclusive classes need complete "
                    "annotations. Use exclusive=False."
                )

    def _check_weights(self) -> None:
        if self.weights is None:
            return
        there = {case.record.dataset for case in self.split.train}
        wrong = {name: w for name, w in self.weights.items() if w < 0 or (w > 0 and name not in there)}
        if wrong or not any(w > 0 for w in self.weights.values()):
            raise ConfigurationError(
                f"weights are {dict(self.weights)}; they must be positive numbers for datasets to train on: "
                f"{', '.join(sorted(there))}."
            )

    def train_dataloader(self) -> StreamLoader:
        """Patches; the rest of an epoch that does not fill a step of all processes is left out."""
        self._training = self._loader(self._training_dataset(), batch_size=self.batch_size)
        self._training.go_on(self._progress)
        self._progress = _START  # used: another loader starts anew
        return self._training

    def state_dict(self) -> dict[str, Any]:
        """How far the training has come in its epoch, for the trainer's checkpoints."""
        return {"training": self._training.progress()} if self._training else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where a checkpoint was written, whether or not the loader has been made yet."""
        progress = state_dict.get("training", _START)
        if self._training:
            self._training.go_on(progress)
        else:
            self._progress = progress

    def val_dataloader(self) -> StreamLoader | list[StreamLoader]:
        """Whole volumes one by one, each on one process; an empty list when nothing validates."""
        if not self.split.val:
            return []
        return self._loader(self._validation_dataset(), batch_size=1, whole=True)

    def _training_dataset(self) -> Dataset[Any]:
        return self._patches_of(PatchDataset)

    def _patches_of(self, kind: Callable[..., PatchDataset]) -> PatchDataset:
        return kind(
            self.split.train,
            self.channels,
            self.patches,
            length=self.samples_per_epoch,
            weights=self.weights,
            all_copies=self.all_copies,
        )

    def _validation_dataset(self) -> Dataset[Any]:
        return VolumeDataset(self.split.val, self.channels)

    def _loader(self, dataset: Any, *, batch_size: int, whole: bool = False) -> StreamLoader:
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        pin = trainer is not None and trainer.strategy.root_device.type == "cuda"
        return StreamLoader(
            dataset,
            batch_size=batch_size,
            rank=rank,
            world=world,
            num_workers=self.num_workers,
            whole=whole,
            pin_memory=pin,
        )

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Windows, augments and looks up the target on the device."""
        return finish(batch, self.channels, self.hu_window, self.profile)
