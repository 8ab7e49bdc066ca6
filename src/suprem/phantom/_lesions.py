"""Lesions, each inside the organ it belongs to."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from suprem.labels import structure
from suprem.phantom._anatomy import Builder
from suprem.phantom._shapes import Ellipsoid, Solid, tube
from suprem.phantom._tissues import TISSUES, tissues_of

__all__ = ["LESIONS", "add_lesions"]

Array = npt.NDArray[Any]

LESIONS = (
    "liver_tumor",
    "hepatic_vessel_tumor",
    "kidney_tumor",
    "kidney_cyst",
    "lung_tumor",
    "pancreas_tumor",
    "colon_tumor",
)


def add_lesions(make: Builder, present: frozenset[str]) -> None:
    """Adds the lesions named in ``present``; the random numbers drawn do not depend on that choice."""
    parts_before = len(make.parts)
    _liver(make)
    _kidneys(make)
    _others(make)
    wanted = {t.name for t in TISSUES if t.structures & present}
    kept = [p for p in make.parts[parts_before:] if p.tissue in wanted]
    make.parts[parts_before:] = kept


def _parents(lesion: str, tissue: str) -> frozenset[str]:
    """Tissues of the lesion's parent organ that this tissue may replace: those on its own side."""
    own = next(t.structures for t in TISSUES if t.name == tissue)
    return frozenset(tissues_of(*(set(structure(lesion).parents) & own)))


def _add(
    make: Builder, lesion: str, tissue: str, solid: Solid, *, roughness_mm: float, elsewhere: Iterable[Array] = ()
) -> None:
    make.add(tissue, solid, over=_parents(lesion, tissue), roughness_mm=roughness_mm, alternatives=elsewhere)


def _liver(make: Builder) -> None:
    rng = make.rng
    branches = make.landmarks["hepatic_branches"]
    for number in range(int(rng.integers(1, 4))):
        around, radii = make.landmarks["liver"], make.landmarks["liver_radii"]
        # The candidate farthest from the vessels: metastases sit in the parenchyma, thrombi in the vessels.
        candidates = around + radii * rng.uniform(-0.45, 0.45, (8, 3))
        gaps = np.linalg.norm(candidates[:, None] - branches[None, :, :3], axis=2).min(axis=1)
        radius = float(rng.uniform(9, 20) if number == 0 else rng.uniform(7, 12))
        candidates = candidates[np.argsort(-gaps, kind="stable")]
        lesion = make.ellipsoid(candidates[0], np.full(3, radius), sd_mm=0, tilt_deg=90, spread=0.1)
        elsewhere = [*candidates[1:], around]
        _add(make, "liver_tumor", "liver_tumor", lesion, roughness_mm=1.5, elsewhere=elsewhere)
    pair = 2 * int(rng.integers(3, len(branches) // 2))  # a branch of the portal tree
    start, end = branches[pair, :3], branches[pair + 1, :3]
    a, b = start + 0.1 * (end - start), start + 0.85 * (end - start)
    radius = float(rng.uniform(8, 11))
    way = np.array([(*a, 0.7 * radius), (*(0.5 * (a + b)), radius), (*b, 0.7 * radius)])
    make.add(
        "hepatic_vessel_tumor", *tube(way, step_mm=4), over=frozenset({"liver", "hepatic_vessel"}), roughness_mm=1.5
    )


def _kidneys(make: Builder) -> None:
    rng = make.rng
    sides = ("left", "right") if rng.random() < 0.5 else ("right", "left")
    for lesion, side, radius in (
        ("kidney_tumor", sides[0], rng.uniform(11, 17)),
        ("kidney_cyst", sides[1], rng.uniform(9, 15)),
        ("kidney_cyst", sides[0], rng.uniform(6, 9)),
    ):
        centre, radii = make.landmarks[f"kidney_{side}"], make.landmarks[f"kidney_{side}_radii"]
        outward = 1.0 if side == "right" else -1.0
        pole = rng.choice((-1.0, 1.0)) if lesion == "kidney_tumor" else rng.choice((-0.5, 0.1, 0.6))
        at = centre + radii * np.array((outward * 0.4, rng.uniform(-0.3, 0.3), 0.55 * pole))
        solid = make.ellipsoid(at, np.full(3, radius), sd_mm=1.0, tilt_deg=90, spread=0.1)
        _add(make, lesion, f"{lesion}_{side}", solid, roughness_mm=2.5 if lesion == "kidney_tumor" else 0.0)


def _others(make: Builder) -> None:
    rng = make.rng
    side = str(rng.choice(("left", "right")))
    sign = 1.0 if side == "right" else -1.0
    # Above the dome of the organ below, which is painted over the lung.
    dome = (
        (make.landmarks["liver"] + make.landmarks["liver_radii"])[2]
        if sign > 0
        else make.landmarks["stomach"][0, 2] + 38
    )
    at = np.array((sign * rng.uniform(78, 92), rng.uniform(-50, -22), np.clip(dome + rng.uniform(12, 30), 138, 182)))
    nodule = make.ellipsoid(at, np.full(3, rng.uniform(8, 16)), sd_mm=2, tilt_deg=90, spread=0.12)
    _add(make, "lung_tumor", f"lung_tumor_{side}", nodule, roughness_mm=2.5)
    pancreas = make.landmarks["pancreas"]
    which = int(rng.integers(0, len(pancreas) - 1))
    mass = make.ellipsoid(pancreas[which, :3], np.full(3, rng.uniform(9, 13)), sd_mm=2, tilt_deg=90, spread=0.1)
    _add(make, "pancreas_tumor", "pancreas_tumor", mass, roughness_mm=1.5)
    colon = make.landmarks["colon"]
    which = int(rng.choice((1, 2, 3, 10, 11)))  # ascending and descending colon: little lies over them
    growth = Ellipsoid(colon[which, :3], np.full(3, 1.0) * rng.uniform(15, 20), np.eye(3))
    _add(make, "colon_tumor", "colon_tumor", growth, roughness_mm=2.5, elsewhere=colon[:-1, :3])
