"""The data module of training without labels: patches alone, from stores with or without annotations."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from suprem.datamodules._batch import windowed
from suprem.datamodules._classes import Channels
from suprem.datamodules._loader import StreamLoader
from suprem.datamodules._patches import PatchDataset, Sample
from suprem.datamodules.prepared import TrainingData
from suprem.errors import ConfigurationError
from suprem.volumes.store import StoredCase

__all__ = ["UnlabelledDataModule"]


class UnlabelledDataModule(TrainingData):
    """Patches for training, and the same ones of held-out cases for every validation.

    A batch holds ``image`` float32 (N, 1, X, Y, Z) in [0, 1]; ``seeds``, one number per patch, from which everything
    random that is done to it shall be drawn; ``keys``, the cases; ``spacing_mm`` float32 (N, 3).

    Patches lie on the body. Labels are neither needed nor read, and there is no augmentation: what is done to a patch
    is up to the task, which has to know it. In training, a patch and its seed are functions of the data module's seed,
    the epoch and the number of the patch, so that a resumed run is the run that was not interrupted.

    Args:
        val_patches: Patches of each validation case; their number is rounded up to whole batches.
        **options: See :class:`suprem.datamodules.prepared.TrainingData`.

    Raises:
        ConfigurationError: ``val_patches`` is not positive; and as :class:`suprem.datamodules.prepared.TrainingData`.
    """

    def __init__(self, *, val_patches: int = 4, **options: Any) -> None:
        if val_patches < 1:
            raise ConfigurationError(f"val_patches is {val_patches}; each validation case needs one at least.")
        self.val_patches = val_patches
        super().__init__((), augmentation="none", positive=0.0, exclusive=False, **options)

    def _channels(self, classes: Sequence[str], exclusive: bool) -> Channels:
        return Channels((), exclusive)

    def _usable(self, cases: Sequence[StoredCase]) -> list[StoredCase]:
        return list(cases)

    def val_dataloader(self) -> StreamLoader | list[StreamLoader]:
        """Whole batches of the patches of held-out cases; an empty list when nothing validates."""
        if not self.split.val:
            return []
        return self._loader(self._validation_dataset(), batch_size=self.batch_size, whole=True)

    def _validation_dataset(self) -> "_HeldOut":
        count = len(self.split.val) * self.val_patches
        patches = PatchDataset(self.split.val, self.channels, self.patches, length=0)
        return _HeldOut(patches, -(-count // self.batch_size) * self.batch_size)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> dict[str, Any]:
        """Windows the images on the device."""
        kept = {name: batch[name] for name in ("seeds", "keys", "spacing_mm")}
        return {"image": windowed(batch, self.hu_window)[:, None], **kept}


class _HeldOut(torch.utils.data.Dataset[Sample]):
    """Patches of the validation cases in turn, addressed by (epoch, number); the epoch makes no difference."""

    def __init__(self, patches: PatchDataset, length: int) -> None:
        self._patches, self._length = patches, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, place: tuple[int, int]) -> Sample:
        number = place[1]
        rng = np.random.default_rng([self._patches.settings.seed, number])
        return self._patches.box(number % len(self._patches.cases), rng, augment=True)
