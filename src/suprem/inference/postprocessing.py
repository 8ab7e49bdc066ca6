"""Rules that repair predicted masks, in named profiles that can be switched on.

Sizes in the rules are voxels of 1.5 mm, the grid they were made for; on another grid they are scaled to the same
volume or length.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from suprem.errors import UnknownNameError, did_you_mean
from suprem.inference._components import closed_and_dilated, keep_parts
from suprem.inference._lungs import separate_lungs
from suprem.inference.segmentation import Segmentation
from suprem.labels import structure

__all__ = ["check_profile", "list_postprocess", "postprocess"]

_GRID_MM = 1.5
_RESTRICTION_RADIUS = 2  # voxels of 1.5 mm: a box of 5 x 5 x 5

BoolArray = npt.NDArray[np.bool_]


class Rule(Protocol):
    """One repair."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Structures that must have been predicted for the rule to apply."""

    def apply(self, segmentation: Segmentation) -> tuple[str, str]:
        """Changes the segmentation; returns ``"done"``, ``"skipped"`` or ``"failed"``, and a remark."""


@dataclass(frozen=True)
class KeepLargest:
    """Only the largest connected part of a structure stays."""

    name: str

    @property
    def classes(self) -> tuple[str, ...]:
        """The structure."""
        return (self.name,)

    def apply(self, segmentation: Segmentation) -> tuple[str, str]:
        """Removes all but the largest part."""
        segmentation.set_grid_mask(self.name, keep_parts(segmentation.grid_mask(self.name), 1))
        return "done", ""


@dataclass(frozen=True)
class KeepLesions:
    """At most ``count`` connected parts with more than ``voxels`` voxels stay, inside the parent organ if one is given.

    Attributes:
        name: the lesion.
        count: parts to keep.
        voxels: smaller parts go, in voxels of 1.5 mm.
        parents: the organ, as the union of these.
        parent_parts: how many of its largest parts count as the organ.
    """

    name: str
    count: int
    voxels: int
    parents: tuple[str, ...] = ()
    parent_parts: int = 1

    @property
    def classes(self) -> tuple[str, ...]:
        """The lesion; without its parents the size still decides."""
        return (self.name,)

    def apply(self, segmentation: Segmentation) -> tuple[str, str]:
        """Restricts to the parent, then keeps the largest parts."""
        mask, remark = segmentation.grid_mask(self.name), ""
        if self.parents:
            missing = [name for name in self.parents if name not in segmentation.classes]
            if missing:
                remark = f"not restricted to its organ: {', '.join(missing)} not predicted"
            else:
                mask &= self._organ(segmentation, mask)
        scale = prod(_GRID_MM / s for s in segmentation.grid_spacing_mm)
        segmentation.set_grid_mask(self.name, keep_parts(mask, self.count, self.voxels * scale))
        return "done", remark

    def _organ(self, segmentation: Segmentation, lesion: BoolArray) -> BoolArray:
        organ = segmentation.grid_mask(self.parents[0])
        for name in self.parents[1:]:
            organ |= segmentation.grid_mask(name)
        if segmentation.exclusive:
            # There the organ has a hole where its lesion is.
            organ |= lesion
        organ = keep_parts(organ, self.parent_parts)
        radius = [max(1, round(_RESTRICTION_RADIUS * _GRID_MM / s)) for s in segmentation.grid_spacing_mm]
        return closed_and_dilated(organ, radius)


@dataclass(frozen=True)
class CutBelow:
    """A structure ends where another one does: everything below the lowest axial slice of ``reference`` goes."""

    name: str
    reference: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Both structures."""
        return (self.name, self.reference)

    def apply(self, segmentation: Segmentation) -> tuple[str, str]:
        """Empties the slices below the reference."""
        layers = np.flatnonzero(segmentation.grid_mask(self.reference).any(axis=(0, 1)))
        if not layers.size:
            return "skipped", f"{self.reference} was not found"
        mask = segmentation.grid_mask(self.name)
        mask[:, :, : layers[0]] = False
        segmentation.set_grid_mask(self.name, mask)
        return "done", ""


@dataclass(frozen=True)
class SeparateLungs:
    """Left and right lung from their union, see :func:`suprem.inference._lungs.separate_lungs`."""

    left: str = "lung_left"
    right: str = "lung_right"

    @property
    def classes(self) -> tuple[str, ...]:
        """Both lungs."""
        return (self.left, self.right)

    def apply(self, segmentation: Segmentation) -> tuple[str, str]:
        """Replaces both lungs, or leaves both as they are."""
        union = segmentation.grid_mask(self.left) | segmentation.grid_mask(self.right)
        lungs = separate_lungs(union, segmentation.grid_spacing_mm)
        if not lungs.separated:
            return ("failed" if union.any() else "skipped"), lungs.note
        sides = {self.left: lungs.left, self.right: lungs.right}
        if segmentation.exclusive:
            # A vessel or tumour in a lung is a hole that belongs to another structure.
            taken = segmentation.grid_foreground() & ~union
            sides = {name: mask & ~taken for name, mask in sides.items()}
        for name in sides:
            segmentation.set_grid_mask(name, np.zeros_like(union))
        for name, mask in sides.items():
            segmentation.set_grid_mask(name, mask)
        return "done", lungs.note


_LARGEST_ONLY = (
    *("spleen", "kidney_right", "kidney_left", "gall_bladder", "esophagus", "liver", "stomach", "aorta", "postcava"),
    *("pancreas", "adrenal_gland_right", "adrenal_gland_left", "duodenum", "colon", "intestine", "rectum", "bladder"),
    *("prostate", "femur_left", "femur_right", "celiac_trunk"),
)

_SUPREM: tuple[Rule, ...] = (
    *(KeepLargest(name) for name in _LARGEST_ONLY),
    CutBelow("portal_vein_and_splenic_vein", "pancreas"),
    SeparateLungs(),
    KeepLesions("kidney_tumor", 5, 80, ("kidney_right", "kidney_left"), parent_parts=2),
    KeepLesions("liver_tumor", 20, 20, ("liver",)),
    KeepLesions("pancreas_tumor", 1, 100),
    KeepLesions("hepatic_vessel_tumor", 10, 80),
    KeepLesions("lung_tumor", 10, 30),
    KeepLesions("colon_tumor", 3, 100),
    KeepLesions("kidney_cyst", 20, 20),
)


def _largest(classes: Sequence[str]) -> tuple[Rule, ...]:
    return tuple(KeepLargest(name) for name in classes if not _is_lesion(name))


def _is_lesion(name: str) -> bool:
    try:
        return structure(name).group == "tumour or cyst"
    except UnknownNameError:  # a class of the user's own
        return False


# Rules of a profile, for the predicted classes.
_PROFILES: dict[str, Callable[[Sequence[str]], tuple[Rule, ...]]] = {
    "none": lambda classes: (),
    "largest": _largest,
    "suprem": lambda classes: _SUPREM,
}


def list_postprocess() -> tuple[str, ...]:
    """Names of the profiles.

    ``"largest"`` keeps the largest part of every structure except lesions; ``"suprem"`` applies the rules of the SuPreM
    authors to the 32 structures of their checkpoints.

    Example:
        >>> list_postprocess()
        ('none', 'largest', 'suprem')
    """
    return tuple(_PROFILES)


def check_profile(profile: str) -> None:
    """Refuses an unknown profile.

    Raises:
        UnknownNameError: the message offers the closest names.
    """
    if profile not in _PROFILES:
        raise UnknownNameError(did_you_mean("post-processing profile", profile, _PROFILES))


def postprocess(segmentation: Segmentation, profile: str) -> list[dict[str, Any]]:
    """Applies a profile to a segmentation, in place.

    Args:
        segmentation: changed on its model grid.
        profile: a name of :func:`list_postprocess`.

    Returns:
        One record per rule that concerns a predicted structure, plain JSON values: ``rule``, ``classes``, ``status``
        (``"done"``, ``"skipped"``, ``"failed"``), ``remark``, and the ``removed_voxels`` and ``added_voxels`` on the
        model grid.

    Raises:
        UnknownNameError: no profile is called that.
    """
    check_profile(profile)
    records = []
    for rule in _PROFILES[profile](segmentation.classes):
        if any(name not in segmentation.classes for name in rule.classes):
            continue
        before = {name: segmentation.grid_mask(name) for name in rule.classes}
        status, remark = rule.apply(segmentation)
        removed = added = 0
        for name, old in before.items():
            new = segmentation.grid_mask(name)
            removed += int(np.count_nonzero(old & ~new))
            added += int(np.count_nonzero(new & ~old))
        records.append(
            {
                "rule": type(rule).__name__,
                "classes": list(rule.classes),
                "status": status,
                "remark": remark,
                "removed_voxels": removed,
                "added_voxels": added,
            }
        )
    return records
