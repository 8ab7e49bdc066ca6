"""The queue, the rule to stop, and the commands."""

import json
from pathlib import Path

import numpy as np
import pytest

from suprem.atlas.review import export_cases, import_case, review_rows, stop_report
from suprem.atlas.workspace import Atlas
from suprem.cli import main
from suprem.errors import ConfigurationError
from tests.atlas.review_cases import SHAPE, finish_round, masks_of, random_masks, review_atlas, save


@pytest.fixture
def atlas(tmp_path: Path) -> Atlas:
    return review_atlas(tmp_path)


def test_queue(atlas: Atlas) -> None:
    folders = export_cases(atlas, 2, to="ben", user="ann").folders
    save(folders["own/two"], {**masks_of(atlas.labels("own/two")), **random_masks(1, ("aorta", "spleen"))})
    import_case(atlas, folders["own/two"], user="ben", minutes=3)
    first, second = review_rows(atlas)
    assert (first.case, first.to, first.reviewed_by, first.minutes) == ("own/two", "ben", ("ben",), 3)
    assert (set(first.changed), first.conflicts) == ({"aorta", "spleen"}, (1,))
    assert (second.case, second.reviewed_by, second.minutes, second.changed) == ("own/one", (), None, {})


def _nudged(mask: np.ndarray, voxels: int) -> np.ndarray:
    """Some voxels more."""
    result = mask.copy()
    free = np.argwhere(~mask)[:voxels]
    result[tuple(free.T)] = True
    return result


def test_stop_rule(atlas: Atlas) -> None:
    report = stop_report(atlas)
    assert (report.met, report.reviewed, report.needed, report.share) == (False, 0, 3, 0.0)
    folders = export_cases(atlas, 3).folders
    for number, (case, folder) in enumerate(folders.items()):
        masks = masks_of(atlas.labels(case))
        # A voxel has 0.012 ml, an aorta about 110 voxels: many small changes, one large, and one none.
        save(folder, {**masks, "aorta": _nudged(masks["aorta"], (4, 100, 0)[number])})
        report = stop_report(atlas)
        assert (report.met, report.reviewed, report.outstanding) == (False, number, 3 - number)
        import_case(atlas, folder, user="ben", minutes=2)
    report = stop_report(atlas)
    assert (report.met, report.major, report.outstanding, report.minutes) == (False, ("own/one",), 0, 6)
    assert "1 of 3 reviewed cases of round 1 had a major revision" in report.text
    assert stop_report(atlas, max_share=0.4).met
    assert stop_report(atlas, major_ml=1.3).met  # 1.2 ml were added
    assert stop_report(atlas, major_dsc=0.6).met
    assert stop_report(atlas, major_dsc=1.0, major_ml=0.0).major == ("own/two", "own/one")
    finish_round(atlas, 2)
    assert stop_report(atlas).reviewed == 0
    assert stop_report(atlas, round=1).reviewed == 3
    for options in ({"major_dsc": 1.5}, {"major_ml": -1}, {"min_cases": 0}, {"max_share": 2}):
        with pytest.raises(ConfigurationError, match="must be"):
            stop_report(atlas, **options)  # type: ignore[arg-type]


def test_commands(atlas: Atlas, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    review, root = ["atlas", "review"], str(atlas.root)
    assert main([*review, "export", root, "-k", "1", "--to", "ben", "-o", str(tmp_path / "disk"), "--json"]) == 0
    folder = Path(json.loads(capsys.readouterr().out)["folders"]["own/two"])
    assert main([*review, "export", root, "--case", "own/one"]) == 0
    assert "ticket 0002: 1 cases of round 1" in capsys.readouterr().out
    save(folder, {**masks_of(atlas.labels("own/two")), **random_masks(1, ("aorta", "spleen"))})
    broken = tmp_path / "broken"
    broken.mkdir()
    line = [*review, "import", root, str(broken), str(folder), "--user", "ben", "--minutes", "8", "--note", "leak"]
    assert main(line) == 1  # one of two cannot be read; the other one is imported
    out, err = capsys.readouterr()
    assert "own/two: revision 1: aorta (DSC 0." in out
    assert "conflict 1 kept: the dataset's own labels count" in out
    assert "holds no ticket.json" in err
    assert main([*review, "import", root, str(folder), "--user", "ben"]) == 0
    assert "imported before" in capsys.readouterr().out
    assert main([*review, "import", root, str(folder), str(broken), "--file", str(folder / "x.nrrd")]) == 2
    assert "--file is for one folder" in capsys.readouterr().err
    assert main([*review, "status", root]) == 0
    out = capsys.readouterr().out
    assert "conflict 1 of own/two: spleen by ben" in out
    assert "1 of 1 reviewed cases of round 1 had a major revision, at most 0% may: review at least 3." in out
    assert main([*review, "resolve", root, "own/two"]) == 2
    assert main([*review, "resolve", root, "own/two", "--take", "1"]) == 2
    assert "always count" in capsys.readouterr().err
    assert main([*review, "resolve", root, "own/two", "--drop", "1"]) == 0
    capsys.readouterr()
    assert main([*review, "status", root, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (len(found["queue"]), found["conflicts"], found["stop"]["met"]) == (2, [], False)
    assert found["queue"][0]["minutes"] == 4
    assert main(["atlas", "status", root, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["revisions"] == 1
    assert atlas.store.record("own/two").shape == SHAPE
