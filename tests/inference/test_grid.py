import itertools

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Orientation, ScaleIntensityRange, Spacing
from scipy.spatial.transform import Rotation

from suprem.errors import VolumeError
from suprem.inference.grid import InputBand, ModelGrid
from suprem.volumes import Volume

WINDOW = (-175.0, 250.0)


def whole_input(scan, grid):
    band = InputBand(scan, grid, WINDOW)
    band.advance(0, grid.shape[2])
    return band.window((0, 0, 0), grid.shape)


def monai_input(scan, spacing):
    image = MetaTensor(torch.from_numpy(scan.array.astype(np.float32))[None], affine=torch.from_numpy(scan.affine))
    image = Orientation(axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S")))(image)
    image = Spacing(pixdim=spacing, mode="bilinear", padding_mode="border")(image)
    return ScaleIntensityRange(*WINDOW, 0.0, 1.0, clip=True)(image)


@pytest.mark.parametrize(
    ("own", "target"),
    [
        ((0.8, 0.7, 1.0), (1.5, 1.5, 1.5)),
        ((3.0, 3.0, 5.0), (1.5, 1.5, 1.5)),
        ((1.5, 2.0, 1.5), (1.5, 1.5, 1.5)),
        ((2.0, 1.1, 0.6), (1.0, 3.0, 2.0)),
    ],
)
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_input_is_that_of_monais_transforms(make_volume, own, target, signs):
    scan = make_volume((17, 14, 45), own, directions=np.diag(signs))
    grid = ModelGrid.of(scan, target)
    expected = monai_input(scan, target)
    assert grid.shape == tuple(expected.shape[1:])
    np.testing.assert_allclose(whole_input(scan, grid), expected[0].numpy(), atol=2e-5)
    np.testing.assert_allclose(grid.affine, expected.affine.numpy(), atol=1e-9)


def test_a_moving_band_gives_the_same_layers_as_one_piece(make_volume):
    scan = make_volume((20, 18, 90), (1.0, 1.2, 0.7))
    grid = ModelGrid.of(scan, (1.5, 1.5, 1.5))
    whole = whole_input(scan, grid)
    band = InputBand(scan, grid, WINDOW)
    for start in range(0, grid.shape[2], 5):
        band.advance(start, start + 12)
        piece = band.window((2, 3, start), (6, 6, min(12, grid.shape[2] - start)))
        np.testing.assert_array_equal(piece, whole[2:8, 3:9, start : start + 12])


def test_windows_beyond_the_volume_are_zero_there(make_volume):
    scan = make_volume((5, 6, 7))
    grid = ModelGrid.of(scan, None)
    band = InputBand(scan, grid, WINDOW)
    band.advance(-2, 9)
    window = band.window((-1, -2, -3), (8, 9, 12))
    inside = np.zeros(window.shape, dtype=bool)
    inside[1:6, 2:8, 3:10] = True
    assert not window[~inside].any()
    np.testing.assert_array_equal(window[1:6, 2:8, 3:10], whole_input(scan, grid))
    assert window.any()


def test_non_finite_intensities_are_refused(make_volume):
    scan = make_volume()
    array = scan.array.astype(np.float32)
    array[3, 3, 3] = np.nan
    bad = Volume(array, scan.affine, "bad.nii.gz")
    with pytest.raises(VolumeError, match=r"bad\.nii\.gz"):
        whole_input(bad, ModelGrid.of(bad, (2.0, 2.0, 2.0)))


def orientations():
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            yield np.eye(3)[:, list(axes)] * signs


@pytest.mark.parametrize("oblique", [False, True])
def test_labels_come_back_at_the_nearest_voxel_in_space(make_volume, oblique):
    """Against the affines alone: scan voxel -> millimetres -> model voxel, rounded."""
    tilt = Rotation.from_euler("xyz", (6, -4, 9), degrees=True).as_matrix() if oblique else np.eye(3)
    for directions in orientations():
        scan = make_volume((9, 11, 7), (0.8, 1.3, 2.0), directions=tilt @ directions)
        grid = ModelGrid.of(scan, (1.5, 1.5, 1.5))
        labels = np.random.default_rng(1).integers(0, 200, grid.shape, dtype=np.uint8)
        index = np.stack(np.meshgrid(*map(np.arange, scan.shape), indexing="ij"), -1) + 0.0
        millimetres = index @ scan.affine[:3, :3].T + scan.affine[:3, 3]
        inverse = np.linalg.inv(grid.affine)
        model = millimetres @ inverse[:3, :3].T + inverse[:3, 3]
        # Half-way between two voxels either is right; such points are left out.
        clear = (np.abs(model - np.floor(model) - 0.5) > 1e-6).all(-1)
        nearest = np.clip(np.rint(model).astype(int), 0, np.array(grid.shape) - 1)
        expected = labels[tuple(np.moveaxis(nearest, -1, 0))]
        result = grid.to_scan(labels)
        assert result.shape == scan.shape
        np.testing.assert_array_equal(result[clear], expected[clear])
        assert clear.mean() > 0.8


def test_same_spacing_returns_every_label_unchanged(make_volume):
    for directions in orientations():
        scan = make_volume((5, 4, 3), (2.0, 2.0, 2.0), directions=directions)
        grid = ModelGrid.of(scan, None)
        labels = np.arange(60, dtype=np.uint8).reshape(grid.shape)
        np.testing.assert_array_equal(grid.reorientation.apply(grid.to_scan(labels)), labels)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint16])
def test_a_small_structure_lands_where_it_would_in_a_full_volume(make_volume, dtype):
    """Only its box is resampled; beside other labels, everywhere, it must come out the same."""
    rng = np.random.default_rng(3)
    for number, directions in enumerate(orientations()):
        scan = make_volume((13, 9, 11), (0.9, 1.7, 1.3), directions=directions)
        grid = ModelGrid.of(scan, (1.5, 1.5, 1.5) if number % 2 else (0.7, 0.7, 0.7))
        low = [int(rng.integers(0, n)) for n in grid.shape]
        box = tuple(slice(a, int(rng.integers(a, n)) + 1) for a, n in zip(low, grid.shape, strict=True))
        alone = np.zeros(grid.shape, dtype=dtype)
        alone[box] = rng.random(alone[box].shape) < 0.5
        index = [
            np.clip(np.rint(np.arange(n) / s), 0, m - 1)
            for n, s, m in zip(grid.scan_shape, grid.steps, grid.shape, strict=True)
        ]
        expected = alone[np.ix_(*(i.astype(int) for i in index))]
        result = grid.to_scan(alone)
        assert result.dtype == dtype
        np.testing.assert_array_equal(grid.reorientation.apply(result), expected)
    assert not grid.to_scan(np.zeros(grid.shape, dtype=dtype)).any()
