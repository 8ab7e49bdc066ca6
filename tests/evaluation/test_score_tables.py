"""Scores in CSV files: the layout of Touchstone, our own, and every way in which a table can be wrong."""

import csv
import json
import math
from pathlib import Path

import pytest

from suprem.cli import main
from suprem.errors import ConfigurationError, UnknownNameError
from suprem.evaluation.folders import evaluate_folders
from suprem.evaluation.score_tables import is_scores, read_scores
from tests.evaluation.label_folders import LIVER, write

Capture = pytest.CaptureFixture[str]

DSC = "name,aorta,gallbladder,left kidney\ns1,0.9,nan,0.8\ns2,,0.5,0.7\n"
NSD = "name,aorta,gall_bladder,kidney_left\ns1,0.6,,0.4\ns3,0.3,0.2,\n"


def tables(root: Path, **files: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / f"{name}.csv").write_text(text, encoding="utf-8")
    return root


def test_a_table_per_metric_is_put_together_by_case_and_structure(tmp_path: Path) -> None:
    found = read_scores(tables(tmp_path, dsc=DSC, nsd=NSD, other="a,b\n1,2\n"))
    assert found.values("aorta", "dsc") == {"s1": 0.9}
    assert found.values("gall_bladder", "dsc") == {"s2": 0.5}
    assert found.values("kidney_left", "dsc") == {"s1": 0.8, "s2": 0.7}
    assert found.values("aorta", "nsd") == {"s1": 0.6, "s3": 0.3}
    assert found.values("aorta", "hd95_mm") == {}
    assert {(row.structure, row.metric) for row in found.summary()} == {
        (name, metric) for name in ("aorta", "gall_bladder", "kidney_left") for metric in ("dsc", "nsd")
    }


def test_one_table_alone_and_distances_without_end(tmp_path: Path) -> None:
    root = tables(tmp_path, hd95="case,liver\ns1,2.5\ns2,inf\n")
    found = read_scores(root / "hd95.csv")
    assert found.values("liver", "hd95_mm") == {"s1": 2.5, "s2": math.inf}
    assert [(row.cases, row.infinite) for row in found.summary()] == [(1, 1)]


def test_columns_of_no_structure_are_left_out_with_a_note(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = read_scores(tables(tmp_path, dsc="name,background,liver,Average\ns1,1,0.9,0.95\n"))
    assert found.structures == ("liver",)
    assert "the columns background, Average are no structures and were left out" in found.notes[0]
    assert found.notes[0] in caplog.text


def test_what_is_scores_and_what_masks(tmp_path: Path) -> None:
    root = tables(tmp_path / "scores", dsc=DSC)
    assert is_scores(root)
    assert is_scores(root / "dsc.csv")
    assert not is_scores(tables(tmp_path / "else", statistics="a,b\n"))
    write(tmp_path / "masks" / "case" / "liver.nii.gz", LIVER[0])
    assert not is_scores(tmp_path / "masks")
    write(root / "case.nii.gz", LIVER[0])
    with pytest.raises(ConfigurationError, match=r"holds scores \(dsc\.csv\) and images \(case\.nii\.gz\)"):
        is_scores(root)


def test_names_outside_the_registry_are_taken_where_they_are_known(tmp_path: Path) -> None:
    root = tables(tmp_path, dsc="name,my organ,livr\ns1,0.5,0.4\n")
    with pytest.raises(UnknownNameError, match=r"name no structure\. .*'my organ'.*did you mean 'liver'"):
        read_scores(root)
    with pytest.raises(UnknownNameError, match="livr"):
        read_scores(root, known={"my organ"})
    (root / "dsc.csv").write_text("name,my organ\ns1,0.5\n")
    assert read_scores(root, known={"my organ"}).values("my organ", "dsc") == {"s1": 0.5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column of a structure"),
        ("name\ns1\n", "has no column of a structure"),
        ("name,liver\n", "holds no score of any case"),
        ("name,liver\ns1,\n", "holds no score of any case"),
        ("name,liver\ns1,92.5\n", r"line 2, liver holds 92\.5; dsc lies in 0 to 1\. Divide percentages"),
        ("name,liver\ns1,-0.1\n", "lies in 0 to 1"),
        ("name,liver\ns1,good\n", "holds 'good', which is no number"),
        ("name,liver\ns1,0.5\ns1,0.6\n", "has the case s1 twice, again in line 3"),
        ("name,liver\n,0.5\n", "has no name of a case in line 2"),
        ("name,gallbladder,gall_bladder\ns1,0.5,0.6\n", "has two columns of gall_bladder"),
        ("name,liver,liver\ns1,0.5,0.6\n", "two columns of"),
        ("name,liver,spleen\ns1,0.5\n", "another number of cells in line 2"),
        ("name,liver\ns1,0.5,0.6\n", "another number of cells in line 2"),
    ],
)
def test_tables_that_are_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_scores(tables(tmp_path, dsc=text))


def test_a_table_that_does_not_say_its_metric(tmp_path: Path) -> None:
    root = tables(tmp_path, scores=DSC)
    with pytest.raises(ConfigurationError, match=r"scores\.csv does not say which metric it holds; call it dsc\.csv"):
        read_scores(root / "scores.csv")
    with pytest.raises(ConfigurationError, match="holds no scores"):
        read_scores(root)
    (root / "hd.csv").write_text("name,liver\ns1,-3\n")
    with pytest.raises(ConfigurationError, match="a distance is not negative"):
        read_scores(root)


# ------------------------------------------------------------------ the command


def test_scores_of_an_earlier_run_are_read_again(predictions: Path, references: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["evaluate", str(predictions), str(references), "-o", str(out), "--worst", "0"]) == 0
    again, once = read_scores(out), evaluate_folders(predictions, references)
    assert again.structures == once.structures
    for ours, theirs in zip(again.scores, once.scores, strict=True):
        assert (ours.case, ours.structure) == (theirs.case, theirs.structure)
        assert ours.scores.hd95_mm == pytest.approx(theirs.scores.hd95_mm, abs=1e-6)
    with pytest.raises(ConfigurationError, match="a tolerance of 1 mm, and this run with 2 mm"):
        read_scores(out, tolerance_mm=2.0)
    text = (out / "cases.csv").read_text()
    (out / "cases.csv").write_text(text + text.splitlines()[1] + "\n")
    with pytest.raises(ConfigurationError, match="has liver of case_0 twice, again in line 10"):
        read_scores(out)


def test_scores_take_part_in_a_comparison(predictions: Path, references: Path, tmp_path: Path, capsys: Capture) -> None:
    rows = "".join(f"case_{case},{0.5 + 0.1 * case}\n" for case in LIVER)
    theirs = tables(tmp_path / "theirs", dsc="name,Liver\n" + rows)
    out = tmp_path / "out"
    command = ["evaluate", str(predictions), str(references), "-o", str(out), "--against", str(theirs / "dsc.csv")]
    assert main([*command, "--against", str(references)]) == 0
    with (out / "comparison.csv").open() as file:
        compared = {(row["against"], row["metric"], row["structure"]): row for row in csv.DictReader(file)}
    ours = evaluate_folders(predictions, references).values("liver", "dsc")
    expected = sum(ours[f"case_{case}"] - 0.5 - 0.1 * case for case in LIVER) / 4
    row = compared[str(theirs / "dsc.csv"), "dsc", "liver"]
    assert float(row["difference"]) == pytest.approx(expected)
    assert compared[str(theirs / "dsc.csv"), "nsd", "liver"]["note"] == "no case: nothing to test"
    assert (str(theirs / "dsc.csv"), "dsc", "spleen") not in compared
    with (out / "ranking.csv").open() as file:
        ranked = [row for row in csv.DictReader(file) if row["metric"] == "dsc"]
    assert ranked[0]["predictions"] == str(references)
    assert {row["pairs"] for row in ranked} == {"4"}  # of the liver alone
    assert "ranking by mean rank" in capsys.readouterr().out


def test_scores_alone_need_no_references(tmp_path: Path, references: Path, capsys: Capture) -> None:
    one = tables(tmp_path / "one", dsc="name,liver,spleen\na,0.9,0.8\nb,0.8,0.7\nc,0.9,0.95\n")
    two = tables(tmp_path / "two", dsc="name,liver,spleen\na,0.8,0.8\nb,0.75,0.6\nc,0.7,0.9\n")
    out = tmp_path / "out"
    command = ["evaluate", str(one), "-o", str(out), "--against", str(two)]
    assert main(command) == 0
    document = json.loads((out / "evaluation.json").read_text())
    assert document["settings"] == {"references": None, "interval": "95 % bootstrap of the mean"}
    assert len(document["comparisons"]) == 6
    assert "DSC against" in capsys.readouterr().out
    assert main([*command, "--overwrite", "--structures", "spleen"]) == 0
    assert {row["structure"] for row in csv.DictReader((out / "cases.csv").open())} == {"spleen"}
    for extra, message in (
        (["--structures", "aorta"], "has no score of aorta"),
        (["--images", str(references)], "holds scores and no masks"),
    ):
        assert main([*command, "--overwrite", *extra]) == 2
        assert message in capsys.readouterr().err
    assert main(["evaluate", str(one), str(references), "-o", str(tmp_path / "new")]) == 2
    assert "there is nothing to compare with" in capsys.readouterr().err
