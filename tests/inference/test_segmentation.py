import numpy as np
import pytest

from suprem.errors import ConfigurationError, UnknownNameError
from suprem.inference.grid import ModelGrid
from suprem.inference.segmentation import Segmentation
from suprem.inference.store import BitStore, IndexStore
from suprem.labels import LabelSpace, label_space

CLASSES = ("liver", "liver_tumor", "Gallbladder", "my own structure")


@pytest.fixture
def overlapping(make_volume):
    scan = make_volume((12, 10, 8), (0.9, 1.1, 2.0), directions=np.diag([-1, -1, 1]))
    grid = ModelGrid.of(scan, (1.5, 1.5, 1.5))
    result = Segmentation(CLASSES, scan, grid, BitStore(4, grid.shape), {})
    rng = np.random.default_rng(0)
    for name in CLASSES:
        result.set_grid_mask(name, rng.random(grid.shape) < 0.4)
    return result, grid


def test_masks_lie_on_the_scans_grid_and_are_made_anew(overlapping):
    result, grid = overlapping
    for name in result.classes:
        mask = result.mask(name)
        assert mask.dtype == bool
        assert mask.shape == result.scan.shape
        np.testing.assert_array_equal(mask, grid.to_scan(result.grid_mask(name)))
        mask[...] = False
        assert result.mask(name).any()


def test_names_are_canonical_and_any_spelling_finds_them(overlapping):
    result, _ = overlapping
    assert result.classes == ("liver", "liver_tumor", "gall_bladder", "my own structure")
    np.testing.assert_array_equal(result.mask("gallbladder"), result.mask("gall_bladder"))
    np.testing.assert_array_equal(result.grid_mask("Liver Tumour"), result.grid_mask("liver_tumor"))
    with pytest.raises(UnknownNameError, match="'liver'"):
        result.mask("livr")


def test_combined_map_uses_the_spaces_numbers_and_the_higher_wins(overlapping):
    result, _ = overlapping
    space = label_space("universal_32")
    combined = result.combined(space)
    expected = np.zeros(result.scan.shape, dtype=np.uint8)
    for number, name in ((4, "gall_bladder"), (6, "liver"), (27, "liver_tumor")):
        expected[result.mask(name)] = number
    assert combined.dtype == np.uint8
    np.testing.assert_array_equal(combined, expected)
    assert result.left_out(space) == ("my own structure",)


def test_numbers_above_255_need_two_bytes(overlapping):
    result, _ = overlapping
    space = LabelSpace("wide", "wide", {3: "liver", 700: "liver_tumor"})
    combined = result.combined(space)
    assert combined.dtype == np.uint16
    assert set(np.unique(combined)) == {0, 3, 700}
    np.testing.assert_array_equal(combined == 700, result.mask("liver_tumor"))
    assert result.left_out(space) == ("gall_bladder", "my own structure")
    # The space decides, not what was predicted of it.
    assert result.combined(LabelSpace("w", "w", {1: "liver", 700: "spleen"})).dtype == np.uint16


def test_exclusive_masks_take_voxels_from_each_other(make_volume):
    scan = make_volume((6, 6, 6))
    grid = ModelGrid.of(scan, None)
    result = Segmentation(("liver", "spleen"), scan, grid, IndexStore(2, grid.shape), {})
    whole, half = np.ones(grid.shape, dtype=bool), np.zeros(grid.shape, dtype=bool)
    half[:3] = True
    result.set_grid_mask("liver", whole)
    result.set_grid_mask("spleen", half)
    assert result.exclusive
    np.testing.assert_array_equal(result.grid_mask("liver"), ~half)
    np.testing.assert_array_equal(result.grid_foreground(), whole)


def test_masks_of_the_wrong_kind_are_refused(overlapping):
    result, grid = overlapping
    with pytest.raises(ConfigurationError, match="must be bool"):
        result.set_grid_mask("liver", np.zeros(grid.shape, dtype=np.uint8))
    with pytest.raises(ConfigurationError, match="model grid"):
        result.set_grid_mask("liver", np.zeros((1, 2, 3), dtype=bool))
    with pytest.raises(ConfigurationError, match="4 classes"):
        Segmentation(("liver",), result.scan, grid, BitStore(4, grid.shape), {})
