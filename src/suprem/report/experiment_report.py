"""Writes the report of an experiment: tables, figure, and a page that says whether the claim's direction holds."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from suprem._files import atomic_path
from suprem.errors import ConfigurationError
from suprem.report.experiment import ITEM, RESULTS, Experiment
from suprem.report.experiment_claims import Verdict, effects, verdict
from suprem.report.experiment_figures import draw, png, svg
from suprem.report.experiment_reading import read_experiment
from suprem.report.experiment_tables import OURS, PAPER, cells_table, effects_table, main_table
from suprem.report.table import Table, html_document, html_text, markdown_text

__all__ = ["Report", "experiment_folders", "report_on", "write_index", "write_report"]


@dataclass(frozen=True)
class Report:
    """An experiment with what follows from its numbers.

    Attributes:
        experiment: as it was read.
        tables: the numbers, and the differences that the claim is about if it compares something.
        paper: whether the paper's own numbers have the direction of its claim.
        here: whether ours have it; ``None`` if it has not been run.
    """

    experiment: Experiment
    tables: tuple[Table, ...]
    paper: Verdict
    here: Verdict | None

    @property
    def claim(self) -> str:
        """The claim, and where it is from."""
        return f"Claim: {self.experiment.item.claim} ({self.experiment.item.source})"

    @property
    def statements(self) -> tuple[str, str]:
        """Whether the direction of the claim holds: in the paper, and here."""
        item = self.experiment.item
        here = f"Not run: there is no {RESULTS}." if self.here is None else self.here.text
        about = f" {item.results}" if item.results and self.here else ""
        return f"In the paper: {self.paper.text}", f"Here: {here}{about}"

    def markdown(self, figure: str) -> str:
        """Statements, figure and tables, without title and claim.

        Args:
            figure: where the drawing lies.
        """
        parts = [*map(markdown_text, self.statements), f"![{markdown_text(self.experiment.item.title)}]({figure})"]
        return "\n\n".join([*parts, *(table.markdown().strip() for table in self.tables)]) + "\n"


def report_on(folder: str | Path) -> Report:
    """Reads a folder of an experiment and compares.

    Raises:
        ConfigurationError: a file of it is missing or wrong.
    """
    experiment = read_experiment(folder)
    item = experiment.item
    found = [(PAPER, effects(item, experiment.expected)), (OURS, effects(item, experiment.results or ()))]
    tables = [main_table(experiment)]
    if any(pairs for _, pairs in found):
        tables.append(effects_table(item, found))
    here = None if experiment.results is None else verdict(item, found[1][1])
    return Report(experiment, tuple(tables), verdict(item, found[0][1]), here)


def write_report(report: Report, folder: str | Path) -> None:
    """Writes ``table.md``, ``.tex``, ``.csv`` and ``.html``, ``figure.svg`` and ``figure.png``; replaces these files.

    Raises:
        OutputError: they cannot be written.
    """
    item, figure = report.experiment.item, draw(report.experiment)
    drawing = svg(figure)
    head = f"# {markdown_text(item.title)}\n\n{markdown_text(report.claim)}\n\n"
    files: dict[str, str | bytes] = {
        "table.md": head + report.markdown("figure.svg"),
        "table.tex": "\n".join(table.latex() for table in report.tables),
        "table.csv": cells_table(report.experiment).csv(),
        "table.html": _page(report, drawing),
        "figure.svg": drawing,
        "figure.png": png(figure),
    }
    for name, content in files.items():
        _write(Path(folder) / name, content)


def _write(path: Path, content: str | bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def _page(report: Report, drawing: str) -> str:
    title = report.experiment.item.title
    data = base64.b64encode(drawing.encode()).decode()  # as a picture: scripts in it would not run
    parts = [
        f"<h1>{html_text(title)}</h1>",
        *(f"<p>{html_text(line)}</p>" for line in (report.claim, *report.statements)),
        f'<p><img src="data:image/svg+xml;base64,{data}" alt="{html_text(title)}"></p>',
        *(table.html() for table in report.tables),
    ]
    return html_document(title, *parts)


def write_index(reports: Sequence[Report], folder: str | Path) -> None:
    """Writes ``index.html`` and ``index.md`` over the folders of several reports.

    Raises:
        OutputError: they cannot be written.
    """
    rows = [
        (r.experiment.item.title, r.experiment.name, r.paper.outcome, "not run" if r.here is None else r.here.outcome)
        for r in reports
    ]
    caption = "Whether the direction of each claim is in the numbers of the paper, and in those measured here"
    table = Table(("item", "folder", "paper", "here"), rows, caption=caption)
    links = "\n".join(
        f'<li><a href="{html_text(r.experiment.name)}/table.html">{html_text(r.experiment.item.title)}</a></li>'
        for r in reports
    )
    page = html_document("Tables and figures", "<h1>Tables and figures</h1>", table.html(), f"<ul>\n{links}\n</ul>")
    _write(Path(folder) / "index.html", page)
    _write(Path(folder) / "index.md", f"# Tables and figures\n\n{table.markdown()}")


def experiment_folders(folders: Sequence[Path]) -> list[Path]:
    """Those among the folders that describe an experiment, so that a pattern may name all of them.

    Raises:
        ConfigurationError: none does, one does not exist, or two have the same name.
    """
    for folder in folders:
        if not folder.exists():
            raise ConfigurationError(f"{folder} does not exist; name a folder that holds {ITEM}.")
    found = [folder for folder in folders if (folder / ITEM).is_file()]
    if not found:
        raise ConfigurationError(f"No {ITEM} in {', '.join(map(str, folders))}; name a folder of an experiment.")
    names = [folder.resolve().name for folder in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(f"Several folders are called {twice[0]!r}; their reports would be the same folder.")
    return found
