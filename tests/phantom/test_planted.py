"""Planted errors change what they say they change."""

import numpy as np
import pytest

from suprem.errors import ConfigurationError, UnknownNameError
from suprem.phantom.planted import KINDS, ErrorKind, can_carry, plant_error

SPACING = (2.0, 3.0, 4.0)
SHAPE = (60, 40, 30)


def _block(x: int) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[x : x + 16, 8:24, 8:20] = True
    return mask


MASKS = {"kidney_left": _block(4), "kidney_right": _block(40), "my organ": _block(22)}


@pytest.mark.parametrize("kind", KINDS)
def test_record_tells_what_changed(kind: ErrorKind) -> None:
    before = {name: mask.copy() for name, mask in MASKS.items()}
    changed, error = plant_error(MASKS, kind, SPACING, seed=3)
    assert all(np.array_equal(MASKS[name], before[name]) for name in MASKS)
    different = np.logical_or.reduce([changed[name] ^ MASKS[name] for name in MASKS])
    assert error.kind == kind
    assert error.voxels == different.sum() > 0
    assert error.box == tuple((int(i.min()), int(i.max()) + 1) for i in np.nonzero(different))
    expected = {error.structure} | ({"kidney_left", "kidney_right"} if kind == "swapped" else set())
    assert {name for name in MASKS if (changed[name] != MASKS[name]).any()} == expected
    again, same = plant_error(MASKS, kind, SPACING, seed=3)
    assert same == error
    assert all(np.array_equal(changed[name], again[name]) for name in MASKS)


@pytest.mark.parametrize("seed", range(5))
def test_shapes(seed: int) -> None:
    name = "kidney_left"
    mask = MASKS[name]
    radii = (7.0, 9.0)

    def planted(kind: ErrorKind) -> np.ndarray:
        return plant_error(MASKS, kind, SPACING, seed, structure=name, radius_mm=radii)[0][name]

    def spread(voxels: np.ndarray) -> float:
        places = np.argwhere(voxels) * SPACING
        return float(np.linalg.norm(places - places.mean(axis=0), axis=1).max())

    assert not planted("missing").any()
    assert np.array_equal(planted("swapped"), MASKS["kidney_right"])
    leak, hole, fragment = planted("leak"), planted("hole"), planted("fragment")
    assert (leak | mask == leak).all()
    assert (hole & mask == hole).all()
    lost = mask & ~hole
    inner = np.zeros_like(mask)
    inner[tuple(slice(int(i.min()) + 1, int(i.max())) for i in np.nonzero(mask))] = True
    assert lost.any()
    assert not (lost & ~inner).any()  # the surface stays
    assert spread(lost) <= radii[1]
    apart = fragment & ~mask
    gaps = np.linalg.norm((np.argwhere(apart)[:, None] - np.argwhere(mask)[None, ::7]) * SPACING, axis=2)
    assert gaps.min() > 4.0
    assert spread(apart) <= radii[1]


def test_what_does_not_fit() -> None:
    assert not can_carry(MASKS, "swapped", "my organ")
    assert not can_carry({"liver": np.zeros(SHAPE, dtype=bool)}, "leak", "liver")
    with pytest.raises(ConfigurationError, match="does not fit into 'my organ'"):
        plant_error(MASKS, "swapped", SPACING, 1, structure="my organ")
    with pytest.raises(ConfigurationError, match="smaller than 40 mm"):
        plant_error(MASKS, "hole", SPACING, 1, radius_mm=(40.0, 50.0))
    with pytest.raises(ConfigurationError, match="radius_mm"):
        plant_error(MASKS, "leak", SPACING, 1, radius_mm=(3.0, 2.0))
    with pytest.raises(UnknownNameError, match="'holes'"):
        plant_error(MASKS, "holes", SPACING, 1)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="'kidney'"):
        plant_error(MASKS, "leak", SPACING, 1, structure="kidney")
