"""Samples: patches at seeded places for training, whole volumes for validation. Each is a function of its number."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from suprem.datamodules._classes import Channels
from suprem.datamodules._splits import Case
from suprem.errors import ConfigurationError
from suprem.volumes.store import StoredCase, prefetch

__all__ = ["PatchDataset", "PatchSettings", "Sample", "VolumeDataset", "epoch_plan"]

Sample = dict[str, Any]
Start = tuple[int, int, int]

_OPEN_CASES = 2
"""Opened arrays that a worker keeps, and with them the pages of their files: consecutive patches come from one case."""
_MEANINGS = 256
_AHEAD = 8
"""Cases that are fetched in the background before they are needed, when a store is remote."""


@dataclass(frozen=True)
class PatchSettings:
    """How patches are drawn.

    Attributes:
        size: voxels (x, y, z).
        per_volume: consecutive patches from one case.
        positive: probability that a patch is placed on a structure, not anywhere in the body.
        seed: of everything that is drawn.
        outside_hu: stands for what lies beyond the scan.
    """

    size: tuple[int, int, int]
    per_volume: int = 1
    positive: float = 2 / 3
    seed: int = 0
    outside_hu: int = -1024

    def __post_init__(self) -> None:
        if min(self.size) < 1 or self.per_volume < 1 or not 0 <= self.positive <= 1:
            raise ConfigurationError(
                f"Patches of {self.size} voxels, {self.per_volume} per volume, {self.positive} of them on structures: "
                "sizes and counts must be positive and the share must lie in [0, 1]."
            )


def epoch_plan(
    cases: Sequence[Case], count: int, *, epoch: int, seed: int, weights: Mapping[str, float] | None, all_copies: bool
) -> npt.NDArray[np.intp]:
    """Which case is opened when.

    Args:
        cases: To draw from.
        count: Length of the plan.
        epoch: Another one gives another order.
        seed: Of the whole run.
        weights: Dataset -> how often it is drawn, relative to the others; a dataset that is not named is not drawn.
            ``None`` draws every scan equally often.
        all_copies: Draw every copy of a scan in every round, instead of one of them.

    Returns:
        intp (count,), indices into ``cases``: rounds of random order, each of which holds every scan once.
    """
    rng = np.random.default_rng([seed, epoch])
    if weights is None:
        return _rounds(cases, np.arange(len(cases)), count, rng, all_copies)
    names = sorted(name for name, weight in weights.items() if weight > 0)
    share = np.array([weights[name] for name in names], dtype=np.float64)
    drawn = rng.choice(len(names), size=count, p=share / share.sum())
    plan = np.empty(count, dtype=np.intp)
    for number, name in enumerate(names):
        own = np.array([i for i, case in enumerate(cases) if case.record.dataset == name], dtype=np.intp)
        places = np.flatnonzero(drawn == number)
        plan[places] = _rounds(cases, own, len(places), rng, all_copies)
    return plan


def _rounds(
    cases: Sequence[Case], among: npt.NDArray[np.intp], count: int, rng: np.random.Generator, all_copies: bool
) -> npt.NDArray[np.intp]:
    scans: dict[str, list[int]] = {}
    for index in among:
        name = str(index) if all_copies else cases[index].copies
        scans.setdefault(name, []).append(int(index))
    groups = list(scans.values())
    plan: list[int] = []
    while len(plan) < count:
        plan += [int(rng.choice(groups[i])) for i in rng.permutation(len(groups))]
    return np.array(plan[:count], dtype=np.intp)


class _Cases:
    """Cases with a few of them open, in the process that reads."""

    def __init__(self, cases: Sequence[Case], channels: Channels) -> None:
        self.cases, self.channels = tuple(cases), channels
        self._open: OrderedDict[int, StoredCase] = OrderedDict()
        self._meanings: OrderedDict[tuple[Any, Any], dict[str, torch.Tensor]] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_open": OrderedDict(), "_meanings": OrderedDict()}

    def opened(self, index: int) -> StoredCase:
        # A copy has its arrays closed: those of a case that is evicted here must not stay open in the list.
        stored = self._open.pop(index, None) or copy(self.cases[index].stored)
        self._open[index] = stored
        while len(self._open) > _OPEN_CASES:
            self._open.popitem(last=False)
        return stored

    def prefetch(self, indices: Iterable[int]) -> None:
        prefetch(self.cases[index].stored for index in indices)

    def sample(self, index: int, image: npt.NDArray[np.int16], labels: npt.NDArray[Any], seed: int | None) -> Sample:
        stored = self.opened(index)
        record = stored.record
        dtype = np.uint8 if labels.dtype == np.uint8 else np.int32  # torch has no arithmetic for uint16
        return {
            "image": torch.from_numpy(np.ascontiguousarray(image)),
            "labels": torch.from_numpy(np.ascontiguousarray(labels, dtype)),
            **self._meaning(stored),
            "ignore": stored.ignore,
            "key": record.key,
            "spacing_mm": record.spacing_mm,
            "seed": seed,
        }

    def _meaning(self, stored: StoredCase) -> dict[str, torch.Tensor]:
        """What the palette of a case means to the task; the cases of a dataset share a few palettes."""
        record = stored.record
        known = self._meanings.get((stored.table, record.annotated))
        if known is None:
            known = {}
            for name, channels in (("", self.channels), ("_mirrored", self.channels.mirror)):
                known[f"table{name}"] = torch.from_numpy(channels.table(stored.table, record.key))
                known[f"annotated{name}"] = torch.from_numpy(channels.annotated(record))
            while len(self._meanings) >= _MEANINGS:
                self._meanings.popitem(last=False)
            self._meanings[stored.table, record.annotated] = known
        return known


class PatchDataset(torch.utils.data.Dataset[Sample]):
    """Training patches, addressed by (epoch, number): each is the same whoever asks for it, in whichever order.

    Args:
        cases: To draw from.
        channels: Classes of the task.
        settings: How patches are drawn.
        length: Patches of one epoch.
        weights: See :func:`epoch_plan`.
        all_copies: See :func:`epoch_plan`.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        channels: Channels,
        settings: PatchSettings,
        *,
        length: int,
        weights: Mapping[str, float] | None = None,
        all_copies: bool = False,
    ) -> None:
        self._cases, self.settings, self.length = _Cases(cases, channels), settings, length
        self._weights, self._all_copies = dict(weights) if weights is not None else None, all_copies
        self._plans: dict[int, npt.NDArray[np.intp]] = {}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, place: tuple[int, int]) -> Sample:
        epoch, number = place
        settings = self.settings
        turn, plan = number // settings.per_volume, self._plan(epoch)
        index = int(plan[turn])
        self._cases.prefetch(plan[turn + 1 : turn + 1 + _AHEAD])
        rng = np.random.default_rng([settings.seed, epoch, number])
        return self.box(index, rng, augment=True)

    @property
    def cases(self) -> tuple[Case, ...]:
        """What is drawn from."""
        return self._cases.cases

    def box(self, index: int, rng: np.random.Generator, *, augment: bool) -> Sample:
        """One patch of one case."""
        settings, stored = self.settings, self._cases.opened(index)
        start = self._start(stored, rng)
        image = _cut(stored.ct, start, settings.size, stored.record.shape, settings.outside_hu)
        if stored.record.annotated and self._cases.channels.names:
            labels = _cut(stored.labels, start, settings.size, stored.record.shape, 0)
        else:  # as in classification, or in training without labels
            labels = np.zeros(settings.size, np.uint8)
        return self._cases.sample(index, image, labels, int(rng.integers(2**62)) if augment else None)

    def _plan(self, epoch: int) -> npt.NDArray[np.intp]:
        if epoch not in self._plans:
            count = -(-self.length // self.settings.per_volume)
            self._plans = {
                epoch: epoch_plan(
                    self._cases.cases,
                    count,
                    epoch=epoch,
                    seed=self.settings.seed,
                    weights=self._weights,
                    all_copies=self._all_copies,
                )
            }
        return self._plans[epoch]

    def _start(self, stored: StoredCase, rng: np.random.Generator) -> Start:
        """First voxel of a patch: on a structure that is drawn evenly among those in the case, or on the body."""
        record = stored.record
        present = [name for name in self._cases.channels.names if record.voxels.get(name)]
        on_structure = rng.random() < self.settings.positive and present
        points = stored.foreground(present[int(rng.integers(len(present)))] if on_structure else None)
        centre = points[int(rng.integers(len(points)))] if len(points) else np.array(record.shape) // 2
        x, y, z = (_place(int(c), p, n, rng) for c, p, n in zip(centre, self.settings.size, record.shape, strict=True))
        return x, y, z


def _place(centre: int, patch: int, size: int, rng: np.random.Generator) -> int:
    """Start along one axis: the centre lies in the middle half of the patch; a smaller scan lies anywhere in it."""
    if size <= patch:
        return int(rng.integers(size - patch, 1))
    start = centre - patch // 2 + int(rng.integers(-(patch // 4), patch // 4 + 1))
    return min(max(start, 0), size - patch)


def _cut(
    read: Any, start: Start, size: tuple[int, int, int], shape: tuple[int, int, int], outside: int
) -> npt.NDArray[Any]:
    """The box of an array, filled up where it reaches beyond; only the part inside is read."""
    inside = tuple(slice(max(s, 0), min(s + p, n)) for s, p, n in zip(start, size, shape, strict=True))
    part: npt.NDArray[Any] = read((inside[0], inside[1], inside[2]))
    if part.shape == size:
        return part
    result = np.full(size, outside, dtype=part.dtype)
    result[tuple(slice(i.start - s, i.stop - s) for i, s in zip(inside, start, strict=True))] = part
    return result


class VolumeDataset(torch.utils.data.Dataset[Sample]):
    """Whole volumes, one after the other, addressed by (epoch, number) like patches; the epoch makes no difference."""

    def __init__(self, cases: Sequence[Case], channels: Channels) -> None:
        self._cases = _Cases(cases, channels)

    def __len__(self) -> int:
        return len(self._cases.cases)

    def __getitem__(self, place: tuple[int, int]) -> Sample:
        stored = self._cases.opened(place[1])
        self._cases.prefetch(range(place[1] + 1, min(place[1] + 1 + _AHEAD, len(self))))
        return self._cases.sample(place[1], stored.ct(), stored.labels(), None)
