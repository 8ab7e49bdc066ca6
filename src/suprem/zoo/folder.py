"""The published form of a network: a folder with weights, configuration, golden outputs and a card; no code."""

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suprem._files import atomic_folder, sha256_file
from suprem._version import __version__
from suprem.backbones import list_backbones
from suprem.backbones._base import SegmentationNetwork
from suprem.errors import CheckpointError, ConfigurationError, LabelSpaceError, UnknownNameError, did_you_mean
from suprem.labels import canonical_name, label_space
from suprem.zoo.config import ModelConfig
from suprem.zoo.model_card import Provenance, model_card

if TYPE_CHECKING:
    import torch

__all__ = ["CONFIG", "GOLDEN", "README", "WEIGHTS", "PublishedFolder", "read_folder", "save_folder"]

WEIGHTS, CONFIG, GOLDEN, README = "model.safetensors", "config.json", "golden.safetensors", "README.md"

_MAX_CONFIG_BYTES = 2**20
_MAX_OPTION = 4096


@dataclass(frozen=True)
class PublishedFolder:
    """A folder whose configuration has been checked.

    Attributes:
        weights: ``model.safetensors``.
        config: the content of ``config.json``.
        golden: ``golden.safetensors``; ``None`` when it is missing.
    """

    weights: Path
    config: ModelConfig
    golden: Path | None


def save_folder(
    network: SegmentationNetwork,
    folder: str | Path,
    *,
    golden_seed: int = 0,
    notes: str = "",
    provenance: Provenance | None = None,
    overwrite: bool = False,
    encoder_only: bool = False,
) -> Path:
    """Writes a network as a folder that ``load_pretrained("local-dir:...")`` reads, completely or not at all.

    With the head ``"none"`` the output layer stays behind, and there are no golden outputs, since there is no output.

    Args:
        network: with its ``config``; tensors keep the names of the published checkpoints.
        folder: must not exist, unless ``overwrite``.
        golden_seed: seed of the input whose output is recorded.
        notes: Markdown for the README, beside what is recorded about the network.
        provenance: data, training, licence and results, for the README.
        overwrite: replace an existing folder.
        encoder_only: leave the decoder out too; the head must be ``"none"``.

    Returns:
        The folder.

    Raises:
        ConfigurationError: the network has no configuration, or one that does not fit it.
        OutputError: the folder exists, or cannot be written.
    """
    import torch
    from safetensors.torch import save_file

    from suprem.zoo.golden import write_golden

    config = network.config
    if config is None:
        raise ConfigurationError("The network has no config; set network.config = ModelConfig(...) before saving it.")
    check_config(config, "network.config")
    state, headless = _state(network, config, encoder_only), config.head == "none"
    with atomic_folder(folder, overwrite=overwrite) as target:
        save_file(state, target / WEIGHTS, metadata={"format": "pt"})
        versions = {"suprem": __version__, "torch": str(torch.__version__)}
        (target / CONFIG).write_text(replace(config, versions=versions).to_json(), "utf-8")
        facts = {
            "model_sha256": sha256_file(target / WEIGHTS),
            "tensors": len(state),
            "classes": list(config.classes),
            "parameters": sum(p.numel() for name, p in network.named_parameters() if name in state),
            **versions,
            "machine": platform.machine(),
        }
        if not headless:
            write_golden(network, target / GOLDEN, seed=golden_seed, facts=facts)
        (target / README).write_text(model_card(network, config, facts, provenance or Provenance(), notes), "utf-8")
        for name in (WEIGHTS, *(() if headless else (GOLDEN,))):
            (target / name).chmod(0o644)  # safetensors makes files that only their owner can read
    return Path(folder)


def _state(network: SegmentationNetwork, config: ModelConfig, encoder_only: bool) -> "dict[str, torch.Tensor]":
    """The tensors to write, checked against the configuration."""
    headless = config.head == "none"
    if encoder_only and not headless:
        raise ConfigurationError(f"An encoder alone has no output layer; network.config.head is {config.head!r}.")
    if (not headless and config.num_channels != network.num_classes) or config.in_channels != network.in_channels:
        raise ConfigurationError(
            f"network.config announces {config.in_channels} input and {config.num_channels} output channels, the "
            f"network has {network.in_channels} and {network.num_classes}; correct its classes or activation."
        )
    left_out = network.head_keys if headless else ()
    state = {
        key: value.detach().cpu().contiguous().clone()
        for key, value in network.state_dict().items()
        if key not in left_out and (not encoder_only or key.startswith(network.encoder_stages))
    }
    broken = [key for key, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if broken:
        raise ConfigurationError(f"The network has NaN or infinite values in {', '.join(broken[:3])}; it is not saved.")
    return state


def read_folder(folder: str | Path) -> PublishedFolder:
    """Checks and describes a published folder; reads no weights and follows no path named in it.

    Raises:
        CheckpointError: a file is missing.
        ConfigurationError: ``config.json`` has unknown keys, wrong types or unknown names.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        hint = f"; load a single file as 'local-file:{folder}'" if os.path.isfile(folder) else ""
        raise CheckpointError(f"{folder} is not a folder{hint}.")
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(f"{folder} lacks {' and '.join(missing)}; write it with save_folder().")
    path = folder / CONFIG
    if path.stat().st_size > _MAX_CONFIG_BYTES:
        raise CheckpointError(f"{path} has {path.stat().st_size} bytes; a configuration is smaller. Export it again.")
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}; check its permissions.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not text: {error}. Export the model again.") from error
    config = ModelConfig.from_json(text, str(path))
    check_config(config, str(path))
    golden = folder / GOLDEN
    return PublishedFolder(folder / WEIGHTS, config, golden if golden.is_file() else None)


def check_config(config: ModelConfig, source: str) -> None:
    """Refuses names that no registry holds, and sizes that no network has.

    Raises:
        ConfigurationError: with ``source`` and the offending value.
    """
    if config.backbone not in list_backbones():
        raise ConfigurationError(f"{source}: {did_you_mean('backbone', config.backbone, list_backbones())}")
    for name in config.classes:
        try:
            same = canonical_name(name) == name
        except UnknownNameError as error:
            raise ConfigurationError(f"{source}: {error}") from error
        if not same:
            raise ConfigurationError(f"{source}: class {name!r} must be spelled {canonical_name(name)!r}.")
    if config.label_space is not None:
        try:
            known = label_space(config.label_space).names
        except (UnknownNameError, LabelSpaceError) as error:
            raise ConfigurationError(f"{source}: {error}") from error
        outside = sorted(set(config.classes) - set(known))
        if outside:
            raise ConfigurationError(f"{source}: label space {config.label_space!r} has no {', '.join(outside)}.")
    if config.head == "universal" and config.activation == "softmax":
        raise ConfigurationError(f"{source}: the universal head predicts with sigmoid, not softmax.")
    if not 1 <= config.in_channels <= _MAX_OPTION or any(n > _MAX_OPTION for n in _numbers(config.backbone_kwargs)):
        raise ConfigurationError(f"{source} asks for a network with more than {_MAX_OPTION} of something; refused.")


def _numbers(value: Any) -> Iterator[float]:
    """Sizes of all numbers inside and lengths of all lists, however deep they lie in one another."""
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, (int, float)):
            yield abs(value)
        elif isinstance(value, dict):
            left += value.values()
        elif isinstance(value, (list, tuple)):
            yield float(len(value))
            left += value
