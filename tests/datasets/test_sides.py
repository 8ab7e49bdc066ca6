"""The left/right rule on shapes whose answer is known."""

import numpy as np
import numpy.typing as npt
import pytest

from suprem.datasets._sides import LEFT, RIGHT, Sides, body_midline, split_left_right
from suprem.errors import VolumeError

SHAPE = (60, 30, 40)
MIDLINE = 29.5
MM = (2.0, 2.0, 2.0)

_Mask = npt.NDArray[np.bool_]


def _boxes(*extents: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]) -> _Mask:
    mask = np.zeros(SHAPE, dtype=bool)
    for x, y, z in extents:
        mask[x[0] : x[1], y[0] : y[1], z[0] : z[1]] = True
    return mask


def _whole(mask: _Mask, sides: Sides) -> npt.NDArray[np.uint8]:
    side = np.zeros(mask.shape, dtype=np.uint8)
    side[sides.crop] = sides.side
    return side


LEFT_BOX = ((6, 16), (10, 20), (10, 30))
RIGHT_BOX = ((44, 54), (10, 20), (10, 30))


def test_two_components_go_to_the_sides_of_their_centroids() -> None:
    mask = _boxes(LEFT_BOX, RIGHT_BOX)
    sides = split_left_right(mask, MIDLINE, MM, straddling="unknown")
    side = _whole(mask, sides)
    np.testing.assert_array_equal(side == LEFT, _boxes(LEFT_BOX))
    np.testing.assert_array_equal(side == RIGHT, _boxes(RIGHT_BOX))
    assert (sides.undecided_mm3, sides.cut, sides.empty) == (0.0, False, 0)


def test_pieces_of_one_organ_stay_on_its_side_and_nothing_is_lost() -> None:
    piece = ((20, 28), (10, 20), (32, 36))
    speck = ((31, 32), (3, 4), (3, 4))
    mask = _boxes(LEFT_BOX, RIGHT_BOX, piece, speck)
    side = _whole(mask, split_left_right(mask, MIDLINE, MM, straddling="unknown"))
    np.testing.assert_array_equal(side == LEFT, _boxes(LEFT_BOX, piece))
    np.testing.assert_array_equal(side == RIGHT, _boxes(RIGHT_BOX, speck))
    np.testing.assert_array_equal(side > 0, mask)


def test_a_component_that_reaches_a_little_over_the_midline_is_whole() -> None:
    long = ((10, 32), (10, 20), (10, 30))  # 2 of 22 columns lie right of the midline
    mask = _boxes(long, RIGHT_BOX)
    sides = split_left_right(mask, MIDLINE, MM, straddling="unknown")
    np.testing.assert_array_equal(_whole(mask, sides) == LEFT, _boxes(long))


HORSESHOE = (LEFT_BOX, RIGHT_BOX, ((16, 44), (12, 18), (10, 14)))


def test_a_horseshoe_kidney_has_no_sides() -> None:
    mask = _boxes(*HORSESHOE)
    sides = split_left_right(mask, MIDLINE, MM, straddling="unknown")
    assert not sides.side.any()
    assert sides.undecided_mm3 == mask.sum() * 8.0


def test_lungs_that_touch_are_cut_at_the_midline() -> None:
    mask = _boxes(*HORSESHOE)
    sides = split_left_right(mask, MIDLINE, MM, straddling="cut")
    side = _whole(mask, sides)
    x = np.arange(SHAPE[0])[:, None, None]
    np.testing.assert_array_equal(side == RIGHT, mask & (x > MIDLINE))
    np.testing.assert_array_equal(side == LEFT, mask & (x < MIDLINE))
    assert sides.cut
    assert sides.undecided_mm3 == 0


def test_only_the_component_that_straddles_is_cut() -> None:
    apart = ((33, 36), (24, 30), (34, 40))
    # It reaches over the midline, but not by a fifth.
    over = ((27, 40), (0, 6), (34, 40))
    mask = _boxes(*HORSESHOE, apart, over)
    side = _whole(mask, split_left_right(mask, MIDLINE, MM, straddling="cut"))
    assert (side[_boxes(apart)] == RIGHT).all()
    assert set(side[_boxes(over)].tolist()) == {LEFT, RIGHT}  # 3 of 13 columns: more than a fifth
    over = ((28, 40), (0, 6), (34, 40))
    mask = _boxes(*HORSESHOE, apart, over)
    side = _whole(mask, split_left_right(mask, MIDLINE, MM, straddling="cut"))
    assert (side[_boxes(over)] == RIGHT).all()  # 2 of 12 columns


@pytest.mark.parametrize(("box", "empty"), [(LEFT_BOX, RIGHT), (RIGHT_BOX, LEFT)])
def test_a_missing_kidney_is_noticed(box: tuple[tuple[int, int], ...], empty: int) -> None:
    mask = _boxes(box)  # type: ignore[arg-type]
    sides = split_left_right(mask, MIDLINE, MM, straddling="unknown")
    assert (sides.empty, sides.in_view) == (empty, True)
    speck = np.zeros(SHAPE, dtype=bool)
    speck[29 if empty == LEFT else 31, 25, 35] = True
    again = split_left_right(mask | speck, MIDLINE, MM, straddling="unknown")
    assert (again.empty, again.in_view) == (empty, True)


def test_a_side_beyond_the_field_of_view_is_not_missing() -> None:
    mask = _boxes(RIGHT_BOX)
    # The body's middle lies at 20, so the other kidney would lie from -14 to -4.
    sides = split_left_right(mask, 20.0, MM, straddling="unknown")
    assert (sides.empty, sides.in_view) == (LEFT, False)
    assert split_left_right(mask, 27.0, MM, straddling="unknown").in_view  # 1 to 10
    assert not split_left_right(mask, 25.5, MM, straddling="unknown").in_view  # -2 to 7: a fifth is cut off


def test_an_empty_mask_has_no_sides() -> None:
    sides = split_left_right(np.zeros(SHAPE, dtype=bool), MIDLINE, MM, straddling="unknown")
    assert (sides.side.size, sides.empty, sides.undecided_mm3) == (0, 0, 0.0)


def test_specks_are_measured_in_millimetres() -> None:
    # 4 x 3 x 1 voxels: 96 mm^3 at 2 mm, and 324 mm^3 at 3 mm; 2 % of the kidney are 40 voxels and 320 mm^3 at 2 mm.
    tiny = ((28, 32), (2, 5), (2, 3))
    mask = _boxes(tiny)
    assert split_left_right(mask, MIDLINE, (2.0, 2.0, 2.0), straddling="unknown").undecided_mm3 == 0
    assert split_left_right(mask, MIDLINE, (3.0, 3.0, 3.0), straddling="unknown").undecided_mm3 == 324
    beside_a_kidney = _boxes(tiny, LEFT_BOX)
    assert split_left_right(beside_a_kidney, MIDLINE, (3.0, 3.0, 3.0), straddling="unknown").undecided_mm3 == 0


def test_diagonal_neighbours_belong_together() -> None:
    mask = _boxes(((20, 29), (5, 15), (5, 15)))
    mask[29:33, 15:25, 15:25] = True  # touches by one corner
    mask[29, 14, 14] = False
    sides = split_left_right(mask, MIDLINE, MM, straddling="unknown")
    assert sides.undecided_mm3 > 0


def test_the_midline_is_that_of_the_body_not_of_the_couch() -> None:
    ct = np.full((100, 80, 20), -1000, dtype=np.int16)
    ct[30:81, 20:60, :] = 40  # the body, centred at 55
    ct[40:50, 30:50, :] = -850  # the lungs are not in the mask: 200 columns each, around 44.5 and 74.5
    ct[70:80, 30:50, :] = -850
    ct[0:40, 5:8, :] = 200  # a couch, off centre and apart
    assert body_midline(ct) == pytest.approx((2040 * 55 - 200 * 44.5 - 200 * 74.5) / 1640)
    ct[40:50, 30:50, :] = 40
    ct[70:80, 30:50, :] = 40
    assert body_midline(ct) == pytest.approx(55.0, abs=1e-9)


def test_the_midline_of_a_large_scan_is_found_on_a_coarser_grid() -> None:
    ct = np.full((500, 20, 10), -1000, dtype=np.int16)
    ct[100:301] = 0
    assert body_midline(ct) == pytest.approx(200.0, abs=4.0)


def test_air_has_no_midline() -> None:
    with pytest.raises(VolumeError, match="No voxel of the CT is above -300 HU"):
        body_midline(np.full((4, 4, 4), -1000, dtype=np.int16))
