"""Whether numbers were read with the wrong numbering: structures that lie where the other side has another one."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from suprem.evaluation.masks import CaseMasks
from suprem.labels import label_space, list_label_spaces

if TYPE_CHECKING:
    from suprem.evaluation.cases import MaskLayer

__all__ = ["Confusion", "confusions", "fitting_numberings", "frequent"]


@dataclass(frozen=True)
class Confusion:
    """A structure of the reference that lies where the prediction has another one.

    Attributes:
        reference: structure.
        predicted: the other one.
        dsc: of the two, at least :attr:`OTHER`, while that of the reference with its namesake is below :attr:`OWN`.
    """

    OWN: ClassVar[float] = 0.1
    OTHER: ClassVar[float] = 0.5

    reference: str
    predicted: str
    dsc: float


def confusions(
    layers: "Sequence[MaskLayer]",
    whole: tuple[npt.NDArray[Any], Mapping[int, str]] | None,
    missed: Sequence[str],
) -> tuple[Confusion, ...]:
    """Looks where structures of the reference lie in the prediction that their namesakes miss.

    Args:
        layers: of the case.
        whole: label map of all that was predicted, on the same grid, with the names of its numbers; ``None`` looks
            among the structures of the layers.
        missed: structures to look for.
    """
    predicted = [whole] if whole else [(la.ours, dict(enumerate(la.names, start=1))) for la in layers]
    result = []
    for layer in layers:
        for number, name in enumerate(layer.names, start=1):
            if name not in missed:
                continue
            region = layer.theirs == number
            found = (_best(array, names, region) for array, names in predicted if array.shape == region.shape)
            other, dsc = max((best for best in found if best), key=lambda best: best[1], default=(name, 0.0))
            if dsc >= Confusion.OTHER and other != name:
                result.append(Confusion(name, other, dsc))
    return tuple(result)


def _best(array: npt.NDArray[Any], names: Mapping[int, str], region: npt.NDArray[np.bool_]) -> tuple[str, float] | None:
    """The structure that fills most of a region, and its Dice coefficient with it."""
    counts = np.bincount(array[region])
    counts[0] = 0
    number = int(counts.argmax())
    if number not in names or not counts[number]:
        return None
    size = np.count_nonzero(array == number) + np.count_nonzero(region)
    return names[number], float(2 * counts[number] / size)


def frequent(found: Sequence[Sequence[Confusion]], present: Mapping[str, int]) -> dict[str, str]:
    """Reference -> predicted structure, for those confused in more than half of the cases that have the structure.

    Args:
        found: confusions of each case.
        present: structure -> cases whose reference has it.
    """
    counts = Counter((item.reference, item.predicted) for case in found for item in case)
    return {theirs: ours for (theirs, ours), count in counts.items() if 2 * count > present[theirs]}


def fitting_numberings(masks: CaseMasks, renamed: Mapping[str, str], kept: Sequence[str]) -> tuple[str, ...]:
    """The registered numberings under which a label map would mean what the other side says.

    Args:
        masks: a label map read with a registered numbering; any other gives nothing.
        renamed: structure as it was read -> what the other side has there.
        kept: structures that both sides agree on.
    """
    if masks.numbering not in list_label_spaces():
        return ()
    wanted = {min(masks.values[name]): other for name, other in renamed.items()}
    wanted |= {min(masks.values[name]): name for name in kept}
    return tuple(
        name
        for name in list_label_spaces()
        if all(label_space(name).numbers.get(number) == known for number, known in wanted.items())
    )
