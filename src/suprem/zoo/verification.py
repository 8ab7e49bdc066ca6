"""Checks that a checkpoint is what it claims to be: hashes, counts, class order, and the recorded outputs."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from suprem.backbones._base import SegmentationNetwork
from suprem.errors import CheckpointError, UnsafeFileError
from suprem.zoo._recognise import blueprint
from suprem.zoo.config import ModelConfig
from suprem.zoo.golden import TOLERANCE, Golden, read_golden, replay
from suprem.zoo.load import load_pretrained
from suprem.zoo.model_card import read_metadata
from suprem.zoo.source import Origin, resolve

__all__ = ["Check", "VerifyReport", "verify"]

Outcome = Literal["passed", "failed", "skipped"]

_CLASSES_OF_CARDS = 32


@dataclass(frozen=True)
class Check:
    """One thing that was checked.

    Attributes:
        name: what.
        outcome: ``"skipped"`` when there is nothing to compare with.
        detail: the numbers.
    """

    name: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True)
class VerifyReport:
    """All checks of one checkpoint.

    Attributes:
        source: what was asked for.
        path: the file of weights.
        checks: in the order they ran.
    """

    source: str
    path: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Nothing failed."""
        return all(check.outcome != "failed" for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "ok": self.ok}


def verify(source: str, *, cache_dir: str | Path | None = None, progress: bool = True, **options: Any) -> VerifyReport:
    """Loads a checkpoint strictly and compares it with everything recorded about it.

    Args:
        source: as for :func:`suprem.load_pretrained`.
        cache_dir: where downloads are kept.
        progress: show a progress bar while downloading.
        **options: further arguments of ``load_pretrained``, such as ``backbone``.

    Raises:
        SupremError: the source does not exist, cannot be fetched, or needs other arguments; weights that can be read
            but are wrong are a failed check instead.

    Example:
        >>> verify("segresnet_tiny.phantom").ok  # doctest: +SKIP
        True
    """
    origin = resolve(source, cache_dir=cache_dir, progress=progress)
    checks = [_size(origin), _digest(origin)]
    golden = _golden_of(origin, checks)
    try:
        network = load_pretrained(source, cache_dir=cache_dir, progress=False, **_loadable(origin, options))
    except (CheckpointError, UnsafeFileError) as error:
        checks.append(Check("strict load", "failed", str(error)))
        return VerifyReport(source, str(origin.path), tuple(checks))
    report, config = network.load_report, network.config
    if report is not None and config is not None:
        checks.append(_counts(origin, len(report.loaded), report.initialised))
        checks.append(_parameters(origin, network, config, golden))
        checks.append(_classes(config.classes, golden))
    checks.append(_model_card(origin))
    checks.append(_replayed(golden, lambda recorded: replay(network, recorded)))
    return VerifyReport(source, str(origin.path), tuple(checks))


def _loadable(origin: Origin, options: dict[str, Any]) -> dict[str, Any]:
    """A file without a segmentation output can only be loaded with some classes; one stands for all."""
    return {"classes": ["liver"], **options} if origin.headless else options


def _size(origin: Origin) -> Check:
    size = origin.path.stat().st_size
    expected = origin.card.file.size_bytes if origin.card else None
    if expected is None:
        return Check("size", "skipped", f"{size} bytes; no size is recorded")
    return Check("size", "passed" if size == expected else "failed", f"{size} bytes, recorded {expected}")


def _digest(origin: Origin) -> Check:
    expected = origin.card.file.sha256 if origin.card else None
    if expected is None:
        return Check("SHA-256", "skipped", f"{origin.sha256}; none is recorded on a card")
    same = origin.sha256 == expected
    detail = origin.sha256 if same else f"{origin.sha256}, not {expected}"
    return Check("SHA-256", "passed" if same else "failed", detail)


def _golden_of(origin: Origin, checks: list[Check]) -> Golden | None:
    path = origin.path.parent / "golden.safetensors"
    if origin.config is None or not path.is_file():
        return None
    try:
        golden = read_golden(path)
    except CheckpointError as error:
        checks.append(Check("golden file", "failed", str(error)))
        return None
    recorded = golden.facts.get("model_sha256")
    same = recorded == origin.sha256
    checks.append(Check("golden belongs to weights", "passed" if same else "failed", f"recorded {recorded}"))
    return golden


def _counts(origin: Origin, loaded: int, initialised: tuple[str, ...]) -> Check:
    if initialised and not origin.headless:
        return Check("tensors", "failed", f"{len(initialised)} not in the file: {', '.join(initialised[:5])}")
    rest = f", {len(initialised)} are not part of the file" if initialised else ""
    return Check("tensors", "passed", f"{loaded} loaded by name{rest}")


def _parameters(origin: Origin, network: SegmentationNetwork, config: ModelConfig, golden: Golden | None) -> Check:
    """Against what was recorded beside the weights, or what the card says of the backbone with 32 classes."""
    recorded = golden.facts.get("parameters") if golden else None
    if isinstance(recorded, int):
        count = sum(p.numel() for p in network.parameters())
    elif origin.card is not None and origin.card.architecture.parameters is not None:
        recorded = origin.card.architecture.parameters
        plain = blueprint(config.backbone, _CLASSES_OF_CARDS, "conv", 1, config.backbone_kwargs)
        count = sum(p.numel() for p in plain.parameters())
    else:
        return Check("parameters", "skipped", "no number is recorded")
    return Check("parameters", "passed" if count == recorded else "failed", f"{count:,}, recorded {recorded:,}")


def _model_card(origin: Origin) -> Check:
    """The README of a published folder: readable, and with the metadata that the Hub wants."""
    path = origin.path.parent / "README.md"
    if origin.config is None or not path.is_file():
        return Check(
            "model card", "skipped", "the schema of cards is checked on reading" if origin.card else "no README"
        )
    try:
        metadata = read_metadata(path)
    except CheckpointError as error:
        return Check("model card", "failed", str(error))
    licence = metadata.get("license")
    return Check("model card", "passed", f"licence {licence}" if isinstance(licence, str) else "no licence stated")


def _classes(classes: tuple[str, ...], golden: Golden | None) -> Check:
    recorded = golden.facts.get("classes") if golden else None
    if not isinstance(recorded, list):
        # A card's order was used to load the file, so comparing with it would prove nothing.
        return Check("class order", "skipped", "the file says nothing about it")
    same = tuple(recorded) == classes
    return Check("class order", "passed" if same else "failed", f"{len(classes)} classes, first {classes[0]}")


def _replayed(golden: Golden | None, run: Callable[[Golden], float]) -> Check:
    if golden is None:
        return Check("golden outputs", "skipped", "none are recorded for this file")
    difference = run(golden)
    detail = f"largest difference {difference:.1e} over {len(golden.logits)} logits, accepted {TOLERANCE:g}"
    return Check("golden outputs", "passed" if difference <= TOLERANCE else "failed", detail)
