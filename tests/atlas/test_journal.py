"""The journal of an atlas."""

import multiprocessing
from pathlib import Path

import pytest

from suprem.atlas.journal import Journal
from suprem.errors import ConfigurationError, OutputError


def _append_many(path: Path, who: str) -> None:
    for number in range(50):
        Journal(path).append("look", who, number=number)


def test_two_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    context = multiprocessing.get_context("spawn")
    people = [context.Process(target=_append_many, args=(path, who)) for who in ("ann", "ben")]
    for person in people:
        person.start()
    for person in people:
        person.join()
    found = Journal(path).events("look")
    for who in ("ann", "ben"):
        assert [event.facts["number"] for event in found if event.user == who] == list(range(50))


def test_a_line_that_a_killed_process_began_does_not_count(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("look", "ann", case="a")
    with journal.path.open("ab") as file:
        file.write(b'{"kind":"look","ti')
    assert [event.facts["case"] for event in journal.events()] == ["a"]
    journal.append("look", "ann", case="b")
    assert [event.facts["case"] for event in journal.events()] == ["a", "b"]


def test_a_spoilt_line_is_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("look", "ann")
    journal.path.write_bytes(journal.path.read_bytes() + b"nonsense\n")
    with pytest.raises(ConfigurationError, match="line 2"):
        journal.events()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file stands where a folder"):
        Journal(tmp_path / "file" / "journal.jsonl").append("look", "ann")
