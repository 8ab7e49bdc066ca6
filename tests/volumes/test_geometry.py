"""Grids: every orientation against nibabel, resampling against MONAI."""

import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from suprem.errors import VolumeError
from suprem.volumes.geometry import (
    Volume,
    corner_distance_mm,
    nearest_index,
    resample_linear,
    resampled_affine,
    resampled_shape,
    same_grid,
    to_ras,
)

ORIENTATIONS = [
    "".join(("LR", "PA", "IS")[axis][flip] for axis, flip in zip(axes, flips, strict=True))
    for axes in itertools.permutations(range(3))
    for flips in itertools.product((0, 1), repeat=3)
]


def oriented_affine(codes: str, spacing: tuple[float, float, float] = (0.7, 1.5, 3.0)) -> np.ndarray:
    """The affine whose index axes point to ``codes``, from nibabel's own orientation functions."""
    ornt = nib.orientations.axcodes2ornt(tuple(codes))
    affine = np.zeros((4, 4))
    for index, (axis, sign) in enumerate(ornt):
        affine[int(axis), index] = sign * spacing[index]
    affine[:, 3] = (12.5, -7.25, 100.0, 1.0)
    return affine


def test_there_are_48() -> None:
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("codes", ORIENTATIONS)
@pytest.mark.parametrize("oblique", [False, True])
def test_to_ras_matches_nibabel_and_comes_back(codes: str, oblique: bool) -> None:
    affine = oriented_affine(codes)
    if oblique:
        affine[:3, :3] = Rotation.from_euler("xyz", (11, -17, 23), degrees=True).as_matrix() @ affine[:3, :3]
    array = np.random.default_rng(1).integers(0, 99, (4, 5, 6)).astype(np.int16)
    volume = Volume(array, affine, "case")
    assert volume.orientation == codes == "".join(nib.aff2axcodes(affine))
    ras, step = to_ras(volume)
    expected = nib.as_closest_canonical(nib.Nifti1Image(array, affine))
    np.testing.assert_array_equal(ras.array, expected.dataobj)
    np.testing.assert_allclose(ras.affine, expected.affine, atol=1e-12)
    assert ras.orientation == "RAS"
    assert np.shares_memory(ras.array, array)
    np.testing.assert_array_equal(step.invert(ras.array), array)


def test_sheared_axes_never_share_a_patient_axis() -> None:
    affine = np.eye(4)
    affine[:3, :3] = [[1.0, 0.9, 0.0], [0.3, 1.0, 0.0], [0.0, 0.0, 1.0]]
    assert Volume(np.zeros((2, 2, 2)), affine).orientation == "RAS"


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.integers(1, 60)] * 3),
    st.tuples(*[st.floats(0.3, 6.0)] * 3),
    st.tuples(*[st.floats(0.5, 4.0)] * 3),
)
def test_resampled_shape_covers_the_scan(shape, spacing, target) -> None:
    for n, s, t, m in zip(shape, spacing, target, resampled_shape(shape, spacing, target), strict=True):
        assert m >= 1
        assert abs((m - 1) * t - (n - 1) * s) <= t / 2 + 1e-9


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR", "PIL"])
@pytest.mark.parametrize(
    ("spacing", "target"), [((0.8, 0.9, 5.0), (1.5, 1.5, 1.5)), ((2.0, 1.1, 0.7), (1.5, 1.5, 1.5))]
)
@pytest.mark.parametrize("oblique", [False, True])
@pytest.mark.filterwarnings("ignore:Default grid_sample")
def test_resampling_equals_monai(codes: str, spacing, target, oblique: bool) -> None:
    torch = pytest.importorskip("torch")
    from monai.data import MetaTensor
    from monai.transforms import Orientation, Spacing

    array = np.random.default_rng(2).normal(0, 100, (13, 14, 15)).astype(np.float32)
    volume = Volume(array, oriented_affine(codes, spacing))
    if oblique:
        volume.affine[:3, :3] = (
            Rotation.from_euler("xyz", (11, -17, 23), degrees=True).as_matrix() @ volume.affine[:3, :3]
        )
    ras, _ = to_ras(volume)
    steps = tuple(t / s for t, s in zip(target, ras.spacing_mm, strict=True))
    shape = resampled_shape(ras.shape, ras.spacing_mm, target)
    ours = resample_linear(ras.array, shape, steps)

    image = MetaTensor(torch.from_numpy(array[None].copy()), affine=torch.from_numpy(volume.affine))
    image = Orientation(axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S")))(image)
    image = Spacing(pixdim=target, mode="bilinear", padding_mode="border", align_corners=None)(image)
    assert tuple(image.shape[1:]) == shape
    np.testing.assert_allclose(resampled_affine(ras.affine, target), image.affine.numpy(), atol=1e-5)
    # MONAI computes positions in float32; neighbours differ by hundreds of HU here.
    np.testing.assert_allclose(ours, image.numpy()[0], atol=2e-2)

    # And labels back from the model's grid to the scan's.
    labels = np.random.default_rng(5).integers(0, 9, shape).astype(np.float32)
    back = Spacing(pixdim=ras.spacing_mm, mode="nearest", padding_mode="border", align_corners=None)(
        MetaTensor(torch.from_numpy(labels[None]), affine=image.affine), output_spatial_shape=ras.shape
    )
    index = [nearest_index(m, n, 1 / s) for n, m, s in zip(ras.shape, shape, steps, strict=True)]
    # Positions half-way between two voxels may be rounded either way.
    sure = [np.abs(np.arange(n) / s % 1 - 0.5) > 1e-3 for n, s in zip(ras.shape, steps, strict=True)]
    np.testing.assert_array_equal(labels[np.ix_(*index)][np.ix_(*sure)], back.numpy()[0][np.ix_(*sure)])


@pytest.mark.parametrize("shape", [(7, 9, 11), (40, 3, 1), (9, 9, 30)])
def test_resample_linear_equals_scipy(shape: tuple[int, int, int]) -> None:
    array = np.random.default_rng(3).integers(-1000, 1000, (9, 8, 10)).astype(np.int16)
    steps = (0.77, 1.31, 0.5)
    grid = np.meshgrid(
        *(np.clip(np.arange(n) * s, 0, m - 1) for n, s, m in zip(shape, steps, array.shape, strict=True)),
        indexing="ij",
    )
    expected = map_coordinates(array.astype(np.float64), grid, order=1)
    for layout in (array, np.asfortranarray(array), array[::-1][::-1]):
        np.testing.assert_allclose(resample_linear(layout, shape, steps), expected, atol=1e-3)


def test_resample_linear_of_a_single_slice_repeats_it() -> None:
    array = np.arange(12, dtype=np.int16).reshape(3, 4, 1)
    result = resample_linear(array, (3, 4, 5), (1.0, 1.0, 0.5))
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, np.repeat(array, 5, axis=2))


def test_resample_linear_memory() -> None:
    """Beyond the result: one float32 array with the axis that shrinks most at its new length."""
    import tracemalloc

    array = np.zeros((64, 64, 200), dtype=np.int16)
    tracemalloc.start()
    resample_linear(array, (64, 64, 50), (1.0, 1.0, 4.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.2 * 4 * 64 * 64 * 50


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 80), st.integers(1, 80), st.floats(0.05, 8.0))
def test_nearest_index_is_nearest(n_in: int, n_out: int, step: float) -> None:
    index = nearest_index(n_in, n_out, step)
    distance = np.abs(np.arange(n_in)[None] - np.clip(np.arange(n_out) * step, 0, n_in - 1)[:, None])
    np.testing.assert_allclose(distance[np.arange(n_out), index], distance.min(axis=1), atol=1e-9)


def test_labels_go_to_a_finer_grid_and_back_unchanged() -> None:
    labels = np.random.default_rng(4).integers(0, 9, (6, 7, 8))
    fine = [nearest_index(n, (n - 1) * 4 + 1, 0.25) for n in labels.shape]
    back = [nearest_index((n - 1) * 4 + 1, n, 4.0) for n in labels.shape]
    np.testing.assert_array_equal(labels[np.ix_(*fine)][np.ix_(*back)], labels)


@pytest.mark.parametrize("column", [(0.0, 0.0, 0.0), (np.nan, 0, 1), (1.0, 0.0, 0.0)])
def test_singular_affines_are_refused(column) -> None:
    affine = np.eye(4)
    affine[:3, 2] = column
    with pytest.raises(VolumeError, match=r"spacing|affine"):
        Volume(np.zeros((2, 2, 2)), affine)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4, 1), (0, 4, 4)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(VolumeError, match="shape"):
        Volume(np.zeros(shape), np.eye(4))


def test_the_distance_is_that_of_the_farthest_corner() -> None:
    a = Volume(np.zeros((5, 4, 3)), np.diag([2.0, 3.0, 4.0, 1.0]))
    moved = a.affine.copy()
    moved[0, 0] += 0.5  # 2 mm at the last of five voxels
    moved[1, 3] += 1.0
    assert corner_distance_mm(a, Volume(a.array, moved)) == pytest.approx(np.sqrt(5))
    assert corner_distance_mm(a, a) == 0


@pytest.mark.parametrize(("shift", "same"), [(0.0, True), (0.19, True), (0.21, False)])
def test_grids_are_the_same_up_to_a_tenth_of_a_voxel(shift: float, same: bool) -> None:
    a = Volume(np.zeros((5, 4, 3)), np.diag([2.0, 3.0, 4.0, 1.0]))
    moved = a.affine.copy()
    moved[2, 3] += shift
    assert same_grid(a, Volume(a.array, moved)) is same
    assert not same_grid(a, Volume(a.array[1:], a.affine))


def test_thick_slices_weigh_no_more_than_thin_ones() -> None:
    # A tilt of 50 degrees: by the raw columns, the slices would pull the other axes with them.
    affine = np.array([[0.5, 0, 0, 0], [0, 0.5, 6, 0], [0, 0, 5, 0], [0, 0, 0, 1]])
    assert Volume(np.zeros((2, 2, 2)), affine).orientation == "RAS"


def test_voxels_of_a_micro_ct_are_no_singular_affine() -> None:
    volume = Volume(np.zeros((2, 2, 2)), np.diag([0.02, 0.02, 0.02, 1.0]))
    assert volume.spacing_mm == pytest.approx((0.02, 0.02, 0.02))
