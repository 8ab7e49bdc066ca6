"""Masks of many cases as they lie on disk: a file per structure, or a label map per case with its numbering."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from suprem.errors import ConfigurationError
from suprem.labels import known_name, label_space
from suprem.volumes.geometry import Volume
from suprem.volumes.io import image_suffix, read_volume

__all__ = ["CaseMasks", "OpenMasks", "find_masks"]

_FOLDER = "segmentations"
_DESCRIPTION = "dataset.json"
_NO_MASKS = frozenset({"ct", "combined_labels", "image"})  # images that lie beside masks


@dataclass(frozen=True)
class CaseMasks:
    """Where the masks of one case are.

    Attributes:
        case: name, by which cases of two folders are paired.
        files: structure -> image of its mask, where each has a file.
        labels: label map of all structures; ``None`` where each has a file.
        values: structure -> its values in the label map.
    """

    case: str
    files: Mapping[str, Path] = field(default_factory=dict)
    labels: Path | None = None
    values: Mapping[str, frozenset[int]] = field(default_factory=dict)

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of the structures that the case was segmented for, in order; a mask may be empty."""
        return tuple(self.files) if self.labels is None else tuple(self.values)

    def read(self) -> "OpenMasks":
        """The masks, of which a label map is read once."""
        return OpenMasks(self, None if self.labels is None else read_volume(self.labels))


@dataclass(frozen=True, eq=False)
class OpenMasks:
    """The masks of one case, ready to be read one after the other.

    Attributes:
        source: where they are.
        labels: the label map, where there is one.
    """

    source: CaseMasks
    labels: Volume | None

    def mask(self, structure: str) -> Volume:
        """One structure, bool (X, Y, Z) on the grid of its file.

        Raises:
            VolumeError: the file cannot be read.
            ConfigurationError: the values are not those of a mask or of whole-number labels.
        """
        if self.labels is None:
            volume = read_volume(self.source.files[structure])
            return Volume(_positive(volume), volume.affine, volume.name)
        array = self.labels.array
        if not np.issubdtype(array.dtype, np.integer):
            if not np.array_equal(array, np.round(array)):  # NaN too
                raise ConfigurationError(f"{self.labels.name} holds values between whole numbers; it is no label map.")
            array = array.astype(np.int64)
        return Volume(np.isin(array, list(self.source.values[structure])), self.labels.affine, self.labels.name)


def _positive(volume: Volume) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if np.issubdtype(volume.array.dtype, np.floating) and not np.isfinite(volume.array).all():
        raise ConfigurationError(f"{volume.name} holds NaN or infinite values; it is no mask.")
    return volume.array > 0


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
        ConfigurationError: no such folder, no masks in it, or label maps whose numbering nobody tells.
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
        values = _values(root, numbering, maps[0])
        found |= {_stem(path): CaseMasks(_stem(path), labels=path, values=values) for path in maps}
    if not found:
        raise ConfigurationError(
            f"{root} holds no masks: neither <case>/{_FOLDER}/<structure>.nii.gz nor label maps <case>.nii.gz."
        )
    return found


def _structures(folder: Path) -> dict[str, Path]:
    files = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and image_suffix(path) and _stem(path) not in _NO_MASKS:
            files[known_name(_stem(path))] = path
    return files


def _stem(path: Path) -> str:
    return path.name[: -len(image_suffix(path) or "")]


def _values(root: Path, numbering: str | None, example: Path) -> dict[str, frozenset[int]]:
    if numbering is not None:
        space = label_space(numbering)
        return {name: frozenset({number}) for number, name in space.numbers.items()}
    for place in (root / _DESCRIPTION, root.parent / _DESCRIPTION):
        if place.is_file():
            return _described(place)
    raise ConfigurationError(
        f"{example} is a label map, and nothing says what its numbers mean: there is no {_DESCRIPTION} in {root} or "
        "beside it. Name the numbering, such as totalsegmentator_v2."
    )


def _described(path: Path) -> dict[str, frozenset[int]]:
    """The numbering of nnU-Net: a number, or for a region several, to each name."""
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
        rows = labels.items() if not any(str(key).isdigit() for key in labels) else [(v, k) for k, v in labels.items()]
        listed = ((str(name), value if isinstance(value, list) else [value]) for name, value in rows)
        values = {name: frozenset(int(number) for number in numbers) for name, numbers in listed}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{path} does not describe its labels as nnU-Net does: {error!r}.") from error
    return {known_name(name): numbers for name, numbers in values.items() if numbers != {0} and name != "ignore"}
