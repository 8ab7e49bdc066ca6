"""``suprem evaluate``: how good a folder of predictions is, structure by structure."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from suprem.cli._words import names_in

if TYPE_CHECKING:
    from suprem.evaluation.folders import Comparison, Evaluation

__all__ = ["evaluate"]

_SHOWN = 40


def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Folder of predictions.")],
    references: Annotated[Path, typer.Argument(help="Folder of references.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the tables; must not exist.")],
    against: Annotated[
        list[Path] | None, typer.Option(help="Other predictions of the same cases, to be tested against; repeatable.")
    ] = None,
    structures: Annotated[str | None, typer.Option(help="Names separated by commas; default: all in common.")] = None,
    tolerance: Annotated[float, typer.Option(help="Of the normalised surface distance, mm.")] = 1.0,
    prediction_numbering: Annotated[str | None, typer.Option(help="Numbering of label maps of predictions.")] = None,
    reference_numbering: Annotated[str | None, typer.Option(help="Numbering of label maps of references.")] = None,
    empty: Annotated[
        Literal["absent", "one", "zero"], typer.Option(help="Score of a structure that neither has.")
    ] = "absent",
    resample: Annotated[
        bool, typer.Option("--resample", help="Bring predictions to the grid of the reference.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing folder.")] = False,
) -> None:
    """Compare predictions with references on the grid of the references, and write tables.

    Folders hold <case>/segmentations/<structure>.nii.gz, <case>/<structure>.nii.gz, or label maps <case>.nii.gz whose
    numbering is named or described in nnU-Net's dataset.json. Structures are matched by name, never by number.
    """
    from suprem._files import check_writable
    from suprem.errors import OutputError
    from suprem.evaluation.folders import compare_evaluations, evaluate_folders
    from suprem.evaluation.tables import write_tables

    if out.exists() and not overwrite:
        raise OutputError(f"{out} exists; choose another folder, or add --overwrite.")
    check_writable(out.parent)
    names = names_in(structures) if structures else None

    def score(folder: Path) -> "Evaluation":
        return evaluate_folders(
            folder,
            references,
            prediction_numbering=prediction_numbering,
            reference_numbering=reference_numbering,
            structures=names,
            tolerance_mm=tolerance,
            empty=empty,
            resample=resample,
        )

    evaluation = score(predictions)
    comparisons = {str(other): compare_evaluations(evaluation, score(other)) for other in against or ()}
    settings = {
        "references": str(references),
        "tolerance_mm": tolerance,
        "empty": empty,
        "resample": resample,
        "interval": "95 % bootstrap of the mean",
    }
    write_tables(out, evaluation, settings, comparisons=comparisons, overwrite=overwrite)
    _print(evaluation)
    for other, rows in comparisons.items():
        _print_comparison(other, rows)
    typer.echo(f"The tables are in {out}.")


def _print(evaluation: "Evaluation") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("structure", no_wrap=True)
    for name in ("cases", "DSC", "95 % interval", "NSD", "HD95 mm"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = {(row.structure, row.metric): row for row in evaluation.summary()}
    for name in evaluation.structures[:_SHOWN]:
        dsc, nsd, hd95 = (rows.get((name, metric)) for metric in ("dsc", "nsd", "hd95_mm"))
        if dsc is None:
            table.add_row(name, "0", "absent everywhere", "", "", "")
            continue
        interval = "one case" if dsc.low is None or dsc.high is None else f"{dsc.low:.3f} to {dsc.high:.3f}"
        missed = f" ({hd95.infinite} infinite)" if hd95 and hd95.infinite else ""
        far = f"{hd95.mean:.1f}{missed}" if hd95 else ""
        table.add_row(name, str(dsc.cases), f"{dsc.mean:.3f}", interval, f"{nsd.mean:.3f}" if nsd else "", far)
    console = Console(highlight=False, markup=False)
    console.print(table)
    for label, missing in (
        ("cases without a prediction", evaluation.without_prediction),
        ("cases without a reference", evaluation.without_reference),
        ("structures that were not predicted", evaluation.not_predicted),
        ("structures without a reference", evaluation.no_reference),
    ):
        if missing:
            console.print(f"{label}: {', '.join(missing[:10])}" + (" ..." if len(missing) > 10 else ""))


def _print_comparison(other: str, rows: "tuple[Comparison, ...]") -> None:
    typer.echo(f"\nDSC against {other}, paired over the same cases; p-values corrected by Holm over the structures")
    for row in rows:
        start = f"  {row.structure}: {row.difference:+.3f} over {row.cases} cases"
        tests = (
            row.note or f"t test p = {row.p_t_holm:.3g}, Wilcoxon p = {row.p_wilcoxon_holm:.3g}, d = {row.effect:.2f}"
        )
        typer.echo(f"{start}; {tests}")
