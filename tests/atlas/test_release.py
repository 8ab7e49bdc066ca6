"""A release in the layout of AbdomenAtlas: geometry, labels, numbers that stay, terms, statistics."""

import csv
import errno
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from suprem.atlas.label_set import Provenance
from suprem.atlas.release import ReleaseOptions, release_atlas
from suprem.atlas.release.registers import case_ids
from suprem.atlas.workspace import Atlas
from suprem.cli import main
from suprem.errors import ConfigurationError, OutputError, SupremError
from suprem.volumes.geometry import Volume
from suprem.volumes.store import write_index
from tests.atlas.release_cases import AFFINE, SHAPE, add_case, add_labels, block, make_atlas, predict, revise, scan

CASES = (("chaos_ct", "1"), ("lits", "volume-7"), ("folder", "anna"))
OPEN = ReleaseOptions(licences={"folder": "CC-BY-4.0"})


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def ids(folder: Path) -> dict[str, str]:
    return {row["dataset"]: row["id"] for row in rows(folder / "ids.csv")}


def content(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture
def atlas(tmp_path: Path) -> Atlas:
    return make_atlas(tmp_path, CASES)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The release of an atlas with one revision."""
    root = tmp_path_factory.mktemp("released")
    atlas = make_atlas(root, CASES)
    revise(atlas, "chaos_ct/1", "Dr Ann Smith", {"liver": block(3, 9)})
    report = release_atlas(atlas, root / "out", OPEN)
    assert (report.written, report.kept, list(report.without_ct)) == (3, 0, ["lits"])
    return root / "out"


def test_images_lie_where_the_stored_scan_lies(released: Path) -> None:
    place = released / ids(released)["chaos_ct"]
    for path in (place / "ct.nii.gz", place / "combined_labels.nii.gz", *(place / "segmentations").iterdir()):
        image = nibabel.load(path)  # type: ignore[attr-defined]
        assert image.shape == SHAPE
        assert np.array_equal(image.affine, AFFINE.astype(np.float32))
        assert np.array_equal(image.get_sform(), AFFINE.astype(np.float32))
        assert np.allclose(image.get_qform(), AFFINE, atol=1e-4)
    assert np.array_equal(np.asanyarray(nibabel.load(place / "ct.nii.gz").dataobj), scan(0))  # type: ignore[attr-defined]


def test_masks_are_those_that_count_and_the_higher_number_is_left(released: Path) -> None:
    place = released / ids(released)["chaos_ct"]

    def voxels(name: str) -> np.ndarray:
        return np.asanyarray(nibabel.load(place / f"{name}.nii.gz").dataobj)  # type: ignore[attr-defined]

    wanted = {"spleen": block(0, 2), "liver": block(3, 9), "liver_tumor": block(5, 6), "my_organ": block(0, 0)}
    assert {path.name for path in (place / "segmentations").iterdir()} == {f"{name}.nii.gz" for name in wanted}
    for name, mask in wanted.items():
        found = voxels(f"segmentations/{name}")
        assert found.dtype == np.uint8
        assert np.array_equal(found, mask)
    labels = json.loads((released / "dataset.json").read_text())["labels"]
    assert (labels["liver"], labels["spleen"], labels["liver_tumor"], labels["my organ"]) == (5, 8, 26, 27)
    combined = np.zeros(SHAPE, dtype=np.uint8)
    for mask, number in ((block(0, 2), 8), (block(3, 9), 5), (block(5, 6), 26)):
        combined[mask] = number
    assert np.array_equal(voxels("combined_labels"), combined)


def test_what_the_terms_forbid_is_not_there(released: Path) -> None:
    names = ids(released)
    files = {path.relative_to(released / names["lits"]).as_posix() for path in (released / names["lits"]).rglob("*.gz")}
    assert files == {f"segmentations/{name}.nii.gz" for name in ("liver", "liver_tumor", "my_organ")}
    licences = {row["id"]: row for row in rows(released / "licences.csv")}
    assert len(licences) == 3
    assert licences[names["lits"]]["licence"] == "CC BY-NC-ND 4.0 / CC BY-SA 4.0"
    assert licences[names["lits"]]["ct"] == "to be re-assembled"
    assert licences[names["chaos_ct"]]["licence"] == "CC BY-SA 4.0"
    assert licences[names["folder"]]["licence"] == "CC-BY-4.0"
    assert (released / names["folder"] / "ct.nii.gz").is_file()
    assert "license: other" in (released / "README.md").read_text()
    assert "CC BY-NC-ND 4.0 / CC BY-SA 4.0" in (released / "LICENSE.md").read_text()


def test_provenance_of_every_structure_with_codes_for_people(released: Path) -> None:
    names = ids(released)
    told = {(row["id"], row["structure"]): (row["source"], row["by"]) for row in rows(released / "provenance.csv")}
    assert len(told) == 12
    assert told[names["chaos_ct"], "spleen"] == ("expert", "chaos_ct")
    assert told[names["chaos_ct"], "liver"] == ("revised", "reviewer-01")
    assert told[names["lits"], "liver"] == ("pseudo", "unet.suprem_2100, segresnet.mine")
    assert not any(b"Smith" in data or b"anna" in data for data in content(released).values())
    assert "reviewer-01" in (released.parent / "atlas" / "release" / "reviewers.csv").read_text()


def test_statistics_are_what_counting_the_voxels_gives(released: Path) -> None:
    found = {row["structure"]: row for row in rows(released / "statistics.csv")}
    liver = 2 * block(3, 8).sum() + block(3, 9).sum()
    row = found["liver"]
    assert [row[name] for name in ("cases", "expert", "revised", "pseudo", "empty")] == ["3", "0", "1", "2", "0"]
    assert (int(row["voxels"]), float(row["volume_ml"])) == (liver, round(liver * 8 / 1000, 1))
    assert (int(row["slices"]), found["my organ"]["empty"], found["spleen"]["expert"]) == (9, "3", "3")
    card = (released / "README.md").read_text()
    assert "| annotated axial slices | 9 |" in card
    assert "10 of 12 masks" not in card
    assert "11 of 12 masks and 2 of 3 CTs are here" in card


def test_checksums_are_read_by_the_usual_program(released: Path) -> None:
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=released, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    listed = {line.split("  ")[1] for line in (released / "SHA256SUMS").read_text().splitlines()}
    assert listed == content(released).keys() - {"SHA256SUMS", "README.md", "release.json"}


def test_numbers_stay_when_the_atlas_grows(atlas: Atlas, tmp_path: Path) -> None:
    first = release_atlas(atlas, tmp_path / "one", OPEN)
    before = ids(tmp_path / "one")
    add_case(tmp_path / "store", "amos22", "0", seed=9)
    write_index(tmp_path / "store")
    grown = Atlas.create(tmp_path / "grown", tmp_path / "store", ("spleen", "pancreas_tumor"))
    (tmp_path / "grown" / "release").mkdir()
    for path in (atlas.root / "release").iterdir():
        (tmp_path / "grown" / "release" / path.name).write_bytes(path.read_bytes())
    second = release_atlas(grown, tmp_path / "two", replace(OPEN, first_id=1))
    after = ids(tmp_path / "two")
    assert (first.statistics.volumes, second.statistics.volumes) == (3, 4)
    assert {name: after[name] for name in before} == before
    assert after["amos22"] == "BDMAP_90000004"  # though it sorts first
    assert sorted(before.values()) == [f"BDMAP_9000000{n}" for n in (1, 2, 3)]
    labels = json.loads((tmp_path / "two" / "dataset.json").read_text())["labels"]
    assert (labels["liver_tumor"], labels["my organ"]) == (26, 27)


def test_own_prefix_and_first_number(tmp_path: Path) -> None:
    assert case_ids(tmp_path, ["b/1", "a/1"], prefix="Own", first=7) == {"a/1": "Own_00000007", "b/1": "Own_00000008"}
    assert case_ids(tmp_path, ["c/1"])["c/1"] == "BDMAP_90000001"
    for wrong in ({"prefix": "../up"}, {"prefix": ""}, {"first": -1}, {"first": 10**8}):
        with pytest.raises(ConfigurationError, match=r"prefix is|first_id is"):
            case_ids(tmp_path, ["d/1"], **wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="No number is left"):
        case_ids(tmp_path, ["d/1", "e/1"], prefix="End", first=10**8 - 1)
    (tmp_path / "ids.csv").write_text("case,id\na/1,X_1\nb/1,X_1\n")
    with pytest.raises(ConfigurationError, match="has an entry twice"):
        case_ids(tmp_path, ["a/1"])


def test_terms_that_nobody_states_refuse_the_release(atlas: Atlas, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--licence folder=IDENTIFIER"):
        release_atlas(atlas, tmp_path / "out")
    with pytest.raises(ConfigurationError, match="'lits', whose terms are known"):
        release_atlas(atlas, tmp_path / "out", ReleaseOptions(licences={"folder": "CC0-1.0", "lits": "CC0-1.0"}))
    with pytest.raises(ConfigurationError, match="the datasets are chaos_ct, folder, lits"):
        release_atlas(atlas, tmp_path / "out", ReleaseOptions(licences={"foldr": "CC0-1.0"}))
    assert not any((tmp_path / "out").rglob("*.gz"))


@pytest.mark.parametrize("licence", ["CC-BY-NC-ND-4.0", "for our partners alone"])
def test_other_than_open_terms_count_as_forbidden(tmp_path: Path, licence: str) -> None:
    atlas = make_atlas(tmp_path, (("folder", "anna"), ("btcv", "img0001")))
    report = release_atlas(atlas, tmp_path / "out", ReleaseOptions(licences={"folder": licence}))
    assert report.statistics.cts == 0
    assert "is no open licence" in report.without_ct["folder"]
    assert "counts as forbidden" in report.without_ct["btcv"]
    assert not list((tmp_path / "out").rglob("ct.nii.gz"))
    assert not list((tmp_path / "out").rglob("spleen.nii.gz"))  # the source's own annotation
    told = {row["dataset"]: row for row in rows(tmp_path / "out" / "ids.csv")}
    assert (told["folder"]["ct"], told["folder"]["source_case"]) == ("not included", "")
    assert (told["btcv"]["ct"], told["btcv"]["source_case"]) == ("to be re-assembled", "img0001")


def test_labels_only(atlas: Atlas, tmp_path: Path) -> None:
    report = release_atlas(atlas, tmp_path / "out", replace(OPEN, labels_only=True))
    assert set(report.without_ct) == {"chaos_ct", "lits", "folder"}
    assert not list((tmp_path / "out").rglob("ct.nii.gz"))
    assert len(list((tmp_path / "out").rglob("spleen.nii.gz"))) == 2


def test_scans_of_one_patient_are_told(tmp_path: Path) -> None:
    atlas = make_atlas(tmp_path, (("lits", "volume-1"), ("lits", "volume-2"), ("lits", "volume-3")))
    add_case(tmp_path / "store", "msd_liver", "liver_2", seed=5, scan="lits/volume-2")
    add_case(tmp_path / "store", "lits", "volume-4", seed=6, subject="volume-3")
    write_index(tmp_path / "store")
    predict(atlas, "msd_liver/liver_2")
    predict(atlas, "lits/volume-4")
    release_atlas(Atlas.open(atlas.root), tmp_path / "out")
    found = {row["source_case"]: row for row in rows(tmp_path / "out" / "ids.csv")}
    assert found["liver_2"]["patient"] == found["volume-2"]["patient"] == found["volume-2"]["id"]
    assert found["volume-4"]["patient"] == found["volume-3"]["id"]
    assert len({row["patient"] for row in found.values()}) == 3


def test_a_finished_release_is_left_alone_until_it_may_change(atlas: Atlas, tmp_path: Path) -> None:
    release_atlas(atlas, tmp_path / "out", OPEN)
    before = content(tmp_path / "out")
    again = release_atlas(atlas, tmp_path / "out", OPEN)
    assert (again.written, again.kept) == (0, 3)
    assert content(tmp_path / "out") == before
    (event,) = atlas.journal.events("release")
    assert event.facts["version"] == "1.0"
    next((tmp_path / "out").rglob("liver.nii.gz")).unlink()  # what was lost comes back
    assert release_atlas(atlas, tmp_path / "out", OPEN).written == 1
    assert content(tmp_path / "out") == before
    revise(atlas, "lits/volume-7", "ann", {"liver": block(4, 8)})
    with pytest.raises(ConfigurationError, match="made from another state of the atlas"):
        release_atlas(atlas, tmp_path / "out", OPEN)
    assert content(tmp_path / "out") == before
    (tmp_path / "out" / "README.md").write_text("# Mine\n")
    changed = release_atlas(atlas, tmp_path / "out", OPEN, overwrite=True)
    assert (changed.written, changed.kept, changed.card_kept) == (1, 2, True)
    assert (tmp_path / "out" / "README.md").read_text() == "# Mine\n"
    assert not (tmp_path / "out" / "UNFINISHED").exists()
    assert len(atlas.journal.events("release")) == 2


def test_several_processes_write_the_same_bytes(atlas: Atlas, tmp_path: Path) -> None:
    release_atlas(atlas, tmp_path / "one", OPEN)
    release_atlas(atlas, tmp_path / "two", OPEN, jobs=2)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_folder_with_something_else_is_refused(atlas: Atlas, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("precious")
    with pytest.raises(ConfigurationError, match="is not empty"):
        release_atlas(atlas, tmp_path / "out", OPEN)
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / "thesis.tex"]


def test_a_full_disk_leaves_an_unfinished_release(
    atlas: Atlas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from suprem.atlas.release import case

    write = case.write_volume

    def full(volume: Volume, path: Path) -> None:
        if path.name == "combined_labels.nii.gz":
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(volume, path)

    monkeypatch.setattr(case, "write_volume", full)
    with pytest.raises(OutputError, match="No space is left"):
        release_atlas(atlas, tmp_path / "out", OPEN)
    assert not list((tmp_path / "out").rglob("ct.nii.gz"))
    assert not list((tmp_path / "out").rglob("*partial*"))
    assert not (tmp_path / "out" / "release.json").exists()
    assert not atlas.journal.events("release")
    monkeypatch.setattr(case, "write_volume", write)
    release_atlas(atlas, tmp_path / "out", OPEN)
    release_atlas(atlas, tmp_path / "two", OPEN)
    assert content(tmp_path / "out") == content(tmp_path / "two")


def test_a_case_whose_files_are_gone_is_named_and_the_others_are_written(atlas: Atlas, tmp_path: Path) -> None:
    (tmp_path / "store" / "cases" / "lits" / "volume-7" / "ct.b2nd").unlink()
    with pytest.raises(SupremError, match=r"1 of 3 cases could not be written.*lits/volume-7"):
        release_atlas(atlas, tmp_path / "out", OPEN)
    assert len(list((tmp_path / "out").glob("*/case.json"))) == 2
    assert not (tmp_path / "out" / "release.json").exists()


def test_a_revision_during_the_release_is_noticed_and_leaks_no_name(atlas: Atlas, tmp_path: Path) -> None:
    def interfere(case: str, done: int, total: int) -> None:
        if done == 1:
            revise(atlas, "lits/volume-7", "Dr Ann Smith", {"liver": block(4, 8)})

    with pytest.raises(SupremError, match=r"1 of 3 cases .*lits/volume-7 was revised meanwhile; run the command again"):
        release_atlas(atlas, tmp_path / "out", OPEN, progress=interfere)
    assert not (tmp_path / "out" / "release.json").exists()
    release_atlas(atlas, tmp_path / "out", OPEN)
    assert ("revised", "reviewer-01") in {(r["source"], r["by"]) for r in rows(tmp_path / "out" / "provenance.csv")}


def test_cases_without_labels_are_left_out(tmp_path: Path) -> None:
    make_atlas(tmp_path, (("chaos_ct", "1"),))
    add_case(tmp_path / "store", "chaos_ct", "2", seed=4, spleen=False)
    write_index(tmp_path / "store")
    fresh = Atlas.create(tmp_path / "fresh", tmp_path / "store", ["spleen", "liver"])
    report = release_atlas(fresh, tmp_path / "out")
    assert report.skipped == {"chaos_ct/2": "no structure is known in it"}
    assert not list((tmp_path / "out").rglob("liver.nii.gz"))  # nobody has looked for it
    empty = Atlas.create(tmp_path / "none", tmp_path / "store", ["aorta"])
    with pytest.raises(ConfigurationError, match="No case of"):
        release_atlas(empty, tmp_path / "nothing")


def test_names_that_would_give_one_file_are_refused(tmp_path: Path) -> None:
    atlas = make_atlas(tmp_path, (("chaos_ct", "1"),), ("spleen", "my organ", "my-organ"))
    add_labels(atlas.revision_folder("chaos_ct/1", 1), {"my-organ": block(1, 2)}, Provenance("revised", "ann", 1))
    atlas.journal.append("revision", "ann", case="chaos_ct/1", revision=1)
    with pytest.raises(ConfigurationError, match="would both be called 'my_organ'"):
        release_atlas(atlas, tmp_path / "out")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    atlas = make_atlas(tmp_path, CASES)
    words = ["atlas", "release", str(atlas.root), "-o", str(tmp_path / "out")]
    assert main(words) == 2
    assert "--licence folder=IDENTIFIER" in capsys.readouterr().err
    assert main([*words, "--licence", "folder"]) == 2
    assert "write --licence DATASET=VALUE" in capsys.readouterr().err
    assert main([*words, "--licence", "folder=CC-BY-4.0", "--name-reviewers", "--name", "Ours"]) == 0
    found = capsys.readouterr()
    assert "without CTs: lits: a licence that is stated forbids it" in found.out
    assert "3 cases (3 written, 0 there already), 4 structures, 11 of 12 masks, 2 CTs" in found.out
    assert "[3/3] BDMAP_90000003" in found.err
    assert main([*words, "--licence", "folder=CC-BY-4.0", "--name-reviewers", "--name", "Ours", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["statistics"]["volumes"] == 3


def test_names_of_reviewers_are_given_where_they_want_it(tmp_path: Path) -> None:
    atlas = make_atlas(tmp_path, (("chaos_ct", "1"),))
    revise(atlas, "chaos_ct/1", "Dr Ann Smith", {"liver": block(3, 9)})
    release_atlas(atlas, tmp_path / "out", ReleaseOptions(anonymise=False))
    assert "Dr Ann Smith" in (tmp_path / "out" / "provenance.csv").read_text()
