"""What is measured of a mask, by hand and against SciPy."""

import numpy as np
import pytest
from scipy import ndimage

from suprem.errors import VolumeError
from suprem.quality import body_midline_mm, gather

SPACING = (2.0, 3.0, 5.0)


def _box(*spans: tuple[int, int], shape: tuple[int, int, int] = (20, 18, 16)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*span) for span in spans)] = True
    return mask


def test_box_by_hand() -> None:
    mask = _box((4, 8), (3, 9), (0, 5))
    one = gather("liver", mask, SPACING, mean_hu=50.0, std_hu=3.0, undecided_ml=1.8)
    assert one.voxels == 120
    assert one.volume_ml == pytest.approx(3.6)
    # 4 x 6 x 5 voxels of 2 x 3 x 5 mm: 8 x 18 x 25 mm
    assert one.surface_mm2 == pytest.approx(2 * (8 * 18 + 8 * 25 + 18 * 25))
    assert one.border_share == pytest.approx(8 * 18 / one.surface_mm2)
    assert one.faces == ("inferior",)
    assert (one.parts, one.largest_share) == (1, 1.0)
    assert one.centre_x_mm == pytest.approx(5.5 * 2.0)
    assert (one.mean_hu, one.std_hu) == (50.0, 3.0)
    assert one.undecided_share == pytest.approx(0.5)
    assert one.undecided_mm == pytest.approx(1800 / one.surface_mm2)


def test_faces_in_words_of_the_patient() -> None:
    spans = {"left": (0, 2), "right": (18, 20), "posterior": (0, 2), "anterior": (16, 18)}
    spans |= {"inferior": (0, 2), "superior": (14, 16)}
    for number, (face, span) in enumerate(spans.items()):
        wanted = [(5, 8), (5, 8), (5, 8)]
        wanted[number // 2] = span
        assert gather("liver", _box(*wanted), SPACING).faces == (face,)
    everything = gather("liver", _box((0, 20), (0, 18), (0, 16)), SPACING)
    assert everything.faces == tuple(spans)
    assert everything.border_share == 1.0


def test_a_mask_inside_touches_nothing() -> None:
    one = gather("liver", _box((1, 19), (1, 17), (1, 15)), SPACING)
    assert (one.faces, one.border_share) == ((), 0.0)


@pytest.mark.parametrize("seed", range(4))
def test_random_masks_against_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((14, 12, 10), dtype=bool)
    mask[2:12, 2:10, 2:8] = rng.random((10, 8, 6)) < 0.12
    one = gather("spleen", mask, SPACING)
    labels, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    assert one.parts == count > 1
    assert one.largest_share == pytest.approx(sizes.max() / sizes.sum())
    padded = np.pad(mask, 1).astype(int)
    faces = [np.abs(np.diff(padded, axis=axis)).sum() for axis in range(3)]
    assert one.surface_mm2 == pytest.approx(faces[0] * 15 + faces[1] * 10 + faces[2] * 6)
    assert one.centre_x_mm == pytest.approx(ndimage.center_of_mass(mask)[0] * 2.0)


def test_views_give_the_same() -> None:
    mask = np.random.default_rng(1).random((9, 8, 7)) < 0.3
    reverse = np.ascontiguousarray(mask[::-1, :, ::-1])[::-1, :, ::-1]
    assert gather("liver", np.asfortranarray(mask), SPACING) == gather("liver", mask, SPACING)
    assert gather("liver", reverse, SPACING) == gather("liver", mask, SPACING)


def test_parts_at_the_border_may_be_joined_outside() -> None:
    mask = _box((2, 8), (5, 9), (3, 9)) | _box((14, 16), (5, 9), (13, 16))
    at_border = gather("aorta", mask, SPACING)
    assert (at_border.parts, at_border.largest_share) == (1, 1.0)
    inside = gather("aorta", _box((2, 8), (5, 9), (3, 9)) | _box((14, 16), (5, 9), (12, 15)), SPACING)
    assert inside.parts == 2
    assert inside.largest_share == pytest.approx(144 / (144 + 24))


@pytest.mark.parametrize("name", ["liver_tumor", "hepatic_vessel", "pulmonary_vein", "adrenal_glands", "my own organ"])
def test_parts_are_not_counted_where_several_are_usual(name: str) -> None:
    one = gather(name, _box((2, 4), (2, 4), (2, 4)) | _box((9, 12), (2, 4), (2, 4)), SPACING)
    assert one.parts is one.largest_share is None
    assert one.faces == ()


def test_empty_mask() -> None:
    one = gather("liver", np.zeros((4, 5, 6), dtype=bool), SPACING, undecided_ml=3.0)
    assert one.empty
    assert (one.voxels, one.volume_ml, one.undecided_ml) == (0, 0.0, 3.0)
    assert one.undecided_share is one.undecided_mm is one.border_share is one.parts is one.centre_x_mm is None


def test_single_slice_and_single_voxel() -> None:
    slice_ = gather("liver", np.ones((4, 5, 1), dtype=bool), SPACING)
    assert slice_.faces == ("left", "right", "posterior", "anterior", "inferior", "superior")
    assert slice_.border_share == pytest.approx(1.0)
    voxel = gather("liver", np.ones((1, 1, 1), dtype=bool), SPACING)
    assert voxel.surface_mm2 == pytest.approx(2 * (6 + 10 + 15))


@pytest.mark.parametrize(("shape", "spacing"), [((4, 4), SPACING), ((4, 4, 4), (1.0, 0.0, 1.0))])
def test_what_cannot_be_measured(shape: tuple[int, ...], spacing: tuple[float, float, float]) -> None:
    with pytest.raises(VolumeError, match="three axes with positive spacing"):
        gather("liver", np.ones(shape, dtype=bool), spacing)


def test_midline_of_a_body() -> None:
    ct = np.full((40, 30, 10), -1000, dtype=np.int16)
    ct[6:30, 5:25] = 40
    assert body_midline_mm(ct, (2.0, 2.0, 2.0)) == pytest.approx(17.5 * 2.0)


def test_no_midline_without_a_whole_body() -> None:
    ct = np.full((40, 30, 10), -1000, dtype=np.int16)
    assert body_midline_mm(ct, SPACING) is None
    ct[20:, 5:25] = 40  # one half: its face is full of body
    assert body_midline_mm(ct, SPACING) is None
