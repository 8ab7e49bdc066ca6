"""``suprem predict``: from CT files and DICOM folders to organ masks."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from suprem.cli._quality import Overlap, Precision, Quality
from suprem.cli._words import as_typed, names_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from suprem.inference.folder import RunResult
    from suprem.inference.outputs import CasePage
    from suprem.volumes.geometry import Volume
    from suprem.volumes.scans import ScanInput

__all__ = ["predict"]

_EXIT_FAILED = 1

_Inputs = Annotated[
    list[Path],
    typer.Argument(
        metavar="INPUT",
        show_default=False,
        help="CT files (.nii.gz, .nii, .nrrd, .mha, .mhd), DICOM folders, folders of these, trees of CASE/ct.nii.gz.",
    ),
]
_Output = Annotated[Path, typer.Option("--output", "-o", show_default=False, help="Folder of the results.")]
_Model = Annotated[
    str,
    typer.Option(
        help="A name of `suprem zoo list`, hf-hub:owner/repo@revision, local-dir:PATH or local-file:PATH; auto is "
        "SegResNet on a CPU, the U-Net on a GPU."
    ),
]
_Classes = Annotated[
    list[str] | None,
    typer.Option(show_default=False, help="Structures to predict, separated by commas; default: all of the model."),
]
_Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")]
_Quality = Annotated[
    Quality,
    typer.Option(help="Work for the last bit of accuracy; exhaustive is MONAI's sliding window over everything."),
]
_MaxRam = Annotated[str, typer.Option(help="Memory limit of the process; 'none' for no limit.")]
_Format = Annotated[
    Literal["nifti", "dicom-seg"],
    typer.Option("--format", help="dicom-seg adds segmentation.dcm (DICOM input only)."),
]
_Jobs = Annotated[
    int, typer.Option(min=1, help="Scans in memory at once; more than 1 read and write while the network runs.")
]
_Resume = Annotated[
    bool, typer.Option("--resume", help="Skip cases that are finished with the same scan, model and settings.")
]
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results of earlier runs.")]
_Postprocess = Annotated[str, typer.Option(help="Rules applied to the masks: none, or the name of a set.")]
_Tta = Annotated[bool, typer.Option("--tta", help="Average with the mirrored scan; twice the time.")]
_Precision = Annotated[
    Precision, typer.Option(help="Of the network; bfloat16 is faster on recent GPUs, with slightly other results.")
]
_Series = Annotated[
    str | None, typer.Option(show_default=False, help="DICOM: UID, number or description of the series to read.")
]
_Numbering = Annotated[
    str | None,
    typer.Option(show_default=False, help="Numbers of combined_labels.nii.gz; default: the model's own."),
]
_Report = Annotated[
    bool, typer.Option("--report", help="Add report.html: the CT with its masks, to page through in a browser.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


def predict(
    context: typer.Context,
    inputs: _Inputs,
    output: _Output,
    model: _Model = "auto",
    classes: _Classes = None,
    device: _Device = "auto",
    quality: _Quality = "balanced",
    overlap: Overlap = None,
    max_ram: _MaxRam = "4GiB",
    output_format: _Format = "nifti",
    jobs: _Jobs = 1,
    resume: _Resume = False,
    overwrite: _Overwrite = False,
    postprocess: _Postprocess = "none",
    tta: _Tta = False,
    precision: _Precision = "float32",
    series: _Series = None,
    numbering: _Numbering = None,
    report: _Report = False,
    as_json: _Json = False,
) -> None:
    """Segment CT scans. Not for clinical use.

    Writes one folder per case, OUTPUT/CASE, on the scanner's grid: masks in
    segmentations/NAME.nii.gz, combined_labels.nii.gz, statistics, a preview
    and a manifest. A case that fails is reported and the others go on; the
    exit code is then 1.
    """
    limit, scans = _limit(max_ram), _checked_scans(inputs, output, numbering, postprocess, output_format, series)
    from suprem.cli._display import Display
    from suprem.inference import Predictor, load_network, predict_folder

    console = _announced(model, device)
    predictor = Predictor(
        load_network(model, device=device),
        classes=_names(classes),
        device=device,
        quality=quality,
        overlap=overlap,
        max_ram=limit,
        postprocess=postprocess,
        flip_tta=tta,
        precision=precision,
    )
    with Display(console, len(scans)) as display:
        result = predict_folder(
            scans,
            predictor,
            output,
            numbering=numbering,
            output_format=output_format,
            series=series,
            resume=resume,
            overwrite=overwrite,
            jobs=jobs,
            reporter=display,
            report=_pages(context) if report else None,
        )
    _finish(result, output, as_json)


def _pages(context: typer.Context) -> "Callable[[Volume], CasePage]":
    """What makes the page of each case; the command stands in its provenance."""
    from functools import partial

    from suprem.report import PredictionReport

    return partial(PredictionReport, command=as_typed(context))


def _limit(text: str) -> int | None:
    from suprem._files import parse_size

    return None if text.strip().lower() == "none" else parse_size(text)


def _checked_scans(
    inputs: list[Path],
    output: Path,
    numbering: str | None,
    postprocess: str,
    output_format: Literal["nifti", "dicom-seg"],
    series: str | None,
) -> "list[ScanInput]":
    """The scans; refuses without torch what can be refused so, then without a model."""
    from suprem.labels import label_space
    from suprem.volumes.scans import find_scans

    if numbering is not None:
        label_space(numbering)
    scans = find_scans(inputs)

    from suprem.inference.folder import check_inputs
    from suprem.inference.postprocessing import check_profile

    check_profile(postprocess)
    check_inputs(scans, output, output_format=output_format, series=series)
    return scans


def _names(texts: list[str] | None) -> list[str] | None:
    """``["liver,spleen", "colon"]`` -> three names; ``None`` where nothing is named."""
    return [name for text in texts or [] for name in names_in(text)] or None


def _announced(model: str, device: str) -> "Console":
    """The console, which first says which model runs, and what the bundled one is worth."""
    from suprem.cli._display import stderr_console
    from suprem.inference import default_model
    from suprem.inference._segment import BUNDLED_MODEL

    console, text = stderr_console(), f"model: {model}"
    if model == "auto":
        text = f"model: {default_model(device)}, the default on this device"
    elif model == BUNDLED_MODEL:
        text += ", trained on synthetic phantoms only: for trying out, not for patients"
    console.print(text)
    return console


def _finish(result: "RunResult", output: Path, as_json: bool) -> None:
    """Prints what came out; any failed case makes the command fail."""
    if as_json:
        typer.echo(json.dumps(result.manifest, indent=2))
    else:
        counts = ", ".join(f"{result.count(status)} {status}" for status in ("done", "skipped", "failed"))
        typer.echo(f"{counts}; results in {output}")
    if result.count("failed"):
        raise typer.Exit(_EXIT_FAILED)
