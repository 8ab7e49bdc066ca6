"""``suprem atlas ensemble``: several models annotate every case of a store."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from suprem.cli._quality import Overlap, Quality
from suprem.cli._words import names_in

if TYPE_CHECKING:
    from suprem.atlas.ensemble import EnsembleReport

__all__ = ["ensemble"]

_EXIT_FAILED = 1

_Store = Annotated[str, typer.Argument(show_default=False, help="Folder or address of the store with the CTs.")]
_Out = Annotated[
    Path, typer.Option("--out", "-o", show_default=False, help="Folder of the atlas; made or gone on with.")
]
_Models = Annotated[
    list[str],
    typer.Option(
        "--model",
        show_default=False,
        help="A name of `suprem zoo list`, hf-hub:owner/repo@revision, local-dir:PATH or local-file:PATH; one each.",
    ),
]
_Classes = Annotated[
    list[str] | None,
    typer.Option(
        show_default=False,
        help="Structures of the atlas, separated by commas; default: those it has, or all that the models know.",
    ),
]
_Fusion = Annotated[
    Literal["majority", "staple", "mean"],
    typer.Option(help="Votes, STAPLE, or the mean of the probabilities; over the models that know a structure."),
]
_Quality = Annotated[Quality, typer.Option(help="As for `suprem predict`, of each model.")]
_MaxRam = Annotated[str, typer.Option(help="Memory limit of each process while it predicts; 'none' for no limit.")]
_Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")]
_Postprocess = Annotated[
    str, typer.Option(help="Rules applied to the masks of each model: none, or the name of a set.")
]
_Jobs = Annotated[int, typer.Option(min=1, help="Local processes; each holds one model and one case.")]
_Scheduler = Annotated[
    str | None,
    typer.Option(show_default=False, help="Address of a Dask scheduler to use instead, such as tcp://host:8786."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


def ensemble(
    store: _Store,
    out: _Out,
    model: _Models,
    classes: _Classes = None,
    fusion: _Fusion = "majority",
    quality: _Quality = "balanced",
    overlap: Overlap = None,
    max_ram: _MaxRam = "4GiB",
    device: _Device = "auto",
    postprocess: _Postprocess = "none",
    jobs: _Jobs = 1,
    scheduler: _Scheduler = None,
    as_json: _Json = False,
) -> None:
    """Annotate every case of a store with several models; run it again to go on after a stop.

    Each call with other models, settings or cases is a new round; what has
    not changed since is taken over. A case that fails is listed in
    failures.csv of the round and the others go on; the exit code is then 1.
    """
    limit = None if max_ram.strip().lower() == "none" else max_ram
    from suprem.atlas.ensemble import begin_atlas, run_ensemble
    from suprem.atlas.models import describe_models
    from suprem.cli._case_bar import CaseBar
    from suprem.cli._display import stderr_console

    console = stderr_console()
    models = describe_models(model)
    for one in models:
        console.print(f"model: {one.label}, {len(one.classes)} structures")
    names = [name for text in classes or [] for name in names_in(text)] or None
    atlas = begin_atlas(out, store, models, names)
    with CaseBar(console) as progress:
        report = run_ensemble(
            atlas,
            models,
            fusion=fusion,
            quality=quality,
            overlap=overlap,
            postprocess=postprocess,
            max_ram=limit,
            device=device,
            jobs=jobs,
            scheduler=scheduler,
            progress=progress.ended,
        )
    if as_json:
        typer.echo(json.dumps({"atlas": str(out), **asdict(report)}, indent=2))
    else:
        _print_report(report, atlas.round_folder(report.round))
    if report.failures:
        raise typer.Exit(_EXIT_FAILED)


def _print_report(report: "EnsembleReport", folder: Path) -> None:
    from suprem.atlas.ensemble import FAILURES

    counts = f"{report.predicted} predicted, {report.linked} taken from earlier rounds, {report.kept} there already"
    typer.echo(
        f"round {report.round}: {report.cases} cases, {len(report.models)} models; {counts}; {report.fused} fused"
    )
    if report.unknown:
        typer.echo(f"no model knows {', '.join(report.unknown)}")
    if report.failures:
        typer.echo(f"not finished: {len(report.failures)} failed; see {folder / FAILURES}, then run it again")
