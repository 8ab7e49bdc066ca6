"""Tables of results: mean, standard deviation and significance of each cell, as Markdown, LaTeX, HTML and CSV."""

import csv
import html
import io
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from suprem._files import atomic_path
from suprem.errors import ConfigurationError

__all__ = ["SIGNIFICANCE", "Cell", "Estimate", "Table", "html_document", "html_text", "latex_text", "markdown_text"]
__all__ += ["significance"]

# Mark -> largest p-value that has it; the usual codes, which the paper uses as well.
_CODES = (("****", 1e-4), ("***", 1e-3), ("**", 1e-2), ("*", 0.05))
# What is known of a p-value of which only the mark was printed.
_BOUNDS = {"<=0.0001": "****", "<=0.001": "***", "<=0.01": "**", "<=0.05": "*", ">0.05": "ns"}
SIGNIFICANCE = "ns: p > 0.05; *: p ≤ 0.05; **: p ≤ 0.01; ***: p ≤ 0.001; ****: p ≤ 0.0001."


def significance(p_value: float | str) -> str:
    """The mark of a p-value.

    Args:
        p_value: in [0, 1]; or a bound: ``"<=0.0001"``, ``"<=0.001"``, ``"<=0.01"``, ``"<=0.05"``, ``">0.05"``.

    Raises:
        ConfigurationError: it is neither.

    Example:
        >>> significance(0.03), significance(0.2), significance("<=0.0001")
        ('*', 'ns', '****')
    """
    if p_value in _BOUNDS:
        return _BOUNDS[str(p_value)]
    try:
        number = float(p_value)
    except ValueError:
        raise ConfigurationError(
            f"{p_value!r} is no p-value; write a number, or one of {', '.join(_BOUNDS)}."
        ) from None
    if not 0 <= number <= 1:
        raise ConfigurationError(f"The p-value {p_value!r} is outside [0, 1].")
    return next((mark for mark, limit in _CODES if number <= limit), "ns")


@dataclass(frozen=True)
class Estimate:
    """One cell: a mean, and what is known of its spread and significance.

    Attributes:
        mean: of the runs, or the single value.
        sd: standard deviation over the runs; ``None`` if not known.
        n: number of runs.
        p_value: of the test against the row that the table names as its baseline; a bound is a text.
        signed: show a plus sign, as differences have.
        digits: decimals, where they are not those of the table.
        footnote: sign of the note below the table that is about this cell.

    Raises:
        ConfigurationError: a number is NaN or infinite, a deviation negative, or the p-value is none.
    """

    mean: float
    sd: float | None = None
    n: int | None = None
    p_value: float | str | None = None
    signed: bool = False
    digits: int | None = None
    footnote: str = ""

    def __post_init__(self) -> None:
        if not math.isfinite(self.mean) or (self.sd is not None and not (math.isfinite(self.sd) and self.sd >= 0)):
            raise ConfigurationError(
                f"mean is {self.mean} and sd {self.sd}; a cell without a value is None, or a text that says why."
            )
        _ = self.mark  # refuses what is no p-value

    @property
    def mark(self) -> str:
        """Significance mark; empty without a p-value."""
        return "" if self.p_value is None else significance(self.p_value)

    def parts(self, digits: int) -> tuple[str, str]:
        """Mean and standard deviation as texts, rounded."""
        digits = digits if self.digits is None else self.digits
        # Adding zero turns -0.0 into 0.0.
        mean = f"{round(self.mean, digits) + 0.0:{'+' if self.signed else ''}.{digits}f}"
        return mean, "" if self.sd is None else f"{self.sd:.{digits}f}"


Cell = str | int | float | Estimate | None


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def markdown_text(text: str) -> str:
    r"""Text as Markdown shows it literally, inside a table as well.

    Example:
        >>> markdown_text("a|b *c* <d>")
        'a\\|b \\*c\\* &lt;d>'
    """
    escaped = re.sub(r"([\\`*\[\]|$~])", r"\\\1", _one_line(text).replace("&", "&amp;").replace("<", "&lt;"))
    # Inside a word an underscore is one: names of structures stay readable in the source.
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", escaped)


_LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "±": r"\ensuremath{\pm}",
    "≤": r"\ensuremath{\leq}",
}


def latex_text(text: str) -> str:
    r"""Text as LaTeX sets it literally.

    Example:
        >>> print(latex_text("liver_tumor 50 %"))
        liver\_tumor 50 \%
    """
    return "".join(_LATEX.get(c, c) for c in _one_line(text))


def html_text(text: str) -> str:
    """Text as HTML shows it literally, inside an attribute as well.

    Example:
        >>> html_text("<b>")
        '&lt;b&gt;'
    """
    return html.escape(_one_line(text))


@dataclass(frozen=True)
class Table:
    """Rows under named columns; every cell is escaped for the format that it is written in.

    A column with a number in it is aligned to the right. Where a cell has a p-value, the meaning of the
    marks is added to the notes.

    Attributes:
        columns: names; no two the same.
        rows: one cell per column; ``None`` is an empty cell.
        caption: one sentence.
        notes: sentences below the table.
        digits: decimals of floats and estimates.

    Raises:
        ConfigurationError: a row has more or fewer cells, a name is there twice, or a float is NaN or infinite.

    Example:
        >>> print(Table(("start", "DSC"), [("scratch", 88.9), ("SuPreM", Estimate(92.1, 0.3))]).markdown())
        | start | DSC |
        |---|---:|
        | scratch | 88.9 |
        | SuPreM | 92.1 ± 0.3 |
        <BLANKLINE>
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    notes: Sequence[str] = ()
    digits: int = 1

    def __post_init__(self) -> None:
        if len(set(self.columns)) != len(self.columns):
            raise ConfigurationError(f"The columns are {list(self.columns)}; every name may be there once.")
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ConfigurationError(
                    f"Row {number} has {len(row)} cells, the table {len(self.columns)} columns: {list(row)}."
                )
            for cell in row:
                if isinstance(cell, float) and not math.isfinite(cell):
                    raise ConfigurationError(
                        f"Row {number} holds {cell}; a cell without a value is None, or a text that says why."
                    )

    @property
    def all_notes(self) -> tuple[str, ...]:
        """The notes, and what the marks mean if there are any."""
        marked = any(isinstance(cell, Estimate) and cell.mark for row in self.rows for cell in row)
        return (*self.notes, SIGNIFICANCE) if marked else tuple(self.notes)

    def markdown(self) -> str:
        """Caption, table and notes in GitHub's Markdown."""
        rules = ["---:" if right else "---" for right in self._right()]
        lines = [_markdown_row(map(markdown_text, self.columns)), f"|{'|'.join(rules)}|"]
        lines += [_markdown_row(self._texts(row, markdown_text, _markdown_estimate)) for row in self.rows]
        parts = [_markdown_paragraph(self.caption)] if self.caption else []
        parts += ["\n".join(lines), *(_markdown_paragraph(note) for note in self.all_notes)]
        return "\n\n".join(parts) + "\n"

    def latex(self) -> str:
        """A ``table`` environment with the rules of the package booktabs."""
        align = "".join("r" if right else "l" for right in self._right())
        lines = [r"% \usepackage{booktabs}", r"\begin{table}", r"\centering"]
        if self.caption:
            lines.append(f"\\caption{{{latex_text(self.caption)}}}")
        lines += [f"\\begin{{tabular}}{{{align}}}", r"\toprule", _latex_row(map(latex_text, self.columns)), r"\midrule"]
        lines += [_latex_row(self._texts(row, latex_text, _latex_estimate)) for row in self.rows]
        lines += [r"\bottomrule", r"\end{tabular}"]
        lines += [f"\\par\\smallskip {{\\footnotesize {latex_text(note)}\\par}}" for note in self.all_notes]
        return "\n".join([*lines, r"\end{table}"]) + "\n"

    def html(self) -> str:
        """A ``<table>`` and its notes, to be put into a page."""
        right = [' class="number"' if is_right else "" for is_right in self._right()]
        head = "".join(
            f'<th scope="col"{kind}>{html_text(name)}</th>' for kind, name in zip(right, self.columns, strict=True)
        )
        lines = ["<table>", f"<caption>{html_text(self.caption)}</caption>"] if self.caption else ["<table>"]
        lines += [f"<thead><tr>{head}</tr></thead>", "<tbody>"]
        for row in self.rows:
            cells = zip(right, self._texts(row, html_text, _html_estimate), strict=True)
            lines.append("<tr>" + "".join(f"<td{kind}>{text}</td>" for kind, text in cells) + "</tr>")
        lines += ["</tbody>", "</table>"]
        return "\n".join([*lines, *(f'<p class="note">{html_text(note)}</p>' for note in self.all_notes)]) + "\n"

    def csv(self) -> str:
        """All digits; a column with estimates is followed by its ``sd``, ``n`` and ``p``."""
        estimates = [any(isinstance(row[i], Estimate) for row in self.rows) for i in range(len(self.columns))]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        head: list[str] = []
        for name, wide in zip(self.columns, estimates, strict=True):
            head += [name, f"{name} sd", f"{name} n", f"{name} p"] if wide else [name]
        writer.writerow(head)
        for row in self.rows:
            cells: list[object] = []
            for cell, wide in zip(row, estimates, strict=True):
                if isinstance(cell, Estimate):
                    cells += [cell.mean, cell.sd, cell.n, cell.p_value]
                else:
                    cells += [cell, None, None, None] if wide else [cell]
            writer.writerow(cells)
        return text.getvalue()

    def write(self, folder: str | Path, stem: str = "table") -> tuple[Path, ...]:
        """Writes ``stem.md``, ``.tex``, ``.html`` and ``.csv`` into a folder, which is made if it is missing.

        Raises:
            OutputError: they cannot be written.
        """
        texts = {
            "md": self.markdown(),
            "tex": self.latex(),
            "html": html_document(self.caption or stem, self.html()),
            "csv": self.csv(),
        }
        paths = []
        for ending, content in texts.items():
            path = Path(folder) / f"{stem}.{ending}"
            with atomic_path(path) as temporary:
                temporary.write_text(content, encoding="utf-8")
            paths.append(path)
        return tuple(paths)

    def _right(self) -> list[bool]:
        """Which columns hold numbers; a text in between says why one is missing."""
        return [
            any(row[i] is not None and not isinstance(row[i], str) for row in self.rows)
            for i in range(len(self.columns))
        ]

    def _texts(
        self, row: Sequence[Cell], escape: Callable[[str], str], show: Callable[[str, str, str], str]
    ) -> list[str]:
        texts = []
        for cell in row:
            if isinstance(cell, Estimate):
                text = show(*cell.parts(self.digits), cell.mark)
                texts.append(f"{text} {escape(f'[{cell.footnote}]')}" if cell.footnote else text)
            elif isinstance(cell, float):
                texts.append(f"{cell:.{self.digits}f}")
            else:
                texts.append("" if cell is None else escape(str(cell)))
        return texts


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_paragraph(text: str) -> str:
    # What would begin a list, a heading or a quotation at the beginning of a line.
    return re.sub(r"^([-+#=:>])", r"\\\1", re.sub(r"^(\d+)([.)])", r"\1\\\2", markdown_text(text)))


def _markdown_estimate(mean: str, sd: str, mark: str) -> str:
    text = f"{mean} ± {sd}" if sd else mean
    return f"{text} {markdown_text(mark)}" if mark else text


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_estimate(mean: str, sd: str, mark: str) -> str:
    text = f"${mean} \\pm {sd}$" if sd else f"${mean}$"
    return f"{text}\\textsuperscript{{{mark}}}" if mark else text


def _html_estimate(mean: str, sd: str, mark: str) -> str:
    text = f"{mean} ± {sd}" if sd else mean
    return f"{text}<sup>{mark}</sup>" if mark else text


_STYLE = (
    "body{font-family:system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;line-height:1.4}"
    "table{border-collapse:collapse;display:block;overflow-x:auto}caption{text-align:left;padding:.4em 0}"
    "td,th{padding:.2em .8em;border-bottom:1px solid #ccc;text-align:left}"
    ".number{text-align:right;font-variant-numeric:tabular-nums}td.number{white-space:nowrap}"
    ".note{font-size:.9em;color:#444}img{max-width:100%;height:auto}"
)


def html_document(title: str, *parts: str) -> str:
    """A complete page that needs no network.

    Args:
        title: plain text.
        parts: HTML.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html_text(title)}</title>\n<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(parts)
    ) + "</body>\n</html>\n"
