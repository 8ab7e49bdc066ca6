"""Checks of the patient: there, upright, whole, without metal; and a guess of the contrast phase."""

from collections.abc import Iterator
from math import prod

import numpy as np
import numpy.typing as npt

from suprem.volumes._scan_look import BoolArray, Look
from suprem.volumes._scan_table import SCAN_CHECKS
from suprem.volumes.symptoms import Symptom

__all__ = ["body_symptoms"]

_NOT_TABLE_HU = -150.0  # fat is denser, tables and cushions are less dense
_CONTACT_MM, _CONTACT_SHARE = 30.0, 0.05
_PADDING_HU = -1000.0
_SHORT_MM = 150.0
_BODY_WIDTH_MM = (120.0, 750.0)

_BONE_HU, _SPINE_AHEAD_MM = 180.0, 15.0
_LUNG_HU = (-950.0, -500.0)
_LUNG_BELOW, _LUNG_ABOVE, _TALL_MM = 0.08, 0.05, 200.0

_METAL_HU, _METAL_ML = 2500.0, 0.2

_SOFT_HU = (10.0, 160.0)
_UNENHANCED_HU, _ENHANCED_HU = 58.0, 66.0
_FEWEST_BLOCKS = 500


def body_symptoms(look: Look) -> Iterator[Symptom]:
    """Symptoms of a scan in HU."""
    if look.solid is None or look.filled is None:
        yield Symptom.of(SCAN_CHECKS, "no-body", "No part of 100 ml or more is as dense as tissue.")
        return
    cut = _cut_sides(look, look.solid)
    yield from _size(look, look.filled, bool(cut))
    yield from _posture(look, look.solid, look.filled)
    if cut:
        yield Symptom.of(SCAN_CHECKS, "truncated", f"The body reaches {' and '.join(cut)}.")
    metal_ml = _metal_ml(look)
    if metal_ml >= _METAL_ML:
        yield Symptom.of(SCAN_CHECKS, "metal", f"{metal_ml:.1f} ml are denser than {_METAL_HU:g} HU.")
    yield from _phase(look, look.solid)


def _cut_sides(look: Look, solid: BoolArray) -> list[str]:
    """The borders of the field of view that the body touches over 3 cm, in a twentieth of its layers."""
    tissue = solid & (look.means > _NOT_TABLE_HU)
    x_mm, y_mm, _ = look.coarse_mm
    lengths = {
        "the left side of the scan": tissue[0].sum(axis=0) * y_mm,
        "the right side of the scan": tissue[-1].sum(axis=0) * y_mm,
        "the back of the scan": tissue[:, 0].sum(axis=0) * x_mm,
        "the front of the scan": tissue[:, -1].sum(axis=0) * x_mm,
        "the circle beyond which nothing was reconstructed": _at_padding(look, tissue) * (x_mm + y_mm) / 2,
    }
    height = max(1, int(solid.any(axis=(0, 1)).sum()))
    return [name for name, length in lengths.items() if (length > _CONTACT_MM).sum() > _CONTACT_SHARE * height]


def _at_padding(look: Look, tissue: BoolArray) -> npt.NDArray[np.int_]:
    """Per layer: blocks of tissue next to blocks of nothing but the padding value."""
    low = float(look.array.min())
    if low > _PADDING_HU:
        return np.zeros(tissue.shape[2], dtype=int)
    outside = look.means <= low + 0.5
    beside = np.zeros_like(outside)
    for axis in (0, 1):
        # Two blocks on: the one between is partly padding.
        for step in (1, 2):
            beside |= _shifted(outside, axis, step) | _shifted(outside, axis, -step)
    return np.asarray((beside & tissue).sum(axis=(0, 1)))


def _shifted(mask: BoolArray, axis: int, step: int) -> BoolArray:
    result = np.zeros_like(mask)
    take, put = [slice(None)] * 3, [slice(None)] * 3
    take[axis], put[axis] = (
        (slice(None, -step), slice(step, None)) if step > 0 else (slice(-step, None), slice(0, step))
    )
    result[tuple(put)] = mask[tuple(take)]
    return result


def _size(look: Look, filled: BoolArray, cut: bool) -> Iterator[Symptom]:
    extents = []
    for axis, size in enumerate(look.coarse_mm):
        where = np.flatnonzero(filled.any(axis=tuple(a for a in range(3) if a != axis)))
        extents.append((where[-1] - where[0] + 1) * size)
    width, _, height = extents
    if width > _BODY_WIDTH_MM[1] or (width < _BODY_WIDTH_MM[0] and not cut):
        yield Symptom.of(SCAN_CHECKS, "spacing", f"The body is {width:.0f} mm wide, which is not that of a patient.")
    if height < _SHORT_MM:
        yield Symptom.of(SCAN_CHECKS, "short", f"{height:.0f} mm of the body's length are in view.")


def _posture(look: Look, solid: BoolArray, filled: BoolArray) -> Iterator[Symptom]:
    """Front and back by the spine, head and feet by the lungs; left and right cannot be told without masks."""
    bone = solid & (look.means > _BONE_HU)
    # Columns along the body that are dense for long belong to the spine; the heart with contrast medium is shorter.
    weight = (bone.sum(axis=2) / bone.shape[2]) ** 2
    rows = np.flatnonzero(filled.any(axis=(0, 2)))
    if weight.sum() > 0:
        spine = float(weight.sum(axis=0) @ np.arange(weight.shape[1]) / weight.sum())
        ahead = (spine - (rows[0] + rows[-1]) / 2) * look.coarse_mm[1]
        if ahead > _SPINE_AHEAD_MM:
            yield Symptom.of(SCAN_CHECKS, "posture", f"Bone lies {ahead:.0f} mm in front of the middle of the body.")
    area = filled.sum(axis=(0, 1))
    lung = (filled & (look.means > _LUNG_HU[0]) & (look.means < _LUNG_HU[1])).sum(axis=(0, 1)) / np.maximum(area, 1)
    count = len(lung)
    below, above = float(lung[: max(1, count // 5)].mean()), float(lung[count // 2 :].max())
    if count * look.coarse_mm[2] > _TALL_MM and below > _LUNG_BELOW and above < _LUNG_ABOVE:
        yield Symptom.of(
            SCAN_CHECKS, "posture", f"The lungs fill {below:.0%} of the lowest slices and none of the upper half."
        )


def _metal_ml(look: Look) -> float:
    """Volume above the density of bone; one slice at a time, so that no copy of the scan is made."""
    if look.array.max() <= _METAL_HU:
        return 0.0
    along = np.moveaxis(look.array, look.slice_axis, 0)
    return sum(int(np.count_nonzero(plane > _METAL_HU)) for plane in along) * prod(look.spacing_mm) / 1000


def _phase(look: Look, solid: BoolArray) -> Iterator[Symptom]:
    """By the upper quartile of soft tissue, which contrast medium lifts."""
    soft = look.means[solid & (look.means > _SOFT_HU[0]) & (look.means < _SOFT_HU[1])]
    if soft.size < _FEWEST_BLOCKS:
        return
    level = float(np.percentile(soft, 75))
    said = "without contrast medium" if level < _UNENHANCED_HU else "with contrast medium"
    if not _UNENHANCED_HU <= level <= _ENHANCED_HU:
        yield Symptom.of(SCAN_CHECKS, "phase", f"The upper quartile of soft tissue is {level:.0f} HU: probably {said}.")
