"""Ranking the cases of a round."""

import json
import re
from pathlib import Path

import pytest

from suprem.atlas import prioritise as module
from suprem.atlas.importance import Importance, Weights
from suprem.atlas.prioritise import prioritise
from suprem.atlas.ranking import read_attention, read_ranking, read_regions
from suprem.atlas.scores import LABELS, StructureScores
from suprem.atlas.workspace import Atlas
from suprem.cli import main
from suprem.errors import ConfigurationError
from tests.atlas.prioritise_cases import EXPERT, HOLE, MODELS, NEVER, NO_SPLEEN, SHAPE, make_atlas, organs, write_round


@pytest.fixture
def atlas(tmp_path: Path) -> Atlas:
    return make_atlas(tmp_path)


def test_planted_errors_come_first(atlas: Atlas) -> None:
    report = prioritise(atlas)
    folder = atlas.priority_folder(1)
    assert [row.case for row in read_ranking(folder)] == [row.case for row in report.ranking]
    assert [row.rank for row in report.ranking] == list(range(1, 12))
    assert {row.case for row in report.ranking[:2]} == {NO_SPLEEN, HOLE}
    assert report.reviewed == (EXPERT,)
    worst = {row.case: row.structures[0] for row in report.ranking[:2]}
    assert worst == {NO_SPLEEN: "spleen", HOLE: "liver"}
    reasons = {region.case: region.reason for region in read_regions(folder) if region.importance > 0}
    assert reasons[NO_SPLEEN] == "3 of 3 models see spleen here, the label does not"
    assert reasons[HOLE] == "the label of liver has a cavity; 1 of 3 models sees liver here"
    (region,) = [r for r in report.regions if r.case == HOLE]
    assert (24 <= region.x < 32, 8 <= region.y < 15, 7 <= region.z < 14) == (True, True, True)
    (absent,) = [r for r in report.regions if r.case == NEVER and r.structure == "spleen"]
    assert absent.reason == "nobody sees spleen, which most cases have; it should be about here"
    assert organs(6)["spleen"][absent.x, absent.y, absent.z]
    attention = read_attention(folder, HOLE, SHAPE)
    assert attention[region.x, region.y, region.z] == 255  # a cavity; by consistency alone it would be 183
    (event,) = atlas.journal.events("priority")
    assert (event.facts["round"], event.facts["cases"], event.facts["reviewed"]) == (1, 11, 1)


def test_an_exchanged_structure_is_a_region_where_it_lies(atlas: Atlas) -> None:
    spleen = StructureScores(0.0, 0.0, 0.0, 0.0, {LABELS: 30.0}, (8.6, 10.2, 99.0))
    found = Importance(4.0, {}, {"spleen": 4.0}, (), ("spleen",))
    (region,) = module._surprises(atlas, HOLE, found, {HOLE: {"spleen": spleen}})
    assert (region.x, region.y, region.z, region.volume_ml, region.importance) == (9, 10, SHAPE[2] - 1, 30.0, 4.0)
    assert region.reason == "spleen lies on the other side of its counterpart than in most cases"


def test_a_repeated_run_keeps_scores(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prioritise(atlas)
    path = atlas.priority_folder(1) / "scores" / f"{HOLE}.json"
    path.write_text(path.read_text()[:100])  # as if the disk had failed
    told = []
    second = prioritise(atlas, progress=told.append)
    assert [step.case for step in told] == list(second.scored) == [HOLE]
    assert len(second.kept) == 10
    assert (second.ranking, second.regions) == (first.ranking, first.regions)

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "score_case", stopped)
    assert prioritise(atlas).scored == ()  # nothing is scored again
    with pytest.raises(KeyboardInterrupt):
        prioritise(atlas, tolerance_mm=6.0)
    assert len(atlas.journal.events("priority")) == 3


def test_what_was_looked_at_in_this_round_is_left_out(atlas: Atlas) -> None:
    before = prioritise(atlas)
    facts = {"ticket": "t", "changed": {"spleen": {}}, "checked": ["liver"], "revision": 1, "case": NO_SPLEEN}
    folder = atlas.revision_folder(NO_SPLEEN, 1)
    folder.mkdir(parents=True)
    seen = atlas.labels(NO_SPLEEN)
    seen.write(folder)
    atlas.journal.append("revision", "ann", round=1, **facts)
    report = prioritise(atlas)
    assert report.reviewed == (NO_SPLEEN, EXPERT)
    assert len(report.ranking) == len(before.ranking) - 1
    half = {**facts, "case": HOLE, "checked": [], "changed": {"liver": {}}}
    folder = atlas.revision_folder(HOLE, 1)
    folder.mkdir(parents=True)
    seen.write(folder)
    atlas.journal.append("revision", "ann", round=1, **half)
    report = prioritise(atlas)
    assert report.scored == (HOLE,)
    assert {row.case: row.structures for row in report.ranking}.get(HOLE) in ((), ("spleen",))
    for number, key in enumerate(atlas.cases):
        write_round(atlas, 2, key, number)
    atlas.journal.append("ensemble", round=2, models=[{"name": name, "version": "2"} for name in MODELS], fusion="mean")
    assert prioritise(atlas).reviewed == (EXPERT,)  # a new round asks again
    assert prioritise(atlas, round=1).round == 1


def test_a_damaged_case_is_reported(atlas: Atlas, capsys: pytest.CaptureFixture[str]) -> None:
    (atlas.prediction_folder(1, MODELS[0], "own/c02") / "prediction.json").unlink()
    assert main(["atlas", "prioritise", str(atlas.root), "--json", "--top", "0"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert "predict again" in found["problems"]["own/c02"]
    assert len(found["ranking"]) == 10


def test_command_and_page(atlas: Atlas, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["atlas", "prioritise", str(atlas.root), "--top", "11", "--weights", "1,2,0.5"]) == 0
    out = capsys.readouterr().out
    assert "11 cases ranked, 11 scored, 0 scored before, 1 with nothing left" in out
    assert "3 of 3 models see spleen here, the label does not" in " ".join(out.split())
    page = (atlas.priority_folder(1) / "index.html").read_text()
    assert page.count("data:image/png") == 3  # the others have no place in doubt
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert "://" not in re.sub(r"data:image/png[^\"]*", "", page)
    assert page.index(f"1. {NO_SPLEEN}") < page.index(f"2. {HOLE}")


def test_bad_arguments(atlas: Atlas, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigurationError, match=r"no round 3; finished ones are \[1\]"):
        prioritise(atlas, round=3)
    empty = Atlas.create(tmp_path / "other", atlas.store_root, ["liver"])
    with pytest.raises(ConfigurationError, match="atlas ensemble"):
        prioritise(empty)
    assert main(["atlas", "prioritise", str(atlas.root), "--weights", "1,2"]) != 0
    assert "three numbers" in capsys.readouterr().err


def test_what_is_broken_in_many_cases_is_no_region(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    def reasons() -> list[str]:
        return [region.reason for region in prioritise(atlas).regions if region.case == HOLE]

    assert any("cavity" in reason for reason in reasons())
    monkeypatch.setattr("suprem.atlas.importance._COMMON_BITS", 99.0)  # nothing is rare enough
    assert not any("cavity" in reason for reason in reasons())


def test_weights_change_the_ranking_only(atlas: Atlas) -> None:
    prioritise(atlas)
    reports = [prioritise(atlas, weights=Weights(0.0, weight, 0.0)) for weight in (1.0, 2.0)]
    assert reports[0].scored == reports[1].scored == ()
    once, twice = (row for report in reports for row in report.ranking if row.case == HOLE)
    assert once.consistency == twice.consistency > 0
    # Squares add up, and what the hole adds as a cavity has no weight.
    assert twice.importance**2 - once.importance**2 == pytest.approx(3 * once.consistency**2)


def test_jobs(atlas: Atlas, tmp_path: Path) -> None:
    alone = prioritise(atlas)
    other = make_atlas(tmp_path / "again")
    assert prioritise(other, jobs=2).ranking == alone.ranking
