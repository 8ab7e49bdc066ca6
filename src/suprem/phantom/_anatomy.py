"""What every anatomical module builds on: parts in painting order, and random variation of positions and sizes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from suprem.phantom._shapes import Capsule, Ellipsoid, Solid, rotation_matrix, tube

__all__ = ["Builder", "Part", "Patient"]

Array = npt.NDArray[Any]

_ALONG_BODY = np.array([1.0, 1.0, 1.5])


@dataclass(frozen=True, eq=False)
class Part:
    """One step of the painting.

    Attributes:
        tissue: name of the tissue.
        solids: their union is painted.
        over: tissues that may be painted over; everything else keeps its place.
        roughness_mm: amplitude of the smooth random displacement of the surface.
        field: which of the case's surface fields displaces it.
        alternatives: centres, (3,) mm, for its only solid, an ellipsoid, should other organs hide it where it is.
    """

    tissue: str
    solids: tuple[Solid, ...]
    over: frozenset[str]
    roughness_mm: float = 0.0
    field: int = 0
    alternatives: tuple[Array, ...] = ()


@dataclass(frozen=True)
class Patient:
    """Random traits that several parts share.

    Attributes:
        fat_mm: thickness of the subcutaneous fat.
        muscle_mm: thickness of the wall of trunk muscle.
    """

    fat_mm: float
    muscle_mm: float

    @property
    def wall_mm(self) -> float:
        """Distance from the skin to the cavity."""
        return self.fat_mm + self.muscle_mm

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Patient":
        """A random patient."""
        return cls(float(rng.uniform(7.0, 32.0)), float(rng.uniform(10.0, 17.0)))


@dataclass
class Builder:
    """Collects parts and draws variation.

    Attributes:
        rng: source of every random number of the anatomy.
        patient: shared traits.
        parts: what was added so far, in painting order.
        landmarks: positions that later parts attach to, (3,) or (K, 4) mm.
    """

    rng: np.random.Generator
    patient: Patient
    parts: list[Part] = field(default_factory=list)
    landmarks: dict[str, Array] = field(default_factory=dict)

    def add(
        self,
        tissue: str,
        *solids: Solid,
        over: frozenset[str],
        roughness_mm: float = 0.0,
        alternatives: Iterable[Array] = (),
    ) -> None:
        """Appends a part; its surface field is drawn when the surface is rough."""
        which = int(self.rng.integers(3)) if roughness_mm else 0
        self.parts.append(Part(tissue, solids, over, roughness_mm, which, tuple(alternatives)))

    def shift(self, sd_mm: float) -> Array:
        """A random displacement (3,), mm, cut off at two standard deviations; organs move most along the body."""
        return np.asarray(np.clip(self.rng.normal(0.0, sd_mm, 3), -2 * sd_mm, 2 * sd_mm) * _ALONG_BODY)

    def factor(self, spread: float) -> float:
        """A random factor around 1."""
        return float(np.exp(np.clip(self.rng.normal(0.0, spread), -2 * spread, 2 * spread)))

    def ellipsoid(
        self,
        centre: Any,
        radii: Any,
        *,
        angles: Any = (0.0, 0.0, 0.0),
        sd_mm: float = 7.0,
        spread: float = 0.12,
        tilt_deg: float = 10.0,
        exponent: float = 2.0,
    ) -> Ellipsoid:
        """An ellipsoid with random displacement, size and tilt."""
        size = self.factor(spread)
        return Ellipsoid(
            np.asarray(centre, dtype=np.float64) + self.shift(sd_mm),
            np.asarray(radii, dtype=np.float64) * size * np.array([self.factor(spread / 2) for _ in range(3)]),
            rotation_matrix(np.asarray(angles) + self.rng.uniform(-tilt_deg, tilt_deg, 3)),
            exponent,
        )

    def path(self, points: Any, *, sd_mm: float = 6.0, wobble_mm: float = 4.0, spread: float = 0.1) -> Array:
        """Way points (M, 4) of a tube, moved together and each on its own, radii scaled."""
        result = np.asarray(points, dtype=np.float64).copy()
        result[:, :3] += self.shift(sd_mm)
        result[:, :3] += np.clip(self.rng.normal(0.0, wobble_mm, (len(result), 3)), -2 * wobble_mm, 2 * wobble_mm)
        result[:, 3] *= self.factor(spread)
        return result

    def tube(self, points: Any, **variation: float) -> tuple[Capsule, ...]:
        """A smooth tube through randomly varied way points (M, 4)."""
        return tube(self.path(points, **variation))
