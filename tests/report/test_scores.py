"""Scores as Markdown and LaTeX: every number of the summary, and no name that breaks a table."""

import math
from dataclasses import replace

import pytest

from suprem.evaluation.comparison import compare_evaluations, rank_evaluations
from suprem.evaluation.metrics import MaskScores
from suprem.evaluation.pictures import Picture
from suprem.evaluation.scores import CaseScore, Evaluation
from suprem.report.scores import score_texts

NASTY = "a|b_c & 50 % <i>"


def evaluation(name: str, values: dict[str, list[float]], far: float = 2.0) -> Evaluation:
    scores = [
        CaseScore(f"c{n}", structure, 1.0, MaskScores(value, value, far if n else 2.5, 1.0, 1.0, 0.0, 0.0))
        for structure, row in values.items()
        for n, value in enumerate(row)
    ]
    return Evaluation(name, tuple(scores), (), (), (), (), notes=("A | note.",))


def test_markdown_has_each_structure_with_its_interval() -> None:
    found = evaluation("mine", {"liver": [0.5, 0.6, 0.9], NASTY: [0.25]})
    text = score_texts(found, tolerance_mm=2.0)["summary.md"]
    row = next(row for row in found.summary() if (row.structure, row.metric) == ("liver", "dsc"))
    assert f"| liver | 3 | 0.667 | {row.low:.3f} to {row.high:.3f} |" in text
    assert r"| a\|b_c &amp; 50 % &lt;i> | 1 | 0.250 |  | 0.250 |  | 2.500 |  |" in text
    assert "NSD: within 2 mm." in text
    assert r"A \| note." in text
    assert "infinite" not in text


def test_latex_has_each_structure_in_as_many_cells() -> None:
    text = score_texts(evaluation("my_masks", {"liver": [0.5, 0.6], NASTY: [0.25]}))["summary.tex"]
    rows = [line.replace(r"\&", "") for line in text.splitlines() if line.endswith(r"\\")]
    assert {row.count("&") for row in rows} == {7}
    assert r"a\textbar{}b\_c \& 50 \% \textless{}i\textgreater{}" in text
    assert r"\caption{my\_masks}" in text


def test_infinite_distances_and_absent_structures_have_their_place() -> None:
    found = evaluation("mine", {"liver": [0.0, 0.5], "spleen": [math.nan]}, math.inf)
    nobody = CaseScore("c0", "aorta", 0.0, MaskScores(*[math.nan] * 7))
    text = score_texts(replace(found, scores=(*found.scores, nobody)))["summary.md"]
    liver = next(line for line in text.splitlines() if line.startswith("| liver"))
    assert liver.endswith("| 2.500 |  | 1 |")
    assert "Infinite distances" in text
    assert "| spleen | 1 |  |  |  |  | 2.500 |  | 0 |" in text
    assert "| aorta" not in text
    assert "Absent everywhere, in predictions and references: aorta." in text


def test_comparison_and_ranking_follow_with_the_family_stated() -> None:
    one = evaluation("one", {"liver": [0.5, 0.6, 0.9], "spleen": [0.5]})
    two = evaluation("two", {"liver": [0.4, 0.55, 0.6], "spleen": [0.4]})
    compared = compare_evaluations(one, two)
    texts = score_texts(one, compared, rank_evaluations([one, two]))
    text = texts["summary.md"]
    row = compared[0]
    expected = f"{row.p_t_holm:.3g} | {row.cohen_dz:.3f} | {row.p_wilcoxon_holm:.3g} | {row.rank_biserial:.3f} |"
    assert f"| DSC | liver | two | 3 | +0.150 | {expected}" in text
    assert "| DSC | spleen | two | 1 | +0.100 | 1 case: nothing to test |  |  |  |" in text
    assert "corrected by Holm within one metric and one test, over all structures and all folders" in text
    assert "| DSC | one | 1 | 1.000 | " in text
    assert texts["summary.tex"].count(r"\begin{table}") == 3


def test_pictures_are_linked_from_where_the_text_lies() -> None:
    found = evaluation("mine", {"liver_tumor": [0.5]})
    picture = Picture(found.scores[0], "01_c0_liver_tumor.png", b"", "")
    text = score_texts(found, pictures=[picture], folder="worst")["summary.md"]
    assert "![c0, liver_tumor: DSC 0.500](worst/01_c0_liver_tumor.png)" in text


def test_markdown_is_read_as_it_is_meant() -> None:
    reader = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    html = reader.render(score_texts(evaluation("mine", {NASTY: [0.25]}))["summary.md"])
    assert "<td>a|b_c &amp; 50 % &lt;i&gt;</td>" in html
