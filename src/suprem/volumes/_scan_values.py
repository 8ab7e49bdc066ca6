"""Checks of the intensities: whether they are HU, and whether all of them are there."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from suprem.volumes._scan_look import Look
from suprem.volumes._scan_table import SCAN_CHECKS
from suprem.volumes.geometry import Array
from suprem.volumes.symptoms import Symptom

__all__ = ["value_symptoms"]

_PADDING_HU = -1100.0
"""Below air; scanners mark what lies outside their circle with such a value."""
_LABELS = 512
_LABEL_NEIGHBOURS = 0.8
"""Of voxels that are not background, the share that equals its neighbour; noise keeps it below a quarter in a CT."""
_NORMALISED_RANGE = 50.0
_BYTE = 255.0
_AIR_HU, _TISSUE_HU = (-1300.0, -600.0), (-250.0, 300.0)
_FAT_HU, _WITHIN_SOFT_HU = -20.0, 100.0
_AIR_TO_TISSUE_HU = (700.0, 1400.0)
_CT_SPREAD = 0.3
"""Of the distance between air and tissue, the distance between the quartiles of tissue: fat, muscle and organs of a CT
lie close together, those of an MR image do not."""
_LOWEST_CLIP_HU, _HIGHEST_CLIP_HU = -950.0, 2000.0
_LOW_SHARE, _SPIKE = 0.02, 8.0


@dataclass(frozen=True)
class _Classes:
    """The values in two classes: air and the like, tissue and the like.

    Attributes:
        air: median of the lower one.
        tissue: median of the upper one.
        spread: distance between the quartiles of the upper one over the distance of the medians.
    """

    air: float
    tissue: float
    spread: float


def value_symptoms(look: Look) -> Iterator[Symptom]:
    """At most one symptom that the values are no HU; of HU, whether they were cut off."""
    low, high = float(look.array.min()), float(look.array.max())
    symptom = _no_hu(look, low, high)
    if symptom is not None:
        yield symptom
    else:
        yield from _clipped(look.sparse, low, high)


def _no_hu(look: Look, low: float, high: float) -> Symptom | None:
    told = f"Values reach from {low:g} to {high:g}"
    if _is_label_map(look.planes, low):
        count = np.unique(look.planes).size
        return Symptom.of(SCAN_CHECKS, "label-map", f"{told}, {count} different ones in flat patches.")
    if high - low <= _NORMALISED_RANGE or (low >= 0 and high <= _BYTE):
        return Symptom.of(SCAN_CHECKS, "rescaled", f"{told}; HU of a patient in air span more than 1000.")
    classes = _classes(look.sparse, low)
    if _is_hu(classes, low, high):
        return None
    distance = classes.tissue - classes.air
    usual = _AIR_TO_TISSUE_HU[0] <= distance <= _AIR_TO_TISSUE_HU[1]
    said = f"{told}, with air at {classes.air:.0f} and tissue at {classes.tissue:.0f}"
    if usual and classes.spread < _CT_SPREAD:
        shift = round((classes.air + 1000) / 8) * 8
        return Symptom.of(SCAN_CHECKS, "hu-offset", f"{said}: about {shift:+d} HU from where they belong.")
    if classes.spread < _CT_SPREAD:
        return Symptom.of(
            SCAN_CHECKS, "rescaled", f"{said}: like a CT whose scale was multiplied by {distance / 1040:.2g}."
        )
    return Symptom.of(SCAN_CHECKS, "not-ct", f"{told}, spread as in no CT.")


def _is_label_map(planes: Array, low: float) -> bool:
    """Few whole numbers from 0 on, in patches."""
    if low < 0 or planes.max() == 0 or (planes.dtype.kind == "f" and not (planes == np.rint(planes)).all()):
        return False
    if np.unique(planes).size > _LABELS:
        return False
    inside = planes[:, :, :-1] != 0
    same = planes[:, :, :-1][inside] == planes[:, :, 1:][inside]
    return bool(same.size) and float(same.mean()) > _LABEL_NEIGHBOURS


def _classes(values: npt.NDArray[np.float32], low: float) -> _Classes:
    """Two classes by Otsu's threshold, padding left out.

    References:
        N. Otsu, A threshold selection method from gray-level histograms, IEEE Trans. Syst. Man Cybern. 9, 1979.
    """
    if low < _PADDING_HU:
        values = values[values > low + 0.5]
    if not values.size or values.min() == values.max():
        return _Classes(low, low, np.inf)
    bottom, top = np.percentile(values, (0.1, 99.9))
    if bottom == top:  # nearly all voxels have one value
        bottom, top = values.min(), values.max()
    counts, edges = np.histogram(np.clip(values, bottom, top), bins=256)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    moment = np.cumsum(counts * centres)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (moment / below - (moment[-1] - moment) / above) ** 2
    threshold = edges[1 + int(np.nanargmax(between[:-1]))]
    lower, upper = values[values <= threshold], values[values > threshold]
    if not lower.size or not upper.size:
        return _Classes(low, low, np.inf)
    first, tissue, third = np.percentile(upper, (25, 50, 75))
    air = float(np.median(lower))
    return _Classes(air, float(tissue), float(third - first) / max(float(tissue) - air, 1e-6))


def _is_hu(classes: _Classes, low: float, high: float) -> bool:
    tissue = _TISSUE_HU[0] <= classes.tissue <= _TISSUE_HU[1]
    if _AIR_HU[0] <= classes.air <= _AIR_HU[1]:
        return tissue or classes.tissue <= _AIR_HU[1]  # or nothing but air
    # A box inside the patient, or values cut off above air: fat and soft tissue, none of it outside their range.
    near = classes.air < _FAT_HU or classes.tissue - classes.air < _WITHIN_SOFT_HU
    return tissue and classes.air > _AIR_HU[1] and near and low < _FAT_HU and high > 80


def _clipped(values: npt.NDArray[np.float32], low: float, high: float) -> Iterator[Symptom]:
    at_low = float(np.mean(values <= low + 0.5))
    if low > _LOWEST_CLIP_HU and at_low > _LOW_SHARE:
        yield Symptom.of(SCAN_CHECKS, "clipped", f"{at_low:.0%} of the voxels have the lowest value, {low:g} HU.")
    at_high = int(np.count_nonzero(values >= high - 0.5))
    below = int(np.count_nonzero((values >= high - 20.5) & (values < high - 0.5))) / 20
    if high < _HIGHEST_CLIP_HU and at_high > max(20.0, _SPIKE * below):
        share = at_high / values.size
        yield Symptom.of(SCAN_CHECKS, "clipped", f"{share:.2%} of the voxels have the highest value, {high:g} HU.")
