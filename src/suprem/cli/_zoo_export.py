"""``suprem zoo export``: a checkpoint for other programs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from suprem.cli._words import names_or_space

if TYPE_CHECKING:
    from suprem.zoo.export import ExportReport

__all__ = ["export"]


def export(
    source: Annotated[str, typer.Argument(help="A checkpoint name, hf-hub:..., local-dir:PATH or local-file:PATH.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write, .pt2 or .onnx; a folder for a bundle.")],
    format: Annotated[Literal["torch-export", "onnx", "monai-bundle"], typer.Option(help="What to write.")],
    backbone: Annotated[str | None, typer.Option(help="Network of a local file; default: found by its names.")] = None,
    source_classes: Annotated[
        str | None,
        typer.Option(help="Meaning of a local file's channels: a label space, or names separated by commas."),
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Accepted difference, per largest logit.")] = 2e-4,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Where downloads are kept; default: the Hub's cache (HF_HUB_CACHE).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    """Write a checkpoint for other programs, and compare what was written with PyTorch."""
    from suprem.zoo.export import export as run

    options: dict[str, Any] = {"backbone": backbone} if backbone else {}
    if source_classes:
        options["source_classes"] = names_or_space(source_classes)
    report = run(
        source,
        out,
        format=format,
        tolerance=tolerance,
        overwrite=overwrite,
        cache_dir=cache_dir,
        progress=not as_json,
        **options,
    )
    typer.echo(json.dumps(report.to_dict(), indent=2) if as_json else _summary(report))


def _summary(report: "ExportReport") -> str:
    lines = [f"{report.path}: {report.format}, takes {report.sizes}"]
    lines += [
        f"  input {shape}: differs from PyTorch by {difference:.1e} of the largest logit; accepted {report.tolerance:g}"
        for shape, difference in report.differences.items()
    ]
    return "\n".join(lines)
