"""The left/right rule and the numbering of TotalSegmentator on a slab of a real CT, whose sides are known."""

from pathlib import Path

import numpy as np
import pytest

from suprem.datasets import dataset
from suprem.datasets._labels import HarmonisedLabels, harmonise_labels
from suprem.volumes import Volume, read_ct, read_volume


@pytest.fixture(scope="module")
def slab(shared_folder: Path) -> tuple[Volume, Volume]:
    ct, labels = (shared_folder / "real" / name for name in ("example_ct_sm.nii.gz", "example_seg.nii.gz"))
    if not (ct.is_file() and labels.is_file()):
        pytest.skip(f"the real slab is absent: {ct}, {labels}")
    return read_ct(ct), read_volume(labels)


@pytest.fixture(scope="module")
def truth(slab: tuple[Volume, Volume]) -> HarmonisedLabels:
    ct, labels = slab
    return harmonise_labels(labels, ct, dataset("totalsegmentator_v2").label_map("official"))


def test_organs_have_the_density_and_the_side_they_should(slab: tuple[Volume, Volume], truth: HarmonisedLabels) -> None:
    ct = slab[0]
    assert ct.orientation == "RAS"
    assert 0 < ct.array[truth.mask("liver")].mean() < 200
    assert -950 < ct.array[truth.mask("lung_right")].mean() < -600
    centre = {
        name: np.argwhere(truth.mask(name))[:, 0].mean() for name in ("liver", "spleen", "lung_left", "lung_right")
    }
    assert centre["spleen"] < centre["liver"]  # RAS: the index grows to the patient's right
    assert centre["lung_left"] < centre["lung_right"]


def test_merged_lungs_are_told_apart_as_they_were(slab: tuple[Volume, Volume], truth: HarmonisedLabels) -> None:
    ct = slab[0]
    array = np.zeros(ct.shape, dtype=np.uint8)
    array[truth.mask("liver")] = 1
    array[truth.mask("lung_left") | truth.mask("lung_right")] = 3
    result = harmonise_labels(Volume(array, ct.affine, "as CT-ORG"), ct, dataset("ct_org").label_map("official"))
    for name in ("liver", "lung_left", "lung_right"):
        truly = truth.mask(name)
        assert truly.sum() > 1000
        np.testing.assert_array_equal(result.mask(name), truly, err_msg=name)


def test_merged_adrenal_glands_and_kidneys_are_told_apart(slab: tuple[Volume, Volume], truth: HarmonisedLabels) -> None:
    ct = slab[0]
    pairs = {"word": (12, "adrenal_gland"), "abdomenct_1k": (2, "kidney")}
    seen = 0
    for name, (value, organ) in pairs.items():
        left, right = truth.mask(f"{organ}_left"), truth.mask(f"{organ}_right")
        if not (left.any() and right.any()):
            continue
        array = np.where(left | right, value, 0).astype(np.uint8)
        result = harmonise_labels(Volume(array, ct.affine, name), ct, dataset(name).label_map("official"))
        np.testing.assert_array_equal(result.mask(f"{organ}_left"), left, err_msg=organ)
        np.testing.assert_array_equal(result.mask(f"{organ}_right"), right, err_msg=organ)
        seen += 1
    assert seen, "the slab shows neither both kidneys nor both adrenal glands"
