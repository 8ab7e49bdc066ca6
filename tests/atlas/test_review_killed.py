"""A full disk, and imports that are killed anywhere: nothing accepted is lost, and the next run completes."""

import random
import resource
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suprem.atlas.journal import OpenJournal
from suprem.atlas.label_set import LabelSet
from suprem.atlas.review import export_cases, import_case, open_conflicts
from suprem.atlas.workspace import Atlas
from suprem.errors import OutputError
from tests import children
from tests.atlas.review_cases import masks_of, random_masks, review_atlas, save
from tests.faults.injection import die_at_call

KEY = "own/two"
KILLS = 10


@pytest.fixture
def atlas(tmp_path: Path) -> Atlas:
    return review_atlas(tmp_path)


@contextmanager
def _files_of_at_most(size: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def _visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_full_disk_while_handing_out(atlas: Atlas, tmp_path: Path) -> None:
    for out in (None, tmp_path / "disk"):
        with _files_of_at_most(100), pytest.raises(OutputError, match="No space is left"):
            export_cases(atlas, 1, out=out)
        assert _visible(atlas.root / "review") == _visible(tmp_path / "disk") == []
    assert atlas.journal.events("export") == ()
    assert list(export_cases(atlas, 1).folders) == [KEY]


def test_full_disk_while_taking_back(atlas: Atlas) -> None:
    folder = export_cases(atlas, 1).folders[KEY]
    masks = random_masks(1)
    save(folder, masks)
    before = atlas.journal.path.read_bytes()
    # The labels take less than 3 kB; the journal is longer than that.
    padding = {"text": "x" * 4000}
    atlas.journal.append("note", **padding)
    noted = atlas.journal.path.read_bytes()
    for size in (100, len(noted) + 10):
        with _files_of_at_most(size), pytest.raises(OutputError, match="No space is left"):
            import_case(atlas, folder, user="ben")
        assert atlas.revisions(KEY) == ()
        assert [e.kind for e in atlas.journal.events()] == ["ensemble", "export", "note"]
    assert import_case(atlas, folder, user="ben").revision == 1
    assert all(np.array_equal(atlas.labels(KEY).mask(name), mask) for name, mask in masks.items())
    assert atlas.journal.path.read_bytes().startswith(before)


@pytest.mark.parametrize("last", ["conflict", "revision"])
def test_killed_before_an_event(atlas: Atlas, last: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders without an event do not count, and are replaced."""
    folder = export_cases(atlas, 1).folders[KEY]
    handed = masks_of(atlas.labels(KEY))
    save(folder, {**handed, **random_masks(1, ("spleen", "aorta"))})
    append = OpenJournal.append

    def interrupted(journal: OpenJournal, kind: str, *args: Any, **facts: Any) -> Any:
        if kind == last:
            raise KeyboardInterrupt
        return append(journal, kind, *args, **facts)

    monkeypatch.setattr(OpenJournal, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        import_case(atlas, folder, user="ben")
    assert atlas.revisions(KEY) == ()
    assert np.array_equal(atlas.labels(KEY).mask("aorta"), handed["aorta"])
    monkeypatch.undo()
    save(folder, {**handed, **random_masks(2, ("spleen", "aorta"))})  # the person went on meanwhile
    found = import_case(atlas, folder, user="ben")
    assert found.revision == 1
    assert np.array_equal(atlas.labels(KEY).mask("aorta"), random_masks(2, ("spleen", "aorta"))["aorta"])
    assert len(open_conflicts(atlas)) == (2 if last == "revision" else 1)  # what was recorded stays


def _import_all(root: Path, folders: list[tuple[str, Path]], fatal: int, calls: Path) -> None:
    """Imports; ends by a kill at one of the function calls, counted from 1."""
    opened = Atlas.open(root)
    count = die_at_call(fatal)
    for person, folder in folders:
        import_case(opened, folder, user=person)
    sys.setprofile(None)
    calls.write_text(str(count[0]))


def _facts(atlas: Atlas) -> list[dict[str, Any]]:
    return [{"kind": e.kind, "user": e.user, **e.facts} for e in atlas.journal.events()]


def _content(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.mark.slow
def test_killed_anywhere(atlas: Atlas, tmp_path: Path) -> None:
    handed = export_cases(atlas, 2, out=tmp_path / "disk").folders
    folders = []
    for number, (person, case) in enumerate((("ben", KEY), ("cat", KEY), ("ben", "own/one"))):
        folder = Path(shutil.copytree(handed[case], tmp_path / f"{number}"))
        save(folder, {**masks_of(atlas.labels(case)), **random_masks(number, ("spleen", "aorta", "liver"))})
        folders.append((person, folder))
    calls = tmp_path / "calls.txt"

    def start(root: Path, fatal: int) -> int:
        return children.run(_import_all, root, folders, fatal, calls)

    undisturbed, root = tmp_path / "undisturbed", tmp_path / "disturbed"
    shutil.copytree(atlas.root, undisturbed)
    assert start(undisturbed, 0) == 0
    expected = _facts(Atlas.open(undisturbed))
    assert [facts["kind"] for facts in expected].count("conflict") == 4  # the spleen three times, and cat's
    rng, count = random.Random(7), int(calls.read_text())
    moments: set[str] = set()
    for part in range(KILLS):  # one moment in each of as many parts of the run
        first = part * count // KILLS + 1
        fatal = rng.randint(first, max(first, (part + 1) * count // KILLS))
        shutil.copytree(atlas.root, root)
        assert start(root, fatal) == -signal.SIGKILL
        killed = Atlas.open(root)
        accepted = killed.journal.events("revision")
        moments.add(f"{len(accepted)} {len(killed.journal.events('conflict'))}")
        for event in accepted:
            if event.facts["revision"] is not None:
                labels = LabelSet.read(killed.revision_folder(event.facts["case"], event.facts["revision"]))
                assert set(labels.structures) == set(event.facts["changed"])
        for case in killed.cases:
            killed.labels(case)  # readable at every moment
        assert start(root, 0) == 0
        assert _facts(Atlas.open(root)) == expected
        assert _content(root / "revisions") == _content(undisturbed / "revisions")
        shutil.rmtree(root)
    assert len(moments) >= 4  # kills before, between and after events
