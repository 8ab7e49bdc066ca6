"""The tissues a phantom is painted with: which structures each belongs to, and its mean HU in a contrast phase."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["SOFT_TISSUES", "TISSUES", "Tissue", "draw_hu", "tissue_index", "tissues_of"]

SOFT_RANGE_HU = 20.0
"""No two soft tissues differ by more than this, so none can be told from its neighbour by one noisy voxel."""


@dataclass(frozen=True)
class Tissue:
    """One paint.

    Attributes:
        name: unique name.
        structures: canonical structures every voxel of it belongs to.
    """

    name: str
    structures: frozenset[str]


def _tissue(name: str, *structures: str) -> Tissue:
    return Tissue(name, frozenset(structures))


def _organ(name: str) -> Tissue:
    return _tissue(name, name)


_SIDES = ("left", "right")

TISSUES: tuple[Tissue, ...] = (
    _tissue("air"),
    _tissue("subcutaneous_fat"),
    _tissue("visceral_fat"),
    _tissue("muscle"),
    _tissue("vertebra"),
    _tissue("disc"),
    _tissue("spinal_canal"),
    _tissue("rib"),
    _tissue("pelvis"),
    _tissue("heart"),
    _tissue("iliac_vessel"),
    _tissue("node"),
    _tissue("mesentery"),
    _tissue("table"),
    *(
        _organ(n)
        for n in (
            "spleen", "kidney_right", "kidney_left", "gall_bladder", "esophagus", "liver", "stomach", "aorta",
            "postcava", "portal_vein_and_splenic_vein", "pancreas", "adrenal_gland_right", "adrenal_gland_left",
            "duodenum", "lung_right", "lung_left", "colon", "intestine", "rectum", "bladder", "prostate",
            "femur_left", "femur_right", "celiac_trunk",
        )
    ),
    _tissue("stomach_gas", "stomach"),
    _tissue("colon_gas", "colon"),
    _tissue("hepatic_vessel", "liver", "hepatic_vessel"),
    _tissue("liver_tumor", "liver", "liver_tumor"),
    _tissue("hepatic_vessel_tumor", "liver", "hepatic_vessel", "hepatic_vessel_tumor"),
    *(_tissue(f"kidney_tumor_{s}", f"kidney_{s}", "kidney_tumor") for s in _SIDES),
    *(_tissue(f"kidney_cyst_{s}", f"kidney_{s}", "kidney_cyst") for s in _SIDES),
    *(_tissue(f"lung_tumor_{s}", f"lung_{s}", "lung_tumor") for s in _SIDES),
    _tissue("pancreas_tumor", "pancreas", "pancreas_tumor"),
    _tissue("colon_tumor", "colon", "colon_tumor"),
)  # fmt: skip

_INDEX = {t.name: i for i, t in enumerate(TISSUES)}

# Not soft: HU far from the soft range, with the half-width of the range each is drawn from.
_FIXED_HU: Mapping[str, tuple[float, float]] = {
    "air": (-1000.0, 0.0),
    "subcutaneous_fat": (-105.0, 6.0),
    "visceral_fat": (-98.0, 6.0),
    "vertebra": (190.0, 40.0),
    "rib": (260.0, 40.0),
    "pelvis": (240.0, 40.0),
    "femur_left": (290.0, 40.0),
    "table": (-250.0, 60.0),
    "lung_right": (-830.0, 40.0),
    "stomach_gas": (-950.0, 30.0),
}
_SAME_AS = {"femur_right": "femur_left", "lung_left": "lung_right", "colon_gas": "stomach_gas"}

# Offsets from the soft level of the case in (unenhanced, arterial, portal venous, late) phase; what is not listed is 0.
_OFFSETS_HU: Mapping[str, tuple[float, float, float, float]] = {
    "muscle": (2, -6, -5, -3),
    "disc": (6, 2, 2, 3),
    "spinal_canal": (-9, -9, -9, -9),
    "heart": (-1, 9, 6, 4),
    "iliac_vessel": (-1, 7, 7, 5),
    "mesentery": (-8, -9, -9, -9),
    "spleen": (1, 5, 4, 3),
    "kidney_right": (-3, 8, 9, 8),
    "gall_bladder": (-9, -9, -9, -9),
    "esophagus": (-2, -3, -4, -3),
    "liver": (4, 0, 1, 1),
    "stomach": (-5, -5, -6, -6),
    "aorta": (-1, 10, 8, 6),
    "postcava": (-1, 1, 6, 6),
    "portal_vein_and_splenic_vein": (-1, 5, 9, 6),
    "pancreas": (-1, 4, 1, -1),
    "adrenal_gland_right": (-2, 4, 2, 0),
    "duodenum": (-4, -1, -2, -4),
    "colon": (-3, -5, -6, -5),
    "intestine": (-2, -1, -2, -3),
    "rectum": (0, -2, -3, -2),
    "bladder": (-9, -9, -9, -6),
    "prostate": (1, 1, 3, 4),
    "celiac_trunk": (-1, 10, 8, 6),
    "hepatic_vessel": (-7, 9, 10, 9),
    "liver_tumor": (-8, -9, -9, -8),
    "hepatic_vessel_tumor": (-4, -5, -5, -4),
    "kidney_tumor_right": (4, -2, -2, -1),
    "kidney_cyst_right": (-10, -10, -10, -10),
    "lung_tumor_right": (0, 0, 0, 0),
    "pancreas_tumor": (-9, -8, -8, -9),
    "colon_tumor": (5, 6, 6, 5),
}
PHASES = ("unenhanced", "arterial", "portal venous", "late")

SOFT_TISSUES: tuple[str, ...] = tuple(t.name for t in TISSUES if t.name not in {*_FIXED_HU, *_SAME_AS})


def tissue_index(name: str) -> int:
    """Position of a tissue in :data:`TISSUES`."""
    return _INDEX[name]


def tissues_of(*structures: str) -> tuple[str, ...]:
    """Names of the tissues that belong to at least one of the structures."""
    return tuple(t.name for t in TISSUES if t.structures & set(structures))


def draw_hu(rng: np.random.Generator) -> tuple[dict[str, float], str]:
    """Mean HU of every tissue in a randomly chosen contrast phase, and the name of the phase.

    The two sides of a paired organ enhance alike. Soft tissues lie within +-10 HU of one level that changes with phase.
    """
    phase = int(rng.choice(4, p=(0.1, 0.25, 0.45, 0.2)))
    level = float(rng.uniform(*((38, 48), (55, 75), (65, 90), (60, 80))[phase]))
    values: dict[str, float] = {}
    for name in (t.name for t in TISSUES):
        paired = name.replace("_left", "_right")
        source = _SAME_AS.get(name, name)
        if source in _FIXED_HU:
            mean, half = _FIXED_HU[source]
            values[name] = values[source] if source in values else mean + half * float(rng.uniform(-1, 1))
        elif paired in values:
            values[name] = values[paired]
        elif name.endswith("_left") and paired in _INDEX:
            values[name] = values[paired] = _soft(paired, phase, level, rng)
        else:
            values[name] = _soft(name, phase, level, rng)
    return values, PHASES[phase]


def _soft(name: str, phase: int, level: float, rng: np.random.Generator) -> float:
    offset = _OFFSETS_HU.get(name, (0.0,) * 4)[phase] + float(rng.uniform(-1.5, 1.5))
    return level + float(np.clip(offset, -SOFT_RANGE_HU / 2, SOFT_RANGE_HU / 2))
