"""A network as an ONNX file, run with ONNX Runtime before it is given away."""

import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from suprem._files import atomic_path
from suprem.errors import ConfigurationError
from suprem.zoo.export._program import compare, program_of, reason
from suprem.zoo.export._subject import Subject

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["KEY", "check_available", "write_onnx"]

KEY = "suprem"
"""Entry of the file's metadata that holds the contract."""

_MAX_BYTES = 2**31 - 1  # of one protocol buffer
_SYMBOL = re.compile(r"s\d+")


def check_available() -> None:
    """Makes sure that the optional packages are installed.

    Raises:
        ConfigurationError: they are not; the message says how to install them.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            f"ONNX needs {error.name}, which is not installed; run `pip install 'suprem[export]'`, or use the format "
            "torch-export."
        ) from error


def write_onnx(subject: Subject, tolerance: float, *, path: Path) -> tuple[dict[str, float], str]:
    """Writes an ``.onnx`` file, runs it with ONNX Runtime and compares.

    Returns:
        Input shape -> largest difference, and which sizes the program takes.

    Raises:
        ConfigurationError: the network cannot be expressed in ONNX, or is larger than a file can be.
        CheckpointError: the outputs differ.
    """
    import onnx

    size = sum(t.numel() * t.element_size() for t in subject.network.state_dict().values())
    if size > _MAX_BYTES:
        raise ConfigurationError(
            f"{subject.config.name} has {size:,} bytes of weights, more than the {_MAX_BYTES:,} that one ONNX file "
            "holds; use the format torch-export."
        )
    model = _model(subject)
    _name_axes(model)
    onnx.helper.set_model_props(model, {KEY: json.dumps(subject.metadata())})
    with atomic_path(path) as temporary:
        onnx.save(model, temporary)
        onnx.checker.check_model(temporary)
        differences = compare(subject, _runner(temporary), tolerance, "The ONNX file")
    return differences, subject.sizes


def _model(subject: Subject) -> "ModelProto":
    program = program_of(subject)
    try:
        with _quiet():
            converted = torch.onnx.export(
                program, dynamo=True, verbose=False, input_names=["image"], output_names=["logits"]
            )
    except Exception as error:
        raise ConfigurationError(
            f"{subject.config.name} cannot be expressed in ONNX: {reason(error)}. Use the format torch-export."
        ) from error
    if converted is None:
        raise ConfigurationError(f"{subject.config.name} was exported without a result; update torch.")
    return converted.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on packages that no network here uses."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the exporter's own use of what torch will drop
            yield
    finally:
        logger.setLevel(level)


def _name_axes(model: "ModelProto") -> None:
    """Calls the free sizes batch, x, y and z instead of s40 and 8*s65."""
    shape = model.graph.input[0].type.tensor_type.shape.dim
    names = {}
    for dimension, name in zip((shape[0], *list(shape)[2:]), ("batch", "x", "y", "z"), strict=True):
        if symbol := _SYMBOL.search(dimension.dim_param):
            names[symbol[0]] = name
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.dim_param = _SYMBOL.sub(lambda m: names.get(m[0], m[0]), dimension.dim_param)


def _runner(path: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(image: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(["logits"], {"image": image.numpy()})[0])

    return run
