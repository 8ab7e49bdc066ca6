"""Errors planted on purpose in masks, for tests and experiments: what annotators and networks get wrong, seeded.

They show whether a method finds errors of known kind, place and size. How often each kind occurs in real data is not
modelled.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from suprem.errors import ConfigurationError, UnknownNameError, did_you_mean
from suprem.labels import known_name, list_structures, mirrored

__all__ = ["KINDS", "ErrorKind", "PlantedError", "can_carry", "plant_error"]

BoolArray = npt.NDArray[np.bool_]
Masks = Mapping[str, BoolArray]
Spacing = tuple[float, float, float]
Radii = tuple[float, float]
ErrorKind = Literal["missing", "swapped", "leak", "hole", "fragment"]
KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)
"""All kinds of errors:

- ``"missing"``: the structure is not annotated at all.
- ``"swapped"``: the structure and its counterpart on the other side have exchanged names.
- ``"leak"``: a ball around a point of the surface belongs to the structure as well.
- ``"hole"``: a ball inside the structure does not belong to it.
- ``"fragment"``: a ball apart from the structure belongs to it as well.
"""

_APART_MM = (6.0, 60.0)
"""Gap between a structure and a fragment of it."""


@dataclass(frozen=True)
class PlantedError:
    """What was planted, and where.

    Attributes:
        kind: one of :data:`KINDS`.
        structure: whose mask was changed; of exchanged ones the one that was asked for.
        box: half-open ranges of the changed voxels along x, y and z.
        voxels: number of changed voxels, each counted once.
    """

    kind: ErrorKind
    structure: str
    box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    voxels: int


def plant_error(
    masks: Masks,
    kind: ErrorKind,
    spacing_mm: Spacing,
    seed: int,
    *,
    structure: str | None = None,
    radius_mm: Radii = (10.0, 20.0),
) -> tuple[dict[str, BoolArray], PlantedError]:
    """Plants one error in the masks of a case.

    Args:
        masks: Structure -> bool (X, Y, Z), all of one shape; they stay as they are.
        kind: One of :data:`KINDS`.
        spacing_mm: Voxel size (x, y, z).
        seed: Of all that is drawn: the structure, the place, the radius.
        structure: Where to plant it; ``None`` draws one that can have such an error.
        radius_mm: Smallest and largest radius of the ball of a leak, hole or fragment. A hole stays inside its
            structure, so it may be smaller than drawn, but never smaller than the smallest.

    Returns:
        New masks, of which the unchanged are the given arrays; and what was changed.

    Raises:
        UnknownNameError: there is no such kind, or no mask of that structure.
        ConfigurationError: no structure can have such an error, such as a swap without a counterpart, or the radii make
            no sense.

    Example:
        >>> mask = np.zeros((20, 20, 20), dtype=bool)
        >>> mask[4:16, 4:16, 4:16] = True
        >>> changed, error = plant_error({"liver": mask}, "missing", (3.0, 3.0, 3.0), seed=1)
        >>> bool(changed["liver"].any()), error.voxels, error.box[0]
        (False, 1728, (4, 16))
    """
    if kind not in KINDS:
        raise UnknownNameError(did_you_mean("kind of planted error", kind, KINDS))
    if structure is not None and structure not in masks:
        raise UnknownNameError(did_you_mean("mask", structure, masks))
    if not 0 < radius_mm[0] <= radius_mm[1]:
        raise ConfigurationError(f"radius_mm is {radius_mm}; give the smallest and the largest, both positive.")
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    names = [name for name in (masks if structure is None else [structure]) if can_carry(masks, kind, name)]
    for index in rng.permutation(len(names)):
        name = names[index]
        changed = {**masks, **_PLANTERS[kind](masks, name, spacing_mm, rng, radius_mm)}
        different = np.logical_or.reduce([changed[n] != masks[n] for n in changed if changed[n] is not masks[n]])
        if different.any():
            return changed, PlantedError(kind, name, _box(different), int(np.count_nonzero(different)))
    where = "any of the structures" if structure is None else repr(structure)
    raise ConfigurationError(
        f"An error of the kind {kind!r} does not fit into {where}, of {', '.join(masks)}; choose another kind or "
        f"structure, or balls smaller than {radius_mm[0]:g} mm."
    )


def can_carry(masks: Masks, kind: ErrorKind, structure: str) -> bool:
    """Whether a structure is there, and for a swap its counterpart as well."""
    if kind != "swapped":
        return bool(masks[structure].any())
    partner = _partner(masks, structure)
    return partner is not None and bool(masks[structure].any() and masks[partner].any())


def _partner(masks: Masks, name: str) -> str | None:
    known = known_name(name)
    partner = mirrored(known) if known in list_structures() else known
    return partner if partner != known and partner in masks else None


def _missing(masks: Masks, name: str, spacing: Spacing, rng: np.random.Generator, radii: Radii) -> dict[str, BoolArray]:
    return {name: np.zeros_like(masks[name])}


def _swapped(masks: Masks, name: str, spacing: Spacing, rng: np.random.Generator, radii: Radii) -> dict[str, BoolArray]:
    partner = _partner(masks, name)
    return {} if partner is None else {name: masks[partner].copy(), partner: masks[name].copy()}


def _leak(masks: Masks, name: str, spacing: Spacing, rng: np.random.Generator, radii: Radii) -> dict[str, BoolArray]:
    mask = masks[name]
    surface = mask & ~ndimage.binary_erosion(mask, border_value=1)
    return {name: mask | _ball(mask.shape, _drawn(surface, rng), rng.uniform(*radii), spacing)}


def _hole(masks: Masks, name: str, spacing: Spacing, rng: np.random.Generator, radii: Radii) -> dict[str, BoolArray]:
    mask = masks[name]
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    deep = depth > radii[0] + max(spacing)  # one layer of voxels stays between the hole and the outside
    if not deep.any():
        return {}
    centre = _drawn(deep, rng)
    radius = min(rng.uniform(*radii), float(depth[centre]) - max(spacing))
    return {name: mask & ~_ball(mask.shape, centre, radius, spacing)}


def _fragment(
    masks: Masks, name: str, spacing: Spacing, rng: np.random.Generator, radii: Radii
) -> dict[str, BoolArray]:
    mask, radius = masks[name], rng.uniform(*radii)
    away = ndimage.distance_transform_edt(~mask, sampling=spacing)
    places = (away > radius + _APART_MM[0]) & (away < radius + _APART_MM[1])
    # Inside the patient: between what is annotated.
    trunk = np.zeros_like(mask)
    trunk[tuple(slice(*pair) for pair in _box(np.logical_or.reduce(list(masks.values()))))] = True
    places &= trunk
    return {name: mask | _ball(mask.shape, _drawn(places, rng), radius, spacing)} if places.any() else {}


_Planter = Callable[[Masks, str, Spacing, np.random.Generator, Radii], dict[str, BoolArray]]
_PLANTERS: dict[ErrorKind, _Planter] = {
    "missing": _missing,
    "swapped": _swapped,
    "leak": _leak,
    "hole": _hole,
    "fragment": _fragment,
}


def _drawn(places: BoolArray, rng: np.random.Generator) -> tuple[int, int, int]:
    """One of some voxels."""
    found = np.flatnonzero(places)
    x, y, z = (int(i) for i in np.unravel_index(found[rng.integers(len(found))], places.shape))
    return x, y, z


def _ball(shape: tuple[int, ...], centre: tuple[int, int, int], radius_mm: float, spacing: Spacing) -> BoolArray:
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    squares = [((axis - at) * size) ** 2 for axis, at, size in zip(axes, centre, spacing, strict=True)]
    return np.asarray(squares[0] + squares[1] + squares[2] < radius_mm**2)


def _box(mask: BoolArray) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Bounding box of a mask that is not empty."""
    x, y, z = ndimage.find_objects(mask.astype(np.uint8))[0]
    return (x.start, x.stop), (y.start, y.stop), (z.start, z.stop)
