"""Reads the tensors of a checkpoint file without executing anything from it."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from suprem.errors import CheckpointError, brief, first_line
from suprem.zoo._inspect import BROKEN, PLACEHOLDERS, Placeholder, inspect_checkpoint

__all__ = ["StateDict", "read_state_dict"]

CONTAINERS = ("net", "state_dict", "model", "network_weights", "student", "teacher")
"""Keys under which training programs put the tensors, in the order they are tried."""

_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")


@dataclass(frozen=True)
class StateDict:
    """The tensors of one file.

    Attributes:
        tensors: by name, on the CPU; a leading ``module.``, also repeated, is gone.
        container: the key they were under; ``None`` for a flat file.
        file_names: name in the file of each tensor.
    """

    tensors: dict[str, torch.Tensor]
    container: str | None
    file_names: dict[str, str]


def read_state_dict(path: str | Path) -> StateDict:
    """Reads ``.pth`` and ``.pt`` (both formats torch ever wrote) and ``.safetensors``.

    The tensors are taken from the first key present of ``net``, ``state_dict``, ``model``, ``network_weights``,
    ``student`` and ``teacher``, else from the file as a whole; optimizer states and everything else is ignored.

    Raises:
        CheckpointError: no such file, another kind of file, damaged, or without tensors.
        UnsafeFileError: reading it would need code that the file names.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; give the file in it, or load the folder as local-dir:{path}.")
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; check the path.")
    if path.suffix.lower() not in _SUFFIXES:
        raise CheckpointError(
            f"{path} does not look like a checkpoint; files ending in {', '.join(_SUFFIXES)} are read. "
            "Rename it if it is one."
        )
    kind = inspect_checkpoint(path)
    if (kind == "safetensors") != (path.suffix.lower() == ".safetensors"):
        right = ".safetensors" if kind == "safetensors" else ".pth"
        raise CheckpointError(f"{path} is in truth a {right} file; rename it if you trust where it comes from.")
    content = _read_safetensors(path) if kind == "safetensors" else _read_torch(path)
    return _unwrap(content, path)


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is truncated or damaged ({first_line(error)}); download it again.") from error


def _read_torch(path: Path) -> Any:
    inert: list[Any] = [(Placeholder, name) for name in PLACEHOLDERS if not name.startswith("_codecs")]
    try:
        with torch.serialization.safe_globals([*inert, Placeholder]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about storage classes of old files, which the reader cannot act on
            return torch.load(path, map_location="cpu", weights_only=True)
    except (*BROKEN, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({first_line(error)}); download it again.") from error


def _unwrap(content: Any, path: Path) -> StateDict:
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not named tensors; save a state dict.")
    container = next((key for key in CONTAINERS if isinstance(content.get(key), Mapping)), None)
    inner = content if container is None else content[container]
    found = {k: v for k, v in inner.items() if isinstance(k, str) and isinstance(v, torch.Tensor)}
    if not found:
        raise CheckpointError(
            f"{path} holds no tensors where weights are expected; its keys are: {brief(sorted(map(str, content)))}."
        )
    tensors: dict[str, torch.Tensor] = {}
    names: dict[str, str] = {}
    for name, tensor in found.items():
        plain = name
        while plain.startswith("module."):
            plain = plain.removeprefix("module.")
        if plain in tensors:
            raise CheckpointError(f"{path} holds {plain!r} twice, as {names[plain]!r} and {name!r}; keep one of them.")
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise CheckpointError(f"{path}: {name!r} is a sparse or quantized tensor; save it as a plain one.")
        tensors[plain], names[plain] = tensor.detach(), name
    return StateDict(tensors, container, names)
