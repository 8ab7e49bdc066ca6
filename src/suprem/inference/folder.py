"""Prediction of many scans: one model, a folder per case, on past what fails."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from suprem._files import check_writable, make_folder, one_of_several_users
from suprem.errors import ConfigurationError
from suprem.inference._run import Options, Run
from suprem.inference.dicom_seg import check_available
from suprem.inference.outputs import CasePage
from suprem.inference.results import CaseResult, Reporter, RunResult
from suprem.labels import LabelSpace, label_space
from suprem.volumes.geometry import Volume
from suprem.volumes.scans import ScanInput

if TYPE_CHECKING:
    from suprem.inference.predictor import Predictor

__all__ = ["FORMATS", "CaseResult", "Reporter", "RunResult", "check_inputs", "predict_folder", "target_space"]

Format = Literal["nifti", "dicom-seg"]
FORMATS: tuple[Format, ...] = ("nifti", "dicom-seg")


def check_inputs(
    scans: Sequence[ScanInput], output: Path, *, output_format: Format = "nifti", series: str | int | None = None
) -> None:
    """Finds, before a model is loaded, what would make the whole run pointless.

    Raises:
        ConfigurationError: DICOM SEG without highdicom or for other than a DICOM series; ``series`` without DICOM.
        OutputError: ``output`` cannot be written.
    """
    if output_format not in FORMATS:
        raise ConfigurationError(f"format is {output_format!r}; it must be {' or '.join(map(repr, FORMATS))}.")
    if output_format == "dicom-seg":
        other = [scan for scan in scans if scan.kind != "dicom"]
        if other:
            raise ConfigurationError(
                f"{other[0].path} is no DICOM series, and a DICOM SEG has to refer to one; use the format nifti."
            )
        check_available()
    if series is not None and not any(scan.kind == "dicom" for scan in scans):
        raise ConfigurationError(f"series={series!r} was given, but no input is a DICOM folder; leave it out.")
    check_writable(output)


def target_space(predictor: "Predictor", name: str | None = None) -> LabelSpace:
    """The numbering of the combined label map: the named one, the model's own, or the classes in channel order.

    Raises:
        UnknownNameError: no label space is called ``name``.
    """
    chosen = name or predictor.config.label_space
    if chosen:
        return label_space(chosen)
    return LabelSpace.from_classes(predictor.config.name, predictor.config.classes)


def predict_folder(
    scans: Sequence[ScanInput],
    predictor: "Predictor",
    output: str | Path,
    *,
    numbering: str | None = None,
    output_format: Format = "nifti",
    series: str | int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    jobs: int = 1,
    reporter: Reporter | None = None,
    report: Callable[[Volume], CasePage] | None = None,
) -> RunResult:
    """Predicts every scan into ``<output>/<case_id>/`` and goes on past those that fail.

    The network runs in the calling thread, one scan at a time. ``<output>/manifest.json`` describes the run;
    ``<output>/failures.csv`` lists what failed and exists only if something did.

    Args:
        scans: As :func:`~suprem.volumes.scans.find_scans` gives them.
        predictor: The network and how it is run.
        output: Folder of the results, made if it is missing.
        numbering: Label space of ``combined_labels.nii.gz``; ``None`` for the model's own.
        output_format: ``"dicom-seg"`` adds ``segmentation.dcm``; every scan must then be a DICOM series.
        series: DICOM: which series to read where a folder holds several.
        resume: Skip cases whose folder was made from the same scan, model and settings, and is complete.
        overwrite: Replace folders of earlier runs; folders of other origin are never touched.
        jobs: Scans that are in memory at once. With 1 each is read, predicted and written before the next; with more,
            reading and writing go on while the network runs, and each takes the memory of a scan.
        reporter: Is told what happens.
        report: Makes the page of a case from its scan, e.g. :class:`suprem.report.PredictionReport`; written as
            ``report.html``. With ``resume``, a finished case without that file is done again.

    Raises:
        ConfigurationError: arguments that cannot work; see :func:`check_inputs`.
        OutputError: ``output`` cannot be written. Where single cases cannot, they fail and the run goes on.
    """
    folder = Path(output)
    if jobs < 1:
        raise ConfigurationError(f"jobs is {jobs}; it must be at least 1.")
    check_inputs(scans, folder, output_format=output_format, series=series)
    space = target_space(predictor, numbering)
    options = Options(folder, space, output_format, series, resume, overwrite, jobs, report)
    make_folder(folder)
    with one_of_several_users(folder):
        return Run(predictor, options, reporter or Reporter()).execute(scans)
