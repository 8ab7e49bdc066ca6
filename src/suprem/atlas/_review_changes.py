"""What is different in labels that came back from a person."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from suprem.atlas._review_masks import Returned
from suprem.atlas.label_set import LabelSet
from suprem.evaluation.metrics import dice_from_counts
from suprem.labels import ordered

__all__ = ["Back", "change"]

BoolArray = npt.NDArray[np.bool_]


def change(before: BoolArray, after: BoolArray, voxel_ml: float) -> dict[str, float]:
    """How much a mask changed; two empty masks have a Dice coefficient of 1.

    Args:
        before: bool (X, Y, Z).
        after: The same shape.
        voxel_ml: Volume of a voxel.
    """
    overlap, old, new = (int(np.count_nonzero(mask)) for mask in (before & after, before, after))
    return {
        "dsc_before_after": dice_from_counts(overlap, new, old) if old + new else 1.0,
        "voxels_before": old,
        "voxels_after": new,
        "added_ml": (new - overlap) * voxel_ml,
        "removed_ml": (old - overlap) * voxel_ml,
    }


@dataclass
class Back:
    """Labels that came back, and what is different in them.

    Attributes:
        handed: what was handed out.
        returned: what came back; ``None`` for the same.
        missing_means_empty: structures that did not come back are absent.
        changed: structure -> how much.
        content: SHA-256 of the changed masks.
    """

    handed: LabelSet
    returned: Returned | None
    missing_means_empty: bool
    changed: dict[str, dict[str, float]] = field(default_factory=dict)
    content: str = ""

    @property
    def checked(self) -> tuple[str, ...]:
        """Structures that the person has seen."""
        return ordered({*self.handed.structures, *(self.returned.names if self.returned else ())})

    def mask(self, name: str) -> BoolArray:
        """Of a structure, as it came back."""
        if self.returned is not None and name in self.returned.names:
            return self.returned.mask(name)
        if self.returned is None or not self.missing_means_empty:
            return self.before(name)
        return np.zeros(self.handed.shape, dtype=np.bool_)

    def before(self, name: str) -> BoolArray:
        """Of a structure, as handed out; empty where nothing was known."""
        if name in self.handed.provenance:
            return self.handed.mask(name)
        return np.zeros(self.handed.shape, dtype=np.bool_)

    def compare(self, always: Sequence[str]) -> None:
        """Finds what is different.

        Args:
            always: Structures that count as changed anyway, because the same person has changed them before.
        """
        digest = hashlib.sha256()
        voxel_ml = abs(float(np.linalg.det(self.handed.affine[:3, :3]))) / 1000
        for name in ordered({*self.checked, *always}):
            before, after = self.before(name), self.mask(name)
            if name in always or not np.array_equal(before, after):
                self.changed[name] = change(before, after, voxel_ml)
                digest.update(f"{name}\0{np.count_nonzero(after)}\0".encode())
                for plane in after:
                    digest.update(np.packbits(plane).tobytes())
        self.content = digest.hexdigest()
