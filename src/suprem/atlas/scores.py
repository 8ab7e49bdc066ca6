"""How doubtful the labels of a case are: uncertainty, consistency and overlap, per structure and voxel.

Who has a say about a structure is called a *voter*: each model that predicts it, and the labels that count now where
they know it. In a voxel each score lies between 0 and 1; docs/explanation/importance-score.md has the formulae. A case
is worked on in slabs, so that no array of structures x volume exists.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from suprem.atlas.label_set import LabelSet
from suprem.atlas.predictions import Box, Prediction
from suprem.errors import ConfigurationError, VolumeError
from suprem.labels import list_structures, structure

__all__ = ["LABELS", "SCORES", "CaseScores", "StructureScores", "related", "score_case"]

BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]
SCORES = ("uncertainty", "consistency", "overlap")
LABELS = "labels"
"""Name of the voter that the current labels are."""

_SURE = 0.05
"""A probability that is this close to 0 or 1 counts as certain, so that far from a structure nothing has to be read."""
_CUBE_MM = 20.0
_SLAB_BYTES = 2**29


@dataclass(frozen=True)
class StructureScores:
    """What was found about one structure of one case.

    A score is the volume in the worst cube of 20 mm, each voxel weighted by its score there; so a large structure has
    no higher score than a small one, nor one with a long outline.

    Attributes:
        uncertainty_ml: how unsure the models are, each on its own.
        consistency_ml: how much the voters disagree.
        overlap_ml: how much unrelated structures claim the same voxels.
        volumes_ml: voter -> volume of its mask.
    """

    uncertainty_ml: float
    consistency_ml: float
    overlap_ml: float
    volumes_ml: Mapping[str, float]

    @property
    def seen(self) -> bool:
        """Whether any voter has it."""
        return any(self.volumes_ml.values())

    @property
    def present(self) -> bool:
        """Whether the labels have it or, where they do not know it, half of the models."""
        if LABELS in self.volumes_ml:
            return self.volumes_ml[LABELS] > 0
        return sum(volume > 0 for volume in self.volumes_ml.values()) * 2 >= len(self.volumes_ml)


@dataclass(frozen=True, eq=False)
class CaseScores:
    """What was found about one case.

    Attributes:
        structures: structure -> scores, of those that any voter knows.
        attention: uint8 (X, Y, Z), 255 for most: the largest score of any structure in each voxel.
        strongest: uint16 (X, Y, Z): the structure it is of, counted from 1 in the order of ``structures``; 0 where the
            attention is 0.
        cause: uint8 (X, Y, Z): the score it is, counted from 1 in the order of :data:`SCORES`.
    """

    structures: Mapping[str, StructureScores]
    attention: ByteArray
    strongest: npt.NDArray[np.uint16]
    cause: ByteArray


def related(one: str, other: str) -> bool:
    """Whether two structures may share voxels: one lies inside the other, or a lesion and another part of its organ.

    About names that the registry does not know nothing is known, so they may.

    Example:
        >>> related("liver_tumor", "liver"), related("liver_tumor", "hepatic_vessel"), related("liver", "stomach")
        (True, True, False)
    """
    if one not in list_structures() or other not in list_structures() or one == other:
        return True
    if one in _ancestors(other) or other in _ancestors(one):
        return True
    lesion = "tumour or cyst" in (structure(one).group, structure(other).group)
    return lesion and not _ancestors(one).isdisjoint(_ancestors(other))


@cache
def _ancestors(name: str) -> frozenset[str]:
    parents = frozenset(structure(name).parents)
    return parents.union(*(_ancestors(parent) for parent in parents))


def score_case(
    predictions: Mapping[str, Prediction],
    labels: LabelSet,
    structures: Sequence[str],
    *,
    beside: Sequence[str] = (),
    tolerance_mm: float = 3.0,
    slab: int | None = None,
) -> CaseScores:
    """Scores of one case.

    Args:
        predictions: Model -> what it says, on the grid of the labels.
        labels: Those that count now.
        structures: To look at; those that no voter knows are left out.
        beside: Others, which matter only where one of those overlaps with them.
        tolerance_mm: Doubt along outlines up to this distance (at least one voxel) does not count, nor do uncertainty
            and overlap in parts thinner than twice this.
        slab: Voxels along x that are worked on at a time; ``None`` for as many as fit 512 MiB.

    Raises:
        ConfigurationError: there is no prediction, or a number makes no sense.
        VolumeError: a prediction lies on another grid, or is damaged.
    """
    _check(predictions, labels, tolerance_mm, slab)
    both = dict.fromkeys((*structures, *beside))
    everyone = [n for n in both if n in labels.provenance or any(n in p.classes for p in predictions.values())]
    known = [name for name in everyone if name in structures]
    spacing = np.linalg.norm(labels.affine[:3, :3], axis=0)
    scale = _Scale.of(spacing, tolerance_mm)
    peaks = {name: np.zeros(len(SCORES)) for name in known}
    voxels: dict[str, dict[str, int]] = {name: {} for name in known}
    result = _Volumes(
        np.zeros(labels.shape, dtype=np.uint8),
        np.zeros(labels.shape, dtype=np.uint16),
        np.zeros(labels.shape, dtype=np.uint8),
    )
    thick = slab or _thickness(labels.shape, len(everyone) * (len(predictions) + 1), scale.halo[0])
    for first, last, box in _slabs(labels.shape, thick, scale.halo[0]):
        part = _Slab(predictions, labels, everyone, box)
        core = slice(first - box[0].start, last - box[0].start)
        for number, name in enumerate(known, start=1):
            for voter, mask in part.masks(name).items():
                voxels[name][voter] = voxels[name].get(voter, 0) + int(np.count_nonzero(mask[core]))
            found = part.scores(name, scale)
            if found is not None:
                result.keep(*found, number, first, core)
                peaks[name] = np.maximum(peaks[name], _peaks(*found, core, scale.cube))
    ml = float(prod(spacing)) / 1000
    scores = {
        name: StructureScores(*(float(p) * ml / 255 for p in peaks[name]), {v: n * ml for v, n in voxels[name].items()})
        for name in known
    }
    return CaseScores(scores, result.attention, result.strongest, result.cause)


@dataclass(frozen=True)
class _Scale:
    """Sizes in voxels along x, y and z.

    Attributes:
        window: of what counts as thin; odd.
        cube: in which a score is summed up; odd.
        halo: how far from a voxel anything matters to it.
    """

    window: tuple[int, ...]
    cube: tuple[int, ...]
    halo: tuple[int, ...]

    @classmethod
    def of(cls, spacing_mm: npt.NDArray[np.float64], tolerance_mm: float) -> "_Scale":
        reach = [max(1, round(tolerance_mm / float(size))) for size in spacing_mm]
        half = [max(1, round(_CUBE_MM / float(size) / 2 - 0.5)) for size in spacing_mm]
        return cls(
            tuple(2 * r + 1 for r in reach),
            tuple(2 * h + 1 for h in half),
            tuple(2 * r + h for r, h in zip(reach, half, strict=True)),
        )


def _check(predictions: Mapping[str, Prediction], labels: LabelSet, tolerance_mm: float, slab: int | None) -> None:
    if not predictions:
        raise ConfigurationError("There is no prediction of this case; run `suprem atlas ensemble` first.")
    if not tolerance_mm >= 0 or (slab is not None and slab < 1):
        raise ConfigurationError(f"tolerance_mm is {tolerance_mm} and slab {slab}; give 0 or more, and at least 1.")
    for name, prediction in predictions.items():
        if prediction.shape != labels.shape:
            raise VolumeError(
                f"{prediction.folder} has shape {prediction.shape}, the labels {labels.shape}; predict with {name} "
                "again."
            )


def _thickness(shape: Sequence[int], masks: int, halo: int) -> int:
    """Voxels along x, so that so many masks fit with the halo of a slab; never so few that most of it is halo."""
    fits = _SLAB_BYTES // max(1, shape[1] * shape[2] * masks)
    return max(2 * halo, fits - 2 * halo)


def _slabs(shape: Sequence[int], thick: int, halo: int) -> Iterator[tuple[int, int, Box]]:
    """First and last (excluded) voxel along x, and the box to read, with all that matters to them."""
    for first in range(0, shape[0], thick):
        last = min(first + thick, shape[0])
        low, high = max(0, first - halo), min(shape[0], last + halo)
        yield first, last, (slice(low, high), slice(0, shape[1]), slice(0, shape[2]))


@dataclass(frozen=True, eq=False)
class _Volumes:
    """The volumes of :class:`CaseScores`, which grow slab by slab and structure by structure."""

    attention: ByteArray
    strongest: npt.NDArray[np.uint16]
    cause: ByteArray

    def keep(self, box: Box, scores: Sequence[ByteArray], number: int, first: int, core: slice) -> None:
        """Takes what is larger than what is there.

        Args:
            box: Of the scores in their slab.
            scores: In the order of :data:`SCORES`.
            number: Of the structure.
            first: Voxel along x where the core of the slab begins in the case.
            core: Of the slab, without the halo.
        """
        low, high = max(box[0].start, core.start), min(box[0].stop, core.stop)
        if low >= high:
            return
        place = (slice(low - core.start + first, high - core.start + first), *box[1:])
        attention, strongest, cause = (array[place] for array in (self.attention, self.strongest, self.cause))
        for index, score in enumerate(scores, start=1):
            values = score[low - box[0].start : high - box[0].start]
            more = values > attention
            attention[more], strongest[more], cause[more] = values[more], number, index


def _peaks(box: Box, scores: Sequence[ByteArray], core: slice, cube: Sequence[int]) -> npt.NDArray[np.float64]:
    """The largest sum of each score in any cube with its middle in the core of a slab."""
    low, high = max(box[0].start, core.start), min(box[0].stop, core.stop)
    result = np.zeros(len(scores))
    for index, score in enumerate(scores):
        if low < high and score.any():
            mean = ndimage.uniform_filter(score.astype(np.float32), size=cube, mode="constant")
            result[index] = mean[low - box[0].start : high - box[0].start].max() * prod(cube)
    return result


class _Slab:
    """Masks of all voters in a part of a case."""

    def __init__(self, predictions: Mapping[str, Prediction], labels: LabelSet, names: Sequence[str], box: Box) -> None:
        self._predictions, self._box = predictions, box
        self._masks: dict[str, dict[str, BoolArray]] = {}
        for model, prediction in predictions.items():
            self._masks[model] = prediction.masks([name for name in names if name in prediction.classes], box)
        indices = labels.indices[box]
        self._masks[LABELS] = {
            name: np.array([name in entry for entry in labels.table])[indices]
            for name in names
            if name in labels.provenance
        }
        self._overlaps = {voter: _overlaps(masks) for voter, masks in self._masks.items()}

    def masks(self, name: str) -> dict[str, BoolArray]:
        """Of one structure, by voter."""
        return {voter: masks[name] for voter, masks in self._masks.items() if name in masks}

    def scores(self, name: str, scale: _Scale) -> tuple[Box, list[ByteArray]] | None:
        """Uncertainty, consistency and overlap of one structure in a box of the slab; ``None`` where all are 0."""
        masks = self.masks(name)
        values = {m: p.probability(name, self._box) for m, p in self._predictions.items() if name in p.classes}
        doubtful = np.zeros(next(iter(masks.values())).shape, dtype=np.bool_)
        for array in values.values():
            doubtful |= _entropy_bytes()[array] > 0
        for mask in masks.values():
            doubtful |= mask
        box = _bounds(doubtful, scale.halo)
        if box is None:
            return None
        unsure = _opened(_uncertainty([array[box] for array in values.values()], doubtful[box].shape), scale.window)
        apart = _disagreement([mask[box] for mask in masks.values()], scale.window)
        claims = [self._overlaps[voter].get(name) for voter in masks]
        count = np.zeros(doubtful.shape, dtype=np.uint16)
        for claim in claims:
            if claim is not None:
                count.reshape(-1)[claim] += 1
        shared = _opened(np.round(count[box] * (255 / len(masks))).astype(np.uint8), scale.window)
        return box, [unsure, apart, shared]


@cache
def _entropy_bytes() -> ByteArray:
    """Binary entropy of the probability value / 255, as uint8: 255 for one bit."""
    p = np.arange(256) / 255
    inside = (p > _SURE) & (p < 1 - _SURE)
    bits = np.zeros(256)
    bits[inside] = -p[inside] * np.log2(p[inside]) - (1 - p[inside]) * np.log2(1 - p[inside])
    return np.round(255 * bits).astype(np.uint8)


def _uncertainty(values: Sequence[ByteArray], shape: tuple[int, ...]) -> ByteArray:
    """Mean over the models of the entropy of each; 0 where only the labels know the structure."""
    total = np.zeros(shape, dtype=np.uint32)
    for array in values:
        total += _entropy_bytes()[array]
    return (total // max(1, len(values))).astype(np.uint8)


def _disagreement(masks: Sequence[BoolArray], size: Sequence[int]) -> ByteArray:
    """4 f g: the share f of voters that claim a voxel, and the share g that claim nothing near it."""
    claim, far = (np.zeros(masks[0].shape, dtype=np.float32) for _ in range(2))
    for mask in masks:
        claim += mask
        far += ndimage.maximum_filter(mask.view(np.uint8), size=size, mode="constant") == 0
    return np.round(claim * far * (4 * 255 / len(masks) ** 2)).astype(np.uint8)


def _opened(values: ByteArray, size: Sequence[int]) -> ByteArray:
    """Without what is thinner than a box of ``size`` voxels; beyond the border of the scan all goes on as at it."""
    if not values.any():
        return values
    least = ndimage.minimum_filter(values, size=size, mode="nearest")
    return np.asarray(ndimage.maximum_filter(least, size=size, mode="nearest"), dtype=np.uint8)


def _overlaps(masks: Mapping[str, BoolArray]) -> dict[str, npt.NDArray[np.intp]]:
    """Structure -> flat indices of its voxels that an unrelated structure of the same voter has as well."""
    if len(masks) < 2:
        return {}
    count = np.zeros(next(iter(masks.values())).shape, dtype=np.uint16)
    for mask in masks.values():
        count += mask
    where = np.flatnonzero(count > 1)
    inside = {name: found for name, mask in masks.items() if (found := mask.reshape(-1)[where]).any()}
    result = {}
    for name, own in inside.items():
        others = [found for other, found in inside.items() if not related(name, other)]
        shared = own & np.logical_or.reduce(others) if others else np.zeros_like(own)
        if shared.any():
            result[name] = where[shared]
    return result


def _bounds(mask: BoolArray, margin: Sequence[int]) -> Box | None:
    """Bounding box with a margin, inside the array."""
    found = ndimage.find_objects(mask.view(np.uint8))
    if not found:
        return None
    x, y, z = (
        slice(max(0, span.start - more), min(n, span.stop + more))
        for span, more, n in zip(found[0], margin, mask.shape, strict=True)
    )
    return x, y, z
