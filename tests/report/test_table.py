"""Tables are read back by parsers of their formats; text from strangers stays text."""

import csv
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from suprem.errors import ConfigurationError
from suprem.report.table import Estimate, Table, html_document, latex_text, significance

HOSTILE = [
    "a|b",
    "*bold* _lean_ `code`",
    "<script>alert(1)</script>",
    "[link](javascript:alert(1)) ![x](y)",
    "50 % of $x_1^2$ & #1 ~ {y} \\input{/etc/passwd}",
    "two\nlines\ttab\x00\x1b[31m",
    "&amp; ± \"quoted\" 'single'",
    "# no heading",
    "> no quotation",
    "1. no list",
]


@pytest.mark.parametrize(
    ("p_value", "mark"),
    [
        (0.0, "****"),
        (1e-4, "****"),
        (1.1e-4, "***"),
        (1e-3, "***"),
        (0.0011, "**"),
        (0.01, "**"),
        (0.011, "*"),
        (0.05, "*"),
        (0.0501, "ns"),
        (1.0, "ns"),
        ("0.03", "*"),
        ("<=0.0001", "****"),
        ("<=0.05", "*"),
        (">0.05", "ns"),
    ],
)
def test_marks(p_value: float | str, mark: str) -> None:
    assert significance(p_value) == mark


@pytest.mark.parametrize("p_value", [-0.1, 1.1, float("nan"), "", "small", ">0.01", "<=0.5"])
def test_what_is_no_p_value_is_refused(p_value: float | str) -> None:
    with pytest.raises(ConfigurationError, match="p-value"):
        Estimate(1.0, p_value=p_value)


@pytest.mark.parametrize(("mean", "sd"), [(float("nan"), None), (float("inf"), None), (1.0, -0.1), (1.0, float("nan"))])
def test_an_estimate_has_real_numbers(mean: float, sd: float | None) -> None:
    with pytest.raises(ConfigurationError, match="None, or a text"):
        Estimate(mean, sd)


@pytest.mark.parametrize(
    ("columns", "rows", "message"),
    [
        (("a", "b"), [("x",)], "1 cells, the table 2 columns"),
        (("a", "a"), [("x", "y")], "may be there once"),
        (("a",), [(float("nan"),)], "holds nan"),
    ],
)
def test_a_wrong_table_is_refused(columns: tuple[str, ...], rows: list[tuple[str | float, ...]], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Table(columns, rows)


def _table() -> Table:
    rows = [
        ("scratch", 10, Estimate(88.94, 0.6, 10), None),
        ("SuPreM", 10, Estimate(92.1, 0.25, 10, 0.0123), Estimate(3.16, signed=True)),
        ("Tang", 1, "not run", Estimate(-0.04, signed=True)),
    ]
    return Table(("start", "runs", "DSC", "difference"), rows, caption="Mean DSC", notes=("One note.",))


def test_markdown() -> None:
    lines = _table().markdown().splitlines()
    assert lines[0] == "Mean DSC"
    assert lines[2:7] == [
        "| start | runs | DSC | difference |",
        "|---|---:|---:|---:|",
        "| scratch | 10 | 88.9 ± 0.6 |  |",
        r"| SuPreM | 10 | 92.1 ± 0.2 \* | +3.2 |",
        "| Tang | 1 | not run | +0.0 |",
    ]
    assert lines[8] == "One note."
    assert lines[10].startswith("ns: p")


def test_latex_and_html() -> None:
    latex, page = _table().latex(), _table().html()
    assert r"SuPreM & 10 & $92.1 \pm 0.2$\textsuperscript{*} & $+3.2$ \\" in latex
    assert r"\begin{tabular}{lrrr}" in latex
    assert "92.1 ± 0.2<sup>*</sup>" in page
    assert '<th scope="col" class="number">runs</th>' in page


def test_a_cell_may_have_its_own_digits_and_a_footnote() -> None:
    table = Table(("a",), [(Estimate(0.12345, digits=3, footnote="1"),), (9262,)], notes=("[1] Why.",))
    assert r"| 0.123 \[1\] |" in table.markdown()
    assert '<td class="number">0.123 [1]</td>' in table.html()
    assert "9262" in table.latex()


def test_without_p_values_the_marks_are_not_explained() -> None:
    assert "p > 0.05" not in Table(("a",), [(Estimate(1.0, 0.1),)]).latex()


def test_csv_has_all_digits() -> None:
    rows = list(csv.DictReader(io.StringIO(_table().csv())))
    assert rows[1] == {
        "start": "SuPreM",
        "runs": "10",
        "DSC": "92.1",
        "DSC sd": "0.25",
        "DSC n": "10",
        "DSC p": "0.0123",
        "difference": "3.16",
        "difference sd": "",
        "difference n": "",
        "difference p": "",
    }
    assert rows[2]["DSC"] == "not run"


class _Cells(HTMLParser):
    """Tags and the text of cells."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag == "td":
            self.cells.append("")
        self._inside = tag == "td"

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.cells[-1] += data


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[\x00\x1b]", " ", text).split())


def test_hostile_text_is_text_in_html() -> None:
    page = html_document(HOSTILE[2], Table(("a",), [(text,) for text in HOSTILE], caption=HOSTILE[2]).html())
    reader = _Cells()
    reader.feed(page)
    assert reader.cells == [_plain(text) for text in HOSTILE]
    assert "script" not in reader.tags


def test_hostile_text_is_text_in_markdown() -> None:
    table = Table(("a",), [(text,) for text in HOSTILE], caption=HOSTILE[7], notes=HOSTILE)
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(table.markdown())
    reader = _Cells()
    reader.feed(page)
    assert reader.cells == [_plain(text) for text in HOSTILE]
    assert reader.tags == {"p", "table", "thead", "tbody", "tr", "th", "td"}


def test_hostile_text_is_text_in_latex() -> None:
    latex = Table(("a",), [(text,) for text in HOSTILE]).latex()
    body = latex[latex.index(r"\midrule") : latex.index(r"\bottomrule")]
    assert body.count(r"\\") == len(HOSTILE)
    assert set(re.findall(r"\\[a-z]+", body)) <= {
        r"\midrule",
        r"\textbackslash",
        r"\textasciitilde",
        r"\textasciicircum",
        r"\textless",
        r"\textgreater",
        r"\textbar",
        r"\ensuremath",
        r"\pm",
    }
    # Outside of commands, nothing that LaTeX would act upon is left bare.
    assert not re.search(r"(?<!\\)[%$#_&]", body)


def test_latex_compiles(tmp_path: Path) -> None:
    program = shutil.which("pdflatex")
    if program is None:
        pytest.skip("pdflatex is not installed")
    body = Table(("a", "b"), [(text, Estimate(1.0, 0.1, 3, 0.01)) for text in HOSTILE], caption="50 %").latex()
    (tmp_path / "t.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + body + "\\end{document}\n"
    )
    done = subprocess.run([program, "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_latex_text_is_one_line() -> None:
    assert latex_text("a\nb") == "a b"


def test_files(tmp_path: Path) -> None:
    paths = _table().write(tmp_path / "new", stem="scores")
    assert [path.name for path in paths] == ["scores.md", "scores.tex", "scores.html", "scores.csv"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(path.name for path in paths)
    assert paths[2].read_text(encoding="utf-8").startswith("<!doctype html>")
