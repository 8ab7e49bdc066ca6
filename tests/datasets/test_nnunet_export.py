"""A store as a dataset in nnU-Net's raw format, and back."""

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from suprem.cli import main
from suprem.datasets._nnunet import export_nnunet
from suprem.datasets._own import describe
from suprem.datasets._prepare import prepare
from suprem.errors import ConfigurationError, OutputError, UnknownNameError
from suprem.phantom import PhantomCase, generate
from suprem.volumes.store import Store, StoredCase, StoreSettings, create_store, write_index
from tests.phantom_store import add_phantom

SPACING = (8.0, 8.0, 10.0)


@pytest.fixture(scope="module")
def phantoms() -> list[PhantomCase]:
    return [generate(seed, spacing_mm=SPACING, lesion_probability=1.0) for seed in (3, 4)]


def _store(root: Path, cases: list[PhantomCase], **each: Any) -> Store:
    """``each`` gives a list of values per argument of ``add_phantom``, one for each case."""
    create_store(root, StoreSettings(SPACING))
    for number, case in enumerate(cases):
        add_phantom(root, case, f"case_{number}", **{name: values[number] for name, values in each.items()})
    write_index(root)
    return Store.open(root)


def _mask(case: StoredCase, name: str) -> np.ndarray:
    return np.array([name in entry for entry in case.table])[case.labels()]


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image = nibabel.load(path)  # type: ignore[attr-defined]
    return np.asanyarray(image.dataobj), image.affine


def _description(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "dataset.json").read_text())
    return content


def test_what_is_exported_is_prepared_again_to_the_same_voxels(tmp_path: Path, phantoms: list[PhantomCase]) -> None:
    store = _store(tmp_path / "store", phantoms, split=["train", "test"])
    report = export_nnunet(store, tmp_path / "Dataset501_Phantom")
    assert report.regions
    result = prepare("folder", tmp_path / "Dataset501_Phantom", tmp_path / "again", spacing_mm=None)
    assert not result.problems
    again = Store.open(tmp_path / "again")
    for before in store.records:
        one, two = store.case(before.key), again.case(f"folder/{report.cases[before.key]}")
        assert two.record.split == before.split
        assert set(two.record.annotated) == set(before.annotated)
        np.testing.assert_array_equal(two.ct(), one.ct())
        np.testing.assert_allclose(two.record.affine, one.record.affine, atol=1e-4)
        for name in before.annotated:
            np.testing.assert_array_equal(_mask(two, name), _mask(one, name), err_msg=name)
    assert sum(record.voxels["kidney_tumor"] for record in store.records) > 0  # lies in one kidney of two


def test_regions_are_what_nnunet_makes_of_them(tmp_path: Path, phantoms: list[PhantomCase]) -> None:
    store = _store(tmp_path / "store", phantoms)
    export_nnunet(store, tmp_path / "raw")
    content = _description(tmp_path / "raw")
    assert (content["channel_names"], content["numTraining"], content["file_ending"]) == ({"0": "CT"}, 2, ".nii.gz")
    assert content["licence"] == "unknown"
    assert len(content["labels"]["liver"]) >= 2
    assert content["labels"].pop("background") == 0
    regions = {name: np.atleast_1d(values) for name, values in content["labels"].items()}
    assert len(content["regions_class_order"]) == len(regions)
    values = sorted({int(v) for found in regions.values() for v in found})
    assert values == list(range(1, len(values) + 1))  # nnU-Net wants no gaps
    case = store.case("a/case_0")
    labels, affine = _read(tmp_path / "raw" / "labelsTr" / "case_0.nii.gz")
    ct, ct_affine = _read(tmp_path / "raw" / "imagesTr" / "case_0_0000.nii.gz")
    np.testing.assert_array_equal(ct, case.ct())
    np.testing.assert_allclose(affine, case.record.affine, atol=1e-4)
    np.testing.assert_array_equal(affine, ct_affine)
    written = np.zeros_like(labels)
    for (name, found), value in zip(regions.items(), content["regions_class_order"], strict=True):
        mask = np.isin(labels, found)
        np.testing.assert_array_equal(mask, _mask(case, name), err_msg=name)
        written[mask] = value  # as nnU-Net writes predicted regions, each over those before it
    nested = np.isin(labels, [0, *content["regions_class_order"]])  # others are what one value cannot tell
    assert nested[labels > 0].mean() > 0.95
    np.testing.assert_array_equal(written[nested], labels[nested])


def test_structures_apart_are_plain_labels(tmp_path: Path, phantoms: list[PhantomCase]) -> None:
    store = _store(tmp_path / "store", phantoms)
    report = export_nnunet(store, tmp_path / "raw", classes=["Spleen", "aorta"])
    assert (report.classes, report.regions) == (("spleen", "aorta"), False)
    content = _description(tmp_path / "raw")
    assert content["labels"] == {"background": 0, "spleen": 1, "aorta": 2}
    assert "regions_class_order" not in content
    labels, _ = _read(tmp_path / "raw" / "labelsTr" / "case_1.nii.gz")
    np.testing.assert_array_equal(labels == 2, _mask(store.case("a/case_1"), "aorta"))


def test_partial_annotations_are_refused_left_out_or_avoided(tmp_path: Path, phantoms: list[PhantomCase]) -> None:
    parts = [frozenset({"liver", "spleen"}), frozenset({"liver", "pancreas"})]
    store = _store(tmp_path / "store", phantoms, annotated=parts)
    with pytest.raises(
        ConfigurationError, match=r"2 of 2 .*a/case_0 lacks pancreas.*background.*know: liver \("
    ) as why:
        export_nnunet(store, tmp_path / "raw")
    assert len(str(why.value).splitlines()) == 1
    with pytest.raises(ConfigurationError, match="No training case"):
        export_nnunet(store, tmp_path / "raw", skip_partial=True)
    assert not (tmp_path / "raw").exists()
    report = export_nnunet(store, tmp_path / "some", classes=["liver", "spleen"], skip_partial=True)
    assert (report.cases, report.skipped) == ({"a/case_0": "case_0"}, {"a/case_1": "not annotated for spleen"})
    assert [path.name for path in (tmp_path / "some" / "labelsTr").iterdir()] == ["case_0.nii.gz"]
    report = export_nnunet(store, tmp_path / "common", classes="common")
    assert (report.classes, len(report.cases)) == (("liver",), 2)


def test_unknown_voxels_become_the_ignore_label(tmp_path: Path, phantoms: list[PhantomCase]) -> None:
    case = phantoms[0]
    unknown = next(i for i, entry in enumerate(case.table) if entry == {"stomach"})
    table = [tuple(frozenset() if i == unknown else entry for i, entry in enumerate(case.table))]
    names = frozenset[str]().union(*table[0])
    store = _store(tmp_path / "store", [case], ignore=[unknown], annotated=[names])
    export_nnunet(store, tmp_path / "raw", classes=["liver", "spleen"])
    content = _description(tmp_path / "raw")
    highest = max(v for value in content["labels"].values() for v in np.atleast_1d(value))
    assert content["labels"]["ignore"] == highest
    labels, _ = _read(tmp_path / "raw" / "labelsTr" / "case_0.nii.gz")
    np.testing.assert_array_equal(labels == highest, case.labels.array == unknown)
    prepare("folder", tmp_path / "raw", tmp_path / "again", spacing_mm=None)
    again = Store.open(tmp_path / "again").case("folder/case_0")
    np.testing.assert_array_equal(again.labels() == again.ignore, case.labels.array == unknown)


def test_names_are_unique_and_bad_arguments_are_told(tmp_path: Path, phantoms: list[PhantomCase]) -> None:
    create_store(tmp_path / "store", StoreSettings(SPACING))
    for source in ("word", "btcv"):
        add_phantom(tmp_path / "store", phantoms[0], "p1", dataset=source)
    add_phantom(tmp_path / "store", phantoms[0], "p2", dataset="btcv", labels=None, annotated=frozenset(), table=())
    write_index(tmp_path / "store")
    store = Store.open(tmp_path / "store")
    report = export_nnunet(store, tmp_path / "raw", classes=["liver"])
    assert report.cases == {"btcv/p1": "btcv_p1", "word/p1": "word_p1"}
    assert report.skipped == {"btcv/p2": "without labels"}
    assert _description(tmp_path / "raw")["licence"].startswith("btcv: ")
    with pytest.raises(OutputError, match="already exists"):
        export_nnunet(store, tmp_path / "raw", classes=["liver"])
    with pytest.raises(UnknownNameError, match="'livr'; did you mean 'liver'"):
        export_nnunet(store, tmp_path / "other", classes=["livr"])
    with pytest.raises(ConfigurationError, match="classes is 'liver'"):
        export_nnunet(store, tmp_path / "other", classes="liver")  # type: ignore[arg-type]
    assert not (tmp_path / "other").exists()


def test_the_command(tmp_path: Path, phantoms: list[PhantomCase], capsys: pytest.CaptureFixture[str]) -> None:
    parts = [frozenset({"liver", "spleen"}), frozenset({"liver"})]
    _store(tmp_path / "store", phantoms, annotated=parts)
    words = ["data", "export", str(tmp_path / "store"), "-o", str(tmp_path / "raw")]
    assert main(words) == 2
    assert "--classes common" in capsys.readouterr().err
    assert main([*words, "--skip-partial"]) == 0
    out = capsys.readouterr().out
    assert "left out: a/case_1: not annotated for spleen" in out
    assert "1 cases, 2 structures as labels" in out
    assert main([*words, "--classes", "common", "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["classes"] == ["liver"]


def test_a_tumour_of_a_region_stays_in_the_kidney_that_the_region_names(tmp_path: Path) -> None:
    labels = {"background": 0, "kidney_right": 1, "kidney_left": [2, 3], "kidney_tumor": [3]}
    content = {"channel_names": {"0": "CT"}, "labels": labels, "regions_class_order": [1, 2, 3]}
    (tmp_path / "dataset.json").write_text(json.dumps({**content, "file_ending": ".nii.gz"}))
    table = describe(tmp_path).label_map("own")
    assert table.values[3].structures == {"kidney_left", "kidney_tumor"}
