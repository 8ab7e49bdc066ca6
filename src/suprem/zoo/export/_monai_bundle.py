"""A network as a MONAI bundle: a folder that `python -m monai.bundle run` runs with MONAI's own transforms."""

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from suprem._files import atomic_folder
from suprem.errors import ConfigurationError
from suprem.zoo.export._bundle_configs import PROGRAM, STATE, inference, metadata, readme
from suprem.zoo.export._program import archive_of, compare
from suprem.zoo.export._subject import Subject

if TYPE_CHECKING:
    from torch import nn

__all__ = ["write_bundle"]

_INFERENCE = "configs/inference.json"


def write_bundle(subject: Subject, tolerance: float, *, folder: Path, overwrite: bool) -> tuple[dict[str, float], str]:
    """Writes the folder, makes the network that its configuration describes, and compares.

    Where MONAI has a class that computes the same, the bundle holds its weights; else a traced program. (MONAI's own
    Swin UNETR takes the published tensors without a word and computes something else.)

    Returns:
        Input shape -> largest difference, and which sizes the network takes.

    Raises:
        ConfigurationError: the network takes more than one channel, or cannot be traced.
        CheckpointError: the outputs differ.
        OutputError: the folder exists, or cannot be written.
    """
    if subject.config.in_channels != 1:
        raise ConfigurationError(
            f"{subject.config.name} takes {subject.config.in_channels} input channels; a bundle reads one CT."
        )
    definition = subject.network.monai_definition()
    weights, content = (STATE, _state(subject)) if definition else (PROGRAM, archive_of(subject))
    with atomic_folder(folder, overwrite=overwrite) as target:
        for name in ("configs", "models", "docs"):
            (target / name).mkdir()
        (target / weights).write_bytes(content)
        _write_json(inference(subject, definition), target / _INFERENCE)
        _write_json(metadata(subject), target / "configs/metadata.json")
        (target / "docs/README.md").write_text(readme(subject, definition), "utf-8")
        if subject.terms_known:
            (target / "docs/license.txt").write_text(subject.terms + "\n", "utf-8")
        differences = compare(subject, _network(target, weights), tolerance, "The network of the bundle")
    return differences, subject.sizes


def _state(subject: Subject) -> bytes:
    content = io.BytesIO()
    torch.save(dict(subject.network.state_dict()), content)
    return content.getvalue()


def _write_json(value: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", "utf-8")


def _network(bundle: Path, weights: str) -> "nn.Module":
    """The network as MONAI makes it from the configuration, on the CPU."""
    from monai.bundle.config_parser import ConfigParser

    parser = ConfigParser()
    parser.read_config(str(bundle / _INFERENCE))
    parser["bundle_root"], parser["device"] = str(bundle), "$torch.device('cpu')"
    network: nn.Module = parser.get_parsed_content("network_def")
    if weights == STATE:
        network.load_state_dict(torch.load(bundle / STATE, weights_only=True))
    return network.eval()
