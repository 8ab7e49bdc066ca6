"""Rules of anatomy that labels of one case have to keep, beside those of :mod:`suprem.quality`.

Everything that depends on slices follows from two small tables, voxels per palette index in each slice along z and
along x; masks are made one at a time, for the rules that need them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from suprem.atlas._anatomy import ABOVE, CLOSED, DISTINCT, MAY_OVERLAP, NEAR, ROUNDED
from suprem.atlas._topology import cavities
from suprem.atlas.label_set import LabelSet
from suprem.errors import UnknownNameError, VolumeError
from suprem.labels import ordered, structure
from suprem.quality import Evidence, body_midline_mm, find, gather
from suprem.quality.evidence import is_one_piece
from suprem.quality.findings import BETWEEN

__all__ = ["RULES", "Doubt", "Profiles", "Rule", "check_case"]

BoolArray = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]

Rule = Literal["outside", "overlap", "apart", "order", "across", "gap", "jump", "end", "cavity"]
RULES: tuple[Rule, ...] = get_args(Rule)
"""Of this module; those of :data:`suprem.quality.findings.FLAGS` come beside them."""

_LEAST_ML = 0.1
"""Less is not worth a look, whatever its share."""
_OUTSIDE_SHARE = 0.1
_OVERLAP_SHARE = 0.05
_ACROSS_SHARE, _ACROSS_MM = 0.1, 20.0
_WHOLE = 0.9
"""More than this across is a whole structure on the wrong side, which the flag ``"side"`` tells."""
_ORDER_MM = 10.0
_SLICES = 12
"""Slices that a structure has to span before its profile says something: shorter ones end abruptly by themselves."""
_INNER_SHARE = 0.25
"""Slices with less than this share of the largest area belong to the ends, where areas change fast."""
_JUMP, _SUDDEN = 2.0, 1.4
"""A jump is a change by the first factor that exceeds its neighbours by the second; fast, smooth ends are no jump."""
_SPECK_SHARE = 0.02
_END_SHARE = 0.5
_CAVITY_ML = 1.0


@dataclass(frozen=True)
class Doubt:
    """One reason to look at a structure of one case.

    Attributes:
        structure: its name.
        rule: one of :data:`RULES`, or a flag of :mod:`suprem.quality`.
        slice: index along z of the stored grid; ``None`` where there is nothing to show.
        text: a sentence for people.
        others: structures that belong into the picture.
    """

    structure: str
    rule: str
    slice: int | None
    text: str
    others: tuple[str, ...] = ()


class Profiles:
    """Voxels per slice, of all structures and combinations of them, from one pass over the labels.

    Args:
        labels: of one case.
    """

    def __init__(self, labels: LabelSet) -> None:
        entries, (size_x, _, size_z) = len(labels.table), labels.shape
        self._table, self.known = labels.table, frozenset(labels.provenance)
        self.spacing_mm = _spacing(labels)
        self._x = np.zeros((size_x, entries), dtype=np.int64)
        along_z = np.zeros(size_z * entries, dtype=np.int64)
        offsets = np.arange(size_z) * entries
        for row, plane in zip(self._x, labels.indices, strict=True):
            counts = np.bincount((plane + offsets).ravel(), minlength=along_z.size)
            along_z += counts
            row[:] = counts.reshape(size_z, entries).sum(axis=0)
        self._z = along_z.reshape(size_z, entries)
        self._voxel_ml = prod(self.spacing_mm) / 1000

    def z(self, name: str) -> Counts:
        """Voxels of a structure in each slice along z."""
        return self.where(lambda entry: name in entry)

    def x(self, name: str) -> Counts:
        """Voxels of a structure in each slice along x."""
        return np.asarray(self._x[:, [name in entry for entry in self._table]].sum(axis=1))

    def where(self, holds: Callable[[frozenset[str]], bool]) -> Counts:
        """Voxels in each slice along z whose structures fulfil a condition."""
        return np.asarray(self._z[:, [holds(entry) for entry in self._table]].sum(axis=1))

    def ml(self, voxels: Counts | int) -> float:
        """Volume of so many voxels."""
        return float(np.sum(voxels)) * self._voxel_ml

    def widest(self, name: str) -> int | None:
        """Slice along z with most of a structure; ``None`` where it is absent."""
        counts = self.z(name)
        return int(np.argmax(counts)) if counts.any() else None

    def pairs(self) -> list[tuple[str, str]]:
        """Structures that share voxels."""
        there = [self._table[index] for index in np.flatnonzero(self._z.sum(axis=0))]
        found = {(a, b) for entry in there for i, a in enumerate(ordered(entry)) for b in ordered(entry)[i + 1 :]}
        return sorted(found)


def check_case(labels: LabelSet, ct: npt.NDArray[Any]) -> tuple[Doubt, ...]:
    """Everything in the labels of a case that deserves a look; hints, never a verdict.

    The flag ``"cut"`` of :mod:`suprem.quality` is left out: it speaks of the scan, not of its labels.

    Args:
        labels: of the case.
        ct: HU, (X, Y, Z) in RAS on the same grid.

    Raises:
        VolumeError: shapes differ.
    """
    if ct.shape != labels.shape:
        raise VolumeError(f"The CT has shape {ct.shape}, its labels {labels.shape}; they must lie on one grid.")
    profiles, midline = Profiles(labels), body_midline_mm(ct, _spacing(labels))
    found = [*_outside(profiles), *_overlaps(profiles), *_order(profiles), *_across(profiles, midline)]
    evidence = []
    for name in labels.structures:  # one mask at a time
        mask = labels.mask(name)
        evidence.append(_evidence(name, mask, ct, profiles.spacing_mm))
        found += [*_along_z(name, mask, profiles), *_cavity(name, mask, labels), *_apart(name, mask, labels, profiles)]
    for finding in find(evidence, midline):
        if finding.flag != "cut":
            place = _place(finding.structure, finding.flag, profiles, labels)
            others = BETWEEN.get(finding.structure, ()) if finding.flag == "missing" else ()
            found.append(Doubt(finding.structure, finding.flag, place, finding.text, others))
    rank = {name: number for number, name in enumerate(labels.structures)}
    return tuple(sorted(found, key=lambda doubt: rank[doubt.structure]))


def _spacing(labels: LabelSet) -> tuple[float, float, float]:
    x, y, z = (float(size) for size in np.linalg.norm(labels.affine[:3, :3], axis=0))
    return x, y, z


def _evidence(name: str, mask: BoolArray, ct: npt.NDArray[Any], spacing_mm: tuple[float, float, float]) -> Evidence:
    if not mask.any():
        return gather(name, mask, spacing_mm)
    inside = ct[mask].astype(np.float64)
    return gather(name, mask, spacing_mm, mean_hu=float(inside.mean()), std_hu=float(inside.std()))


def _place(name: str, flag: str, profiles: Profiles, labels: LabelSet) -> int | None:
    """The slice that shows a flag best."""
    if flag == "parts":
        apart, count = ndimage.label(labels.mask(name), np.ones((3, 3, 3)))
        sizes = np.bincount(apart.ravel(), minlength=count + 1)
        second = int(np.argsort(sizes[1:])[-2]) + 1
        return int(np.argmax((apart == second).sum(axis=(0, 1))))
    if flag == "missing":
        ends = [np.flatnonzero(profiles.z(other)) for other in BETWEEN[name]]
        return int(ends[0].min() + ends[1].max()) // 2
    return profiles.widest(name)


def _outside(profiles: Profiles) -> Iterator[Doubt]:
    """Lesions and parts of organs outside what they belong to."""
    for name in ordered(profiles.known):
        parents = _parents(name)
        if not parents or not set(parents) <= profiles.known:
            continue
        counts = profiles.where(lambda entry, own=name, of=parents: own in entry and not entry.intersection(of))  # type: ignore[misc]
        whole, out = profiles.ml(profiles.z(name)), profiles.ml(counts)
        if out > _LEAST_ML and out > _OUTSIDE_SHARE * whole:
            share = f"{100 * out / whole:.0f} % of it ({out:.1f} ml)"
            text = f"{share} lies outside {' and '.join(parents)}, where it belongs; one of them is wrong there"
            yield Doubt(name, "outside", int(np.argmax(counts)), text, parents)


def _overlaps(profiles: Profiles) -> Iterator[Doubt]:
    """Two organs in the same voxels."""
    for pair in profiles.pairs():
        if not _exclude_each_other(*pair):
            continue
        counts = profiles.where(lambda entry, both=frozenset(pair): both <= entry)  # type: ignore[misc]
        one, other = sorted(pair, key=lambda name: int(profiles.z(name).sum()))
        shared, whole = profiles.ml(counts), profiles.ml(profiles.z(one))
        if shared > _LEAST_ML and shared > _OVERLAP_SHARE * whole:
            text = (
                f"shares {shared:.1f} ml ({100 * shared / whole:.0f} % of it) with {other}; only one of them is there"
            )
            yield Doubt(one, "overlap", int(np.argmax(counts)), text, (other,))


def _order(profiles: Profiles) -> Iterator[Doubt]:
    """Structures that lie above what they have to lie below."""
    for upper, lower, reason in ABOVE:
        centres = [_centre(profiles.z(name)) for name in (upper, lower)]
        if centres[0] is None or centres[1] is None:
            continue
        below = (centres[1] - centres[0]) * profiles.spacing_mm[2]
        if below > _ORDER_MM:
            text = f"its centre lies {below:.0f} mm below that of {lower}; {reason}"
            yield Doubt(upper, "order", profiles.widest(upper), text, (lower,))


def _across(profiles: Profiles, midline_mm: float | None) -> Iterator[Doubt]:
    """Structures of one side with a part on the other: two of them were taken for one."""
    for name in ordered(profiles.known):
        side = _side(name)
        if midline_mm is None or side is None:
            continue
        counts = profiles.x(name)
        place = np.arange(len(counts)) * profiles.spacing_mm[0] - midline_mm
        wrong = counts[place < -_ACROSS_MM if side == "right" else place > _ACROSS_MM].sum()
        share = wrong / max(1, counts.sum())
        if _ACROSS_SHARE < share < _WHOLE and profiles.ml(wrong) > _LEAST_ML:
            text = f"{100 * share:.0f} % of it lie more than {_ACROSS_MM:.0f} mm across the middle of the body"
            yield Doubt(name, "across", profiles.widest(name), f"{text}; it may hold a part of its counterpart")


def _along_z(name: str, mask: BoolArray, profiles: Profiles) -> Iterator[Doubt]:
    """Slices without the structure between slices with it, and areas that change too fast."""
    counts = profiles.z(name)
    filled = np.flatnonzero(counts)
    if not len(filled) or not is_one_piece(name):
        return
    yield from _gaps(name, mask, counts, filled)
    first, last = int(filled[0]), int(filled[-1])
    if name not in ROUNDED or last - first + 1 < _SLICES:
        return
    largest = counts.max()
    change, at = _fastest(counts[first : last + 1])
    if change > _JUMP:
        text = (
            f"its area changes {change:.1f} times from slice {first + at} to slice {first + at + 1}, and not around it"
        )
        yield Doubt(name, "jump", first + at, f"{text}; a part is missing, or too much, on one side")
    for at, border, word in ((first, 0, "lower"), (last, len(counts) - 1, "upper")):
        share = counts[at] / largest
        if at != border and share > _END_SHARE:
            text = f"its {word} end is flat: slice {at} still has {100 * share:.0f} % of its largest area"
            yield Doubt(name, "end", at, f"{text}; slices may be missing beyond it")


def _gaps(name: str, mask: BoolArray, counts: Counts, filled: npt.NDArray[np.intp]) -> Iterator[Doubt]:
    """Runs of slices without the structure, unless what lies beyond is a speck or may be joined outside of the scan."""
    for low, high in pairwise(filled):
        least = min(counts[: low + 1].sum(), counts[high:].sum())
        if high - low == 1 or least < _SPECK_SHARE * counts.sum():
            continue
        if high - low == 2 and min(counts[low], counts[high]) < _INNER_SHARE * counts.max():
            continue  # a thin part may break up in one slice by itself
        if _at_border(mask[:, :, : low + 1], 0) and _at_border(mask[:, :, high:], -1):
            continue
        text = f"is absent from {high - low - 1} slices between slices that have it; it was left out there"
        yield Doubt(name, "gap", int(low + high) // 2, text)


def _at_border(part: BoolArray, end: int) -> bool:
    """Whether a mask reaches the sides of the grid, or one of its ends along z."""
    sides = (part[0], part[-1], part[:, 0], part[:, -1], part[:, :, end])
    return any(bool(side.any()) for side in sides)


def _fastest(counts: Counts) -> tuple[float, int]:
    """The largest change of area that stands out from those before and behind it, and behind which slice it is."""
    areas = counts.astype(np.float64)
    low, high = np.minimum(areas[:-1], areas[1:]), np.maximum(areas[:-1], areas[1:])
    ratios = high / np.maximum(low, 1.0)
    around = np.pad(ratios, 1, constant_values=1.0)
    sudden = ratios > _SUDDEN * np.maximum(around[:-2], around[2:])
    ratios[~sudden | (low < _INNER_SHARE * areas.max())] = 1.0
    return float(ratios.max()), int(np.argmax(ratios))


def _cavity(name: str, mask: BoolArray, labels: LabelSet) -> Iterator[Doubt]:
    """Enclosed voxels in which nothing is labelled."""
    if name not in CLOSED or not mask.any():
        return
    box = ndimage.find_objects(mask.view(np.uint8))[0]
    inside = cavities(mask[box], box, labels)
    ml = float(inside.sum()) * prod(_spacing(labels)) / 1000
    if ml > _CAVITY_ML:
        at = int(np.argmax(inside.sum(axis=(0, 1)))) + box[2].start
        yield Doubt(name, "cavity", at, f"encloses {ml:.1f} ml in which nothing is labelled; it should be solid")


def _apart(name: str, mask: BoolArray, labels: LabelSet, profiles: Profiles) -> Iterator[Doubt]:
    """Structures far from what they touch in everybody."""
    for own, other, limit_mm, reason in NEAR:
        if own != name or other not in profiles.known or not profiles.z(other).any() or not mask.any():
            continue
        if not _is_near(mask, labels.mask(other), profiles.spacing_mm, limit_mm):
            text = f"lies more than {limit_mm:.0f} mm from {other}, but {reason}; look at both"
            yield Doubt(name, "apart", profiles.widest(name), text, (other,))


def _is_near(one: BoolArray, other: BoolArray, spacing_mm: Sequence[float], limit_mm: float) -> bool:
    """Whether any voxel of one lies within a distance of any of the other."""
    tight = ndimage.find_objects(one.view(np.uint8))[0]
    reach = [int(np.ceil(limit_mm / size)) for size in spacing_mm]
    box = tuple(slice(max(0, s.start - r), s.stop + r) for s, r in zip(tight, reach, strict=True))
    near = other[box]
    if not near.any():
        return False
    distance = ndimage.distance_transform_edt(~one[box], sampling=spacing_mm)
    return bool(distance[near].min() <= limit_mm)


def _centre(counts: Counts) -> float | None:
    total = counts.sum()
    return float(counts @ np.arange(len(counts)) / total) if total else None


def _exclude_each_other(one: str, other: str) -> bool:
    if frozenset((one, other)) in MAY_OVERLAP or not (_is_distinct(one) and _is_distinct(other)):
        return False
    return one not in _ancestors(other) and other not in _ancestors(one)


def _is_distinct(name: str) -> bool:
    try:
        entry = structure(name)
    except UnknownNameError:  # nothing is known about a class of the user's own
        return False
    return entry.group in DISTINCT or entry.name in DISTINCT


def _ancestors(name: str) -> set[str]:
    parents = set(_parents(name))
    return parents.union(*(_ancestors(parent) for parent in parents))


def _parents(name: str) -> tuple[str, ...]:
    try:
        return structure(name).parents
    except UnknownNameError:
        return ()


def _side(name: str) -> str | None:
    try:
        return structure(name).side
    except UnknownNameError:
        return None
