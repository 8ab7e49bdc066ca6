"""One mask of several models' predictions, structure by structure.

Each structure is fused over the models that know it, and without a look at the others: a lesion may leave its organ,
and two organs may claim a voxel. Such places are what review is for, so they are not tidied away here.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from suprem.atlas.predictions import Prediction
from suprem.errors import ConfigurationError

__all__ = ["FUSIONS", "Fusion", "Rater", "check_fusion", "fused_masks", "majority", "mean", "staple"]

BoolArray = npt.NDArray[np.bool_]
Fusion = Literal["majority", "staple", "mean"]
FUSIONS: tuple[Fusion, ...] = get_args(Fusion)
"""Ways to fuse: :func:`majority`, :func:`staple`, :func:`mean`."""

_MARGIN = 8
"""Voxels around what any model has found that STAPLE takes into account."""
_ITERATIONS = 100
_LAYERS = 32


class Rater:
    """One model's prediction of a case; the likeliest classes are kept where they exclude each other.

    Args:
        prediction: of the model.
    """

    def __init__(self, prediction: Prediction) -> None:
        self.prediction = prediction
        self._winner: npt.NDArray[Any] | None = None

    def probability(self, name: str) -> npt.NDArray[np.uint8]:
        """Probability of a class, uint8 (X, Y, Z), 255 for certain."""
        return self.prediction.probability(name)

    def mask(self, name: str) -> BoolArray:
        """What the model decides, bool (X, Y, Z)."""
        if not self.prediction.exclusive:
            return self.prediction.masks([name])[name]
        if self._winner is None:
            x = self.prediction.shape[0]
            starts = range(0, x, _LAYERS)
            parts = (self.prediction.winner((slice(i, i + _LAYERS), slice(None), slice(None))) for i in starts)
            self._winner = np.concatenate(list(parts))
        return np.asarray(self._winner == self.prediction.classes.index(name) + 1)


def check_fusion(fusion: str) -> None:
    """Makes sure that a fusion is known.

    Raises:
        ConfigurationError: it is not.
    """
    if fusion not in FUSIONS:
        raise ConfigurationError(f"fusion is {fusion!r}; it must be one of {', '.join(FUSIONS)}.")


def fused_masks(
    predictions: Sequence[Prediction], structures: Sequence[str], fusion: Fusion
) -> Iterator[tuple[str, BoolArray]]:
    """Structures with their masks, bool (X, Y, Z), one at a time; structures that no model knows are left out.

    Args:
        predictions: of one case, on one grid.
        structures: canonical names.
        fusion: one of :data:`FUSIONS`.

    Raises:
        ConfigurationError: unknown fusion, or predictions on different grids.
        VolumeError: a file is damaged.
    """
    check_fusion(fusion)
    shapes = {prediction.shape for prediction in predictions}
    if len(shapes) > 1:
        raise ConfigurationError(f"The predictions have the shapes {sorted(shapes)}; delete those of another grid.")
    raters = [Rater(prediction) for prediction in predictions]
    fuse = {"majority": majority, "staple": staple, "mean": mean}[fusion]
    for name in structures:
        knowing = [rater for rater in raters if name in rater.prediction.classes]
        if knowing:
            yield name, fuse(knowing, name)


def majority(raters: Sequence[Rater], name: str) -> BoolArray:
    """Voxels that more than half of the models give to a structure.

    Where exactly half of them do, the mean of the probabilities decides, as :func:`mean` does.

    Args:
        raters: models that know the structure, one at least.
        name: the structure.

    Returns:
        bool (X, Y, Z).
    """
    votes = np.zeros(raters[0].prediction.shape, dtype=np.uint16)
    for rater in raters:
        votes += rater.mask(name)
    result: BoolArray = votes > len(raters) / 2
    if len(raters) % 2 == 0:
        tie = votes == len(raters) // 2
        if tie.any():
            del votes
            result |= tie & mean(raters, name)
    return result


def mean(raters: Sequence[Rater], name: str) -> BoolArray:
    """Voxels where the mean of the models' probabilities is above one half.

    Args:
        raters: models that know the structure, one at least.
        name: the structure.

    Returns:
        bool (X, Y, Z).
    """
    total = np.zeros(raters[0].prediction.shape, dtype=np.uint16)
    for rater in raters:
        total += rater.probability(name)
    return np.asarray(total > 255 * len(raters) // 2)


def staple(raters: Sequence[Rater], name: str) -> BoolArray:
    """Voxels that belong to a structure with a probability above one half, by the STAPLE of SimpleITK.

    It weighs the models by the sensitivity and specificity that it finds for each of them. Both depend on how much
    background is looked at: the box around all that any model has found, with a margin of 8 voxels. At most 100
    iterations are made. Where all models agree, as where none finds anything, theirs is the result.

    Args:
        raters: models that know the structure, one at least.
        name: the structure.

    Returns:
        bool (X, Y, Z).

    References:
        Warfield, Zou, Wells: Simultaneous truth and performance level estimation, IEEE TMI 23 (2004) 903-921.
    """
    union, common = raters[0].mask(name), raters[0].mask(name)
    for rater in raters[1:]:
        mask = rater.mask(name)
        union |= mask
        common &= mask
    if np.array_equal(union, common):
        return union
    del common
    box = _box(union)
    union[box] = _staple([rater.mask(name)[box].copy() for rater in raters])
    return union  # outside the box there is nothing


def _box(mask: BoolArray) -> tuple[slice, ...]:
    """Around all voxels of a mask that has some, with the margin."""
    ranges = []
    for axis, size in enumerate(mask.shape):
        found = np.flatnonzero(mask.any(axis=tuple(i for i in range(3) if i != axis)))
        ranges.append(slice(max(int(found[0]) - _MARGIN, 0), min(int(found[-1]) + 1 + _MARGIN, size)))
    return tuple(ranges)


def _staple(masks: Sequence[BoolArray]) -> BoolArray:
    import SimpleITK

    estimate = SimpleITK.STAPLEImageFilter()
    estimate.SetForegroundValue(1.0)
    estimate.SetConfidenceWeight(1.0)
    estimate.SetMaximumIterations(_ITERATIONS)
    weights = estimate.Execute([SimpleITK.GetImageFromArray(mask.astype(np.uint8)) for mask in masks])
    return np.asarray(SimpleITK.GetArrayViewFromImage(weights) > 0.5)
