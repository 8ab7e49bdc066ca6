"""One page per table and figure of the paper: its README, and the report of its numbers and ours."""

from pathlib import Path

from suprem.report.experiment import ITEM
from suprem.report.experiment_figures import draw, svg
from suprem.report.experiment_report import Report, report_on
from suprem.report.table import Table

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


def experiment_pages() -> dict[str, str]:
    """An overview, and a page and a drawing per folder that has an ``item.yaml``."""
    folders = sorted((path.parent for path in EXPERIMENTS.glob(f"*/{ITEM}")), key=_place)
    reports = [report_on(folder) for folder in folders]
    pages = {"experiments.md": _overview(reports)}
    for report in reports:
        name = report.experiment.name
        pages[f"experiment-{name}.md"] = _page(report)
        pages[f"experiment-{name}.svg"] = svg(draw(report.experiment))
    return pages


def _place(folder: Path) -> tuple[bool, bool, str]:
    """Tables first, as the paper numbers them, then figures, then what has no number."""
    return not folder.name.startswith("table"), not folder.name.startswith("figure"), folder.name


def _overview(reports: list[Report]) -> str:
    rows = [
        (r.experiment.item.title, r.paper.outcome, "not run" if r.here is None else r.here.outcome) for r in reports
    ]
    toc = "\n".join(f"experiment-{r.experiment.name}" for r in reports)
    table = Table(("item", "direction of the claim in the paper's numbers", "in ours"), rows)
    return (
        "# Tables and figures of the paper\n\nThe numbers of the paper are those of its main text; ours come from "
        "`results.csv` in the folder of each experiment, and are from synthetic phantoms.\n\n"
        f"{table.markdown()}\n```{{toctree}}\n:maxdepth: 1\n:hidden:\n\n{toc}\n```\n"
    )


def _page(report: Report) -> str:
    name = report.experiment.name
    return (
        f"```{{include}} ../../../experiments/{name}/README.md\n```\n\n"
        f"## Numbers\n\n{report.markdown(f'experiment-{name}.svg')}"
    )
