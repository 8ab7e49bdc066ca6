"""Every dataset from its raw layout to a store: each annotated structure is the phantom's, voxel by voxel."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from suprem.cli import main
from suprem.datasets import Variant, dataset, list_datasets
from suprem.datasets._prepare import prepare
from suprem.phantom import PhantomCase, generate
from suprem.phantom.disguise import disguise
from suprem.volumes import Volume, write_volume
from suprem.volumes.geometry import to_ras
from suprem.volumes.store import Store, StoredCase

LABELLED = [
    pytest.param(name, variant, id=f"{name}-{variant.name}")
    for name in list_datasets()
    for variant in dataset(name).variants
    if any(family.label for family in variant.files)
]
ORIENTATIONS = [
    "".join(axes)
    for order in itertools.permutations(("LR", "PA", "IS"))
    for axes in itertools.product(*order)
]  # fmt: skip


@pytest.fixture(scope="module")
def phantom() -> PhantomCase:
    return generate(3, spacing_mm=(9.0, 9.0, 9.0))


def _mask(case: StoredCase, name: str) -> np.ndarray:
    found: np.ndarray = np.array([name in entry for entry in case.table])[case.labels()]
    return found


@pytest.mark.parametrize(("name", "variant"), LABELLED)
def test_from_raw_data_to_a_store(name: str, variant: Variant, phantom: PhantomCase, tmp_path: Path) -> None:
    made = disguise(phantom, dataset(name), variant, tmp_path / "raw")
    report = prepare(name, tmp_path / "raw", tmp_path / "store", spacing_mm=None, variant=variant.name)
    assert (report.done, report.problems) == ((made.case,), ())
    (record,) = Store.open(tmp_path / "store").records
    case = Store.open(tmp_path / "store").case(record.key)
    np.testing.assert_array_equal(case.ct(), to_ras(phantom.ct)[0].array)
    assert set(made.truth) <= set(record.annotated)
    for structure, mask in made.truth.items():
        np.testing.assert_array_equal(_mask(case, structure), mask, err_msg=structure)
        assert record.voxels[structure] == mask.sum()


def test_nnunet_raw_data(phantom: PhantomCase, tmp_path: Path) -> None:
    organs = ("liver", "kidney_right", "kidney_left", "pancreas")
    numbers = np.zeros(phantom.ct.shape, np.uint8)
    for value, organ in enumerate(organs, start=1):
        numbers[phantom.mask(organ)] = value
    raw = tmp_path / "Dataset123_Phantoms"
    for number in (1, 2):
        write_volume(phantom.ct, raw / f"imagesTr/p_{number:03}_0000.nii.gz")
        write_volume(Volume(numbers, phantom.ct.affine), raw / f"labelsTr/p_{number:03}.nii.gz")
    labels = {"background": 0, **{organ: value for value, organ in enumerate(organs, start=1)}}
    (raw / "dataset.json").write_text(
        json.dumps({"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 2, "file_ending": ".nii.gz"})
    )
    assert prepare("folder", raw, tmp_path / "store", spacing_mm=None).done == ("p_001", "p_002")
    case = Store.open(tmp_path / "store").case("folder/p_001")
    assert set(case.record.annotated) == set(organs)
    upright = to_ras(Volume(numbers, phantom.ct.affine))[0].array
    for value, organ in enumerate(organs, start=1):
        np.testing.assert_array_equal(_mask(case, organ), upright == value)


def test_there_are_48_orientations() -> None:
    assert len(set(ORIENTATIONS)) == 48


# ct_org has one value for both kidneys, amos22 one for each.
@pytest.mark.parametrize("name", ["ct_org", "amos22"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_left_is_left_in_every_orientation(name: str, orientation: str, phantom: PhantomCase, tmp_path: Path) -> None:
    variant = dataset(name).variants[0].name
    made = disguise(phantom, dataset(name), variant, tmp_path / "raw", orientation=orientation)
    prepare(name, tmp_path / "raw", tmp_path / "store", spacing_mm=None, variant=variant)
    case = Store.open(tmp_path / "store").case(f"{name}/{made.case}")
    np.testing.assert_array_equal(case.ct(), to_ras(phantom.ct)[0].array)
    for structure in ("kidney_left", "kidney_right"):
        np.testing.assert_array_equal(
            _mask(case, structure), to_ras(phantom.labels)[0].array * 0 + made.truth[structure]
        )
        assert made.truth[structure].any()
        np.testing.assert_array_equal(made.truth[structure], phantom.mask(structure))


def test_bad_cases_of_a_dicom_dataset(phantom: PhantomCase, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A slice that is cut short, and a mask without a voxel: a line and a flag, and the third case is in the store."""
    spec = dataset("pancreas_ct")
    raw, made = tmp_path / "raw", {}
    for number in ("0001", "0002", "0003"):
        made[number] = disguise(phantom, spec, "official", raw, values={"n": number})
    slices = made["0001"].paths[:-1]
    slices[3].write_bytes(slices[3].read_bytes()[:-1000])
    label = made["0002"].paths[-1]
    write_volume(Volume(np.zeros(phantom.ct.shape, np.uint8), phantom.ct.affine), label)
    code = main(
        ["data", "prepare", "pancreas_ct", "--root", str(raw), "-o", str(tmp_path / "store"), "--spacing", "own"]
    )
    assert code == 1
    err = capsys.readouterr()
    (line,) = [text for text in (err.out + err.err).splitlines() if "failed:" in text]
    assert slices[3].name in line
    store = Store.open(tmp_path / "store")
    assert {record.case for record in store.records} == {made["0002"].case, made["0003"].case}
    assert store.record(f"pancreas_ct/{made['0002'].case}").flags == ("no labelled voxel",)
