"""Masks that come back from a person, on the grid of the store, whatever program has written them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from suprem.atlas.label_set import LabelSet
from suprem.errors import LabelSpaceError, UnknownNameError, VolumeError, did_you_mean
from suprem.labels import known_name, list_structures, ordered, structure
from suprem.volumes.boxes import Box
from suprem.volumes.geometry import Reorientation, Volume, same_grid, to_ras
from suprem.volumes.io import IMAGE_SUFFIXES, image_suffix, read_volume
from suprem.volumes.itksnap import read_label_file
from suprem.volumes.slicer import SlicerSegmentation, read_segmentation

__all__ = ["MASK_FOLDERS", "Returned", "numbering", "read_returned", "shown"]

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]

MASK_FOLDERS = ("masks", "segmentations")
"""Names of folders that hold one mask per structure."""


class Returned(Protocol):
    """Masks of one case as they came back."""

    @property
    def names(self) -> tuple[str, ...]:
        """Canonical names of the structures that are in the file; all others were left as they are."""

    def mask(self, name: str) -> BoolArray:
        """Voxels of a structure on the stored grid, bool (X, Y, Z), a new array."""


@dataclass(frozen=True)
class _Place:
    """Where the voxels of a file lie on the stored grid.

    Attributes:
        step: turns the file's index axes to those of the grid.
        source: what of the turned file lies on the grid.
        target: where on the grid.
        shape: of the grid.
        name: what messages call the file.
    """

    step: Reorientation
    source: Box
    target: Box
    shape: tuple[int, int, int]
    name: str

    def on_grid(self, array: Array) -> Array:
        """The file's array on the grid, zero where the file ends.

        Raises:
            VolumeError: something lies outside of the grid.
        """
        turned = self.step.apply(array)
        inside = turned[self.source]
        if inside.size < turned.size:
            outside = int(np.count_nonzero(turned)) - int(np.count_nonzero(inside))
            if outside:
                raise VolumeError(f"{self.name} has {outside} labelled voxels outside of the scan; erase them.")
        result = np.zeros(self.shape, dtype=array.dtype)
        result[self.target] = inside
        return result


def _placed(shape: tuple[int, int, int], affine: npt.NDArray[np.float64], grid: LabelSet, name: str) -> _Place:
    """Finds a file's voxels on the stored grid; axes may be permuted or flipped, and the file cropped or padded.

    Raises:
        VolumeError: the file lies on another grid; the message says what differs.
    """
    file = Volume(np.broadcast_to(np.uint8(0), shape), affine, name)
    turned, step = to_ras(file)
    stored = Volume(np.broadcast_to(np.uint8(0), grid.shape), grid.affine)
    first = np.linalg.solve(grid.affine[:3, :3], turned.affine[:3, 3] - grid.affine[:3, 3])
    begin = np.rint(first).astype(int)
    expected = grid.affine.copy()
    expected[:3, 3] += grid.affine[:3, :3] @ begin
    if not same_grid(turned, Volume(turned.array, expected)):
        raise VolumeError(
            f"{name} lies on another grid than the scan: {_described(turned)}; the scan has {_described(stored)}. "
            "Save the labels on the geometry of ct.nii.gz."
        )
    target, source = [], []
    for start, length, size in zip(begin, turned.shape, grid.shape, strict=True):
        low = min(max(int(start), 0), size)
        high = max(min(int(start) + length, size), low)
        target.append(slice(low, high))
        source.append(slice(low - int(start), high - int(start)) if high > low else slice(0, 0))
    return _Place(step, (source[0], source[1], source[2]), (target[0], target[1], target[2]), grid.shape, name)


def _described(volume: Volume) -> str:
    spacing = " x ".join(f"{value:.4g}" for value in volume.spacing_mm)
    origin = ", ".join(f"{value:.2f}" for value in volume.affine[:3, 3])
    axes = "; ".join(
        " ".join(f"{value:.3f}" for value in column) for column in (volume.affine[:3, :3] / volume.spacing_mm).T
    )
    size = " x ".join(map(str, volume.shape))
    return f"{size} voxels of {spacing} mm, the first at ({origin}) mm, axes ({axes}), all RAS"


def _checked_names(names: Iterable[str], structures: Sequence[str], place: str) -> dict[str, str]:
    """Canonical name -> name in the file.

    Raises:
        UnknownNameError: the atlas has no such structure.
        VolumeError: two names mean the same structure.
    """
    found: dict[str, str] = {}
    for name in names:
        canonical = known_name(name.strip())
        if canonical not in structures:
            raise UnknownNameError(
                f"{place}: {did_you_mean('structure of this atlas', canonical, structures)} Rename or remove it."
            )
        if canonical in found:
            raise VolumeError(f"{place}: {found[canonical]!r} and {name!r} are both {canonical}; merge them.")
        found[canonical] = name
    return found


class _Segments:
    """Masks of a ``.seg.nrrd``."""

    def __init__(self, content: SlicerSegmentation, handed: LabelSet, structures: Sequence[str]) -> None:
        spelled = _checked_names((segment.name for segment in content.segments), structures, content.name)
        self.names, self._spelled, self._content, self._shape = ordered(spelled), spelled, content, handed.shape
        self._place = None if content.has_no_image else _placed(content.shape, content.affine, handed, content.name)

    def mask(self, name: str) -> BoolArray:
        """See :class:`Returned`."""
        if self._place is None:
            return np.zeros(self._shape, dtype=np.bool_)
        return self._place.on_grid(self._content.mask(self._spelled[name]))


class _Files:
    """Masks that are a file each."""

    def __init__(self, folder: Path, handed: LabelSet, structures: Sequence[str]) -> None:
        files = {path.name[: -len(suffix)]: path for path in folder.iterdir() if (suffix := image_suffix(path))}
        if not files:
            raise VolumeError(f"{folder} holds no masks ({', '.join(IMAGE_SUFFIXES)}); save one per structure.")
        self._files = {name: files[file] for name, file in _checked_names(files, structures, str(folder)).items()}
        self.names, self._handed = ordered(self._files), handed

    def mask(self, name: str) -> BoolArray:
        """See :class:`Returned`."""
        found = read_volume(self._files[name])
        place = _placed(found.shape, found.affine, self._handed, found.name)
        return place.on_grid(found.array != 0)


@dataclass(frozen=True)
class _LabelMap:
    """Masks of one number per voxel, which shows one structure where several are.

    What the person did not touch keeps all of its structures. Where the number was changed, the structure that was
    shown is taken away, unless the new one is a part of it (a tumour painted into its organ), and the new one is added;
    structures that were hidden below stay.
    """

    handed: LabelSet
    before: Array
    after: Array
    numbers: Mapping[str, int]
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        seen = _values(self.after)
        added = {name for name, number in self.numbers.items() if number in seen}
        object.__setattr__(self, "names", ordered({*self.handed.structures, *added}))

    def mask(self, name: str) -> BoolArray:
        """See :class:`Returned`."""
        known = name in self.handed.provenance
        result = self.handed.mask(name) if known else np.zeros(self.handed.shape, dtype=np.bool_)
        number = self.numbers[name]
        within = [self.numbers[part] for part in self.numbers if name in _wholes(part)]
        for target, old, new in zip(result, self.before, self.after, strict=True):
            gone = (old == number) & (new != number) & ~np.isin(new, within)
            target[gone] = False
            target[(new == number) & (old != number)] = True
        return result


def numbering(structures: Sequence[str]) -> dict[str, int]:
    """The number of each structure in label maps that are handed out: from 1, in the order of the atlas.

    Example:
        >>> numbering(("spleen", "liver"))
        {'spleen': 1, 'liver': 2}
    """
    return {name: number for number, name in enumerate(structures, start=1)}


def shown(labels: LabelSet, numbers: Mapping[str, int]) -> Array:
    """One number per voxel, uint8 or uint16 (X, Y, Z): where structures overlap, parts hide what they lie in.

    Of others, the one that comes later in the numbering hides the earlier one.
    """
    order = sorted(numbers, key=lambda name: (_depth(name), numbers[name]))
    rank = {name: position for position, name in enumerate(order)}
    lookup = np.zeros(len(labels.table), dtype=np.uint8 if max(numbers.values(), default=0) < 256 else np.uint16)
    for index, entry in enumerate(labels.table):
        visible = [name for name in entry if name in rank]
        if visible:
            lookup[index] = numbers[max(visible, key=lambda name: rank[name])]
    result = np.empty(labels.shape, dtype=lookup.dtype)
    for target, plane in zip(result, labels.indices, strict=True):
        target[...] = lookup[plane]
    return result


def _wholes(name: str) -> frozenset[str]:
    """What a structure is a part of, directly or not."""
    if name not in list_structures():
        return frozenset()
    parents = structure(name).parents
    return frozenset(parents).union(*(_wholes(parent) for parent in parents))


def _depth(name: str) -> int:
    return len(_wholes(name))


def read_returned(path: Path, handed: LabelSet, structures: Sequence[str]) -> Returned:
    """What a file or a folder of masks says.

    Args:
        path: ``.seg.nrrd``, a label map, or a folder of masks.
        handed: What was handed out; its grid is the one that is needed.
        structures: Of the atlas.

    Raises:
        UnknownNameError: it names a structure that the atlas does not have.
        VolumeError: it is damaged or lies on another grid.
        LabelSpaceError: a label map has a number that means nothing.
    """
    if path.is_dir():
        return _Files(path, handed, structures)
    if path.name.lower().endswith(".seg.nrrd"):
        return _Segments(read_segmentation(path), handed, structures)
    return _read_label_map(path, handed, structures)


def _read_label_map(path: Path, handed: LabelSet, structures: Sequence[str]) -> _LabelMap:
    volume = read_volume(path)
    numbers = numbering(structures)
    place = _placed(volume.shape, volume.affine, handed, volume.name)
    values = place.on_grid(volume.array)
    found = _values(values)
    if not np.array_equal(found, np.rint(found)) or found.min(initial=0) < 0:
        raise LabelSpaceError(f"{path} holds {found.min()} to {found.max()}, not label numbers; save a label map.")
    means = _meaning(path, numbers)
    unknown = [int(value) for value in found if value and int(value) not in means]
    if unknown:
        raise LabelSpaceError(
            f"{path} has label {', '.join(map(str, unknown[:10]))}, which no label description names; save the label "
            f"descriptions as {_label_file(path).name} beside it."
        )
    lookup = np.array([numbers[means[int(value)]] if value else 0 for value in found], dtype=np.uint16)
    after = np.empty(values.shape, dtype=np.uint16)
    for target, plane in zip(after, values, strict=True):
        target[...] = lookup[np.searchsorted(found, plane)]
    return _LabelMap(handed, shown(handed, numbers), after, numbers)


def _values(array: Array) -> Array:
    """The values that occur, sorted; by planes, because sorting takes a copy."""
    return np.unique(np.concatenate([np.unique(plane) for plane in array]))


def _label_file(path: Path) -> Path:
    suffix = image_suffix(path) or ""
    return path.with_name(f"{path.name[: -len(suffix)]}.label.txt")


def _meaning(path: Path, numbers: Mapping[str, int]) -> dict[int, str]:
    """Number -> structure, from the label description beside a label map, else as they were handed out."""
    file = _label_file(path)
    if not file.is_file():
        return {number: name for name, number in numbers.items()}
    named = read_label_file(file)
    spelled = _checked_names(named.values(), tuple(numbers), str(file))
    by_spelling = {spelling: name for name, spelling in spelled.items()}
    return {number: by_spelling[name] for number, name in named.items()}
