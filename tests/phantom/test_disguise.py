"""A phantom in the layout of every dataset, read back: each structure must be what the phantom says."""

from pathlib import Path

import numpy as np
import pytest

from suprem.datasets import Files, dataset, list_datasets
from suprem.datasets._reading import read_case
from suprem.errors import ConfigurationError
from suprem.phantom import PhantomCase, generate
from suprem.phantom.disguise import Disguise, disguise
from suprem.volumes.geometry import to_ras

FAMILIES = [
    pytest.param(name, variant.name, family, id=f"{name}-{variant.name}-{index}")
    for name in list_datasets()
    for variant in dataset(name).variants
    for index, family in enumerate(variant.files)
    if family.label
]


@pytest.fixture(scope="module")
def phantom() -> PhantomCase:
    return generate(3, spacing_mm=(9.0, 9.0, 9.0))


def _assert_read_back(made: Disguise, phantom: PhantomCase, name: str, variant: str, root: Path) -> None:
    spec = dataset(name).at(root)
    (files,) = spec.discover(root, variant).cases
    assert files.case == made.case
    case = read_case(spec, files)
    assert case.labels is not None
    np.testing.assert_array_equal(to_ras(case.ct)[0].array, to_ras(phantom.ct)[0].array)
    # The phantom has no coronary arteries; everything else it has in part at least.
    assert case.labels.flags == (("no labelled voxel",) if name == "imagecas" else ())
    assert any(mask.any() for mask in made.truth.values()) == (name != "imagecas")
    compared = case.labels.annotated & made.truth.keys()
    assert compared == made.truth.keys()
    for structure in compared:
        np.testing.assert_array_equal(case.labels.mask(structure), made.truth[structure], err_msg=structure)


@pytest.mark.parametrize(("name", "variant", "family"), FAMILIES)
def test_every_dataset_reads_back_exactly(
    name: str, variant: str, family: Files, phantom: PhantomCase, tmp_path: Path
) -> None:
    made = disguise(phantom, dataset(name), variant, tmp_path, family=family)
    assert all(path.is_file() for path in made.paths)
    _assert_read_back(made, phantom, name, variant, tmp_path)
    for structure, mask in made.truth.items():
        if structure == "hepatic_vessel" and dataset(name).variant(variant).label_format != "masks":
            # One value per voxel cannot say "vessel" where it says "tumour" or "liver".
            assert not (mask & ~phantom.mask(structure)).any()
        else:
            np.testing.assert_array_equal(mask, phantom.mask(structure), err_msg=structure)


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "ASL"])
@pytest.mark.parametrize("name", ["kits", "amos22"])
def test_left_stays_left_in_any_orientation(name: str, orientation: str, phantom: PhantomCase, tmp_path: Path) -> None:
    variant = dataset(name).variants[0].name
    made = disguise(phantom, dataset(name), variant, tmp_path, orientation=orientation)
    _assert_read_back(made, phantom, name, variant, tmp_path)
    for side in ("kidney_left", "kidney_right"):
        np.testing.assert_array_equal(made.truth[side], phantom.mask(side))
    left, right = (np.argwhere(made.truth[f"kidney_{side}"])[:, 0].mean() for side in ("left", "right"))
    assert left < right


def test_a_series_has_the_orientation_of_its_dataset(phantom: PhantomCase, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="DICOM series"):
        disguise(phantom, dataset("pancreas_ct"), "official", tmp_path, orientation="RAS")
