"""Volume, intensity, position and quality flags of each predicted structure on the scanner's grid."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from suprem.errors import VolumeError
from suprem.quality import Evidence, Finding
from suprem.volumes.boxes import bounding_box
from suprem.volumes.geometry import Volume

__all__ = ["StructureStatistics", "found_in", "measure", "to_csv", "to_json"]

_FACES = {
    "R": ("left", "right"),
    "L": ("right", "left"),
    "A": ("posterior", "anterior"),
    "P": ("anterior", "posterior"),
    "S": ("inferior", "superior"),
    "I": ("superior", "inferior"),
}
_MEANING = {
    "border_share": "share of the surface that lies on the border of the field of view",
    "bounding_box": "voxel indices of the scan, start included, stop excluded",
    "flags": "reasons to look at the structure, with a sentence each; no verdict on it",
    "largest_part_share": "share of the volume that is not apart from the largest connected part; null where several "
    "parts are usual",
    "mean_hu": "HU",
    "number": "value in combined_labels.nii.gz; null when the label space has none",
    "std_hu": "HU, population standard deviation",
    "touches_fov_border": "faces of the scan that the structure reaches, so that it may be cut off there",
    "undecided_share": "volume where the network was close to its threshold, over volume_ml; null when not known",
    "volume_ml": "millilitres",
}


@dataclass(frozen=True)
class StructureStatistics:
    """What is measured of one structure; without a single voxel only ``voxels`` and ``volume_ml`` are numbers.

    Attributes:
        structure: canonical name.
        number: value in the combined label map; ``None`` when its label space has none.
        voxels: voxels of the mask.
        volume_ml: volume in millilitres.
        mean_hu: mean intensity in HU.
        std_hu: population standard deviation in HU.
        start: lowest voxel index along each axis of the scan.
        stop: highest voxel index plus one, so that ``start`` and ``stop`` make slices.
        touches_fov_border: faces of the scan that the mask reaches: ``left``, ``right``, ``posterior``, ``anterior``,
            ``inferior``, ``superior`` of the patient. A structure that reaches one may be cut off there.
        evidence: what the quality flags are made of; ``None`` where they were not looked for.
        findings: the quality flags that were raised.
    """

    structure: str
    number: int | None
    voxels: int
    volume_ml: float
    mean_hu: float | None = None
    std_hu: float | None = None
    start: tuple[int, int, int] | None = None
    stop: tuple[int, int, int] | None = None
    touches_fov_border: tuple[str, ...] = ()
    evidence: Evidence | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def empty(self) -> bool:
        """True when the mask has no voxel."""
        return self.voxels == 0

    @property
    def flags(self) -> tuple[str, ...]:
        """Names of the quality flags, see :class:`suprem.quality.Finding`."""
        return tuple(finding.flag for finding in self.findings)

    def quality(self) -> dict[str, float | None]:
        """Share of the surface at the border, share of the largest part and undecided share, rounded."""
        one = self.evidence or Evidence(self.structure, 0, 0.0)
        return {
            "border_share": _rounded(one.border_share, 4),
            "largest_part_share": _rounded(one.largest_share, 4),
            "undecided_share": _rounded(one.undecided_share, 4),
        }


def measure(
    structure: str, mask: npt.NDArray[np.bool_], scan: Volume, number: int | None = None
) -> StructureStatistics:
    """Measures one mask in a single pass over its planes.

    Args:
        structure: Canonical name.
        mask: bool (X, Y, Z) on the grid of ``scan``.
        scan: The CT in HU.
        number: Value of the structure in the combined label map.

    Raises:
        VolumeError: mask and scan differ in shape.

    Example:
        >>> scan = Volume(np.full((4, 4, 4), 50, np.int16), np.diag([10.0, 10.0, 10.0, 1.0]))
        >>> result = measure("liver", scan.array > 0, scan)
        >>> round(result.volume_ml, 3), result.mean_hu
        (64.0, 50.0)
    """
    if mask.shape != scan.shape:
        raise VolumeError(
            f"The mask of {structure!r} has shape {mask.shape}, its scan {scan.shape}; they must be equal."
        )
    # Axes in the order of memory, the one first whose neighbours lie farthest apart: planes are read in one go.
    order = np.argsort(np.abs(mask.strides))[::-1]
    ordered = mask.transpose(order)
    box = bounding_box(ordered)
    if box is None:
        return StructureStatistics(structure, number, 0, 0.0)
    sums = _Sums()
    for plane, values in zip(ordered[box], scan.array.transpose(order)[box], strict=True):
        sums.add(values[plane])
    ml = sums.count * abs(float(np.linalg.det(scan.affine[:3, :3]))) / 1000.0
    std = float(np.sqrt(sums.squares / sums.count))
    x, y, z = (box[position] for position in np.argsort(order))
    start, stop = (x.start, y.start, z.start), (x.stop, y.stop, z.stop)
    return StructureStatistics(
        structure, number, sums.count, ml, sums.mean, std, start, stop, _faces(scan, start, stop)
    )


class _Sums:
    """Count, mean and sum of squared deviations, merged part by part (Chan, Golub and LeVeque 1979)."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, 0.0, 0.0

    def add(self, values: npt.NDArray[np.generic]) -> None:
        if not values.size:
            return
        numbers = values.astype(np.float64)
        mean = float(numbers.mean())
        total = self.count + numbers.size
        shift = mean - self.mean
        self.squares += float(np.square(numbers - mean).sum()) + shift * shift * self.count * numbers.size / total
        self.mean += shift * numbers.size / total
        self.count = total


def _faces(scan: Volume, start: tuple[int, int, int], stop: tuple[int, int, int]) -> tuple[str, ...]:
    touched = set()
    for code, low, high, size in zip(scan.orientation, start, stop, scan.shape, strict=True):
        first, last = _FACES[code]
        touched |= {first} if low == 0 else set()
        touched |= {last} if high == size else set()
    return tuple(face for code in "RAS" for face in _FACES[code] if face in touched)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def to_csv(rows: Sequence[StructureStatistics]) -> str:
    """One line per structure; cells that have no value stay empty, faces and flags are separated by spaces."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    box = [f"bbox_{axis}_{end}" for axis in "xyz" for end in ("start", "stop")]
    measured = ["structure", "number", "empty", "voxels", "volume_ml", "mean_hu", "std_hu"]
    quality = ["border_share", "largest_part_share", "undecided_share", "flags"]
    writer.writerow([*measured, *box, "touches_fov_border", *quality])
    for row in rows:
        bounds = (
            [n for pair in zip(row.start, row.stop, strict=True) for n in pair] if row.start and row.stop else [""] * 6
        )
        values = [row.voxels, _rounded(row.volume_ml, 4), _rounded(row.mean_hu, 2), _rounded(row.std_hu, 2)]
        faces, flags = " ".join(row.touches_fov_border), " ".join(row.flags)
        known = [row.structure, row.number, str(row.empty).lower(), *values, *bounds, faces]
        writer.writerow([*known, *row.quality().values(), flags])
    return sink.getvalue()


def to_json(rows: Sequence[StructureStatistics], label_space: str) -> str:
    """The same numbers with their units, for programs.

    Args:
        rows: What was measured.
        label_space: Name of the numbering behind ``number``.
    """
    structures = [
        {
            "structure": row.structure,
            "number": row.number,
            "empty": row.empty,
            "voxels": row.voxels,
            "volume_ml": _rounded(row.volume_ml, 4),
            "mean_hu": _rounded(row.mean_hu, 2),
            "std_hu": _rounded(row.std_hu, 2),
            "bounding_box": None if row.empty else {"start": row.start, "stop": row.stop},
            "touches_fov_border": row.touches_fov_border,
            **row.quality(),
            "flags": [{"flag": finding.flag, "text": finding.text} for finding in row.findings],
        }
        for row in rows
    ]
    content = {"label_space": label_space, "meaning": _MEANING, "structures": structures}
    return json.dumps(content, indent=2) + "\n"


def found_in(text: str) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Structures with at least one voxel, and the flags of those that have some, from what :func:`to_json` has made.

    Raises:
        ValueError: it is something else.
    """
    try:
        structures = json.loads(text)["structures"]
        found = tuple(str(one["structure"]) for one in structures if not one["empty"])
        flags = {str(one["structure"]): tuple(str(f["flag"]) for f in one["flags"]) for one in structures}
    except (KeyError, TypeError) as error:
        raise ValueError(f"no statistics of structures: {error!r}") from error
    return found, {name: own for name, own in flags.items() if own}
