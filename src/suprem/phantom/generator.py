"""The public generator of synthetic abdominal CTs."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from suprem.errors import ConfigurationError, UnknownNameError, did_you_mean
from suprem.labels import label_space
from suprem.phantom._anatomy import Builder, Part, Patient
from suprem.phantom._lesions import LESIONS, add_lesions
from suprem.phantom._organs import add_bowel, add_organs, add_pelvic_organs, add_soft_surroundings, add_vessels
from suprem.phantom._raster import Pose, paint, settle
from suprem.phantom._scanner import Protocol, scan
from suprem.phantom._shapes import Ellipsoid
from suprem.phantom._tissues import TISSUES
from suprem.phantom._torso import add_skeleton, add_thorax, add_trunk
from suprem.volumes.geometry import Reorientation, Volume

__all__ = ["PhantomCase", "generate", "phantom_table"]


@dataclass(frozen=True, eq=False)
class PhantomCase:
    """One synthetic CT with its truth.

    Attributes:
        seed: what it was generated from.
        ct: int16 (X, Y, Z), HU.
        labels: uint8 (X, Y, Z) on the same grid: an index into ``table``.
        table: palette index -> canonical structures that a voxel of that index belongs to; 0 is none.
        info: contrast phase, noise and other traits, for people.
    """

    seed: int
    ct: Volume
    labels: Volume
    table: tuple[frozenset[str], ...]
    info: dict[str, Any]

    @cached_property
    def structures(self) -> tuple[str, ...]:
        """Structures with at least one voxel, in universal-32 order."""
        found = np.unique(self.labels.array)
        present = frozenset().union(*(self.table[i] for i in found))
        return tuple(n for n in label_space("universal_32").names if n in present)

    def mask(self, name: str) -> npt.NDArray[np.bool_]:
        """Voxels of one structure, bool (X, Y, Z).

        Raises:
            UnknownNameError: the phantom does not model that structure.
        """
        known = frozenset().union(*self.table)
        if name not in known:
            raise UnknownNameError(did_you_mean("phantom structure", name, known))
        return np.asarray(np.array([name in entry for entry in self.table])[self.labels.array])


def generate(
    seed: int,
    *,
    spacing_mm: tuple[float, float, float] = (3.0, 3.0, 3.0),
    orientation: str = "RAS",
    lesion_probability: float = 1.0,
) -> PhantomCase:
    """A synthetic abdominal CT, lungs to thighs, with all 32 structures of the universal label space.

    The anatomy is a random arrangement of ellipsoids and tubes, warped and roughened, and sampled analytically: the
    same seed at another spacing is the same patient in the same field of view. Soft tissues lie within 20 HU of each
    other under noise of at least 12 HU, so a voxel's value and position do not reveal its organ. Every lesion is part
    of the organ it grows in. The two tumours of the liver differ by where and how they grow: ``liver_tumor`` is one to
    three round, hypodense nodules in the parenchyma, away from the larger vessels; ``hepatic_vessel_tumor`` is a
    spindle that fills and widens a branch of the portal tree, slightly hypodense, and counts as vessel too.

    It serves tests, demonstrations and the bundled checkpoint. It is not clinical evidence of anything.

    Args:
        seed: Seed of every random number.
        spacing_mm: Voxel size (x, y, z of the patient, whatever the orientation).
        orientation: Where the index axes point, for example ``"RAS"`` or ``"LPS"``.
        lesion_probability: Chance of each of the seven kinds of lesion.

    Returns:
        The CT, the label map and its table.

    Raises:
        ConfigurationError: spacing, orientation or probability make no sense.

    Example:
        >>> case = generate(7, spacing_mm=(8.0, 8.0, 8.0))
        >>> case.ct.array.dtype, case.labels.shape == case.ct.shape
        (dtype('int16'), True)
    """
    if not all(0.1 <= s <= 20.0 for s in spacing_mm):
        raise ConfigurationError(f"spacing_mm is {spacing_mm}; each value must lie between 0.1 and 20 mm.")
    if not 0.0 <= lesion_probability <= 1.0:
        raise ConfigurationError(f"lesion_probability is {lesion_probability}; it must lie between 0 and 1.")
    # Separate streams, so that the patient does not change when the protocol or the spacing does.
    anatomy_rng, pose_rng, scan_rng, noise_rng = (np.random.default_rng([seed, stream]) for stream in range(4))
    parts, info = _anatomy(anatomy_rng, lesion_probability)
    pose = Pose.draw(pose_rng)
    protocol = Protocol.draw(scan_rng)
    low, high = _field_of_view(pose_rng, pose)
    axes = tuple(_centres(a, b, s) for a, b, s in zip(low, high, spacing_mm, strict=True))
    tissues = paint(settle(parts, pose), pose, (axes[0], axes[1], axes[2]))
    image = scan(tissues, spacing_mm, protocol, noise_rng)
    table = phantom_table()
    lookup = np.array([table.index(t.structures) for t in TISSUES], dtype=np.uint8)
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = [a[0] for a in axes]
    name = f"phantom {seed}"
    info |= {"phase": protocol.phase, "noise_hu": protocol.noise_hu}
    ct = _oriented(Volume(image, affine, name), orientation)
    return PhantomCase(seed, ct, _oriented(Volume(lookup[tissues], affine, name), orientation), table, info)


def _anatomy(rng: np.random.Generator, lesion_probability: float) -> tuple[list[Part], dict[str, Any]]:
    make = Builder(rng, Patient.draw(rng))
    present = frozenset(n for n, u in zip(LESIONS, rng.random(len(LESIONS)), strict=True) if u < lesion_probability)
    add_trunk(make)
    add_skeleton(make)
    add_thorax(make)
    add_organs(make)
    add_bowel(make)
    add_pelvic_organs(make)
    add_vessels(make)
    add_soft_surroundings(make)
    add_lesions(make, present)
    if rng.random() < 0.5:
        table = Ellipsoid(np.array([0.0, -146.0, 0.0]), np.array([230.0, 14.0, 900.0]), np.eye(3), 4.0)
        make.add("table", table, over=frozenset({"air"}))
    return make.parts, {"fat_mm": make.patient.fat_mm, "lesions": sorted(present)}


def _field_of_view(rng: np.random.Generator, pose: Pose) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Corners of the reconstructed box in patient coordinates, mm; from the thigh to some height of the lung."""
    width, depth = float(rng.uniform(345, 420)), float(rng.uniform(275, 340))
    x, y = pose.shift[0] + float(rng.uniform(-18, 18)), pose.shift[1] + float(rng.uniform(-18, -4))
    bottom, top = (float(pose.shift[2] + pose.size[2] * rng.uniform(*r)) for r in ((-340, -250), (205, 300)))
    return (x - width / 2, y - depth / 2, bottom), (x + width / 2, y + depth / 2, top)


def _centres(low: float, high: float, step: float) -> npt.NDArray[np.float64]:
    count = max(1, int(np.floor((high - low) / step + 1e-6)))
    return np.asarray(low + (np.arange(count) + 0.5) * step, dtype=np.float64)


def phantom_table() -> tuple[frozenset[str], ...]:
    """Palette index -> structures, the same for every case; index 0 is the empty set."""
    return tuple(dict.fromkeys([frozenset[str](), *(t.structures for t in TISSUES)]))


def _oriented(volume: Volume, orientation: str) -> Volume:
    axes = tuple(next((i for i, pair in enumerate(("RL", "AP", "SI")) if code in pair), -1) for code in orientation)
    if sorted(axes) != [0, 1, 2]:
        raise ConfigurationError(
            f"orientation is {orientation!r}; give three of R/L, A/P, S/I, such as 'RAS' or 'LPS'."
        )
    flips = tuple(code in "LPI" for code in orientation)
    step = Reorientation((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]))
    affine = np.eye(4)
    affine[:3, 3] = volume.affine[:3, 3]
    for out, (source, flip) in enumerate(zip(axes, flips, strict=True)):
        column = volume.affine[:3, source]
        affine[:3, out] = -column if flip else column
        if flip:
            affine[:3, 3] += column * (volume.shape[source] - 1)
    return Volume(np.ascontiguousarray(step.apply(volume.array)), affine, volume.name)
