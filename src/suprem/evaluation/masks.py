"""Masks of many cases as they lie on disk: a file per structure, or a label map per case with its numbering."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suprem.errors import ConfigurationError, LabelSpaceError
from suprem.labels import known_name, label_space, list_label_spaces
from suprem.volumes.geometry import Volume
from suprem.volumes.io import image_suffix, read_volume

__all__ = ["CaseMasks", "OpenMasks", "find_masks", "label_values", "planes"]

_FOLDER = "segmentations"
_DESCRIPTION = "dataset.json"
_HIGHEST = 65535
_NO_MASKS = frozenset({"ct", "combined_labels", "image"})  # images that lie beside masks


@dataclass(frozen=True)
class CaseMasks:
    """Where the masks of one case are.

    Attributes:
        case: name, by which cases of two folders are paired.
        files: structure -> image of its mask, where each has a file.
        labels: label map of all structures; ``None`` where each has a file.
        values: structure -> its values in the label map.
        ignored: values of the label map that mean "not annotated".
        numbering: where ``values`` come from: the name of a label space, or the path of a description.
    """

    case: str
    files: Mapping[str, Path] = field(default_factory=dict)
    labels: Path | None = None
    values: Mapping[str, frozenset[int]] = field(default_factory=dict)
    ignored: frozenset[int] = frozenset()
    numbering: str = ""

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of the structures that the case was segmented for, in order; a mask may be empty."""
        return tuple(self.files) if self.labels is None else tuple(self.values)

    @property
    def exclusive(self) -> bool:
        """Whether no two structures can share a voxel: it is a label map in which each has numbers of its own."""
        counted = sum(len(values) for values in self.values.values())
        return self.labels is not None and counted == len(frozenset().union(*self.values.values()))

    def read(self) -> "OpenMasks":
        """The masks, of which a label map is read once.

        Raises:
            VolumeError: the label map cannot be read.
            ConfigurationError: it holds no whole numbers.
            LabelSpaceError: it holds numbers that the numbering does not know.
        """
        return OpenMasks(self, None if self.labels is None else _checked(read_volume(self.labels), self))


@dataclass(frozen=True, eq=False)
class OpenMasks:
    """The masks of one case, ready to be read one after the other.

    Attributes:
        source: where they are.
        labels: the label map, integers, where there is one.
    """

    source: CaseMasks
    labels: Volume | None

    def mask(self, structure: str) -> Volume:
        """One structure, bool (X, Y, Z) on the grid of its file.

        Raises:
            VolumeError: the file cannot be read.
            ConfigurationError: the values are not those of a mask.
        """
        if self.labels is None:
            volume = read_volume(self.source.files[structure])
            return Volume(_positive(volume), volume.affine, volume.name)
        array, values = self.labels.array, self.source.values[structure]
        mask = array == next(iter(values)) if len(values) == 1 else np.isin(array, list(values))
        return Volume(mask, self.labels.affine, self.labels.name)

    def ignored(self) -> Volume | None:
        """Voxels that nobody annotated, bool (X, Y, Z); ``None`` where the numbering has no such value."""
        if self.labels is None or not self.source.ignored:
            return None
        array = np.isin(self.labels.array, list(self.source.ignored))
        return Volume(array, self.labels.affine, self.labels.name)


def _checked(volume: Volume, source: CaseMasks) -> Volume:
    """The label map as integers, all of which the numbering knows."""
    array = volume.array
    if not np.issubdtype(array.dtype, np.integer):
        _check_range(_whole(array, volume.name), volume.name)
        array = array.astype(np.uint16)
    present = label_values(array, volume.name)
    known = frozenset().union(*source.values.values(), source.ignored, {0})
    unknown = [value for value in present if value not in known]
    if unknown:
        fitting = [name for name in list_label_spaces() if _fits(name, present)]
        raise LabelSpaceError(
            f"{volume.name} holds {_some_values(unknown)}, which the numbering {source.numbering} does not know; name "
            "the numbering that it was written in. "
            + (f"All of its numbers are known to {', '.join(fitting)}." if fitting else "No registered one fits.")
        )
    return Volume(array, volume.affine, volume.name)


def _whole(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """The array, of which all values are whole numbers."""
    if not np.isfinite(array).all():
        raise ConfigurationError(f"{name} holds NaN or infinite values; it is no segmentation. Export it again.")
    odd = array[array != np.round(array)]
    if odd.size:
        raise ConfigurationError(
            f"{name} holds values between whole numbers, such as {odd[0]:g}; it is no segmentation. Probabilities have "
            "to become labels first, and labels are resampled by the nearest voxel."
        )
    return array


def planes(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A view of an array (X, Y, Z), the axis that strides farthest first: each of its items lies close together."""
    return np.moveaxis(array, int(np.argmax(np.abs(array.strides))), 0)


def label_values(array: npt.NDArray[Any], name: str) -> list[int]:
    """The numbers in a label map, sorted, background included; looks at one plane at a time.

    Raises:
        LabelSpaceError: a number is negative or above 65535.
    """
    found = np.zeros(_check_range(array, name) + 1, dtype=bool)
    for plane in planes(array):
        found[plane] = True
    return [int(value) for value in np.flatnonzero(found)]


def _check_range(array: npt.NDArray[Any], name: str) -> int:
    """The highest label."""
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > _HIGHEST:
        raise LabelSpaceError(f"{name} holds {low} to {high}; labels lie between 0 and {_HIGHEST}. Is it a CT?")
    return high


def _fits(space: str, present: Iterable[int]) -> bool:
    numbering = label_space(space)
    return all(value == 0 or value in numbering.numbers or value in numbering.ignored for value in present)


def _some_values(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:12])) + (f" and {len(values) - 12} more" if len(values) > 12 else "")


def _positive(volume: Volume) -> npt.NDArray[np.bool_]:
    array: npt.NDArray[Any] = volume.array
    return (_whole(array, volume.name) if np.issubdtype(array.dtype, np.floating) else array) > 0


def find_masks(root: str | Path, numbering: str | None = None) -> dict[str, CaseMasks]:
    """The cases under a folder, by name.

    A case is a folder ``<case>/segmentations/<structure>.nii.gz`` or ``<case>/<structure>.nii.gz`` (written by ``suprem
    predict``, AbdomenAtlas, TotalSegmentator), or an image ``<case>.nii.gz`` with labels. Structures are known by name
    in any spelling; numbers mean nothing without a numbering.

    Args:
        root: the folder.
        numbering: of label maps: a name of :func:`suprem.labels.list_label_spaces`; ``None`` reads the ``dataset.json``
            of nnU-Net in the folder or beside it.

    Raises:
        ConfigurationError: no such folder, no masks in it, a case or structure twice, or label maps whose numbering
            nobody tells.
        UnknownNameError: no numbering of that name.
    """
    root = Path(root)
    if not root.is_dir():
        raise ConfigurationError(f"{root} is not a folder; give one with a case per folder or per label map.")
    found: dict[str, CaseMasks] = {}
    maps = []
    for path in sorted(root.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            files = _structures(path / _FOLDER if (path / _FOLDER).is_dir() else path)
            if files:
                found[path.name] = CaseMasks(path.name, files)
        elif image_suffix(path):
            maps.append(path)
    if maps:
        _add_label_maps(found, root, maps, _values(root, numbering, maps[0]))
    if not found:
        raise ConfigurationError(
            f"{root} holds no masks: neither <case>/{_FOLDER}/<structure>.nii.gz nor label maps <case>.nii.gz."
        )
    return found


def _add_label_maps(found: dict[str, CaseMasks], root: Path, maps: Iterable[Path], numbering: "_Numbering") -> None:
    values, ignored, source = numbering
    for path in maps:
        case = _stem(path)
        if case in found:
            raise ConfigurationError(
                f"{root} holds the case {case} twice, as {(found[case].labels or root / case).name} and as "
                f"{path.name}; remove one of them."
            )
        found[case] = CaseMasks(case, labels=path, values=values, ignored=ignored, numbering=source)


def _structures(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and image_suffix(path) and _stem(path) not in _NO_MASKS:
            name = known_name(_stem(path))
            if name in files:
                raise ConfigurationError(
                    f"{folder} holds {name} twice, as {files[name].name} and as {path.name}; remove one of them."
                )
            files[name] = path
    return files


def _stem(path: Path) -> str:
    return path.name[: -len(image_suffix(path) or "")]


_Numbering = tuple[dict[str, frozenset[int]], frozenset[int], str]  # values of names, ignored values, where from


def _values(root: Path, numbering: str | None, example: Path) -> _Numbering:
    if numbering is not None:
        space = label_space(numbering)
        return (
            {name: frozenset({number}) for number, name in space.numbers.items()},
            frozenset(space.ignored),
            numbering,
        )
    for place in (root / _DESCRIPTION, root.parent / _DESCRIPTION):
        if place.is_file():
            return _described(place)
    raise ConfigurationError(
        f"{example} is a label map, and nothing says what its numbers mean: there is no {_DESCRIPTION} in {root} or "
        "beside it. Name the numbering, such as totalsegmentator_v2."
    )


def _described(path: Path) -> _Numbering:
    """The numbering of nnU-Net: a number, or for a region several, to each name."""
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
        rows = labels.items() if not any(str(key).isdigit() for key in labels) else [(v, k) for k, v in labels.items()]
        listed = ((str(name), value if isinstance(value, list) else [value]) for name, value in rows)
        values = {name: frozenset(int(number) for number in numbers) for name, numbers in listed}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{path} does not describe its labels as nnU-Net does: {error!r}.") from error
    named = {known_name(name): numbers for name, numbers in values.items() if numbers != {0} and name != "ignore"}
    return named, values.get("ignore", frozenset()), str(path)
