"""Golden outputs: a few thousand numbers that prove a set of weights still computes what it computed when published."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from suprem.backbones._base import SegmentationNetwork
from suprem.errors import CheckpointError, first_line

__all__ = ["MAX_GOLDEN_BYTES", "TOLERANCE", "Golden", "golden_input", "read_golden", "replay", "write_golden"]

PROBES = 4096
MAX_GOLDEN_BYTES = 100_000
TOLERANCE = 2e-4
"""Largest accepted difference; libraries and processors differ by some 1e-5."""

_METADATA = "suprem_golden_1"


@dataclass(frozen=True)
class Golden:
    """Recorded outputs for one seeded input.

    Attributes:
        seed: of :func:`golden_input`.
        shape: of the input, (1, C, X, Y, Z).
        index: int64 (P,), positions in the flattened logits.
        logits: float32 (P,), the values there.
        statistics: float64 (channels, 4): mean, standard deviation, largest absolute value, and projection on a seeded
            random direction divided by the square root of the voxel count, per output channel.
        facts: digest of the weights, number of tensors, classes.
    """

    seed: int
    shape: tuple[int, ...]
    index: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]
    statistics: npt.NDArray[np.float64]
    facts: dict[str, Any]


def golden_input(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Uniform noise in [0, 1], the range of a windowed CT: float32 of ``shape``."""
    return torch.from_numpy(np.random.default_rng(seed).random(shape, dtype=np.float32))


def _input_shape(network: SegmentationNetwork) -> tuple[int, ...]:
    """32 voxels a side, more where the network needs them."""
    side = max(32, 2 * network.divisor)
    return (1, network.in_channels, side, side, side)


def _computed(
    network: SegmentationNetwork, seed: int, shape: tuple[int, ...], index: npt.NDArray[np.int64] | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            logits = network(golden_input(seed, shape).to(next(network.parameters()).device))[0].float().cpu().numpy()
    finally:
        network.train(was_training)
    flat = logits.reshape(-1)
    if index is None:
        index = np.sort(np.random.default_rng(seed).integers(flat.size, size=PROBES))
    values = logits.reshape(len(logits), -1).astype(np.float64)
    direction = np.random.default_rng(1).standard_normal(values.shape[1])
    columns = (values.mean(1), values.std(1), np.abs(values).max(1), values @ direction / math.sqrt(values.shape[1]))
    return index, flat[index], np.stack(columns, axis=1)


def write_golden(network: SegmentationNetwork, path: Path, *, seed: int, facts: dict[str, Any]) -> None:
    """Runs ``network`` on the seeded input and records its output in ``path``."""
    shape = _input_shape(network)
    index, logits, statistics = _computed(network, seed, shape, None)
    # One entry, because safetensors writes several in a random order and equal folders should have equal bytes.
    metadata = {_METADATA: json.dumps({"seed": seed, "input_shape": shape, "facts": facts})}
    tensors = {"index": index.astype(np.int32), "logits": logits, "statistics": statistics}
    save_file({name: torch.from_numpy(array) for name, array in tensors.items()}, path, metadata=metadata)


def read_golden(path: Path) -> Golden:
    """Reads what :func:`write_golden` wrote.

    Raises:
        CheckpointError: too large, damaged, or of another format.
    """
    size = path.stat().st_size
    if size > MAX_GOLDEN_BYTES:
        raise CheckpointError(f"{path} has {size} bytes; golden outputs have at most {MAX_GOLDEN_BYTES}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {})[_METADATA])
            arrays = {name: file.get_tensor(name).numpy() for name in ("index", "logits", "statistics")}
        shape, seed, facts = tuple(map(int, metadata["input_shape"])), int(metadata["seed"]), metadata["facts"]
    except (SafetensorError, KeyError, ValueError, TypeError, OSError, OverflowError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is damaged or holds no golden outputs ({first_line(error)}); export it again."
        ) from error
    good = len(shape) == 5 and shape[0] == 1 and min(shape) > 0 and math.prod(shape) <= 2**22 and seed >= 0
    index, logits, statistics = arrays["index"], arrays["logits"], arrays["statistics"]
    good &= index.ndim == 1 and index.size > 0 and index.shape == logits.shape
    good &= bool(np.isfinite(logits).all() and np.isfinite(statistics).all())
    if not good or not isinstance(facts, dict):
        raise CheckpointError(f"{path} has no sensible golden outputs (input {shape}); export it again.")
    return Golden(seed, shape, index.astype(np.int64), logits, statistics, facts)


def replay(network: SegmentationNetwork, golden: Golden) -> float:
    """Largest difference between what the network computes now and what was recorded; infinite for another shape."""
    if golden.shape[1] != network.in_channels:
        return math.inf
    size = math.prod(golden.shape[2:]) * network.num_classes
    if golden.statistics.shape != (network.num_classes, 4) or not 0 <= golden.index.min() <= golden.index.max() < size:
        return math.inf
    _, logits, statistics = _computed(network, golden.seed, golden.shape, golden.index)
    differences = np.concatenate((logits - golden.logits, (statistics - golden.statistics).reshape(-1)))
    difference = float(np.abs(differences).max())  # not Python's max, which may pass over NaN
    return math.inf if math.isnan(difference) else difference
