"""Files of 3D Slicer: segmentations (``.seg.nrrd``) and points (``.mrk.json``).

A segmentation is an NRRD image and, in its header, what each value means. Structures that share voxels lie in several
*layers*, the first axis of the array. Slicer crops a layer to the extent of its first segment, so each segment is given
the extent of the whole grid. The fields are those that Slicer documents: https://slicer.readthedocs.io, developer
guide, "Segmentations".
"""

import gzip
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suprem._files import atomic_path
from suprem.errors import UnknownNameError, VolumeError, brief, did_you_mean
from suprem.labels import Code, color, list_structures, structure
from suprem.volumes._claims import MAX_VOXELS, check_nrrd
from suprem.volumes.io import LPS_TO_RAS, read_itk_image

__all__ = ["Segment", "SlicerSegmentation", "read_segmentation", "terminology_entry", "write_points"]
__all__ += ["write_segmentation"]

_CONTEXT = "Segmentation category and type - DICOM master list"
_REGIONS = "Anatomic codes - DICOM master list"
_MARKUPS = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
_TISSUE = Code("SCT", "85756007", "Tissue")
_FLAGGED = "Segmentation.Status:flagged"
_FIELD = re.compile(r"Segment(\d{1,9})_(\w+)")


@dataclass(frozen=True)
class Segment:
    """One segment of a file.

    Attributes:
        name: as people see it.
        layer: that it lies in.
        value: of its voxels there.
    """

    name: str
    layer: int
    value: int


@dataclass(frozen=True, eq=False)
class SlicerSegmentation:
    """What a ``.seg.nrrd`` file holds.

    Attributes:
        layers: integers (L, X, Y, Z) on the file's own index axes.
        affine: float64 (4, 4), index -> RAS mm.
        segments: in the order of the file.
        name: what messages call it.
    """

    layers: npt.NDArray[Any]
    affine: npt.NDArray[np.float64]
    segments: tuple[Segment, ...]
    name: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along the three index axes."""
        _, x, y, z = self.layers.shape
        return x, y, z

    @property
    def has_no_image(self) -> bool:
        """Slicer writes a single voxel with a meaningless grid where all segments are empty."""
        return self.shape == (1, 1, 1)

    def mask(self, name: str) -> npt.NDArray[np.bool_]:
        """Voxels of a segment, bool (X, Y, Z).

        Raises:
            UnknownNameError: no segment is called that.
        """
        for segment in self.segments:
            if segment.name == name:
                return np.asarray(self.layers[segment.layer] == segment.value)
        raise UnknownNameError(did_you_mean("segment", name, [segment.name for segment in self.segments]))


def write_segmentation(
    path: Path,
    indices: npt.NDArray[Any],
    table: Sequence[frozenset[str]],
    affine: npt.NDArray[np.float64],
    names: Iterable[str],
    *,
    flagged: Iterable[str] = (),
) -> None:
    """Writes palette labels so that 3D Slicer shows each structure as a segment with its name, colour and code.

    Args:
        path: To make; it ends in ``.seg.nrrd``.
        indices: uint8 or uint16 (X, Y, Z), a palette index per voxel.
        table: Palette index -> structures.
        affine: float64 (4, 4), index -> RAS mm.
        names: Structures to write, also those without a voxel.
        flagged: Those that Slicer shall list as flagged, for somebody to look at.

    Raises:
        OutputError: the disk is full, or the place cannot be written.
    """
    wanted = list(names)
    places = _layers(wanted, table)
    count = max((layer for layer, _ in places.values()), default=0) + 1
    largest = max((value for _, value in places.values()), default=0)
    lookup = np.zeros((len(table), count), dtype="<u2" if largest > 255 else "u1")
    for name, (layer, value) in places.items():
        lookup[[name in entry for entry in table], layer] = value
    header = _header(indices.shape, affine, lookup) + _fields(places, indices.shape, frozenset(flagged))
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(header.encode() + b"\n")
        with gzip.GzipFile(filename="", mode="wb", compresslevel=4, fileobj=file, mtime=0) as stream:
            for z in range(indices.shape[2]):  # a plane at a time, the fastest axis of the file last
                stream.write(np.ascontiguousarray(lookup[indices[:, :, z].T]).data)


def _layers(names: Sequence[str], table: Sequence[frozenset[str]]) -> dict[str, tuple[int, int]]:
    """Layer and value of each structure; those that share voxels get different layers."""
    met = {name: frozenset[str]().union(*(entry for entry in table if name in entry)) for name in names}
    members: list[list[str]] = []
    places = {}
    for name in names:
        layer = next((i for i, others in enumerate(members) if not met[name] & set(others)), len(members))
        if layer == len(members):
            members.append([])
        members[layer].append(name)
        places[name] = (layer, len(members[layer]))
    return places


def _header(shape: tuple[int, ...], affine: npt.NDArray[np.float64], lookup: npt.NDArray[Any]) -> str:
    to_lps = LPS_TO_RAS @ affine  # its own inverse
    vectors = [_vector(to_lps[:3, axis]) for axis in range(3)]
    several = lookup.shape[1] > 1
    sizes = [lookup.shape[1], *shape] if several else shape
    return "\n".join(
        (
            "NRRD0004",
            f"type: {'unsigned short' if lookup.dtype.itemsize == 2 else 'unsigned char'}",
            f"dimension: {len(sizes)}",
            "space: left-posterior-superior",
            f"sizes: {' '.join(map(str, sizes))}",
            f"space directions: {' '.join(['none'] * several + vectors)}",
            f"kinds: {' '.join(['list'] * several + ['domain'] * 3)}",
            "endian: little",
            "encoding: gzip",
            f"space origin: {_vector(to_lps[:3, 3])}",
            "",
        )
    )


def _vector(values: npt.NDArray[np.float64]) -> str:
    return f"({','.join(repr(float(value)) for value in values)})"


def _fields(places: Mapping[str, tuple[int, int]], shape: tuple[int, ...], flagged: frozenset[str]) -> str:
    """The fields of the header that only Slicer reads."""
    extent = " ".join(f"0 {n - 1}" for n in shape)
    lines = []
    for number, (name, (layer, value)) in enumerate(places.items()):
        tags = ([_FLAGGED] if name in flagged else []) + [f"TerminologyEntry:{terminology_entry(name)}"]
        facts = {
            "ID": name,
            "Name": name,
            "NameAutoGenerated": "0",
            "Color": " ".join(f"{channel / 255:.6f}" for channel in color(name)),
            "ColorAutoGenerated": "0",
            "Extent": extent,
            "LabelValue": value,
            "Layer": layer,
            "Tags": "|".join(tags) + "|",
        }
        lines += [f"Segment{number}_{key}:={text}" for key, text in facts.items()]
    lines += [
        "Segmentation_ContainedRepresentationNames:=Binary labelmap|",
        "Segmentation_MasterRepresentation:=Binary labelmap",  # up to Slicer 5.2; the next line is for later ones
        "Segmentation_SourceRepresentation:=Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset:=0 0 0",
    ]
    return "\n".join(lines) + "\n"


def terminology_entry(name: str) -> str:
    """What a structure is, in the words of DICOM, as Slicer stores it.

    Seven parts: context, category, type, its modifier (the side), context of regions, region (for a lesion: what it
    lies in), and its modifier.

    Example:
        >>> terminology_entry("kidney_left").split("~")[1:4]
        ['SCT^91723000^Anatomical Structure', 'SCT^64033007^Kidney', 'SCT^7771000^Left']
        >>> terminology_entry("liver_tumor").split("~")[5]
        'SCT^10200004^Liver'
    """
    if name not in list_structures():
        unknown = _coded(None)
        return "~".join((_CONTEXT, _coded(_TISSUE), _coded(_TISSUE), unknown, _REGIONS, unknown, unknown))
    found = structure(name)
    parents = [structure(parent) for parent in found.parents] if found.group == "tumour or cyst" else []
    region = parents[0].code if parents else None
    side = parents[0].laterality if len(parents) == 1 else None
    kind = (_coded(found.category), _coded(found.code), _coded(found.laterality))
    return "~".join((_CONTEXT, *kind, _REGIONS, _coded(region), _coded(side)))


def _coded(code: Code | None) -> str:
    return "^".join((code.scheme, code.value, code.meaning)) if code else "^^"


def write_points(path: Path, points: Iterable[tuple[str, str, Sequence[float]]]) -> None:
    """Writes places that Slicer lists and jumps to.

    Args:
        path: To make; it ends in ``.mrk.json``.
        points: Name, description, and RAS mm (right, front, head) of each.

    Raises:
        OutputError: the disk is full, or the place cannot be written.
    """
    marks = [
        {"id": str(number), "label": name, "description": text, "position": [-x, -y, z], "positionStatus": "defined"}
        for number, (name, text, (x, y, z)) in enumerate(points, start=1)
    ]
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "lastUsedControlPointNumber": len(marks),
        "controlPoints": marks,
    }
    with atomic_path(path) as temporary:
        content = {"@schema": _MARKUPS, "markups": [markup]}
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_segmentation(path: str | Path, *, max_voxels: int = MAX_VOXELS) -> SlicerSegmentation:
    """Reads a ``.seg.nrrd`` file, with one or several layers, in any orientation, cropped or not.

    Files of Slicer before 4.11, whose segments are a layer each, are read too.

    Args:
        path: The file.
        max_voxels: Larger arrays (all layers together) are refused.

    Raises:
        VolumeError: missing, damaged, or without segments; a segment lies in a layer that is not there, or two have
            the same name.
    """
    source = Path(path)
    if not source.is_file():
        raise VolumeError(f"{source} does not exist; check the path.")
    check_nrrd(source, str(source), max_voxels, layers=True)
    array, affine, facts = read_itk_image(source)
    layers = array if array.ndim == 4 else array[None]
    if layers.dtype.kind not in "iu":
        raise VolumeError(f"{source} holds {layers.dtype} values; save a binary label map, not a fractional one.")
    segments = tuple(_segments(facts, len(layers), str(source)))
    names = [segment.name for segment in segments]
    if len(names) > len(set(names)):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise VolumeError(f"{source} has several segments called {', '.join(twice)}; merge or rename them.")
    return SlicerSegmentation(layers, affine, segments, str(source))


def _segments(facts: Mapping[str, str], count: int, place: str) -> Iterable[Segment]:
    found: dict[int, dict[str, str]] = {}
    for key, text in facts.items():
        match = _FIELD.fullmatch(key)
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = text
    if not found:
        raise VolumeError(f"{place} names no segments; save it from Slicer's segmentation, not as a plain volume.")
    for number, fields in sorted(found.items()):
        name = fields.get("Name") or fields.get("ID", "")
        try:
            layer, value = int(fields.get("Layer", number)), int(fields.get("LabelValue", 1))
        except ValueError as error:
            raise VolumeError(f"{place}, segment {brief(name)}: {error}; save it again.") from error
        if not 0 <= layer < count or not name:
            raise VolumeError(
                f"{place}: segment {number} ({brief(name)}) lies in layer {layer} of {count}; save it again."
            )
        yield Segment(name, layer, value)
