import numpy as np
import pytest
import torch

from suprem.inference.body import find_body
from suprem.inference.grid import ModelGrid
from suprem.inference.on_device import BodyLookup
from suprem.volumes import Volume

SPACING = (3.0, 3.0, 4.0)
SHAPE = (130, 110, 60)


def coordinates():
    """Millimetres from the centre along x and y."""
    x = (np.arange(SHAPE[0]) - SHAPE[0] / 2) * SPACING[0]
    y = (np.arange(SHAPE[1]) - SHAPE[1] / 2) * SPACING[1]
    return x[:, None, None], y[None, :, None]


def chest(*, table=True, lungs=True):
    """A trunk of fat and muscle with two lungs, above a table: the scan, and masks of trunk and table."""
    x, y = coordinates()
    ones = np.ones((1, 1, SHAPE[2]), dtype=bool)
    trunk = ((x / 150) ** 2 + (y / 95) ** 2 < 1) & ones
    hu = np.where(trunk, 20.0, -1000.0)
    if lungs:
        hu[((((np.abs(x) - 70) / 55) ** 2 + (y / 75) ** 2) < 1) & ones] = -880
    plate = (np.abs(y + 130) < 6) & (np.abs(x) < 180) & ones
    if table:
        hu[plate] = 150
    hu += np.random.default_rng(0).normal(0, 25, hu.shape)
    return hu.astype(np.int16), trunk, plate


def body_of(array, spacing=SPACING):
    scan = Volume(array, np.diag([*spacing, 1.0]), "chest")
    grid = ModelGrid.of(scan, None)
    return find_body(scan, grid), grid


def everywhere(body):
    return BodyLookup(body, torch.device("cpu")).region((slice(None), slice(None), slice(None))).numpy()


def test_trunk_with_its_lungs_is_inside_and_table_and_air_are_not():
    array, trunk, plate = chest()
    body, _ = body_of(array)
    mask = everywhere(body)
    assert mask[trunk].all()
    assert not mask[plate].any()
    assert mask.mean() < 1.5 * trunk.mean()


def test_body_lying_on_its_table_keeps_all_of_itself():
    array, trunk, _ = chest()
    x, y = coordinates()
    array[((np.abs(y + 97) < 6) & (np.abs(x) < 200)) & np.ones((1, 1, SHAPE[2]), dtype=bool)] = 150
    body, _ = body_of(array)
    assert everywhere(body)[trunk].all()


def test_lungs_cut_open_by_a_small_field_of_view_are_inside():
    array, trunk, _ = chest(table=False)
    x, y = coordinates()
    # The circle of the scanner runs through both lungs; beyond it the scanner stores a padding value.
    outside = ((x - 20) ** 2 + y**2 > 85**2) & np.ones((1, 1, SHAPE[2]), dtype=bool)
    array[outside] = -2000
    body, _ = body_of(array)
    assert everywhere(body)[trunk & ~outside].all()


def test_a_crop_inside_the_body_is_body_everywhere():
    array, _, _ = chest()
    body, _ = body_of(np.ascontiguousarray(array[40:90, 40:70, 10:40]))
    assert everywhere(body).all()


def test_two_legs_are_both_kept():
    x, y = coordinates()
    ones = np.ones((1, 1, SHAPE[2]), dtype=bool)
    legs = ((np.abs(x) - 90) ** 2 + y**2 < 60**2) & ones
    body, _ = body_of(np.where(legs, 30, -1000).astype(np.int16))
    assert everywhere(body)[legs].all()


@pytest.mark.parametrize("hu", [-1000, -990])
def test_air_holds_no_body(hu):
    array = np.full(SHAPE, hu, dtype=np.int16)
    array[60:63, 50:53, 20:23] = 100  # a marker, not a patient
    assert body_of(array)[0] is None


def test_all_structures_of_the_phantom_are_inside(phantom_case):
    grid = ModelGrid.of(phantom_case.ct, (1.5, 1.5, 1.5))
    body = find_body(phantom_case.ct, grid)
    inside = grid.to_scan(everywhere(body))
    assert inside[phantom_case.labels.array > 0].all()


def test_windows_touch_exactly_where_the_mask_has_voxels():
    array, _, _ = chest()
    body, grid = body_of(array)
    mask = everywhere(body)
    rng = np.random.default_rng(5)
    answers = set()
    for _ in range(200):
        start = [int(rng.integers(-8, n - 4)) for n in grid.shape]
        box = tuple(slice(max(s, 0), s + 12) for s in start)
        assert body.touches(start, (12, 12, 12)) == mask[box].any()
        answers.add(bool(mask[box].any()))
    assert answers == {True, False}
