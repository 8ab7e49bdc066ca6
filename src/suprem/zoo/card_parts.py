"""The parts of a card; their fields are the schema of the YAML files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from suprem.errors import ConfigurationError
from suprem.zoo.config import Preprocessing

__all__ = [
    "Architecture",
    "ClassOrder",
    "Confidence",
    "Fact",
    "InputContract",
    "Licences",
    "Location",
    "Paper",
    "TensorCounts",
    "WeightFile",
]

Confidence = Literal["stated", "measured", "third party", "unsure"]
"""``stated``: by the authors' code, paper or files; ``measured``: checked by running code; ``third party``: reported by
others, unconfirmed; ``unsure``: not established."""


@dataclass(frozen=True)
class Fact:
    """A statement and how sure it is."""

    value: str
    confidence: Confidence
    note: str = ""


@dataclass(frozen=True)
class Location:
    """Where the weights are.

    Attributes:
        kind: ``"hub"``, or ``"bundled"`` with the package, as a folder of the checkpoint's name.
        repo: owner/name on the Hugging Face Hub.
        filename: the file in that repository.
        revision: commit to pin; ``None`` when it is not known.
    """

    kind: Literal["hub", "bundled"]
    repo: str | None = None
    filename: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class TensorCounts:
    """How many tensors there are.

    Attributes:
        in_file: tensors of the network in the file; ``None`` when not known.
        transferred: those that fill the plain backbone without its output convolution.
        in_backbone: tensors of the plain backbone.
        confidence: of ``in_file``.
    """

    in_file: int | None
    transferred: int
    in_backbone: int
    confidence: Confidence


@dataclass(frozen=True)
class WeightFile:
    """The file itself.

    Attributes:
        size_bytes: exact size; ``None`` when not known.
        approximate_size: what is said about the size otherwise.
        sha256: 64 hexadecimal digits; ``None`` when not known.
        container: key of the file's dictionary that holds the tensors, or the candidates in order; empty: no level.
        prefix: what every tensor name starts with.
        layout: how tensors are named.
        tensors: the counts a load must meet.
    """

    size_bytes: int | None
    approximate_size: str
    sha256: str | None
    container: tuple[str, ...]
    prefix: str
    layout: Fact
    tensors: TensorCounts | None


@dataclass(frozen=True)
class Architecture:
    """Which network the weights are for.

    Attributes:
        backbone: a registered name when ``built``, else what it would be called.
        built: this version can make the network.
        parameters: parameters of the plain backbone with 32 classes.
        head: the output layer in the file; ``"none"`` when it holds none, or none of use for segmentation.
        kwargs: arguments of the backbone's builder.
        reason: why it is not built.
    """

    backbone: str
    built: bool
    parameters: int | None
    head: Literal["conv", "universal", "none"]
    kwargs: Mapping[str, Any]
    reason: str = ""


@dataclass(frozen=True)
class ClassOrder:
    """What the output channels mean: the structures of a label space, or others, named one by one.

    Attributes:
        activation: as in :class:`~suprem.zoo.config.ModelConfig`; ``"softmax"`` has background in front.
        confidence: of the order.
        label_space: a name of :func:`suprem.labels.list_label_spaces`; its order is the channel order.
        structures: canonical names in channel order, without background; instead of a label space.
        note: where the order is known from.
    """

    activation: Literal["sigmoid", "softmax"]
    confidence: Confidence
    label_space: str | None = None
    structures: tuple[str, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        if (self.label_space is None) == (not self.structures):
            raise ConfigurationError("Give either label_space or structures, the names in channel order.")

    @property
    def names(self) -> tuple[str, ...]:
        """Canonical structure names in channel order, without background."""
        from suprem.labels import label_space
        from suprem.zoo._classes import canonical_classes

        return canonical_classes(self.structures) if self.label_space is None else label_space(self.label_space).names


@dataclass(frozen=True)
class InputContract:
    """How a scan becomes the input, and how sure that is."""

    values: Preprocessing
    confidence: Confidence
    note: str = ""


@dataclass(frozen=True)
class Licences:
    """Terms of the code the weights come from, of the weights, and of the data they were trained on."""

    code: Fact
    weights: Fact
    data: Fact


@dataclass(frozen=True)
class Paper:
    """What to cite."""

    title: str
    authors: str
    venue: str
    year: int
    arxiv: str | None = None
