"""A network as a ``torch.export`` program: the form from which the others are made, and a format of its own."""

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from suprem._files import atomic_path
from suprem.errors import CheckpointError, ConfigurationError
from suprem.zoo.export._subject import Subject
from suprem.zoo.golden import golden_input

if TYPE_CHECKING:
    from torch.export import ExportedProgram

__all__ = ["EXTRA_FILE", "archive_of", "compare", "program_of", "reason", "write_program"]

EXTRA_FILE = "suprem.json"
"""Name of the contract inside a ``.pt2`` file."""


def write_program(subject: Subject, tolerance: float, *, path: Path) -> tuple[dict[str, float], str]:
    """Writes a ``.pt2`` file, reads it again and compares.

    Returns:
        Input shape -> largest difference, and which sizes the program takes.

    Raises:
        ConfigurationError: the network cannot be traced.
        CheckpointError: the outputs differ.
    """
    content = archive_of(subject, {EXTRA_FILE: json.dumps(subject.metadata(), indent=1)})
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
        run: Any = torch.export.load(temporary).module()
        differences = compare(subject, run, tolerance, "The torch.export program")
    return differences, subject.sizes


def archive_of(subject: Subject, extra_files: dict[str, str] | None = None) -> bytes:
    """The traced network as the content of a ``.pt2`` file; errors as of :func:`program_of`."""
    program = program_of(subject)
    program.example_inputs = None  # megabytes of zeros
    archive = io.BytesIO()  # into a file, the archive would be named after it, and that name is temporary
    torch.export.save(program, archive, extra_files=extra_files)
    return archive.getvalue()


@torch.no_grad()
def program_of(subject: Subject) -> "ExportedProgram":
    """Traces the network: any batch, and any multiple of the divisor where the network allows it.

    Raises:
        ConfigurationError: it cannot be traced; the message names the reason.
    """
    from torch.export import Dim

    network, contract = subject.network, subject.config.preprocessing
    if any(size % network.divisor for size in contract.patch_size):
        raise ConfigurationError(
            f"{subject.config.name} has patch_size {contract.patch_size}; with this network each must be a multiple of "
            f"{network.divisor}."
        )
    axes: dict[int, Any] = {0: Dim("batch", min=1)}
    if subject.any_size:
        axes |= {axis: network.divisor * Dim(name, min=2) for axis, name in enumerate("xyz", start=2)}
    example = torch.zeros(2, network.in_channels, *contract.patch_size)
    network(example[:1])  # whatever is missing, such as a text code, is said here in plain words
    try:
        program = torch.export.export(network, (example,), dynamic_shapes=(axes,), strict=False)
    except Exception as error:
        raise ConfigurationError(
            f"{subject.config.name} ({type(network).__name__}) cannot be turned into a program: {reason(error)}."
        ) from error
    for module in program.graph_module.modules():
        for node in getattr(module, "graph", torch.fx.Graph()).nodes:
            node.meta.pop("stack_trace", None)  # the folders of whoever exported it
    return program


def reason(error: Exception) -> str:
    """The first line of an error, without its full stop."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")


@torch.no_grad()
def compare(
    subject: Subject, run: Callable[[torch.Tensor], torch.Tensor], tolerance: float, what: str
) -> dict[str, float]:
    """Runs network and program on the same noise: one window, two, and another size where any is possible.

    Args:
        subject: what was exported.
        run: the program, float32 (N, C, X, Y, Z) -> logits.
        tolerance: largest accepted difference, relative as below.
        what: how messages call the program.

    Returns:
        Input shape -> largest difference, divided by the largest logit where that is above 1: what rounding does grows
        with the numbers.

    Raises:
        CheckpointError: the difference is larger, or not a number.
    """
    channels, window = subject.network.in_channels, subject.config.preprocessing.patch_size
    shapes = [(1, channels, *window), (2, channels, *window)]
    if subject.any_size:
        step = subject.network.divisor
        shapes.append((1, channels, 2 * step, 3 * step, 2 * step))
    differences = {}
    for seed, shape in enumerate(shapes):
        image = golden_input(seed, shape)
        expected, found = subject.network(image), run(image)
        largest = float(expected.abs().max())
        difference = float((found - expected).abs().max()) if found.shape == expected.shape else math.inf
        relative = difference / max(1.0, largest)
        if not relative <= tolerance:  # NaN too
            raise CheckpointError(
                f"{what} of {subject.config.name} differs from PyTorch by up to {difference:g} in logits of up to "
                f"{largest:.3g}, on an input of shape {shape}; a fraction of {tolerance:g} is accepted. Nothing was "
                "written."
            )
        differences["x".join(map(str, shape))] = relative
    return differences
