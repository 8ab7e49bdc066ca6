"""A loader whose batches depend on seed, epoch and rank alone, and that can go on in the middle of an epoch."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from suprem.datamodules._batch import collate
from suprem.errors import ConfigurationError

__all__ = ["StreamLoader"]


class _Places:
    """The batch sampler: (epoch, number) of every sample of this rank's remaining batches."""

    def __init__(self, length: int, batch_size: int, rank: int, world: int, *, whole: bool) -> None:
        self.length, self.batch_size, self.rank, self.world, self.whole = length, batch_size, rank, world, whole
        self.epoch = 0
        self.offset = 0

    def __len__(self) -> int:
        if self.whole:  # every sample once, on one of the ranks
            return len(range(self.rank, -(-self.length // self.batch_size), self.world))
        return self.length // (self.batch_size * self.world)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        if self.whole:
            for step in range(self.offset, len(self)):
                first = (step * self.world + self.rank) * self.batch_size
                yield [(self.epoch, number) for number in range(first, min(first + self.batch_size, self.length))]
            return
        # The numbers of one step lie next to each other, so two ranks together see what one rank with twice the
        # batch would see.
        for step in range(self.offset, len(self)):
            first = step * self.batch_size * self.world + self.rank
            yield [(self.epoch, first + i * self.world) for i in range(self.batch_size)]


class StreamLoader:
    """Batches of a dataset that is addressed by (epoch, number).

    It is no ``DataLoader``, so that Lightning neither replaces its sampler nor repeats cases to fill up ranks; it has
    the ``sampler.set_epoch`` that Lightning calls. Where it stands is kept by the data module: Lightning would forget
    the state of a loader that was made before the checkpoint is read, as when a task asks for the number of steps.

    Args:
        dataset: Addressed by (epoch, number).
        batch_size: Samples per batch and rank.
        rank: Of this process.
        world: Number of processes.
        num_workers: Processes that read; 0 reads in this one.
        whole: Every sample is used once and the ranks may differ by one batch, as in validation; otherwise all ranks
            have equally many batches and the rest of the epoch is left out. Samples of different size need a
            ``batch_size`` of 1.
        pin_memory: Place batches where a GPU can fetch them.

    Raises:
        ConfigurationError: the epoch has less samples than one step takes.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        num_workers: int = 0,
        whole: bool = False,
        pin_memory: bool = False,
    ) -> None:
        length = len(dataset)  # type: ignore[arg-type]
        if not whole:
            self.sampler = self  # where Lightning looks for `set_epoch`; it takes a loader that has one for shuffled
        self._places = _Places(length, batch_size, rank, world, whole=whole)
        if not whole and len(self._places) == 0:
            raise ConfigurationError(
                f"An epoch has {length} samples, less than one step of {batch_size} on {world} processes takes; raise "
                "samples_per_epoch."
            )
        self._done = self._resume_at = 0
        self._loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_sampler=self._places,
            num_workers=num_workers,
            collate_fn=collate,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
            # The defaults seed workers from torch's global generator; nothing here depends on it.
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        # A generator on purpose: Lightning makes the iterator before it sets the epoch.
        self._places.offset = self._done = self._resume_at if self._resume_at < len(self) else 0
        self._resume_at = 0
        for batch in self._loader:
            self._done += 1
            yield batch

    def set_epoch(self, epoch: int) -> None:
        """The epoch of the next iteration; what was done of another one is forgotten."""
        if epoch != self._places.epoch:
            self._places.epoch, self._resume_at = epoch, 0

    def progress(self) -> dict[str, int]:
        """Epoch and number of batches that were handed out."""
        return {"epoch": self._places.epoch, "batches": self._done}

    def go_on(self, progress: dict[str, int]) -> None:
        """Goes on after the batches that were handed out before."""
        self._places.epoch, self._resume_at = progress["epoch"], progress["batches"]
