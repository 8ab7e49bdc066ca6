"""Copies of one scan are found by name, by table, voxels and look; lists that share scans or patients are told."""

import hashlib
from collections.abc import Sequence
from itertools import combinations, permutations, product
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import numpy.typing as npt
import openpyxl
import pytest

from suprem.datasets import dataset
from suprem.datasets._groups import check_leakage, check_lists, scan_groups
from suprem.datasets._hashes import likeness, scan_hash, thumbnail
from suprem.datasets._overlap import (
    Pair,
    ScanFact,
    facts_of_cases,
    facts_of_records,
    find_overlap,
    read_flare23_table,
    read_table,
)
from suprem.errors import ConfigurationError, VolumeError
from suprem.phantom import PhantomCase
from suprem.volumes import Volume, write_volume
from suprem.volumes.geometry import resample_linear
from suprem.volumes.store import CaseRecord
from tests.datasets.trees import plant_family

FLIPS = tuple(product((1, -1), repeat=3))


def turned(array: npt.NDArray[np.int16]) -> list[npt.NDArray[np.int16]]:
    """All 48 ways to order and flip the axes, by plain indexing."""
    return [array.transpose(order)[::i, ::j, ::k] for order in permutations(range(3)) for i, j, k in FLIPS]


def volume(array: npt.NDArray[np.generic]) -> Volume:
    return Volume(array, np.eye(4))


def random_array(shape: tuple[int, int, int], seed: int = 0) -> npt.NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-1024, 3072, shape, dtype=np.int16)


def symmetric_arrays() -> dict[str, npt.NDArray[np.int16]]:
    cube = random_array((6, 6, 6))
    ball = np.indices((7, 7, 7)) - 3
    half = np.concatenate([cube, cube[::-1]])
    # Equal sums over every plane, yet not symmetric: the sums alone cannot decide.
    latin = np.array([[[(x + y + z) % 4 for z in range(4)] for y in range(4)] for x in range(4)], dtype=np.int16)
    return {
        "mirror": half,
        "swap": (cube + cube.transpose(1, 0, 2)) // 2,
        "ball": (np.abs(ball).sum(axis=0) < 4).astype(np.int16) * 100,
        "constant": np.full((4, 4, 4), 7, dtype=np.int16),
        "latin": latin,
    }


ARRAYS = {"cuboid": random_array((5, 8, 11)), "cube": random_array((7, 7, 7)), **symmetric_arrays()}


@pytest.mark.parametrize("name", ARRAYS)
def test_the_hash_is_the_same_in_all_48_orientations_and_changes_with_one_voxel(name: str) -> None:
    array = ARRAYS[name]
    (first,) = {scan_hash(volume(copy)) for copy in turned(array)}
    changed = array.copy()
    changed[1, 2, 3] += 1
    assert scan_hash(volume(changed)) != first


@pytest.mark.parametrize("name", ARRAYS)
def test_the_hash_is_that_of_one_of_the_orientations(name: str) -> None:
    possible = {
        hashlib.sha256(np.asarray(copy.shape, "<i8").tobytes() + copy.astype("<i2").tobytes()).hexdigest()
        for copy in turned(ARRAYS[name])
    }
    assert scan_hash(volume(ARRAYS[name])) in possible


def test_moving_two_voxels_within_equal_sums_changes_the_hash() -> None:
    array = random_array((6, 7, 8))
    changed = array.copy()
    for x, y, z, step in ((0, 0, 0, 1), (1, 1, 0, 1), (1, 0, 0, -1), (0, 1, 0, -1)):
        changed[x, y, z] = array[x, y, z] // 2 + step
        array[x, y, z] = array[x, y, z] // 2
    assert all((changed.sum(axes) == array.sum(axes)).all() for axes in ((0, 1), (0, 2), (1, 2)))
    assert scan_hash(volume(changed)) != scan_hash(volume(array))


def test_padding_type_spacing_and_header_do_not_matter() -> None:
    array = random_array((5, 6, 7))
    array[0] = -1024
    padded = array.astype(np.float32)
    padded[0] = -3000
    flipped = np.diag([-0.7, 0.7, 5.0, 1.0])
    assert scan_hash(Volume(padded + 0.2, flipped)) == scan_hash(volume(array))
    positive = np.abs(array).astype(np.uint16)
    assert scan_hash(volume(positive)) == scan_hash(volume(np.abs(array)))


def test_other_shapes_of_the_same_voxels_differ_and_nan_is_refused() -> None:
    array = random_array((4, 6, 6))
    assert scan_hash(volume(array)) != scan_hash(volume(array.reshape(6, 4, 6)))
    with pytest.raises(VolumeError, match="NaN"):
        scan_hash(volume(np.full((2, 2, 2), np.nan, dtype=np.float32)))


def test_a_thumbnail_holds_the_means_of_equal_cells_in_ras() -> None:
    array = random_array((64, 32, 96))
    cells = np.clip(array.astype(float), -200, 300).reshape(32, 2, 32, 1, 32, 3).mean(axis=(1, 3, 5))
    expected = (cells + 200) * 255 / 500
    found = thumbnail(volume(array))
    assert found.dtype == np.uint8
    assert np.abs(found - expected).max() <= 0.51
    backwards = Volume(array[::-1], np.array([[-1.0, 0, 0, 63], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    assert np.abs(thumbnail(backwards).astype(int) - found).max() <= 1  # summed in another order
    assert thumbnail(volume(array[:5, :6, :7])).shape == (32, 32, 32)


def test_resampled_and_turned_copies_look_alike_and_other_patients_do_not(phantom_case: PhantomCase) -> None:
    from suprem.phantom import generate

    ct = phantom_case.ct
    shape = (ct.shape[0] // 2, ct.shape[1] // 2, ct.shape[2] // 2)
    steps = tuple((n - 1) / (m - 1) for n, m in zip(ct.shape, shape, strict=True))
    small = resample_linear(ct.array, shape, (steps[0], steps[1], steps[2]))
    copy = thumbnail(volume(small.transpose(1, 0, 2)[:, ::-1]))
    other = thumbnail(generate(7, spacing_mm=(6.0, 6.0, 6.0)).ct)
    alike = list(likeness(thumbnail(ct)[None], np.stack([other, copy]), 0.95))
    assert [(one, two) for one, two, _ in alike] == [(0, 1)]
    assert all(value < 0.9 for _, two, value in likeness(thumbnail(ct)[None], other[None], 0.0) if two == 0)


def plant_livers(root: Path, numbers: Sequence[str]) -> dict[str, list[ScanFact]]:
    facts = {}
    for name in ("lits", "msd_liver", "ct_org"):
        spec = dataset(name)
        variant = spec.variants[0]
        for number in numbers:
            plant_family(root / name, spec, variant, variant.files[0], n=number)
        facts[name] = facts_of_cases(spec.cases(root / name, variant.name))
    return facts


def test_lits_msd_liver_and_ct_org_are_one_by_name(tmp_path: Path) -> None:
    facts = plant_livers(tmp_path, ["7", "12"])
    for one, other in combinations(facts.values(), 2):
        pairs = find_overlap(one, other)
        assert [(pair.kind, pair.confidence) for pair in pairs] == [("name", "inferred")] * 2
        assert all("N = 0 to 130" in pair.detail for pair in pairs)
        assert {pair.a.rpartition("_" if "_7" in pair.a or "_12" in pair.a else "-")[2] for pair in pairs} == {
            "7",
            "12",
        }
    groups = scan_groups([fact for found in facts.values() for fact in found])
    assert groups["lits/volume-7"] == groups["msd_liver/liver_7"] == groups["ct_org/volume-7"] == "lits/7"
    assert len(set(groups.values())) == 2


def test_a_table_also_reaches_the_other_names_of_a_scan(tmp_path: Path) -> None:
    table = tmp_path / "same.csv"
    table.write_text("id_a,id_b\nabdomenct_1k/Case_00003,lits/volume-7\nx/1,y/2\n", encoding="utf-8")
    case = ScanFact("abdomenct_1k/Case_00003", "abdomenct_1k/Case_00003")
    liver = ScanFact("msd_liver/liver_7", "lits/7")
    for one, other in ((case, liver), (liver, case)):
        (pair,) = find_overlap([one], [other], same=read_table(table))
        assert (pair.a, pair.b, pair.kind, pair.confidence) == (one.key, other.key, "table", "stated by the user")


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "id_a,id_b\nvolume-7,lits/volume-7\n", "id_a,id_b\nlits/volume-7\n"])
def test_a_wrong_table_is_refused(tmp_path: Path, text: str) -> None:
    table = tmp_path / "same.csv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"id_a and id_b|dataset/case"):
        read_table(table)


def test_the_flare23_spreadsheet_names_sources(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (
        ("Dataset", "image", "public_name"),
        ("MSD", "FLARE23_0004_0000.nii.gz", "liver_7.nii.gz"),
        ("x", "FLARE23_0005", "12"),
        ("x", "FLARE23_0006", "elsewhere_3"),
    ):
        book.active.append(row)
    path = tmp_path / "FLARE23-DataInfoTraining.xlsx"
    book.save(path)
    liver, bare = ScanFact("msd_liver/liver_7", "lits/7"), ScanFact("imagecas/12", "imagecas/12")
    same = read_flare23_table(path, [liver, bare])
    flare = [ScanFact(f"flare23/FLARE23_000{n}", f"flare23/FLARE23_000{n}") for n in (4, 5, 6)]
    (pair,) = find_overlap(flare, [liver, bare], same=same)
    assert (pair.a, pair.b, pair.kind, pair.confidence) == (flare[0].key, liver.key, "table", "inferred")
    path.write_bytes(b"not a spreadsheet")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_flare23_table(path, [])


def test_voxels_confirm_contradict_and_find_pairs(tmp_path: Path) -> None:
    array = random_array((12, 10, 8))
    small = thumbnail(volume(array))
    a = ScanFact("a/1", "s/1", hash="x", thumbnail=small)
    same = ScanFact("b/1", "s/2", hash="x", thumbnail=small)
    differs = ScanFact("b/2", "s/1", hash="y", thumbnail=small[::-1])
    pairs = find_overlap([a], [same, differs])
    assert [(pair.b, pair.kind) for pair in pairs] == [("b/1", "hash"), ("b/2", "name"), ("b/2", "thumbnail")]
    assert "the voxels differ" in pairs[1].detail
    assert [(pair.a, pair.b) for pair in find_overlap([a, same])] == [("a/1", "b/1")]
    assert find_overlap([a]) == []


def test_an_unreadable_ct_is_compared_by_name_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = dataset("lits")
    family = spec.variants[0].files[0]
    for number in ("7", "8"):
        plant_family(tmp_path, spec, spec.variants[0], family, n=number)
    image = next(path for path in tmp_path.rglob("volume-7.nii*"))
    write_volume(volume(random_array((6, 6, 6))), image)
    seven, eight = facts_of_cases(spec.cases(tmp_path, spec.variants[0].name), pixels=True)
    assert seven.hash == scan_hash(volume(random_array((6, 6, 6))))
    assert eight.hash == ""
    assert "lits/volume-8 is compared by name only" in caplog.text


def test_prepared_cases_give_their_facts() -> None:
    record = SimpleNamespace(key="lits/volume-7", scan="lits/7", subject="lits/7", scan_hash="x")
    assert facts_of_records([cast(CaseRecord, record)]) == [ScanFact("lits/volume-7", "lits/7", "lits/7", "x")]


def test_groups_unite_hashes_and_confirmed_pairs_through_absent_cases() -> None:
    facts = [ScanFact("a/1", "a/1", hash="x"), ScanFact("b/1", "b/1", hash="x"), ScanFact("c/1", "c/1")]
    assert scan_groups(facts) == {"a/1": "a/1", "b/1": "a/1", "c/1": "c/1"}
    bridge = [Pair("c/1", "z/9", "table", "", ""), Pair("z/9", "b/1", "table", "", "")]
    assert set(scan_groups(facts, bridge).values()) == {"a/1"}


def test_leakage_of_scans_and_patients_is_refused_or_warned(caplog: pytest.LogCaptureFixture) -> None:
    groups = {"a/1": "g", "b/1": "g", "a/2": "h", "a/3": "i"}
    assert check_leakage(["a/1"], ["a/2"], groups) == []
    with pytest.raises(ConfigurationError, match=r"1 test cases leak into training: b/1 and a/1 are one scan \(g\)"):
        check_leakage(["a/1"], ["b/1", "a/2"], groups)
    patients = {"a/1": "p", "b/1": "p", "a/2": "p", "a/3": ""}
    leaks = check_leakage(["a/1", "a/3"], ["b/1", "a/2"], groups, subjects=patients, warn=True)
    assert [(leak.train, leak.test, leak.shared) for leak in leaks] == [
        ("a/1", "a/2", "subject"),
        ("a/1", "b/1", "scan"),
    ]
    assert "leak into training" in caplog.text
    with pytest.raises(ConfigurationError, match="'q/1' and 0 more are in no group"):
        check_leakage(["q/1"], [], groups)


# ImageCAS as published: the test lists of five folds hold 833 cases, each fold trains on the others, and the one
# validation list of 167 has 137 of them: (shared with training, shared with test) per fold.
IMAGECAS = ((91, 46), (98, 39), (96, 41), (129, 8), (134, 3))


def test_the_published_imagecas_folds_are_flagged() -> None:
    names = iter(f"BDMAP_{number:08d}" for number in range(14638, 15638))
    tests = [[next(names) for _ in range(size)] for size in (167, 167, 167, 166, 166)]
    validation = [name for fold, (_, shared) in zip(tests, IMAGECAS, strict=True) for name in fold[:shared]]
    validation += [next(names) for _ in range(30)]
    assert len(validation) == 167
    for fold, (in_train, in_test) in zip(tests, IMAGECAS, strict=True):
        train = [name for other in tests if other is not fold for name in other]
        assert len(train) in (666, 667)
        found = check_lists({"train": train, "val": validation, "test": fold})
        assert [(entry.one, entry.other, len(entry.cases)) for entry in found] == [
            ("train", "val", in_train),
            ("val", "test", in_test),
        ]


def test_a_split_by_scan_like_the_published_jhh_folds_is_flagged() -> None:
    # 5,119 scans of 2,601 patients, most with two phases, divided 4,095 to 1,024 without regard to patients.
    scans = [f"P{n}_VENOUS" for n in range(2601)] + [f"P{n}_ARTERIAL" for n in range(5119 - 2601)]
    order = np.random.default_rng(0).permutation(scans).tolist()
    patient = dataset("jhh_pancreas").scan_of  # a scan is no patient: nothing is shared by scan
    assert check_lists({"train": order[:4095], "test": order[4095:]}, patient) == []
    (found,) = check_lists({"train": order[:4095], "test": order[4095:]}, lambda scan: scan.split("_")[0])
    assert found.cases == ()
    assert 780 <= len(found.subjects) <= 860  # published: 804 to 833
    by_patient = {"train": [s for s in scans if int(s[1:].split("_")[0]) < 1594]}
    by_patient["test"] = [s for s in scans if s not in set(by_patient["train"])]
    assert check_lists(by_patient, lambda scan: scan.split("_")[0]) == []
