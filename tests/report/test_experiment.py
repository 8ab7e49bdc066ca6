"""Folders of experiments: what is read, what is refused, what is said about the claim, and what is drawn."""

import csv
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from suprem.cli import main
from suprem.errors import ConfigurationError
from suprem.report.experiment_claims import effects, verdict
from suprem.report.experiment_figures import draw, svg
from suprem.report.experiment_reading import read_experiment
from suprem.report.experiment_report import report_on

HEAD = "start,group,metric,mean,sd,n,p_value,test,note\n"
ITEM: dict[str, Any] = {
    "title": "Table 9",
    "claim": "Pre-training helps.",
    "source": "nowhere",
    "kind": "table",
    "keys": ["start", "group"],
    "rows": ["start"],
    "columns": ["group"],
    "series": ["start"],
    "panels": ["group"],
    "metrics": {"dsc": {"label": "DSC", "unit": "percent"}},
    "comparison": {
        "key": "start",
        "of": "pre",
        "against": "scratch",
        "otherwise": "pre-training did not help here",
    },
}
EXPECTED = HEAD + "scratch,a,dsc,50,1,3,,,\npre,a,dsc,60,1,3,<=0.05,t,\nscratch,b,dsc,,,,,,drawn only\n"
CURVE = {
    "kind": "curve",
    "x": "group",
    "rows": ["start"],
    "columns": ["group"],
    "panels": [],
    "scale": "log",
}
HOSTILE = "<b>$x_1$ & a|b_*c* \\\\ %"


def _folder(root: Path, expected: str = EXPECTED, results: str | None = None, **changes: Any) -> Path:
    root.mkdir(exist_ok=True)
    (root / "item.yaml").write_text(yaml.safe_dump({**ITEM, **changes}), encoding="utf-8")
    (root / "expected.csv").write_text(expected, encoding="utf-8")
    if results is not None:
        (root / "results.csv").write_text(results, encoding="utf-8")
    return root


def _results(*pairs: tuple[float, float, str]) -> str:
    """Groups of two runs: mean from scratch, mean pre-trained, p-value."""
    lines = [HEAD.strip()]
    for place, (scratch, pre, p_value) in enumerate(pairs):
        lines.append(f"scratch,{place},dsc,{scratch},1,2,,,")
        lines.append(f"pre,{place},dsc,{pre},1,2,{p_value},{'Welch t' if p_value else ''},")
    return "\n".join(lines) + "\n"


def test_both_tables_are_read(tmp_path: Path) -> None:
    experiment = read_experiment(_folder(tmp_path / "one", results=HEAD + "scratch,a,dsc,40.5,2,4,,,\n"))
    assert experiment.name == "one"
    assert [(row.line, row.mean, row.p_value) for row in experiment.expected] == [
        (2, 50.0, None),
        (3, 60.0, "<=0.05"),
        (4, None, None),
    ]
    assert experiment.results is not None
    assert experiment.results[0].n == 4


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ("start,group,metric,mean,sd,n,p_value,test,notes\n", "line 1: Unknown column 'notes'; did you mean 'note'"),
        ("start,metric,mean,sd,n,p_value,test,note\n", "line 1 lacks the columns .'group'."),
        ("start,start,group,metric,mean,sd,n,p_value,test,note\n", "is there twice"),
        ("", "line 1 lacks the columns"),
        (HEAD + "scratch,a,dsc,1,,,,,\n\nscratch,a,dsc,2,,,,,\n", "line 4 has the same keys as line 2"),
        (HEAD + "scratch,a,dice,1,,,,,\n", "line 2: Unknown metric 'dice'"),
        (HEAD + "scratch,a,dsc,many,,,,,\n", "line 2: mean is 'many'; write a number"),
        (HEAD + "scratch,a,dsc,nan,,,,,\n", "line 2: mean is nan"),
        (HEAD + "scratch,a,dsc,101,,,,,\n", "at most 100"),
        (HEAD + "scratch,a,dsc,1,-1,2,,,\n", "sd is -1"),
        (HEAD + "scratch,a,dsc,1,,1.5,,,\n", "n is '1.5'"),
        (HEAD + "scratch,a,dsc,1,,0,,,\n", "n is '0'"),
        (HEAD + "scratch,a,dsc,,,,,,\n", "say in its note why"),
        (HEAD + "scratch,a,dsc,,1,,,,why\n", "no mean but a deviation"),
        (HEAD + "pre,a,dsc,1,,2,2,t,\n", "outside .0, 1."),
        (HEAD + "pre,a,dsc,1,,2,tiny,t,\n", "'tiny' is no p-value"),
        (HEAD + "pre,a,dsc,1,,2,0.01,,\n", "names no test"),
        (HEAD + "pre,a,dsc,1,,1,0.01,t,\n", "n is 1; a deviation or a test needs two runs"),
        (HEAD + "pre,a,dsc,1,,\n", "line 2 has 6 cells, the header 9"),
        (HEAD + 'pre,"a\n\nb",dsc,1,,,,,\npre,c,dsc,x,,,,,\n', "line 5: mean is 'x'"),
        (HEAD + 'pre,"a"b,dsc,1,,,,,\n', "Write it with a CSV library"),
    ],
)
def test_wrong_tables_are_refused_with_the_place(tmp_path: Path, results: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        read_experiment(_folder(tmp_path, results=results))
    assert "results.csv" in str(caught.value)


@pytest.mark.parametrize(("pre", "warned"), [("0.9", True), ("90", False)])
def test_fractions_where_percent_are_meant_are_noticed(
    tmp_path: Path, pre: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    read_experiment(_folder(tmp_path, results=HEAD + f"scratch,a,dsc,0.5,,,,,\npre,a,dsc,{pre},,,,,\n"))
    assert ("multiply by 100" in caplog.text) == warned


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "pie"}, "must be one of"),
        ({"colour": "red"}, "unknown keys"),
        ({"rows": ["start", "group"]}, "must name each of"),
        ({"series": ["begin"]}, "Unknown key 'begin'"),
        ({"x": "group"}, "a curve, and only it, needs x"),
        ({**CURVE, "x": None}, "needs each key in series"),
        ({"keys": ["start", "mean"], "columns": ["mean"], "panels": []}, "may not be called"),
        ({"metrics": {}}, "name each once"),
    ],
)
def test_wrong_descriptions_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        read_experiment(_folder(tmp_path, **changes))
    assert "item.yaml" in str(caught.value)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"item.yaml does not exist"):
        read_experiment(tmp_path)
    (_folder(tmp_path) / "item.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="is no YAML"):
        read_experiment(tmp_path)
    (_folder(tmp_path) / "expected.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        read_experiment(tmp_path)


@pytest.mark.parametrize(
    ("pairs", "outcome", "said"),
    [
        ([(50, 60, "0.01"), (50, 55, "0.3")], "holds", "holds in all comparisons."),
        ([(50, 60, "0.01"), (50, 55, "0.3"), (50, 49, "0.9")], "holds", "holds in most comparisons."),
        ([(50, 51, "0.5"), (50, 49, "0.6")], "not found", "not found: pre-training did not help here."),
        ([(50, 51, "0.5"), (50, 52, "0.06")], "not found", "significantly better in 0 and significantly worse in 0"),
        ([(60, 50, "0.001"), (60, 40, "0.001")], "not found", "worse in 2; of 2 that were tested"),
        ([(50, 60, "0.01"), (60, 50, "0.01"), (50, 51, "")], "mixed", "1 without a test"),
        ([(50, 60, ""), (50, 61, "")], "holds", "though nothing was tested"),
        ([(60, 50, "")], "not found", "pre-training did not help here"),
        ([(50, 50, "1")], "not found", "better than scratch in 0 of 1 comparisons, worse in 0"),
    ],
)
def test_the_claim_is_judged_by_the_rows(
    tmp_path: Path, pairs: list[tuple[float, float, str]], outcome: str, said: str
) -> None:
    report = report_on(_folder(tmp_path, results=_results(*pairs)))
    assert report.here is not None
    assert report.here.outcome == outcome
    assert said in report.here.text
    assert report.paper.outcome == "holds"


def test_a_result_against_the_claim_is_said_in_every_file(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "item", results=_results((60, 50, "0.001")))
    assert main(["report", str(folder), "-o", str(tmp_path / "out")]) == 0
    for name in ("table.md", "table.html"):
        text = (tmp_path / "out" / "item" / name).read_text(encoding="utf-8")
        assert "pre-training did not help here" in text
        assert "In the paper: pre is better than scratch in 1 of 1 comparisons" in text
    assert r"-10.0\textsuperscript" not in (tmp_path / "out" / "item" / "table.tex").read_text(encoding="utf-8")
    assert r"$-10.0$\textsuperscript{***}" in (tmp_path / "out" / "item" / "table.tex").read_text(encoding="utf-8")


def test_single_runs_are_not_tested_and_it_is_said_why(tmp_path: Path) -> None:
    report = report_on(_folder(tmp_path, results=HEAD + "scratch,a,dsc,40,,1,,,\npre,a,dsc,45,,1,,,\n"))
    assert report.here is not None
    assert "1 without a test: a single run (n < 2) has no spread." in report.here.text
    assert not any(getattr(cell, "mark", "") for row in report.tables[0].rows if "here" in row for cell in row)


def test_less_may_be_better_and_the_least_is_compared_with_the_most(tmp_path: Path) -> None:
    changes = {
        **CURVE,
        "metrics": {"hours": {"label": "time", "unit": "hours", "better": "lower"}},
        "comparison": {**ITEM["comparison"], "least_against_most": "group"},
    }
    lines = ["scratch,10,hours,5", "scratch,1000,hours,9", "pre,2,hours,4", "pre,20,hours,30"]
    experiment = read_experiment(_folder(tmp_path, HEAD + "".join(f"{line},,,,,\n" for line in lines), **changes))
    (found,) = effects(experiment.item, experiment.expected)
    assert (found.of.keys["group"], found.against.keys["group"], found.gain) == ("2", "1000", 5.0)
    assert verdict(experiment.item, [found]).outcome == "holds"


def test_rows_left_out_are_not_counted(tmp_path: Path) -> None:
    changes = {"comparison": {**ITEM["comparison"], "leave_out": ["1"]}}
    report = report_on(_folder(tmp_path, results=_results((50, 60, ""), (60, 50, "")), **changes))
    assert report.here is not None
    assert "in 1 of 1 comparisons" in report.here.text


def test_ours_beside_the_papers_with_the_difference(tmp_path: Path) -> None:
    report = report_on(_folder(tmp_path, results=HEAD + "pre,a,dsc,57.5,2,4,,,\npre,b,dsc,,,,,,no data\n"))
    lines = report.tables[0].markdown().splitlines()
    assert "| start | source | a | b |" in lines
    assert r"| scratch | paper | 50.0 ± 1.0 | not printed \[1\] |" in lines
    assert r"| pre | paper | 60.0 ± 1.0 \* |  |" in lines
    assert r"| pre | here | 57.5 ± 2.0 | not run \[2\] |" in lines
    assert "| pre | here - paper | -2.5 |  |" in lines
    assert r"\[2\] no data" in lines


def test_rows_of_one_kind_stand_together(tmp_path: Path) -> None:
    lines = ["u,scratch", "v,scratch", "u,pre", "v,pre"]
    head = HEAD.replace("start,group", "group,start")
    expected = head + "".join(f"{line},dsc,50,,,,,\n" for line in lines)
    folder = _folder(tmp_path, expected, head + "u,other,dsc,40,,,,,\n", rows=["group", "start"], columns=[])
    table = report_on(folder).tables[0]
    assert [row[:3] for row in table.rows] == [
        ["u", "scratch", "paper"],
        ["u", "pre", "paper"],
        ["u", "other", "here"],
        ["v", "scratch", "paper"],
        ["v", "pre", "paper"],
    ]
    assert table.columns == ["group", "start", "source", "DSC, %"]


def test_files_and_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _folder(tmp_path / "a")
    _folder(tmp_path / "b", results=_results((50, 60, "0.01")), title="Another")
    (tmp_path / "other").mkdir()
    folders = [str(tmp_path / name) for name in ("a", "b", "other")]
    assert main(["report", *folders, "-o", str(tmp_path / "out")]) == 0
    assert "Not run: there is no results.csv." in capsys.readouterr().out
    names = ["figure.png", "figure.svg", "table.csv", "table.html", "table.md", "table.tex"]
    assert sorted(path.name for path in (tmp_path / "out" / "a").iterdir()) == names
    assert 'href="b/table.html"' in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "| Another | b | holds | holds |" in (tmp_path / "out" / "index.md").read_text(encoding="utf-8")
    with (tmp_path / "out" / "b" / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["paper_mean"], row["here_mean"]) for row in rows[:2]] == [("50.0", ""), ("60.0", "")]


@pytest.mark.parametrize("names", [["missing"], ["other"], ["one/a", "two/a"]])
def test_folders_that_cannot_be_reported(tmp_path: Path, names: list[str]) -> None:
    for name in ("other", "one", "two"):
        (tmp_path / name).mkdir()
    for name in ("one/a", "two/a"):
        _folder(tmp_path / name)
    assert main(["report", *(str(tmp_path / name) for name in names), "-o", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


ROC_HEAD = HEAD.strip() + ",x,y\n"
ROC = {"kind": "roc", "metrics": {"auc": {"label": "AUC", "unit": "fraction"}}, "comparison": None}


@pytest.mark.parametrize(
    ("changes", "expected", "results", "panels"),
    [
        # Panel a has the paper's numbers, b none, 0 and 1 ours.
        ({}, EXPECTED, _results((50, 60, "0.01"), (30, 40, "")), {"a": 2, "b": 0, "0": 2, "1": 2}),
        ({}, EXPECTED, None, {"a": 2, "b": 0}),
        (CURVE, HEAD + "pre,1,dsc,50,,,,,\npre,9,dsc,6,5,3,,,\n", HEAD + "pre,5,dsc,1,,,,,\n", {"paper": 1, "here": 1}),
        (CURVE, HEAD + "pre,1,dsc,,,,,,drawn only\n", HEAD + "pre,5,dsc,1,,,,,\n", {"here": 1}),
        (CURVE, HEAD + "pre,1,dsc,,,,,,drawn only\n", None, {"": 0}),
        (ROC, ROC_HEAD + "pre,a,auc,,,,,,drawn only,,\n", None, {"a": 0}),
        (ROC, ROC_HEAD, ROC_HEAD + "pre,a,roc,,,,,,,0,0\npre,a,roc,,,,,,,0.2,0.9\n", {"a: here": 1}),
    ],
)
def test_figures(
    tmp_path: Path, changes: dict[str, Any], expected: str, results: str | None, panels: dict[str, int]
) -> None:
    figure = draw(read_experiment(_folder(tmp_path, expected, results, **changes)))
    chance = 1 if changes.get("kind") == "roc" else 0
    shown = [axes for axes in figure.axes if axes.axison]
    assert {axes.get_title(): len(axes.lines) - chance - 2 * _bars(axes) for axes in shown} == panels
    for axes in shown:
        empty = any("no numbers are printed in the paper" in text.get_text() for text in axes.texts)
        assert empty == (panels[axes.get_title()] == 0)


def _bars(axes: Any) -> int:
    """Error bars, each of which has two lines for its caps."""
    return sum(container.has_xerr or container.has_yerr for container in axes.containers)


def test_a_drawing_is_well_formed_and_always_the_same(tmp_path: Path) -> None:
    experiment = read_experiment(_folder(tmp_path, results=_results((50, 60, "0.01"))))
    first = svg(draw(experiment))
    assert ET.fromstring(first).tag.endswith("svg")
    assert svg(draw(experiment)) == first


def test_marks_and_the_area_stand_in_the_figure(tmp_path: Path) -> None:
    expected = HEAD + "pre,a,dsc,60,1,3,<=0.05,t,\n"
    results = _results((50, 60, "0.0005"), (50, 51, "0.5"))
    figure = draw(read_experiment(_folder(tmp_path / "a", expected, results)))
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["*", "***", "ns"]
    results = ROC_HEAD + "pre,a,auc,0.8125,,,,,,,\npre,a,roc,,,,,,,0,0\npre,a,roc,,,,,,,1,1\n"
    figure = draw(read_experiment(_folder(tmp_path / "b", ROC_HEAD, results, **ROC)))
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["pre: AUC 0.812"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("pre,a,roc,,,,,,,0.5,", "rows 'roc', and only they, need both"),
        ("pre,a,auc,0.5,,,,,,0.5,0.5", "rows 'roc', and only they, need both"),
        ("pre,a,roc,0.5,,,,,,0.5,0.5", "write the area as a metric"),
        ("pre,a,roc,,,,,,,1.5,0.5", "x is 1.5"),
    ],
)
def test_wrong_points_are_refused(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_experiment(_folder(tmp_path, ROC_HEAD + line + "\n", **ROC))


def test_a_logarithmic_axis_has_no_zero(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="group is 0, which a logarithmic axis"):
        read_experiment(_folder(tmp_path, HEAD + "pre,0,dsc,50,,,,,\n", **CURVE))


def test_hostile_names_are_text_everywhere(tmp_path: Path) -> None:
    line = f'"{HOSTILE}",a,dsc,50,,,,,"{HOSTILE}"\n'
    changes = {"title": HOSTILE, "claim": HOSTILE, "labels": {"a": HOSTILE}}
    folder = _folder(tmp_path / "item", HEAD + line, HEAD + line, **changes)
    assert main(["report", str(folder), str(_folder(tmp_path / "plain")), "-o", str(tmp_path / "out")]) == 0
    out = tmp_path / "out"
    for page in (out / "item" / "table.html", out / "index.html"):
        text = page.read_text(encoding="utf-8")
        assert "<b>" not in text
        assert "&lt;b&gt;$x_1$ &amp; a|b_*c*" in text
    assert "<b>" not in (out / "item" / "table.md").read_text(encoding="utf-8")
    latex = (out / "item" / "table.tex").read_text(encoding="utf-8")
    assert r"\textless{}b\textgreater{}\$x\_1\$ \& a\textbar{}b\_*c*" in latex
    assert "$x_1$" in json.dumps([t.get_text() for axes in draw(read_experiment(folder)).axes for t in [axes.title]])
