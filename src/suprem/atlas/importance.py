"""From the scores of all cases to one number per case: how much it deserves a look before the others."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from suprem.atlas.scores import LABELS, SCORES, StructureScores
from suprem.errors import ConfigurationError
from suprem.labels import known_name, list_structures, mirrored

__all__ = ["DEFAULT_WEIGHTS", "Importance", "Weights", "expected_centre", "importance", "robust_z"]

Floats = npt.NDArray[np.float64]

_FLOOR_ML = {"uncertainty": 0.2, "consistency": 0.2, "overlap": 1.0}
"""Least deviation of a score; where most cases have none, the median deviation is 0. Sound neighbours overlap by chance
in few cases only, so there the deviation is 0 and yet the score is not."""
_ENOUGH = 8
"""From so many cases on, they say what is usual."""
_COMMON_BITS = 2.0
"""What is absent, exchanged, or broken in more than a quarter of the cases is no surprise."""


@dataclass(frozen=True)
class Weights:
    """How much each score counts.

    Attributes:
        uncertainty: of the models, each on its own.
        consistency: between models, and with the labels.
        overlap: of structures.

    Raises:
        ConfigurationError: one is negative, or all are 0.
    """

    uncertainty: float = 1.0
    consistency: float = 1.0
    overlap: float = 1.0

    def __post_init__(self) -> None:
        values = [getattr(self, name) for name in SCORES]
        if not all(math.isfinite(v) and v >= 0 for v in values) or not any(values):
            raise ConfigurationError(f"The weights are {values}; none may be negative, and one must be positive.")


DEFAULT_WEIGHTS = Weights()


@dataclass(frozen=True)
class Importance:
    """Of one case, and of each of its structures.

    Attributes:
        value: of the case, 0 or more.
        scores: score -> its largest value over the structures, in robust deviations from the median.
        structures: structure -> importance; the largest first, those without any left out.
        missing: structures that are absent here and present in most cases.
        exchanged: structures that lie on the other side of their counterpart than in most cases.
        broken: structures with a part apart from the rest, or a cavity, which are sound in most cases.
    """

    value: float
    scores: Mapping[str, float]
    structures: Mapping[str, float]
    missing: tuple[str, ...]
    exchanged: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()


def robust_z(values: Sequence[float] | Floats, among: Floats | None = None, *, floor: float = 0.2) -> Floats:
    """How far values lie above what is usual, in robust deviations; 0 below it.

    What is usual are the median and 1.4826 times the median absolute deviation of the values; where they are fewer than
    eight, those of ``among``; and where these are too, 0 for both.

    Args:
        values: One per case, NaN where there is none.
        among: Values of all structures.
        floor: Is added to the deviation, so that a value counts little that is small in itself.

    Example:
        >>> robust_z([0.0, 0.0, 1.0], floor=0.25).tolist()
        [0.0, 0.0, 4.0]
    """
    array = np.asarray(values, dtype=np.float64)
    median = spread = 0.0
    for sample in (array, among):
        known = array[:0] if sample is None else sample[np.isfinite(sample)]
        if len(known) >= _ENOUGH:
            median = float(np.median(known))
            spread = 1.4826 * float(np.median(np.abs(known - median)))
            break
    return np.where(np.isfinite(array), np.maximum(array - median, 0.0) / (spread + floor), 0.0)


def importance(
    scores: Mapping[str, Mapping[str, StructureScores]], weights: Weights = DEFAULT_WEIGHTS
) -> dict[str, Importance]:
    """Importance of each case.

    Args:
        scores: Case -> structure -> scores. They are compared with those of the other cases, so give all.
        weights: Of the three scores.

    Example:
        >>> clean = StructureScores(0.0, 0.0, 0.0, 0.0, {"labels": 30.0})
        >>> doubtful = StructureScores(0.0, 4.0, 0.0, 0.0, {"labels": 30.0})
        >>> found = importance({"a": {"spleen": clean}, "b": {"spleen": doubtful}})
        >>> found["b"].value > found["a"].value, list(found["b"].structures)
        (True, ['spleen'])
    """
    cases = list(scores)
    names = list(dict.fromkeys(name for found in scores.values() for name in found))
    amounts = {
        score: {name: np.array([_amount(scores[case].get(name), score) for case in cases]) for name in names}
        for score in SCORES
    }
    pooled = {score: np.concatenate(list(own.values()) or [np.zeros(0)]) for score, own in amounts.items()}
    z = {
        name: {score: robust_z(amounts[score][name], pooled[score], floor=_FLOOR_ML[score]) for score in SCORES}
        for name in names
    }
    surprises = [
        {name: _surprise(usual(scores, name)) for name in names} for usual in (_present, _on_its_side, _in_one_piece)
    ]
    result = {}
    for i, case in enumerate(cases):
        total = {
            name: math.hypot(
                *(getattr(weights, score) * z[name][score][i] for score in SCORES),
                *(surprise[name][i] for surprise in surprises),
            )
            for name in names
        }
        own = {score: max((float(z[name][score][i]) for name in names), default=0.0) for score in SCORES}
        order = sorted((name for name in names if total[name] > 0), key=lambda name: -total[name])
        odd = [tuple(name for name in names if surprise[name][i] > 0) for surprise in surprises]
        value = max(total.values(), default=0.0)
        result[case] = Importance(value, own, {name: total[name] for name in order}, *odd)
    return result


def expected_centre(
    scores: Mapping[str, Mapping[str, StructureScores]], case: str, structure: str
) -> tuple[float, float, float] | None:
    """Where a structure should lie in a case that lacks it, as a voxel.

    The median over the other cases of the way from each other structure to it, averaged over those that the case has.

    Args:
        scores: Case -> structure -> scores.
        case: That lacks it.
        structure: That is missing.

    Returns:
        x, y and z; ``None`` where no other case has it together with one that the case has.
    """
    places = []
    for name, own in scores[case].items():
        ways = [
            np.subtract(there, here)
            for found in scores.values()
            if structure in found and name in found
            for there, here in [(found[structure].centre, found[name].centre)]
            if there is not None and here is not None
        ]
        if own.centre is not None and ways:
            places.append(own.centre + np.median(ways, axis=0))
    if not places:
        return None
    x, y, z = (float(value) for value in np.mean(places, axis=0))
    return x, y, z


def _amount(scores: StructureScores | None, score: str) -> float:
    """A score in ml; NaN where nobody sees the structure: that tells nothing about those that have it."""
    return math.nan if scores is None or not scores.seen else float(getattr(scores, f"{score}_ml"))


def _present(scores: Mapping[str, Mapping[str, StructureScores]], name: str) -> list[bool | None]:
    """Of each case, whether it has a structure; ``None``: unknown."""
    return [found[name].present if name in found else None for found in scores.values()]


def _in_one_piece(scores: Mapping[str, Mapping[str, StructureScores]], name: str) -> list[bool | None]:
    """Of each case, whether the labels of a structure are sound: no part lies apart, and nothing is left out."""
    known = [found.get(name) for found in scores.values()]
    return [not one.topology_ml if one is not None and one.volumes_ml.get(LABELS) else None for one in known]


def _on_its_side(scores: Mapping[str, Mapping[str, StructureScores]], name: str) -> list[bool | None]:
    """Of each case, whether a structure lies on the side of its counterpart where most have it; ``None``: unknown."""
    known = known_name(name)
    partner = mirrored(known) if known in list_structures() else known
    sides: list[bool | None] = []
    for found in scores.values():
        here, there = (found[one].centre if one in found else None for one in (name, partner))
        sides.append(None if here is None or there is None or here[0] == there[0] else here[0] > there[0])
    usual = 2 * sum(side or False for side in sides) > sum(side is not None for side in sides)
    return [None if side is None else side == usual for side in sides]


def _surprise(usual: Sequence[bool | None]) -> Floats:
    """Bits of what is not as usual in a case, if that is so in a quarter of the cases at most; 0 elsewhere."""
    known = [one for one in usual if one is not None]
    bits = -math.log2((sum(not one for one in known) + 1) / (len(known) + 2))
    return np.array([bits if one is not None and not one and bits >= _COMMON_BITS else 0.0 for one in usual])
