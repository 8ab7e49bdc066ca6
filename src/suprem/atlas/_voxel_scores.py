"""What voters say of one structure in a part of a case, voxel by voxel: uncertainty, consistency and overlap."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from suprem.atlas.label_set import LabelSet
from suprem.atlas.predictions import Prediction
from suprem.labels import list_structures, structure
from suprem.volumes.boxes import Box

__all__ = ["LABELS", "Scale", "Slab", "related"]

BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]
LABELS = "labels"
"""Name of the voter that the current labels are."""

_SURE = 0.05
"""A probability that is this close to 0 or 1 counts as certain, so that far from a structure nothing has to be read."""
_CUBE_MM = 20.0
_THIN = 4
"""Doubt counts in parts that are as thick as so many tolerances: outlines err to both sides, and so does each model."""


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


@dataclass(frozen=True)
class Scale:
    """Sizes in voxels along x, y and z.

    Attributes:
        window: around a voxel, within the tolerance of it; odd.
        thin: of the box into which doubt has to fit.
        cube: in which a score is summed up; odd.
        halo: how far from a voxel anything matters to it.
    """

    window: tuple[int, ...]
    thin: tuple[int, ...]
    cube: tuple[int, ...]
    halo: tuple[int, ...]

    @classmethod
    def of(cls, spacing_mm: npt.NDArray[np.float64], tolerance_mm: float) -> "Scale":
        reach = [max(1, round(tolerance_mm / float(size))) for size in spacing_mm]
        thin = [max(2, round(_THIN * tolerance_mm / float(size))) for size in spacing_mm]
        half = [max(1, round(_CUBE_MM / float(size) / 2 - 0.5)) for size in spacing_mm]
        return cls(
            tuple(2 * r + 1 for r in reach),
            tuple(thin),
            tuple(2 * h + 1 for h in half),
            tuple(max(2 * r, t) + h for r, t, h in zip(reach, thin, half, strict=True)),
        )


class Slab:
    """Masks of all voters in a part of a case."""

    def __init__(self, predictions: Mapping[str, Prediction], labels: LabelSet, names: Sequence[str], box: Box) -> None:
        self._predictions, self._box = predictions, box
        self._masks: dict[str, dict[str, BoolArray]] = {}
        for model, prediction in predictions.items():
            self._masks[model] = prediction.masks([name for name in names if name in prediction.classes], box)
        self._masks[LABELS] = {name: labels.mask(name, box) for name in names if name in labels.provenance}
        self._overlaps = {voter: _overlaps(masks) for voter, masks in self._masks.items()}

    def masks(self, name: str) -> dict[str, BoolArray]:
        """Of one structure, by voter."""
        return {voter: masks[name] for voter, masks in self._masks.items() if name in masks}

    def scores(self, name: str, scale: Scale) -> tuple[Box, dict[str, ByteArray]] | None:
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
        inside = [array[box] for array in values.values()]
        unsure = _opened(_uncertainty(inside, doubtful[box].shape), scale.thin)
        apart = _opened(_disagreement(inside, doubtful[box].shape), scale.thin)
        if LABELS in masks:
            others = [mask[box] for voter, mask in masks.items() if voter != LABELS]
            apart = np.maximum(apart, _opposed(masks[LABELS][box], others, scale.window))
        claims = [self._overlaps[voter].get(name) for voter in masks]
        count = np.zeros(doubtful.shape, dtype=np.uint16)
        for claim in claims:
            if claim is not None:
                count.reshape(-1)[claim] += 1
        shared = _opened(np.round(count[box] * (255 / len(masks))).astype(np.uint8), scale.thin)
        return box, {"uncertainty": unsure, "consistency": apart, "overlap": shared}


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


def _disagreement(values: Sequence[ByteArray], shape: tuple[int, ...]) -> ByteArray:
    """Four times the variance of the models' probabilities: 4 f (1 - f) where each is 0 or 1 and a share f says 1."""
    total, squares = (np.zeros(shape, dtype=np.float32) for _ in range(2))
    for array in values:
        value = array.astype(np.float32)
        total += value
        squares += value * value
    count = max(1, len(values))
    return np.asarray(np.round(4 / 255 * (squares / count - (total / count) ** 2)).clip(0, 255), dtype=np.uint8)


def _opposed(label: BoolArray, models: Sequence[BoolArray], size: Sequence[int]) -> ByteArray:
    """255 where the labels contradict every model, around a voxel where none of them comes near the other.

    A majority of the models never does so, however much these differ; so there is next to no noise in it.
    """
    result = np.zeros(label.shape, dtype=np.uint8)
    if not models:
        return result
    some, every = np.logical_or.reduce(models), np.logical_and.reduce(models)
    against = np.where(label, ~some, every)
    if not against.any():
        return result
    beyond = (label & ~_near(some, size)) | (every & ~_near(label, size))
    result[against & _near(beyond, size)] = 255
    return result


def _near(mask: BoolArray, size: Sequence[int]) -> BoolArray:
    """Voxels with any of the mask in the box around them."""
    return np.asarray(ndimage.maximum_filter(mask.view(np.uint8), size=size, mode="constant") > 0)


def _opened(values: ByteArray, size: Sequence[int]) -> ByteArray:
    """Without what is thinner than a box of ``size`` voxels; beyond the border of the scan all goes on as at it."""
    if not values.any():
        return values
    least = ndimage.minimum_filter(values, size=size, mode="nearest")
    # A box of an even size reaches further down than up; grown back with its mirror image, nothing moves.
    mirrored = [n % 2 - 1 for n in size]
    return np.asarray(ndimage.maximum_filter(least, size=size, origin=mirrored, mode="nearest"), dtype=np.uint8)


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
