"""What is exported: a network ready to be traced, and everything that has to travel with it."""

import copy
import logging
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from suprem._version import __version__
from suprem.backbones._base import SegmentationNetwork
from suprem.errors import CheckpointError, ConfigurationError
from suprem.zoo.card import Card, card, list_checkpoints
from suprem.zoo.config import ModelConfig
from suprem.zoo.folder import README, check_config
from suprem.zoo.load import load_pretrained
from suprem.zoo.model_card import read_metadata
from suprem.zoo.source import is_available_offline

__all__ = ["Subject", "subject_of"]

logger = logging.getLogger(__name__)

_UNKNOWN = "no licence is recorded with the weights; ask whoever made them. Not for clinical use."
_ON_PAGE = "the licence stands on the repository's page, huggingface.co/{repo}. Not for clinical use."
_ELSEWHERE = ("no licence", "the licence stands")


@dataclass(frozen=True, eq=False)
class Subject:
    """A network and its papers.

    Attributes:
        network: float32, on the CPU, in evaluation mode; a copy.
        config: its contract.
        terms: licences and limits, in one sentence or two.
        card: where it has one.
        weights_sha256: digest of the file it came from; empty for a network in memory.
    """

    network: SegmentationNetwork
    config: ModelConfig
    terms: str
    card: Card | None
    weights_sha256: str

    @property
    def terms_known(self) -> bool:
        """A licence is recorded, not only where one may be found."""
        return not self.terms.startswith(_ELSEWHERE)

    @property
    def channels(self) -> tuple[str, ...]:
        """What each output channel means."""
        background = ("background",) if self.config.activation == "softmax" else ()
        return background + self.config.classes

    @property
    def any_size(self) -> bool:
        """Whether the exported program takes other windows than that of the contract."""
        # A size of one step or none would be taken for a constant.
        smallest = min(self.config.preprocessing.patch_size)
        return self.network.exports_any_size and smallest >= 2 * self.network.divisor

    @property
    def sizes(self) -> str:
        """Which inputs the program takes, in words."""
        if self.any_size:
            step = self.network.divisor
            return f"any batch; spatial sizes that are multiples of {step}, from {2 * step} on"
        x, y, z = self.config.preprocessing.patch_size
        return f"any batch; windows of {x} x {y} x {z} voxels only"

    def metadata(self) -> dict[str, Any]:
        """The contract as plain values: what a program needs to prepare a scan and to read the output."""
        contract = self.config.preprocessing
        return {
            "format_version": 1,
            "name": self.config.name,
            "input": {
                "name": "image",
                "shape": ["batch", self.config.in_channels, *contract.patch_size],
                "sizes": self.sizes,
                "dtype": "float32",
                "axes": "index grows to the patient's right, front, head (RAS)",
                "orientation": contract.orientation,
                "spacing_mm": None if contract.spacing_mm is None else list(contract.spacing_mm),
                "hu_window": list(contract.hu_window),
                "value_range": [0.0, 1.0],
                "preparation": "reorient, resample linearly, map hu_window linearly to 0 to 1, clip",
            },
            "output": {
                "name": "logits",
                "activation": self.config.activation,
                "decision": "argmax" if self.config.activation == "softmax" else "sigmoid above 0.5, per channel",
                "channels": list(self.channels),
            },
            "config": asdict(self.config),
            "terms": self.terms,
            "weights_sha256": self.weights_sha256,
            "written_with": {"suprem": __version__, "torch": torch.__version__, "python": platform.python_version()},
        }


def subject_of(
    source: str | SegmentationNetwork, *, cache_dir: str | Path | None, progress: bool, options: Mapping[str, Any]
) -> Subject:
    """Loads what ``source`` names, or copies the network that it is.

    Raises:
        ConfigurationError: a network without a fitting configuration, or options beside one.
        CheckpointError: the source fills a part of the network only.
    """
    if isinstance(source, SegmentationNetwork):
        if options:
            raise ConfigurationError(f"{', '.join(options)} cannot be chosen for a network that is loaded already.")
        known, terms, digest = None, _UNKNOWN, ""
        network = copy.deepcopy(source)
    else:
        known = card(source) if source in list_checkpoints() else None
        # Whoever downloads is told by the downloader; nobody is told twice.
        if known is not None and is_available_offline(source, cache_dir=cache_dir):
            logger.warning("%s", known.licence_notice())
        network = load_pretrained(source, cache_dir=cache_dir, progress=progress, **options)
        report = network.load_report
        if report is None or report.initialised:
            names = ", ".join(report.initialised[:3]) if report else "all"
            raise CheckpointError(
                f"{source} does not hold a whole network ({names} would be random); fine-tune from it, and export the "
                "result."
            )
        digest = report.sha256
        terms = known.licence_notice() if known else _terms_of(source, Path(report.path))
        if known is None:
            logger.warning("%s: %s", source, terms)
    config = network.config
    if config is None:
        raise ConfigurationError("The network has no config; set network.config = ModelConfig(...) before exporting.")
    check_config(config, "network.config")
    if (config.num_channels, config.in_channels) != (network.num_classes, network.in_channels):
        raise ConfigurationError(
            f"network.config announces {config.in_channels} input and {config.num_channels} output channels, the "
            f"network has {network.in_channels} and {network.num_classes}; correct its classes or activation."
        )
    network = network.cpu().float().eval().requires_grad_(False)
    return Subject(network, config, terms, known, digest)


def _terms_of(source: str, weights: Path) -> str:
    """The licence that the model card beside the weights names in its header, as the Hub reads it."""
    if source.startswith("hf-hub:"):
        return _ON_PAGE.format(repo=source.removeprefix("hf-hub:").partition("@")[0])
    path = weights.parent / README
    try:
        licence = read_metadata(path).get("license") if path.is_file() else None
    except CheckpointError:
        return _UNKNOWN  # a card that says nothing readable about it
    if not isinstance(licence, str):
        return _UNKNOWN
    return f"weights {licence}, as their model card says. Not for clinical use."
