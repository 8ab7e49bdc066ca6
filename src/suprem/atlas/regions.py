"""The places of a case that deserve a look, each with a reason in words."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import cc3d
import numpy as np
import numpy.typing as npt

from suprem.atlas.label_set import LabelSet
from suprem.atlas.predictions import Prediction
from suprem.atlas.scores import CAUSES, CaseScores, related
from suprem.volumes.boxes import Box

__all__ = ["FoundRegion", "Votes", "find_regions", "reason"]

_LEAST_ML = 0.1


@dataclass(frozen=True)
class FoundRegion:
    """A connected part of the attention map in which one structure is in doubt.

    Attributes:
        structure: what is in doubt.
        x: voxel of the region nearest to its middle, on the stored grid; so are ``y`` and ``z``.
        y: see ``x``.
        z: see ``x``.
        volume_ml: of the region.
        attention_ml: its volume, each voxel weighted by its attention.
        cause: one of :data:`suprem.atlas.scores.CAUSES`, of most of its voxels.
        reason: a few words for people.
    """

    structure: str
    x: int
    y: int
    z: int
    volume_ml: float
    attention_ml: float
    cause: str
    reason: str


@dataclass(frozen=True)
class Votes:
    """Who sees a structure in most voxels of a region.

    Attributes:
        models: how many models predict the structure.
        seeing: how many of them see it.
        label: whether the labels have it; ``None`` where they do not know it.
        label_instead: what else the labels have there.
        models_instead: what else most models see there.
    """

    models: int
    seeing: int
    label: bool | None
    label_instead: str | None = None
    models_instead: str | None = None


def find_regions(
    scores: CaseScores,
    predictions: Mapping[str, Prediction],
    labels: LabelSet,
    *,
    beside: Sequence[str] = (),
    threshold: float = 0.5,
    most: int = 20,
) -> tuple[FoundRegion, ...]:
    """Connected parts of the attention map above a threshold, of one structure each; those with most attention first.

    Args:
        scores: Of the case.
        predictions: Model -> what it says.
        labels: Those that count now.
        beside: As for :func:`suprem.atlas.scores.score_case`; reasons may name them.
        threshold: Of the attention, between 0 and 1.
        most: Regions that are kept.
    """
    above = np.where(scores.attention >= round(255 * threshold), scores.strongest, np.uint16(0))
    parts = cc3d.connected_components(above, connectivity=26)
    inside = np.flatnonzero(parts)
    if not inside.size:
        return ()
    weights = np.bincount(parts.reshape(-1)[inside], weights=scores.attention.reshape(-1)[inside]) / 255
    measured = cc3d.statistics(parts)
    ml = float(prod(np.linalg.norm(labels.affine[:3, :3], axis=0))) / 1000
    names = list(scores.structures)
    found = []
    for part in sorted(range(1, len(weights)), key=lambda part: -weights[part])[:most]:
        volume = int(measured["voxel_counts"][part]) * ml
        if volume < _LEAST_ML:
            continue
        box: Box = measured["bounding_boxes"][part]
        region = parts[box] == part
        structure = names[int(above[box][region][0]) - 1]
        number = int(np.bincount(scores.cause[box][region]).argmax())
        cause = CAUSES[number - 1]
        votes = _votes(structure, region & (scores.cause[box] == number), box, predictions, labels, [*names, *beside])
        attention_ml, why = float(weights[part]) * ml, reason(structure, cause, votes)
        found.append(FoundRegion(structure, *_middle(region, box), volume, attention_ml, cause, why))
    return tuple(found)


def _middle(region: npt.NDArray[np.bool_], box: Box) -> tuple[int, int, int]:
    """The voxel of a region that is nearest to its centre of mass."""
    places = np.argwhere(region)
    nearest = places[((places - places.mean(axis=0)) ** 2).sum(axis=1).argmin()]
    x, y, z = (int(i) + span.start for i, span in zip(nearest, box, strict=True))
    return x, y, z


def _votes(
    structure: str,
    region: npt.NDArray[np.bool_],
    box: Box,
    predictions: Mapping[str, Prediction],
    labels: LabelSet,
    names: Sequence[str],
) -> Votes:
    half = int(np.count_nonzero(region)) / 2
    entries = Counter(labels.indices[box][region].tolist())
    marked = {n: sum(c for i, c in entries.items() if n in labels.table[i]) for n in names if n in labels.provenance}
    label = marked[structure] > half if structure in marked else None
    models = seeing = 0
    instead: Counter[str] = Counter()
    for prediction in predictions.values():
        masks = prediction.masks([name for name in names if name in prediction.classes], box)
        seen = {name: int(np.count_nonzero(mask[region])) for name, mask in masks.items()}
        models += structure in seen
        seeing += int(seen.get(structure, 0) > half)
        instead.update(_others(structure, seen, half))
    most = next((name for name, count in instead.most_common(1) if count * 2 > len(predictions)), None)
    return Votes(models, seeing, label, next(iter(_others(structure, marked, half)), None), most)


def _others(structure: str, voxels: Mapping[str, int], half: float) -> Iterable[str]:
    """Structures that cannot share voxels with one and fill more than half of a region, the largest first."""
    names = [name for name, count in voxels.items() if count > half and not related(structure, name)]
    return sorted(names, key=lambda name: -voxels[name])


def reason(structure: str, cause: str, votes: Votes) -> str:
    """Why a region deserves a look.

    Args:
        structure: What is in doubt.
        cause: One of :data:`suprem.atlas.scores.CAUSES`, the largest there.
        votes: Who sees it.

    Example:
        >>> reason("spleen", "consistency", Votes(3, 2, False))
        '2 of 3 models see spleen here, the label does not'
    """
    name = structure.replace("_", " ")
    see = "sees" if votes.seeing == 1 else "see"
    who = f"{votes.seeing} of {votes.models} models {see} {name} here"
    if cause == "overlap":
        other = votes.label_instead if votes.label else votes.models_instead
        other = other or votes.label_instead or votes.models_instead
        with_what = f"{name} and {other.replace('_', ' ')}" if other else f"{name} and something else"
        return f"{with_what} are both marked here"
    if cause == "topology":
        what = f"this part of {name} lies apart from the rest" if votes.label else f"the label of {name} has a cavity"
        return f"{what}; {who}"
    if cause == "uncertainty":
        who = "the model is" if votes.models == 1 else "the models are"
        return f"{who} unsure about {name} here, {votes.seeing} of {votes.models} {see} it"
    if votes.label is None:
        return who
    instead = f", but {votes.label_instead.replace('_', ' ')}" if votes.label_instead and not votes.label else ""
    if votes.label and votes.models_instead and not votes.seeing:
        return f"{who}, the label does; most see {votes.models_instead.replace('_', ' ')}"
    if votes.label == (2 * votes.seeing > votes.models) and votes.seeing in (0, votes.models):
        return f"the outlines of {name} differ here"
    return f"{who}, the label {'does' if votes.label else 'does not'}{instead}"
