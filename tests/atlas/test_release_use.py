"""What others do with a release: prepare it, re-assemble it, train nnU-Net and MONAI on it."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from suprem.atlas.label_set import LabelSet, Provenance
from suprem.atlas.release import ReleaseOptions, release_atlas
from suprem.atlas.release.exports import release_to_nnunet, write_datalist
from suprem.atlas.release.reassemble import reassemble
from suprem.atlas.workspace import Atlas
from suprem.cli import main
from suprem.datasets import dataset
from suprem.datasets._prepare import prepare
from suprem.errors import ConfigurationError, LabelSpaceError
from suprem.phantom import PhantomCase, generate
from suprem.phantom.disguise import disguise
from suprem.volumes.io import write_volume
from suprem.volumes.store import Store

SPACING, STORED = (9.0, 9.0, 11.0), (10.0, 10.0, 10.0)


def content(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def _phantom(seed: int) -> PhantomCase:
    return generate(seed, spacing_mm=SPACING, lesion_probability=1.0, orientation="LPS")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms as files of three datasets, the store and atlas made of them, and its release."""
    top = tmp_path_factory.mktemp("use")
    sources = {
        "lits": [(1, "official", {"n": "7"}), (2, "official", {"n": "9"})],
        "pancreas_ct": [(3, None, {})],
        "msd_spleen": [(4, "official", {})],
    }
    for name, cases in sources.items():
        spec = dataset(name)
        for seed, variant, values in cases:
            layout = variant or next(v.name for v in spec.variants if v.image_format == "dicom")
            known = spec.variant(layout).files[0].fields
            disguise(
                _phantom(seed), spec, layout, top / "raw" / name, values={k: values[k] for k in values if k in known}
            )
        report = prepare(name, top / "raw" / name, top / "store", spacing_mm=STORED)
        assert not report.problems
    atlas = Atlas.create(top / "atlas", top / "store", ("liver", "liver_tumor", "spleen", "pancreas", "aorta"))
    for key in atlas.cases:
        record = atlas.store.record(key)
        masks = {name: np.zeros(record.shape, dtype=bool) for name in atlas.structures}
        for number, mask in enumerate(masks.values()):
            mask[3 + number : 9, 4:9, 5:8] = True
        folder = atlas.pseudo_folder(1, key)
        folder.mkdir(parents=True)
        told = dict.fromkeys(masks, Provenance("pseudo", "unet.mine", 1))
        LabelSet.from_masks(masks.items(), record.shape, np.array(record.affine), told).write(folder)
    atlas.journal.append("ensemble", "ann", round=1)
    release_atlas(atlas, top / "release", ReleaseOptions(name="Phantoms"))
    return top


@pytest.fixture
def release(root: Path, tmp_path: Path) -> Path:
    """A copy as somebody else has downloaded it."""
    for name, data in content(root / "release").items():
        (tmp_path / "release" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "release" / name).write_bytes(data)
    return tmp_path / "release"


def test_what_is_missing_is_made_from_ones_own_download_to_the_last_voxel(root: Path, release: Path) -> None:
    before = content(release)
    assert sum(name.endswith("ct.nii.gz") for name in before) == 2  # not those of LiTS
    report = reassemble(release, {"lits": root / "raw" / "lits"})
    assert (len(report.done), len(report.there), report.missing) == (2, 2, {})
    after = content(release)
    assert {name: after[name] for name in before} == before  # SHA256SUMS stays true
    atlas = Atlas.open(root / "atlas")
    for path in release.glob("*/case.json"):
        case = json.loads(path.read_text())
        key = f"{case['dataset']}/{case['source_case']}"
        labels, record = atlas.labels(key), atlas.store.record(key)
        image = nibabel.load(path.parent / "ct.nii.gz")  # type: ignore[attr-defined]
        assert np.array_equal(np.asanyarray(image.dataobj), atlas.store.case(key).ct())
        assert np.array_equal(image.affine, np.array(record.affine).astype(np.float32))
        for name in labels.structures:
            mask = nibabel.load(path.parent / "segmentations" / f"{name}.nii.gz")  # type: ignore[attr-defined]
            assert np.array_equal(np.asanyarray(mask.dataobj), labels.mask(name))
    again = reassemble(release, {})
    assert (again.done, len(again.there)) == ((), 4)
    assert content(release) == after


def test_another_version_of_the_source_is_noticed(root: Path, release: Path, tmp_path: Path) -> None:
    case = _phantom(1)
    for seed, number in ((1, "7"), (2, "9")):
        disguise(_phantom(seed), dataset("lits"), "official", tmp_path / "raw", values={"n": number})
    path = next((tmp_path / "raw").rglob("volume-7.nii*"))
    changed = case.ct.array.copy()
    changed[4, 4, 4] += 300
    write_volume(type(case.ct)(changed, case.ct.affine), path)
    before = content(release)
    report = reassemble(release, {"lits": tmp_path / "raw"})
    ((failed, reason),) = report.missing.items()
    assert "has other voxels" in reason
    assert len(report.done) == 1
    added = {name for name in content(release) if name not in before}
    assert added
    assert not any(name.startswith(failed) for name in added)


def test_sources_that_are_not_there_or_not_needed_are_told(
    root: Path, release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["atlas", "reassemble", str(release)]) == 1
    assert "needs --source lits=FOLDER" in capsys.readouterr().out
    with pytest.raises(ConfigurationError, match="needs chaos_ct"):
        reassemble(release, {"chaos_ct": tmp_path})
    disguise(_phantom(1), dataset("lits"), "official", tmp_path / "raw", values={"n": "7"})
    assert main(["atlas", "reassemble", str(release), "--source", f"lits={tmp_path / 'raw'}", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert len(found["done"]) == 1
    assert "has no case 'volume-9' of lits" in next(iter(found["missing"].values()))
    with pytest.raises(ConfigurationError, match="no release"):
        reassemble(tmp_path / "raw", {})


def test_readers_of_abdomenatlas_take_it(root: Path, release: Path, tmp_path: Path) -> None:
    reassemble(release, {"lits": root / "raw" / "lits"})
    report = prepare("abdomenatlas_1_1", release, tmp_path / "again", spacing_mm=None)
    assert not report.problems
    assert len(report.done) == 4
    again, atlas = Store.open(tmp_path / "again"), Atlas.open(root / "atlas")
    for path in release.glob("*/case.json"):
        case = json.loads(path.read_text())
        key = f"{case['dataset']}/{case['source_case']}"
        stored, labels = again.case(f"abdomenatlas_1_1/{case['id']}"), atlas.labels(key)
        assert np.array_equal(stored.ct(), atlas.store.case(key).ct())
        assert np.allclose(stored.record.affine, atlas.store.record(key).affine, atol=1e-4)
        assert set(stored.record.annotated) == set(labels.structures) - {"liver_tumor"}  # 1.1 has no tumours
        for name in stored.record.annotated:
            mask = np.array([name in entry for entry in stored.table])[stored.labels()]
            assert np.array_equal(mask, labels.mask(name))


def test_nnunet_gets_the_complete_cases(root: Path, release: Path, tmp_path: Path) -> None:
    report = release_to_nnunet(release, tmp_path / "Dataset501_Atlas", classes=["liver", "liver_tumor"])
    assert len(report.cases) == 2
    assert set(report.skipped.values()) == {"has to be re-assembled first"}
    result = prepare("folder", tmp_path / "Dataset501_Atlas", tmp_path / "again", spacing_mm=None)
    assert not result.problems
    again, atlas = Store.open(tmp_path / "again"), Atlas.open(root / "atlas")
    case = json.loads(next(p for p in release.glob("*/case.json") if "msd_spleen" in p.read_text()).read_text())
    stored, labels = again.case(f"folder/{case['id']}"), atlas.labels(f"msd_spleen/{case['source_case']}")
    for name in ("liver", "liver_tumor"):
        mask = np.array([name in entry for entry in stored.table])[stored.labels()]
        assert np.array_equal(mask, labels.mask(name))


def test_monai_reads_the_list_and_finds_the_voxels(root: Path, release: Path, tmp_path: Path) -> None:
    from monai.data import load_decathlon_datalist
    from monai.transforms import LoadImaged

    reassemble(release, {"lits": root / "raw" / "lits"})
    assert main(["atlas", "datalist", str(release), "--folds", "2"]) == 0
    path = tmp_path / "release_datalist.json"
    found = load_decathlon_datalist(str(path), True, "training", str(release))
    assert len(found) == 4
    assert {entry["fold"] for entry in found} == {0, 1}
    loaded = LoadImaged(["image", "label"])(found[0])
    assert loaded["image"].shape == loaded["label"].shape
    assert np.allclose(loaded["image"].affine, loaded["label"].affine)
    labels = json.loads(path.read_text())["labels"]
    assert set(np.unique(loaded["label"])) <= {float(number) for number in labels}
    assert labels["5"] == "liver"
    assert labels["26"] == "liver_tumor"


def test_folds_keep_patients_together_and_partial_cases_are_refused(tmp_path: Path) -> None:
    from tests.atlas.release_cases import add_case, make_atlas, predict, write_index

    atlas = make_atlas(tmp_path, tuple(("chaos_ct", str(n)) for n in range(4)))
    for number in range(4):
        add_case(tmp_path / "store", "chaos_ct", f"{number} again", seed=10 + number, subject=str(number))
        predict(atlas, f"chaos_ct/{number} again")
    write_index(tmp_path / "store")
    release_atlas(Atlas.open(atlas.root), tmp_path / "out")
    listed = write_datalist(tmp_path / "out", tmp_path / "list.json", folds=4, seed=3)
    patients = {}
    for path in (tmp_path / "out").glob("*/case.json"):
        case = json.loads(path.read_text())
        patients[case["id"]] = case["patient"]
    folds: dict[str, set[int]] = {}
    for entry in listed["training"]:
        folds.setdefault(patients[entry["image"].split("/")[0]], set()).add(entry["fold"])
    assert sorted(next(iter(found)) for found in folds.values() if len(found) == 1) == [0, 1, 2, 3]
    with pytest.raises(ConfigurationError, match="between 2 and the 4 patients"):
        write_datalist(tmp_path / "out", tmp_path / "list.json", folds=5)
    add_case(tmp_path / "store", "chaos_ct", "without spleen", seed=30, spleen=False)
    predict(atlas, "chaos_ct/without spleen")
    write_index(tmp_path / "store")
    release_atlas(Atlas.open(atlas.root), tmp_path / "two")
    with pytest.raises(LabelSpaceError, match=r"1 of 9 cases do not know all structures .* lacks spleen"):
        write_datalist(tmp_path / "two", tmp_path / "list.json", folds=2)
    assert write_datalist(tmp_path / "two", tmp_path / "list.json", folds=2, skip_partial=True)["numTraining"] == 8
