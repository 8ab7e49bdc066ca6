"""Networks for other programs: ``torch.export``, ONNX or a MONAI bundle, compared with PyTorch on the way."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from suprem.errors import ConfigurationError, OutputError, did_you_mean

if TYPE_CHECKING:
    from suprem.backbones._base import SegmentationNetwork

__all__ = ["FORMATS", "ExportReport", "Format", "export"]

Format = Literal["torch-export", "onnx", "monai-bundle"]
FORMATS: tuple[str, ...] = get_args(Format)
_TOLERANCE = 2e-4  # measured: 0 for a program, up to 4e-5 for ONNX Runtime and windows of 96^3 voxels


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how far its outputs are from PyTorch's.

    Attributes:
        path: the file or folder.
        format: one of :data:`FORMATS`.
        sizes: which inputs it takes.
        differences: input shape -> largest difference of a logit, divided by the largest logit where that is above 1.
        tolerance: the largest such fraction that is accepted.
        terms: licences and limits, as they stand in the file too.
    """

    path: str
    format: str
    sizes: str
    differences: dict[str, float]
    tolerance: float
    terms: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def export(
    source: "str | SegmentationNetwork",
    target: str | Path,
    *,
    format: Format,
    tolerance: float = _TOLERANCE,
    overwrite: bool = False,
    cache_dir: str | Path | None = None,
    progress: bool = True,
    **options: Any,
) -> ExportReport:
    """Writes a network for another program, completely or not at all.

    What is written is read again and run with the program it is meant for: on seeded noise of one and of two windows
    (and of another window size, where any is possible) its logits must equal PyTorch's. The preprocessing contract, the
    meaning of the channels and the licences travel inside.

    Args:
        source: as for :func:`suprem.load_pretrained`, or a network with a ``config``; it is left as it is.
        target: a file ``*.pt2`` (``torch-export``) or ``*.onnx``, or a folder (``monai-bundle``).
        format: one of :data:`FORMATS`.
        tolerance: largest accepted difference of a logit, as a fraction of the largest logit or of 1 if that is more.
        overwrite: replace what is there.
        cache_dir: where downloads are kept.
        progress: show a progress bar while downloading.
        **options: further arguments of ``load_pretrained``, such as ``backbone``.

    Raises:
        ConfigurationError: the network has no configuration, cannot be turned into such a program (with the reason), or
            the optional packages are missing.
        CheckpointError: the outputs differ by more than ``tolerance``, or the source fills a part of the network only.
        OutputError: the target exists, or cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = export("segresnet_tiny.phantom", folder + "/model.pt2", format="torch-export")
        >>> max(report.differences.values()) <= report.tolerance
        True
    """
    if format not in FORMATS:
        raise ConfigurationError(did_you_mean("format", str(format), FORMATS))
    if not tolerance > 0:
        raise ConfigurationError(f"tolerance is {tolerance}; it must be above 0.")
    writer = _writer(format, Path(target), overwrite=overwrite)

    from suprem.zoo.export._subject import subject_of

    subject = subject_of(source, cache_dir=cache_dir, progress=progress, options=options)
    differences, sizes = writer(subject, tolerance)
    return ExportReport(str(target), format, sizes, differences, tolerance, subject.terms)


def _writer(format: str, target: Path, *, overwrite: bool) -> Callable[..., tuple[dict[str, float], str]]:
    """The function that writes a format; what it needs is checked before a network is loaded."""
    from functools import partial

    if target.exists() and not overwrite:
        raise OutputError(f"{target} already exists; allow overwriting it, or choose another name.")
    if format == "monai-bundle":
        from suprem.zoo.export._monai_bundle import write_bundle

        return partial(write_bundle, folder=target, overwrite=overwrite)
    ending = ".onnx" if format == "onnx" else ".pt2"
    if target.suffix != ending:
        raise ConfigurationError(f"{target} must end with {ending}, by which other programs know the format {format}.")
    if format == "onnx":
        from suprem.zoo.export._onnx import check_available, write_onnx

        check_available()
        return partial(write_onnx, path=target)
    from suprem.zoo.export._program import write_program

    return partial(write_program, path=target)
