"""What ``suprem evaluate`` reads, and what it prints."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from suprem.cli._display import CountBar
from suprem.errors import ConfigurationError
from suprem.report.scores import TITLES

if TYPE_CHECKING:
    from rich.console import Console

    from suprem.evaluation.comparison import Comparison, Rank
    from suprem.evaluation.pictures import Picture
    from suprem.evaluation.scores import Evaluation, StructureSummary

__all__ = ["Inputs", "print_comparison", "print_evaluation", "print_ranking"]

_SHOWN = 40
_ALPHA = 0.05
_WIDE = 200
_FEW = 6
"""Cases below which Wilcoxon's test cannot reach p = 0.05."""


@dataclass(frozen=True)
class Inputs:
    """Predictions as masks or as scores.

    Attributes:
        predictions: the first is compared with the others.
        references: folder, where any of these are masks.
        structures: those to compare; ``None`` takes all.
        options: how masks are compared, as ``evaluate_folders`` takes them.
        images: CTs for the pictures.
    """

    predictions: Sequence[Path]
    references: Path | None
    structures: Sequence[str] | None
    options: dict[str, Any]
    images: Path | None = None

    def __post_init__(self) -> None:
        for path in self.predictions:
            if not path.exists():
                raise ConfigurationError(f"{path} does not exist; check the path.")
            if self.predictions.count(path) > 1:
                raise ConfigurationError(f"{path} is given twice; predictions are compared with others.")
        masks = [path for path in self.predictions if not self._scored(path)]
        if masks and self.references is None:
            raise ConfigurationError(f"{masks[0]} holds masks, and no references are given; name their folder.")
        if not masks and self.references is not None:
            raise ConfigurationError(
                f"All predictions are given as scores, so there is nothing to compare with {self.references}; leave it "
                "out, or give masks."
            )

        if self.images is not None:
            self._check_images(self.images)

    def _check_images(self, images: Path) -> None:
        from suprem.volumes.scans import find_scans

        if self._scored(self.predictions[0]):
            raise ConfigurationError(
                f"{self.predictions[0]} holds scores and no masks, so no picture can be drawn; leave --images out."
            )
        find_scans(images)  # says what is wrong with them before the long work

    @staticmethod
    def _scored(path: Path) -> bool:
        from suprem.evaluation.score_tables import is_scores

        return is_scores(path)

    def evaluate(self, jobs: int) -> "list[Evaluation]":
        """The scores of all predictions, masks first, in the order in which they are given."""
        from suprem.evaluation.score_tables import read_scores

        found = {path: self._compared(path, jobs) for path in self.predictions if not self._scored(path)}
        known = {name for evaluation in found.values() for name in evaluation.structures} | set(self.structures or ())
        tolerance = self.options["tolerance_mm"] if found else None
        for path in self.predictions:
            if path not in found:
                scores = read_scores(path, known=known, tolerance_mm=tolerance)
                found[path] = scores.only(self.structures) if self.structures else scores
        return [found[path] for path in self.predictions]

    def _compared(self, path: Path, jobs: int) -> "Evaluation":
        from suprem.evaluation.folders import evaluate_folders

        with CountBar(path.name) as progress:
            return evaluate_folders(
                path,
                str(self.references),
                structures=self.structures,
                jobs=jobs,
                progress=progress.ended,
                **self.options,
            )

    def pictures(self, evaluation: "Evaluation", count: int) -> "list[Picture]":
        """Of the worst cases of the first predictions; of scores there are none."""
        from suprem.evaluation.pictures import draw_worst

        if self._scored(self.predictions[0]):
            return []
        return draw_worst(evaluation, *self._sides(), count=count, **self._read_again())

    def page(
        self,
        evaluation: "Evaluation",
        settings: dict[str, Any],
        comparisons: "Sequence[Comparison]",
        ranks: "Sequence[Rank]",
        pictures: "Sequence[Picture]",
        *,
        count: int,
        command: str,
    ) -> str:
        """The page of an evaluation, with so many of the worst cases; scores have none."""
        from suprem.report.evaluation import evaluation_report, worst_viewers

        found = (comparisons, ranks, pictures)
        shown = count and not self._scored(self.predictions[0])
        viewers = worst_viewers(evaluation, *self._sides(), count=count, **self._read_again()) if shown else ()
        return evaluation_report(evaluation, settings, *found, viewers, command=command).html()

    def _sides(self) -> tuple[Path, str]:
        return self.predictions[0], str(self.references)

    def _read_again(self) -> dict[str, Any]:
        options = {key: self.options[key] for key in ("prediction_numbering", "reference_numbering", "resample")}
        return {"images": self.images, **options}

    def described(self) -> dict[str, Any]:
        """Plain values for the document; those of masks only where there are any."""
        used = self.options if self.references is not None else {}
        references = None if self.references is None else str(self.references)
        return {"references": references, **used, "interval": "95 % bootstrap of the mean"}


def print_evaluation(evaluation: "Evaluation", pictures: "Sequence[Picture]") -> None:
    """The structures, the worst cases, and what was left out."""
    from rich.console import Console

    # In a file or a pipe no column is cut.
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else _WIDE)
    _print_structures(console, evaluation)
    for name, found in evaluation.lesions().items():
        shares = f"sensitivity {found.sensitivity.estimate:.3f}, precision {found.precision.estimate:.3f}"
        many = (
            f"{found.counts.found} of {found.counts.reference} found, {found.counts.false} false in {found.cases} cases"
        )
        console.print(f"lesions, {name}: {many}; {shares}")
    worst = [score for score in evaluation.worst(5) if score.scores.dsc < 1]
    if worst:
        files = {(p.score.case, p.score.structure): p for p in pictures}
        console.print("worst:")
        for score in worst:
            picture = files.get((score.case, score.structure))
            shown = f"  {picture.file}" if picture else ""
            distance = f"HD95 {score.scores.hd95_mm:.1f} mm"
            console.print(f"  {score.case} {score.structure}: DSC {score.scores.dsc:.3f}, {distance}{shown}")
    for note in dict.fromkeys(picture.note for picture in pictures if picture.note):
        cases = dict.fromkeys(picture.score.case for picture in pictures if picture.note == note)
        console.print(f"pictures of {_listed(cases)}: {note}")
    missing = [f"{case}/{structure}" for case, structure in evaluation.missing]
    for label, names in (
        ("cases without a prediction", evaluation.without_prediction),
        ("cases without a reference", evaluation.without_reference),
        ("structures that were not predicted", evaluation.not_predicted),
        ("structures without a reference", evaluation.no_reference),
        ("masks of one side only", missing),
    ):
        if names:
            console.print(f"{label}: {_listed(names)}")
    for note in evaluation.notes:
        console.print(f"note: {note}")


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:10]) + (" ..." if len(names) > 10 else "")


def _print_structures(console: "Console", evaluation: "Evaluation") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("structure", no_wrap=True)
    for name in ("cases", "DSC", "95 % interval", "NSD", "HD95 mm"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = {(row.structure, row.metric): row for row in evaluation.summary()}
    scored = list(dict.fromkeys(row.structure for row in evaluation.summary()))
    for name in scored[:_SHOWN]:
        cells = [rows.get((name, metric)) for metric in TITLES]
        dsc = cells[0]
        interval = ""
        if dsc:
            interval = "one case" if dsc.low is None or dsc.high is None else f"{dsc.low:.3f} to {dsc.high:.3f}"
        table.add_row(name, str(max(row.cases for row in cells if row)), _mean(dsc, 3), interval, *_others(cells[1:]))
    if scored:
        console.print(table)
    if len(scored) > _SHOWN:
        console.print(f"and {len(scored) - _SHOWN} more structures in the tables")
    absent = [name for name in evaluation.structures if name not in scored]
    if absent:
        console.print(f"absent everywhere, in predictions and references: {_listed(absent)}")


def _others(cells: "Sequence[StructureSummary | None]") -> tuple[str, str]:
    nsd, hd95 = cells
    missed = f" ({hd95.infinite} infinite)" if hd95 and hd95.infinite else ""
    return _mean(nsd, 3), _mean(hd95, 1) + missed


def _mean(row: "StructureSummary | None", digits: int) -> str:
    return "" if row is None else f"{row.mean:.{digits}f}"


def print_comparison(first: "Evaluation", rows: "Sequence[Comparison]") -> None:
    """One line per comparison, in groups; where these are many, how many went which way. Nothing without any."""
    if not rows:
        return
    from suprem.evaluation.comparison import FAMILY

    family = {row.metric: row.family for row in rows if row.family}
    typer.echo(f"\n{first.predictions} minus others, over the same cases; {FAMILY}")
    for other, metric in dict.fromkeys((row.against, row.metric) for row in rows):
        group = [row for row in rows if (row.against, row.metric) == (other, metric)]
        typer.echo(f"{TITLES[metric]} against {other}, {family.get(metric, 0)} tests in the family: {_counted(group)}")
        for row in group if len(rows) <= _SHOWN else ():
            typer.echo(f"  {row.structure}: {_tested(row)}")
    fewest = min((row.cases for row in rows if not row.note), default=_FEW)
    if fewest < _FEW:
        least = 2 / 2**fewest
        typer.echo(f"with {fewest} cases Wilcoxon's test cannot fall below p = {least:.3g}, whatever the differences")
    if len(rows) > _SHOWN:
        typer.echo("each comparison is in comparison.csv")


def _counted(rows: "Sequence[Comparison]") -> str:
    from suprem.evaluation.scores import HIGHER_IS_BETTER

    tested = [row for row in rows if not row.note]
    sure = [row for row in tested if row.p_t_holm < _ALPHA]
    better = [row for row in sure if (row.difference > 0) == HIGHER_IS_BETTER[row.metric]]
    return (
        f"of {len(rows)} structures {len(better)} better, {len(sure) - len(better)} worse (t test, corrected p < "
        f"{_ALPHA}), {len(tested) - len(sure)} undecided, {len(rows) - len(tested)} not tested"
    )


def _tested(row: "Comparison") -> str:
    left_out = f" ({row.infinite} infinite left out)" if row.infinite else ""
    start = f"{row.difference:+.3f} over {row.cases} cases{left_out}"
    if row.note:
        return f"{start}; no test: {row.note}"
    return (
        f"{start}; t test p = {row.p_t_holm:.3g}, dz = {row.cohen_dz:.2f}; "
        f"Wilcoxon p = {row.p_wilcoxon_holm:.3g}, rank-biserial = {row.rank_biserial:.2f}"
    )


def print_ranking(ranks: "Sequence[Rank]") -> None:
    """The predictions in order, metric by metric; nothing without others."""
    if not ranks:
        return
    typer.echo("\nranking by mean rank over pairs of case and structure")
    for row in ranks:
        infinite = f", {row.infinite} infinite" if row.infinite else ""
        typer.echo(
            f"  {TITLES[row.metric]} {row.place}. {row.predictions}: rank {row.mean_rank:.2f}, mean {row.mean:.3f} "
            f"over {row.pairs} pairs{infinite}"
        )
