"""How doubtful the labels of a case are: uncertainty, consistency and overlap per structure and voxel, and topology.

Who has a say about a structure is called a *voter*: each model that predicts it, and the labels that count now where
they know it. In a voxel each score lies between 0 and 1; docs/explanation/importance-score.md has the formulae. A case
is worked on in slabs, and one structure at a time for the topology, so that no array of structures x volume exists.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from suprem.atlas._topology import stray
from suprem.atlas._voxel_scores import LABELS, Scale, Slab, related
from suprem.atlas.label_set import LabelSet
from suprem.atlas.predictions import Prediction
from suprem.errors import ConfigurationError, VolumeError
from suprem.volumes.boxes import Box

__all__ = ["CAUSES", "LABELS", "SCORES", "CaseScores", "StructureScores", "related", "score_case"]

BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]
SCORES = ("uncertainty", "consistency", "overlap")
CAUSES = (*SCORES, "topology")
"""Why a voxel deserves attention: one of its scores, or a part apart and a cavity, which are no matter of degree."""
_SLAB_BYTES = 2**29


@dataclass(frozen=True)
class StructureScores:
    """What was found about one structure of one case.

    A score is the volume in the worst cube of 20 mm, each voxel weighted by the square of its score there; so a large
    structure has no higher score than a small one, nor one with a long outline or a little doubt in many places.

    Attributes:
        uncertainty_ml: how unsure the models are, each on its own.
        consistency_ml: how much the models differ, or the labels from all of them.
        overlap_ml: how much unrelated structures claim the same voxels.
        topology_ml: how much of the labels lies apart from the rest, or is left out in their midst.
        volumes_ml: voter -> volume of its mask.
        centre: voxel (x, y, z) in the middle of the labels; ``None`` where they do not have it.
    """

    uncertainty_ml: float
    consistency_ml: float
    overlap_ml: float
    topology_ml: float
    volumes_ml: Mapping[str, float]
    centre: tuple[float, float, float] | None = None

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
        cause: uint8 (X, Y, Z): the score it is, counted from 1 in the order of :data:`CAUSES`.
    """

    structures: Mapping[str, StructureScores]
    attention: ByteArray
    strongest: npt.NDArray[np.uint16]
    cause: ByteArray


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
        tolerance_mm: Doubt in parts thinner than four times this (two voxels at least) does not count, nor do outlines
            of the labels up to this distance (one voxel at least) from those of a model.
        slab: Voxels along x that are worked on at a time; ``None`` for as many as fit 512 MiB.

    Raises:
        ConfigurationError: there is no prediction, or a number makes no sense.
        VolumeError: a prediction lies on another grid, or is damaged.
    """
    _check(predictions, labels, tolerance_mm, slab)
    voted = frozenset(labels.provenance).union(*(prediction.classes for prediction in predictions.values()))
    everyone = [name for name in dict.fromkeys((*structures, *beside)) if name in voted]
    known = [name for name in everyone if name in structures]
    spacing = np.linalg.norm(labels.affine[:3, :3], axis=0)
    scale = Scale.of(spacing, tolerance_mm)
    peaks = {name: dict.fromkeys(CAUSES, 0.0) for name in known}
    voxels: dict[str, dict[str, int]] = {name: {} for name in known}
    moments = {name: np.zeros(3) for name in known}
    attention, cause = (np.zeros(labels.shape, dtype=np.uint8) for _ in range(2))
    result = _Volumes(attention, np.zeros(labels.shape, dtype=np.uint16), cause)
    thick = slab or _thickness(labels.shape, len(everyone) * (len(predictions) + 1), scale.halo[0])
    for first, last, box in _slabs(labels.shape, thick, scale.halo[0]):
        part = Slab(predictions, labels, everyone, box)
        core = slice(first - box[0].start, last - box[0].start)
        for number, name in enumerate(known, start=1):
            for voter, mask in part.masks(name).items():
                count = int(np.count_nonzero(mask[core]))
                voxels[name][voter] = voxels[name].get(voter, 0) + count
                if voter == LABELS and count:
                    moments[name] += _moments(mask[core], first)
            found = part.scores(name, scale)
            if found is not None:
                result.keep(*found, number, first, core)
                _raise_peaks(peaks[name], *found, core, scale.cube)
    everything = slice(0, labels.shape[0])
    for number, name in enumerate(known, start=1):
        odd = stray(name, labels)  # a part is apart from another one, or a hole closed, in a whole case only
        if odd is not None:
            result.keep(odd[0], {"topology": odd[1]}, number, 0, everything)
            _raise_peaks(peaks[name], odd[0], {"topology": odd[1]}, everything, scale.cube)
    ml = float(prod(spacing)) / 1000
    scores = {name: _measured(peaks[name], voxels[name], moments[name], ml) for name in known}
    return CaseScores(scores, result.attention, result.strongest, result.cause)


def _measured(
    peaks: Mapping[str, float], voxels: Mapping[str, int], moments: npt.NDArray[np.float64], ml: float
) -> StructureScores:
    uncertainty, consistency, overlap, topology = (peaks[cause] * ml / 255 for cause in CAUSES)
    volumes = {voter: count * ml for voter, count in voxels.items()}
    centre = _centre(moments, voxels.get(LABELS, 0))
    return StructureScores(uncertainty, consistency, overlap, topology, volumes, centre)


def _moments(mask: BoolArray, first: int) -> npt.NDArray[np.float64]:
    """Sum of the places of all voxels along each axis; the first plane lies at ``first``."""
    axes = range(mask.ndim)
    counts = [np.count_nonzero(mask, axis=tuple(other for other in axes if other != axis)) for axis in axes]
    starts = (first, 0, 0)
    return np.array([count @ np.arange(start, start + len(count)) for count, start in zip(counts, starts, strict=True)])


def _centre(moments: npt.NDArray[np.float64], voxels: int) -> tuple[float, float, float] | None:
    if not voxels:
        return None
    x, y, z = (float(moment) / voxels for moment in moments)
    return x, y, z


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

    def keep(self, box: Box, scores: Mapping[str, ByteArray], number: int, first: int, core: slice) -> None:
        """Takes what is larger than what is there.

        Args:
            box: Of the scores in their slab.
            scores: Some of :data:`CAUSES`.
            number: Of the structure.
            first: Voxel along x where the core of the slab begins in the case.
            core: Of the slab, without the halo.
        """
        low, high = max(box[0].start, core.start), min(box[0].stop, core.stop)
        if low >= high:
            return
        place = (slice(low - core.start + first, high - core.start + first), *box[1:])
        attention, strongest, cause = (array[place] for array in (self.attention, self.strongest, self.cause))
        for score, whole in scores.items():
            values = whole[low - box[0].start : high - box[0].start]
            more = values > attention
            attention[more], strongest[more], cause[more] = values[more], number, CAUSES.index(score) + 1


def _raise_peaks(
    peaks: dict[str, float], box: Box, scores: Mapping[str, ByteArray], core: slice, cube: Sequence[int]
) -> None:
    """Notes the largest sum of each score's squares / 255 in any cube with its middle in the core of a slab."""
    low, high = max(box[0].start, core.start), min(box[0].stop, core.stop)
    for score, values in scores.items():
        if low < high and values.any():
            squares = values.astype(np.float32) ** 2 / 255
            mean = ndimage.uniform_filter(squares, size=cube, mode="constant")
            here = float(mean[low - box[0].start : high - box[0].start].max()) * prod(cube)
            peaks[score] = max(peaks[score], here)
