"""Handing cases to people."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from suprem._files import only_user, sha256_file
from suprem.atlas._review_ticket import read_ticket
from suprem.atlas.label_set import LabelSet
from suprem.atlas.review import export_cases, import_case
from suprem.atlas.workspace import Atlas
from suprem.errors import ConfigurationError, OutputError, UnknownNameError
from suprem.volumes.io import read_volume
from suprem.volumes.itksnap import read_label_file
from suprem.volumes.slicer import read_segmentation
from tests.atlas.review_cases import AFFINE, KEYS, SHAPE, STRUCTURES, add_case, finish_round, review_atlas


@pytest.fixture
def atlas(tmp_path: Path) -> Atlas:
    return review_atlas(tmp_path)


def test_what_a_person_gets(atlas: Atlas) -> None:
    found = export_cases(atlas, 2, to="ben", user="ann")
    assert list(found.folders) == ["own/two", "own/one"]  # the order of the ranking
    folder = found.folders["own/two"]
    labels = atlas.labels("own/two")
    ct = read_volume(folder / "ct.nii.gz")
    assert np.array_equal(ct.array, atlas.store.case("own/two").ct())
    assert ct.array.dtype == np.int16
    assert np.allclose(ct.affine, AFFINE)
    segments = read_segmentation(folder / "labels.seg.nrrd")
    assert [segment.name for segment in segments.segments] == list(labels.structures)
    assert all(np.array_equal(segments.mask(name), labels.mask(name)) for name in labels.structures)
    numbers = read_label_file(folder / "labels.label.txt")
    assert tuple(numbers.values()) == STRUCTURES
    shown = read_volume(folder / "labels.nii.gz").array
    assert not shown[~np.any([labels.mask(name) for name in labels.structures], axis=0)].any()
    for number, name in numbers.items():
        if name in labels.structures:
            assert labels.mask(name)[shown == number].all()
    assert np.array_equal(shown == 5, labels.mask("liver_tumor"))  # the part hides what it lies in
    assert (read_volume(folder / "attention.nii.gz").array == 7).all()
    ticket = read_ticket(folder)
    assert (ticket.ticket, ticket.case, ticket.round, ticket.to, ticket.by) == ("0001", "own/two", 1, "ben", "ann")
    assert "pancreas" not in labels.structures  # no model knows it
    assert (ticket.structures, ticket.doubtful) == (labels.structures, ("liver_tumor", "aorta", "pancreas"))
    assert ticket.files == {p.name: sha256_file(p) for p in folder.iterdir() if p.name != "ticket.json"}
    event = atlas.journal.events("export")[-1]
    assert event.user == "ann"
    assert event.facts["cases"] == ["own/two", "own/one"]


def test_where_to_look(atlas: Atlas) -> None:
    folder = export_cases(atlas, 1).folders["own/two"]
    with (folder / "what-to-look-at.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert [row[axis] for axis in "xyz"] == ["1", "2", "3"]
    assert [float(row[f"{axis}_mm"]) for axis in ("right", "front", "head")] == pytest.approx(
        (AFFINE @ (1, 2, 3, 1))[:3], abs=0.06
    )
    text = (folder / "what-to-look-at.md").read_text()
    assert "In doubt, the worst first: liver_tumor, aorta." in text
    assert "No model knows pancreas, and nobody has drawn that here yet; please do." in text
    assert "two models of three see it" in text
    assert "| spleen | expert: own |" in text


def test_nobody_gets_the_same_case_unless_asked(atlas: Atlas) -> None:
    export_cases(atlas, 2, to="ben")
    assert list(export_cases(atlas, 5).folders) == ["own/three"]
    with pytest.raises(ConfigurationError, match="All 3 cases"):
        export_cases(atlas, 1)
    with pytest.raises(ConfigurationError, match="handed to ben on"):
        export_cases(atlas, cases=["own/one"])
    again = export_cases(atlas, cases=["own/one"], again=True)
    assert again.ticket == "0003"
    assert list(again.folders) == ["own/one"]


def test_a_new_round_hands_out_what_has_come_back(atlas: Atlas) -> None:
    folders = export_cases(atlas, 3).folders
    import_case(atlas, folders["own/two"], user="ben")
    with pytest.raises(ConfigurationError, match="All 3 cases"):
        export_cases(atlas, 1)
    finish_round(atlas, 2)
    assert list(export_cases(atlas, 5).folders) == ["own/two"]  # the other two are still out


def test_elsewhere(atlas: Atlas, tmp_path: Path) -> None:
    found = export_cases(atlas, 1, out=tmp_path / "disk")
    assert found.folders == {"own/two": tmp_path / "disk" / "own__two"}
    assert not (atlas.root / "review/0001/own__two").exists()
    with pytest.raises(OutputError, match="already exists"):
        export_cases(atlas, cases=["own/two"], again=True, out=tmp_path / "disk")


def test_a_case_without_a_ranking_can_be_named(tmp_path: Path) -> None:
    atlas = review_atlas(tmp_path)
    for name in ("ranking.csv", "regions.csv"):
        (atlas.priority_folder(1) / name).unlink()
    with pytest.raises(ConfigurationError, match="prioritise"):
        export_cases(atlas, 1)
    folder = export_cases(atlas, cases=["own/one"]).folders["own/one"]
    assert not (folder / "attention.nii.gz").exists()
    assert "Nothing is marked" in (folder / "what-to-look-at.md").read_text()


def test_arguments_that_cannot_work(atlas: Atlas) -> None:
    for count, cases in ((None, []), (1, ["own/one"]), (0, [])):
        with pytest.raises(ConfigurationError, match="Say how many"):
            export_cases(atlas, count, cases=cases)
    with pytest.raises(UnknownNameError, match="own/one"):
        export_cases(atlas, cases=["own/on"])
    assert atlas.journal.events("export") == ()


def test_two_at_once(atlas: Atlas) -> None:
    (atlas.root / "review").mkdir()
    with only_user(atlas.root / "review"), pytest.raises(ConfigurationError, match="another process"):
        export_cases(atlas, 1)


def test_a_hand_out_whose_event_is_missing_is_known_all_the_same(atlas: Atlas) -> None:
    folders = export_cases(atlas, 1, to="ben", user="ann").folders
    lines = atlas.journal.path.read_text().splitlines(keepends=True)
    atlas.journal.path.write_text("".join(line for line in lines if json.loads(line)["kind"] != "export"))
    import_case(atlas, folders["own/two"], user="ben")  # as after a kill just before the event
    assert list(export_cases(atlas, 1).folders) == ["own/one"]
    first = atlas.journal.events("export")[0]
    assert (first.user, first.facts["ticket"], first.facts["to"]) == ("ann", "0001", "ben")


def test_a_killed_hand_out_elsewhere_is_done_again(
    atlas: Atlas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, disk = LabelSet.write, tmp_path / "disk"

    def interrupted(labels: LabelSet, folder: Path) -> None:
        if (disk / "own__two").exists():
            raise KeyboardInterrupt
        write(labels, folder)

    monkeypatch.setattr(LabelSet, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_cases(atlas, 2, out=disk)
    assert (disk / "own__two").exists()
    monkeypatch.undo()
    found = export_cases(atlas, 2, out=disk)
    assert (found.ticket, sorted(path.name for path in disk.iterdir())) == ("0001", ["own__one", "own__two"])


def test_a_case_that_left_the_store_is_not_handed_out(atlas: Atlas, tmp_path: Path) -> None:
    import shutil

    from suprem.volumes.store import write_index

    shutil.rmtree(tmp_path / "store/cases/own/two")
    write_index(tmp_path / "store")
    assert list(export_cases(Atlas.open(atlas.root), 1).folders) == ["own/one"]
    add_case(tmp_path / "store", "own/two", 2)
    write_index(tmp_path / "store")
    assert Atlas.open(atlas.root).cases == KEYS
    assert atlas.store.record("own/one").shape == SHAPE
