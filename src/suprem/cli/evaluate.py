"""``suprem evaluate``: how good predictions are, structure by structure, and which of several are better."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from suprem.cli._words import as_typed, names_in

__all__ = ["evaluate"]


_Against = Annotated[
    list[Path] | None, typer.Option(help="Other predictions, or scores, of the same cases to compare; repeatable.")
]
_References = Annotated[
    Path | None, typer.Argument(help="Folder of references; none where all predictions are given as scores.")
]
_Empty = Annotated[Literal["absent", "one", "zero"], typer.Option(help="Score of a structure that neither has.")]
_PredictionNumbering = Annotated[str | None, typer.Option(help="Numbering of label maps of predictions.")]
_ReferenceNumbering = Annotated[str | None, typer.Option(help="Numbering of label maps of references.")]
_Trust = Annotated[bool, typer.Option("--trust-numbering", help="Go on although another numbering fits better.")]
_Resample = Annotated[bool, typer.Option("--resample", help="Bring predictions to the grid of the reference.")]
_Strict = Annotated[bool, typer.Option("--strict", help="Refuse cases and masks without a partner.")]
_Images = Annotated[Path | None, typer.Option(help="CTs for the pictures; default: ct.nii.gz in each case's folder.")]
_Worst = Annotated[int, typer.Option(min=0, help="Pictures of so many worst pairs of case and structure.")]
_Report = Annotated[
    int | None,
    typer.Option("--report", min=0, help="Write report.html, with so many of the worst cases to page through."),
]
_Structures = Annotated[str | None, typer.Option(help="Names separated by commas; default: all in common.")]
_Tolerance = Annotated[float, typer.Option(help="Of the normalised surface distance, mm.")]
_Jobs = Annotated[int, typer.Option(min=1, help="Cases at a time, each in a process of its own.")]


def evaluate(
    context: typer.Context,
    predictions: Annotated[Path, typer.Argument(help="Folder of predictions, or scores in CSV files.")],
    references: _References = None,
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the tables; must not exist.")],
    against: _Against = None,
    structures: _Structures = None,
    tolerance: _Tolerance = 1.0,
    prediction_numbering: _PredictionNumbering = None,
    reference_numbering: _ReferenceNumbering = None,
    trust_numbering: _Trust = False,
    empty: _Empty = "absent",
    resample: _Resample = False,
    strict: _Strict = False,
    images: _Images = None,
    worst: _Worst = 10,
    report: _Report = None,
    jobs: _Jobs = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing folder.")] = False,
) -> None:
    """Compare predictions with references on the grid of the references, and write tables and pictures.

    Folders hold <case>/segmentations/<structure>.nii.gz, <case>/<structure>.nii.gz, or label maps <case>.nii.gz whose
    numbering is named or described in nnU-Net's dataset.json. Structures are matched by name, never by number. Scores
    are a cases.csv of an earlier run, or a dsc.csv, nsd.csv ... with a row per case and a column per structure.
    """
    from suprem._files import check_writable
    from suprem.cli._evaluate import Inputs, print_comparison, print_evaluation, print_ranking
    from suprem.errors import OutputError
    from suprem.evaluation.comparison import compare_evaluations, rank_evaluations
    from suprem.evaluation.tables import PICTURES, write_tables
    from suprem.report.scores import score_texts

    if out.exists() and not overwrite:
        raise OutputError(f"{out} exists; choose another folder, or add --overwrite.")
    check_writable(out.parent)
    options = {
        "tolerance_mm": tolerance,
        "empty": empty,
        "resample": resample,
        "strict": strict,
        "prediction_numbering": prediction_numbering,
        "reference_numbering": reference_numbering,
        "trust_numbering": trust_numbering,
    }
    inputs = Inputs([predictions, *(against or ())], references, names_in(structures or "") or None, options, images)
    first, *others = inputs.evaluate(jobs)
    comparisons = compare_evaluations(first, *others)
    ranks = rank_evaluations([first, *others]) if others else ()
    pictures = inputs.pictures(first, worst)
    settings, found = inputs.described(), (comparisons, ranks, pictures)
    texts = score_texts(first, *found, tolerance_mm=settings.get("tolerance_mm"), folder=PICTURES)
    if report is not None:
        texts["report.html"] = inputs.page(first, settings, *found, count=report, command=as_typed(context))
    write_tables(out, first, settings, *found, texts=texts, overwrite=overwrite)
    print_evaluation(first, pictures)
    print_comparison(first, comparisons)
    print_ranking(ranks)
    typer.echo(f"The tables are in {out}.")
