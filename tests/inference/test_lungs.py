"""Separation of the lungs; on RAS axes smaller x is the patient's left."""

import numpy as np
import pytest
from scipy import ndimage

from suprem.inference._lungs import separate_lungs

SHAPE = (100, 70, 90)
SPACING = (3.0, 3.0, 3.0)
X, Y, Z = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]


def ellipsoid(centre, radii):
    return sum(((a - c) / r) ** 2 for a, c, r in zip((X, Y, Z), centre, radii, strict=True)) < 1


LEFT = ellipsoid((28, 35, 45), (17, 26, 38))
RIGHT = ellipsoid((70, 35, 45), (19, 27, 39))
NOTHING = np.zeros(SHAPE, dtype=bool)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_two_parts_go_to_their_sides_and_fragments_go():
    specks = NOTHING.copy()
    specks[2:4, 2:4, 2:4] = specks[96:98, 60:63, 80:84] = True
    lungs = separate_lungs(LEFT | RIGHT | specks, SPACING)
    assert lungs.separated
    np.testing.assert_array_equal(lungs.left, LEFT)
    np.testing.assert_array_equal(lungs.right, RIGHT)


def test_holes_are_filled():
    hole = ellipsoid((28, 35, 45), (4, 4, 4))
    lungs = separate_lungs((LEFT | RIGHT) & ~hole, SPACING)
    np.testing.assert_array_equal(lungs.left, LEFT)


def test_a_leak_in_few_slices_is_cut():
    bridge = NOTHING.copy()
    bridge[28:70, 10:60, 45] = True
    lungs = separate_lungs(LEFT | RIGHT | bridge, SPACING)
    assert "stand out" in lungs.note
    assert dice(lungs.left, LEFT) > 0.97
    assert dice(lungs.right, RIGHT) > 0.97
    np.testing.assert_array_equal(lungs.left | lungs.right, LEFT | RIGHT | bridge)
    assert not (lungs.left & lungs.right).any()


def test_lungs_joined_along_a_line_are_parted_by_erosion():
    seam = NOTHING.copy()
    seam[40:56, 33:37, 20:70] = True
    union = LEFT | RIGHT | seam
    assert ndimage.label(union)[1] == 1
    lungs = separate_lungs(union, SPACING)
    assert "eroded" in lungs.note
    assert dice(lungs.left, LEFT) > 0.97
    assert dice(lungs.right, RIGHT) > 0.97
    np.testing.assert_array_equal(lungs.left | lungs.right, union)
    # Each voxel of the seam went to the nearer lung.
    assert lungs.left[40:48, 34:36, 30:60].mean() > 0.9
    assert lungs.right[50:56, 34:36, 30:60].mean() > 0.9


@pytest.mark.parametrize(("lung", "side"), [(LEFT, "left"), (RIGHT, "right")])
def test_one_lung_alone_goes_to_its_half(lung, side):
    lungs = separate_lungs(lung, SPACING)
    assert lungs.note == "only one lung"
    np.testing.assert_array_equal(getattr(lungs, side), lung)
    assert lungs.left.sum() + lungs.right.sum() == lung.sum()


def test_a_collapsed_lung_in_the_other_half_is_kept():
    collapsed = ellipsoid((26, 35, 45), (6, 8, 10))
    lungs = separate_lungs(collapsed | RIGHT, SPACING)
    np.testing.assert_array_equal(lungs.left, collapsed)
    np.testing.assert_array_equal(lungs.right, RIGHT)


def test_a_small_part_beside_a_single_lung_is_no_lung():
    speck = ellipsoid((92, 8, 10), (4, 4, 4))
    lungs = separate_lungs(speck | RIGHT, SPACING)
    np.testing.assert_array_equal(lungs.right, RIGHT)
    assert not lungs.left.any()


def test_what_cannot_be_parted_ends_and_says_so():
    block = NOTHING.copy()
    block[10:90, 10:60, 10:80] = True
    lungs = separate_lungs(block, SPACING)
    assert not lungs.separated
    assert "did not part" in lungs.note


def test_nothing_gives_nothing():
    lungs = separate_lungs(NOTHING, SPACING)
    assert not lungs.separated
    assert lungs.note == "no lung voxels"


@pytest.mark.parametrize("spacing", [(1.5, 1.5, 1.5), (3.0, 3.0, 6.0)])
def test_other_spacings_part_too(spacing):
    seam = NOTHING.copy()
    seam[40:56, 33:37, 20:70] = True
    lungs = separate_lungs(LEFT | RIGHT | seam, spacing)
    assert dice(lungs.left, LEFT) > 0.97
    assert dice(lungs.right, RIGHT) > 0.97
