"""Two people, one case."""

import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest

from suprem.atlas._review_conflicts import conflict_folder
from suprem.atlas.label_set import LabelSet
from suprem.atlas.review import export_cases, import_case, open_conflicts, resolve
from suprem.atlas.workspace import Atlas
from suprem.errors import ConfigurationError, UnknownNameError, VolumeError
from suprem.volumes.geometry import Volume
from suprem.volumes.store import write_case, write_index
from tests.atlas.review_cases import AFFINE, SHAPE, add_case, masks_of, random_masks, review_atlas, save

KEY = "own/two"
PEOPLE = ("ben", "cat", "dan", "eve")


@pytest.fixture
def atlas(tmp_path: Path) -> Atlas:
    return review_atlas(tmp_path)


def _copies(atlas: Atlas, tmp_path: Path, edits: dict[str, dict[str, np.ndarray]]) -> dict[str, Path]:
    """One hand-out, changed by several people on their own machines."""
    folder = export_cases(atlas, 1).folders[KEY]
    handed = masks_of(atlas.labels(KEY))
    found = {}
    for person, masks in edits.items():
        found[person] = Path(shutil.copytree(folder, tmp_path / person))
        save(found[person], {**handed, **masks})
    return found


def test_the_second_is_kept_and_does_not_win(atlas: Atlas, tmp_path: Path) -> None:
    edits = {"ben": random_masks(1, ("aorta",)), "cat": random_masks(2, ("aorta", "liver"))}
    folders = _copies(atlas, tmp_path, edits)
    import_case(atlas, folders["ben"], user="ben")
    found = import_case(atlas, folders["cat"], user="cat", note="leak")
    assert (found.revision, list(found.changed)) == (2, ["liver"])  # what nobody else has touched is accepted
    assert (found.conflicts, list(found.conflicting)) == ({1: "revised"}, ["aorta"])
    assert np.array_equal(atlas.labels(KEY).mask("aorta"), edits["ben"]["aorta"])
    assert np.array_equal(atlas.labels(KEY).mask("liver"), edits["cat"]["liver"])
    kept = LabelSet.read(conflict_folder(atlas, KEY, 1))
    assert np.array_equal(kept.mask("aorta"), edits["cat"]["aorta"])
    (waiting,) = open_conflicts(atlas)
    assert (waiting.case, waiting.user, waiting.note, list(waiting.changed)) == (KEY, "cat", "leak", ["aorta"])
    assert import_case(atlas, folders["cat"], user="cat").repeated
    assert import_case(atlas, folders["ben"], user="ben").repeated
    assert len(open_conflicts(atlas)) == 1


@pytest.mark.parametrize("take", [True, False])
def test_a_decision(atlas: Atlas, tmp_path: Path, take: bool) -> None:
    edits = {"ben": random_masks(1, ("aorta",)), "cat": random_masks(2, ("aorta",))}
    for person, folder in _copies(atlas, tmp_path, edits).items():
        import_case(atlas, folder, user=person)
    with pytest.raises(ConfigurationError, match="no open conflict 2; open are: 1"):
        resolve(atlas, KEY, 2, take=take)
    assert resolve(atlas, KEY, 1, take=take, user="ann", note="seen") == (2 if take else None)
    winner = "cat" if take else "ben"
    assert np.array_equal(atlas.labels(KEY).mask("aorta"), edits[winner]["aorta"])
    assert atlas.provenance(KEY)["aorta"].by == winner
    assert open_conflicts(atlas) == ()
    with pytest.raises(ConfigurationError, match="open are: none"):
        resolve(atlas, KEY, 1, take=take)
    assert np.array_equal(LabelSet.read(conflict_folder(atlas, KEY, 1)).mask("aorta"), edits["cat"]["aorta"])


def test_two_who_agree_and_two_with_different_structures(atlas: Atlas, tmp_path: Path) -> None:
    aorta = random_masks(1, ("aorta",))
    edits = {"ben": aorta, "cat": {**aorta, **random_masks(3, ("liver_tumor",))}, "dan": random_masks(4, ("liver",))}
    for person, folder in _copies(atlas, tmp_path, edits).items():
        assert import_case(atlas, folder, user=person).conflicts == {}
    assert atlas.revisions(KEY) == (1, 2, 3)


def test_an_older_hand_out(atlas: Atlas) -> None:
    first = export_cases(atlas, cases=[KEY]).folders[KEY]
    second = export_cases(atlas, cases=[KEY], again=True).folders[KEY]
    handed = masks_of(atlas.labels(KEY))
    save(second, {**handed, **random_masks(1, ("aorta",))})
    import_case(atlas, second, user="ben")
    third = export_cases(atlas, cases=[KEY], again=True).folders[KEY]
    save(first, {**handed, **random_masks(2, ("aorta",))})
    assert import_case(atlas, first, user="ben").conflicts == {1: "revised"}  # the same person, but older labels
    save(third, {**masks_of(atlas.labels(KEY)), **random_masks(3, ("aorta",))})
    assert import_case(atlas, third, user="cat").conflicts == {}  # has seen the first revision


def test_labels_of_experts_stay(atlas: Atlas, tmp_path: Path) -> None:
    spleen = random_masks(1, ("spleen",))
    (folder,) = _copies(atlas, tmp_path, {"ben": spleen}).values()
    before = atlas.labels(KEY).mask("spleen")
    found = import_case(atlas, folder, user="ben")
    assert (found.revision, found.conflicts) == (None, {1: "expert"})
    assert np.array_equal(atlas.labels(KEY).mask("spleen"), before)
    assert np.array_equal(LabelSet.read(conflict_folder(atlas, KEY, 1)).mask("spleen"), spleen["spleen"])
    with pytest.raises(ConfigurationError, match="always count"):
        resolve(atlas, KEY, 1, take=True)
    resolve(atlas, KEY, 1, take=False)
    assert open_conflicts(atlas) == ()


def test_a_case_that_left_the_store(atlas: Atlas, tmp_path: Path) -> None:
    aorta = random_masks(1, ("aorta",))
    (folder,) = _copies(atlas, tmp_path, {"ben": aorta}).values()
    shutil.rmtree(tmp_path / f"store/cases/{KEY}")
    write_index(tmp_path / "store")
    found = import_case(Atlas.open(atlas.root), folder, user="ben")
    assert found.revision == 1
    assert "no longer in the store" in found.warnings[0]
    with pytest.raises(UnknownNameError):
        Atlas.open(atlas.root).labels(KEY)
    add_case(tmp_path / "store", KEY, 2)
    write_index(tmp_path / "store")
    assert np.array_equal(Atlas.open(atlas.root).labels(KEY).mask("aorta"), aorta["aorta"])


def test_a_case_that_was_prepared_again_on_another_grid(atlas: Atlas, tmp_path: Path) -> None:
    (folder,) = _copies(atlas, tmp_path, {"ben": random_masks(1, ("aorta",))}).values()
    larger = (SHAPE[0] + 1, *SHAPE[1:])
    ct = Volume(np.zeros(larger, dtype=np.int16), AFFINE)
    facts = {"scan": KEY, "subject": "", "split": None, "original_shape": larger, "original_affine": AFFINE}
    write_case(tmp_path / "store", dataset="own", case="two", ct=ct, **facts)  # type: ignore[arg-type]
    write_index(tmp_path / "store")
    found = import_case(Atlas.open(atlas.root), folder, user="ben")
    assert (found.revision, found.conflicts) == (None, {1: "grid"})
    with pytest.raises(VolumeError, match="another grid"):
        resolve(Atlas.open(atlas.root), KEY, 1, take=True)


def _import(root: Path, folder: Path, person: str) -> None:
    import_case(Atlas.open(root), folder, user=person)


def test_several_processes_at_once(atlas: Atlas, tmp_path: Path) -> None:
    edits = {person: random_masks(number, ("aorta", "liver")) for number, person in enumerate(PEOPLE)}
    folders = _copies(atlas, tmp_path, edits)
    context = multiprocessing.get_context("forkserver")
    processes = [context.Process(target=_import, args=(atlas.root, folders[p], p)) for p in PEOPLE]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(PEOPLE)
    (revision,) = [e for e in atlas.journal.events("revision") if e.facts["revision"] is not None]
    first = edits[revision.user]
    assert all(np.array_equal(atlas.labels(KEY).mask(name), mask) for name, mask in first.items())
    waiting = open_conflicts(atlas)
    assert sorted(c.conflict for c in waiting) == [1, 2, 3]
    for conflict in waiting:
        kept = LabelSet.read(conflict_folder(atlas, KEY, conflict.conflict))
        assert all(np.array_equal(kept.mask(name), mask) for name, mask in edits[conflict.user].items())
    assert {revision.user, *(c.user for c in waiting)} == set(PEOPLE)
