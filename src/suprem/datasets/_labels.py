"""From a dataset's own label values to a palette: one index per voxel, and a table of what each index means."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from suprem.datasets._grid import same_grid
from suprem.datasets._rules import LabelMap
from suprem.datasets._sides import LEFT, RIGHT, Sides, body_midline, split_left_right
from suprem.errors import LabelSpaceError
from suprem.volumes.geometry import Volume, to_ras

__all__ = ["HarmonisedLabels", "harmonise_labels", "harmonise_masks"]

_STRADDLING: dict[tuple[str, str], Literal["cut", "unknown"]] = {("lung_right", "lung_left"): "cut"}
"""Lungs touch in front of the heart, and the midline separates them well. Anything else that crosses it, such as a
horseshoe kidney, has no boundary there."""

_Pair = tuple[str, str]


@dataclass(frozen=True, eq=False)
class HarmonisedLabels:
    """What is known about each voxel of a scan.

    Attributes:
        volume: uint8 or uint16 (X, Y, Z) in RAS: the palette index of each voxel, on the grid of the CT.
        table: palette index -> structures that the voxel belongs to; index 0 belongs to none.
        ignore: palette index of the voxels that are unknown in every structure; ``None`` when there is no such index.
        annotated: structures that were annotated in this case; all others are unknown, not absent.
        flags: decisions that a person may want to check.
    """

    volume: Volume
    table: tuple[frozenset[str], ...]
    ignore: int | None
    annotated: frozenset[str]
    flags: tuple[str, ...] = ()

    def mask(self, name: str) -> npt.NDArray[np.bool_]:
        """The voxels of a structure, bool (X, Y, Z) in RAS.

        Raises:
            LabelSpaceError: it is not annotated here, so where it is cannot be said.
        """
        if name not in self.annotated:
            raise LabelSpaceError(
                f"{name!r} is not annotated in {self.volume.name}; annotated are {', '.join(sorted(self.annotated))}."
            )
        return _looked_up(np.array([name in names for names in self.table]), self.volume.array)

    def structures_in(self, array: npt.NDArray[Any]) -> frozenset[str]:
        """The structures with at least one voxel in an array of palette indices, as this one or a resampled one."""
        found = np.zeros(len(self.table), dtype=bool)
        for plane in array:
            found[plane] = True
        return frozenset[str]().union(*(self.table[index] for index in np.flatnonzero(found)))

    def known(self) -> npt.NDArray[np.bool_]:
        """The voxels that say something about the annotated structures, bool (X, Y, Z) in RAS."""
        if self.ignore is None:
            return np.ones(self.volume.shape, dtype=bool)
        return np.asarray(self.volume.array != self.ignore)


@dataclass(frozen=True)
class _Meaning:
    """What a voxel is: the values it carries, and the side it lies on for each pair of structures."""

    values: frozenset[int]
    sides: tuple[tuple[_Pair, int], ...] = ()

    def structures(self, label_map: LabelMap) -> frozenset[str]:
        names: set[str] = set()
        side_of = dict(self.sides)
        for value in self.values:
            rule = label_map.values[value]
            names |= rule.certain
            names |= {pair[side_of[pair] - RIGHT] for pair in rule.pairs if side_of.get(pair)}
        return frozenset(names)


@dataclass
class _Parts:
    """A map of indices into a list of meanings."""

    indices: npt.NDArray[np.uint16]
    meanings: list[_Meaning]

    def where(self, values: frozenset[int]) -> npt.NDArray[np.bool_]:
        return _looked_up(np.array([bool(meaning.values & values) for meaning in self.meanings]), self.indices)

    def give_sides(self, pair: _Pair, values: frozenset[int], sides: Sides) -> None:
        """Replaces the meanings that carry one of ``values`` by one per side."""
        lookup = np.repeat(np.arange(len(self.meanings), dtype=np.uint16)[:, None], 3, axis=1)
        for index, meaning in enumerate(tuple(self.meanings)):
            if meaning.values & values:
                for side in (RIGHT, LEFT):
                    lookup[index, side] = len(self.meanings)
                    self.meanings.append(_Meaning(meaning.values, (*meaning.sides, (pair, side))))
        for plane, side in zip(self.indices[sides.crop], sides.side, strict=True):
            plane[...] = lookup[plane, side]


def harmonise_labels(labels: Volume, ct: Volume, label_map: LabelMap, *, trust_grid: bool = False) -> HarmonisedLabels:
    """Translates one label map.

    Args:
        labels: Integer label map in the dataset's numbering, in any orientation.
        ct: The scan it belongs to, on the same grid.
        label_map: What the values mean.
        trust_grid: Take voxels of equal index to belong together although the affines disagree; the CT's affine counts.

    Raises:
        LabelSpaceError: a value that ``label_map`` does not know, or no integers.
        VolumeError: labels and CT do not lie on the same grid.
    """
    labels, ct = same_grid(labels, ct, trust_grid=trust_grid)
    array = _integers(labels)
    if label_map.binary:
        array = np.where(array != 0, next(iter(label_map.values)), 0)
    present = _present(array, labels.name)
    unknown = sorted(present - label_map.values.keys() - {0})
    if unknown:
        raise LabelSpaceError(
            f"{labels.name} holds the values {', '.join(map(str, unknown))}; label map {label_map.name!r} knows only "
            f"{', '.join(map(str, label_map.values))}. Is it the right variant of the dataset?"
        )
    group = label_map.group_of(present - {0})
    meanings = [_Meaning(frozenset()), *(_Meaning(frozenset({value})) for value in label_map.values)]
    lookup = np.zeros(1 + max((*present, *label_map.values)), dtype=np.uint16)
    for index, value in enumerate(label_map.values, start=1):
        lookup[value] = index
    indices = _looked_up(lookup, array)
    annotated = label_map.annotated if group is None else group.annotated
    return _resolved(_Parts(indices, meanings), label_map, annotated, ct, labels.warnings)


def harmonise_masks(
    masks: Iterable[tuple[str, Volume]], ct: Volume, label_map: LabelMap, *, trust_grid: bool = False
) -> HarmonisedLabels:
    """Translates one binary mask per structure; masks may overlap and are read one after the other.

    A structure counts as annotated only when every mask that can contribute to it is there.

    Args:
        masks: Structure, as the dataset calls it, and its mask (any value but 0), in any orientation.
        ct: The scan they belong to, on the same grid.
        label_map: What the names mean.
        trust_grid: As for :func:`harmonise_labels`.

    Raises:
        LabelSpaceError: a name that ``label_map`` does not know.
        VolumeError: a mask and the CT do not lie on the same grid.
    """
    upright, _ = to_ras(ct)
    parts = _Parts(np.zeros(upright.shape, dtype=np.uint16), [_Meaning(frozenset())])
    known = {parts.meanings[0]: 0}
    read, flags = set(), set[str]()
    for name, mask in masks:
        value = label_map.value_of(name)
        aligned, _ = same_grid(mask, ct, trust_grid=trust_grid)
        flags |= set(aligned.warnings)
        _overlay(parts, known, value, aligned.array != 0)
        read.add(value)
    _compact(parts)
    needed = {
        structure: {value for value, rule in label_map.values.items() if structure in rule.structures}
        for structure in label_map.annotated
    }
    annotated = frozenset(structure for structure, values in needed.items() if values <= read)
    return _resolved(parts, label_map, annotated, upright, tuple(sorted(flags)))


def _overlay(parts: _Parts, known: dict[_Meaning, int], value: int, mask: npt.NDArray[np.bool_]) -> None:
    """Adds a value to the meaning of every voxel of a mask."""
    before = parts.indices[mask]
    lookup = np.arange(len(parts.meanings), dtype=np.uint16)
    for index in np.flatnonzero(np.bincount(before, minlength=len(parts.meanings))):
        meaning = _Meaning(parts.meanings[index].values | {value})
        if meaning not in known:
            known[meaning] = len(parts.meanings)
            parts.meanings.append(meaning)
        lookup[index] = known[meaning]
    parts.indices[mask] = lookup[before]


def _compact(parts: _Parts) -> None:
    """Leaves out meanings that no voxel has any more."""
    used = np.zeros(len(parts.meanings), dtype=bool)
    used[0] = True
    for plane in parts.indices:
        used[plane] = True
    parts.indices = _looked_up((np.cumsum(used) - 1).astype(np.uint16), parts.indices)
    parts.meanings = [meaning for meaning, keep in zip(parts.meanings, used, strict=True) if keep]


def _resolved(
    parts: _Parts, label_map: LabelMap, annotated: frozenset[str], ct: Volume, warnings: tuple[str, ...]
) -> HarmonisedLabels:
    """Splits what has to be split, and turns meanings into the palette."""
    flags = list(warnings)
    if label_map.pairs:
        midline = body_midline(ct.array)
        for pair in label_map.pairs:
            values = frozenset(value for value, rule in label_map.values.items() if pair in rule.pairs)
            straddling = _STRADDLING.get(pair, "unknown")
            sides = split_left_right(parts.where(values), midline, ct.spacing_mm, straddling=straddling)
            parts.give_sides(pair, values, sides)
            # Organs with values of their own are not judged by the side of their lesions.
            whole = any(rule.op == "split_left_right" and rule.targets == pair for rule in label_map.values.values())
            unknown, remarks = _consequences(pair, sides if whole else replace(sides, empty=0))
            annotated -= unknown
            flags += remarks
    table: list[frozenset[str]] = [frozenset()]
    lookup = np.zeros(len(parts.meanings), dtype=np.uint16)
    ignored = [bool(meaning.values & label_map.ignore) for meaning in parts.meanings]
    for index, meaning in enumerate(parts.meanings):
        names = meaning.structures(label_map) if not ignored[index] else frozenset()
        if names not in table:
            table.append(names)
        lookup[index] = table.index(names)
    ignore = len(table) if label_map.ignore else None
    if ignore is not None:
        table.append(frozenset())
        lookup[np.flatnonzero(ignored)] = ignore
    palette = lookup.astype(np.uint8 if len(table) <= 256 else np.uint16)
    result = _looked_up(palette, parts.indices)
    if not result.any():
        flags.append("no labelled voxel")
    return HarmonisedLabels(Volume(result, ct.affine, ct.name), tuple(table), ignore, annotated, tuple(flags))


def _consequences(pair: _Pair, sides: Sides) -> tuple[frozenset[str], list[str]]:
    """Structures whose annotation cannot be used after a split, and what to tell about it."""
    if sides.undecided_mm3:
        text = f"{pair[0]} and {pair[1]}: {sides.undecided_mm3 / 1000:.1f} ml cross the midline; both are unknown here"
        return frozenset(pair), [text]
    if sides.cut:
        return frozenset(), [f"{pair[0]} and {pair[1]}: connected, cut at the midline"]
    if sides.empty:
        name = pair[sides.empty - RIGHT]
        if sides.in_view:
            return frozenset(), [f"{name}: nothing there; taken as absent"]
        return frozenset({name}), [f"{name}: outside the field of view; unknown here"]
    return frozenset(), []


def _looked_up(table: npt.NDArray[Any], indices: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``table[indices]`` plane by plane: an array used as an index becomes int64, eight times as large."""
    result = np.empty(indices.shape, dtype=table.dtype)
    for plane, out in zip(indices, result, strict=True):
        out[...] = table[plane]
    return result


def _integers(labels: Volume) -> npt.NDArray[Any]:
    """The label values as integers; stored as floating point they must still be whole."""
    array = labels.array
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind in "ui":
        return array
    if array.dtype.kind == "f":
        whole = np.rint(array)
        if np.array_equal(whole, array) and abs(whole).max() <= 65535:
            return whole.astype(np.int32)
    raise LabelSpaceError(
        f"{labels.name} holds {array.dtype} values that are not whole, so it is no label map. Was it interpolated?"
    )


def _present(array: npt.NDArray[Any], name: str) -> frozenset[int]:
    """The values of a label map, without sorting the whole volume."""
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 65535:
        raise LabelSpaceError(f"{name} holds values from {low} to {high}; labels lie between 0 and 65535. Is it a CT?")
    found = np.zeros(high + 1, dtype=bool)
    for plane in array:
        found[plane] = True
    return frozenset(int(value) for value in np.flatnonzero(found))
