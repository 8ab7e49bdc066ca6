"""What has to be known to use a set of weights: the contract that travels with every checkpoint."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from suprem.errors import ConfigurationError, brief
from suprem.zoo._schema import from_mapping

__all__ = ["ModelConfig", "Preprocessing"]

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Preprocessing:
    """How a scan becomes the network's input.

    Attributes:
        spacing_mm: target spacing (x, y, z) in millimetres; ``None`` keeps the scan's own.
        hu_window: lower and upper HU, mapped linearly to [0, 1] and clipped.
        patch_size: voxels (x, y, z) of one window.
        orientation: index axes of the input; only ``"RAS"`` is defined.
    """

    spacing_mm: tuple[float, float, float] | None = (1.5, 1.5, 1.5)
    hu_window: tuple[float, float] = (-175.0, 250.0)
    patch_size: tuple[int, int, int] = (96, 96, 96)
    orientation: str = "RAS"

    def __post_init__(self) -> None:
        if self.orientation != "RAS":
            raise ConfigurationError(f"orientation is {brief(self.orientation)}; only 'RAS' is supported.")
        if self.spacing_mm is not None and not all(0 < s < math.inf for s in self.spacing_mm):
            raise ConfigurationError(f"spacing_mm is {self.spacing_mm}; it must be positive.")
        if not -math.inf < self.hu_window[0] < self.hu_window[1] < math.inf:
            raise ConfigurationError(f"hu_window is {self.hu_window}; the first value must be the smaller one.")
        if min(self.patch_size) < 1:
            raise ConfigurationError(f"patch_size is {self.patch_size}; it must be positive.")


@dataclass(frozen=True)
class ModelConfig:
    """Registered backbone, head, classes and preprocessing of one set of weights.

    Attributes:
        name: what the model calls itself, e.g. ``"segresnet.suprem_2100"``.
        backbone: a name of :func:`suprem.list_backbones`, never a Python path.
        classes: canonical structure names in channel order, without background; empty with head ``"none"``.
        head: ``"conv"``, ``"universal"``, or ``"none"`` for weights without an output layer, as self-supervised
            training leaves them; of these a network is made with classes of the user's.
        activation: ``"sigmoid"`` (one channel per class, classes may overlap) or ``"softmax"`` (channel 0 is
            background, channel i + 1 is ``classes[i]``).
        label_space: numbering of the combined label map, a name of :func:`suprem.labels.list_label_spaces`.
        backbone_kwargs: arguments of the backbone's builder.
        in_channels: input channels.
        preprocessing: the input contract.
        versions: package -> version that the weights were written with, for people.
    """

    name: str
    backbone: str
    classes: tuple[str, ...]
    head: Literal["conv", "universal", "none"] = "conv"
    activation: Literal["sigmoid", "softmax"] = "sigmoid"
    label_space: str | None = None
    backbone_kwargs: Mapping[str, Any] = field(default_factory=dict)
    in_channels: int = 1
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    versions: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not self.classes and self.head != "none":
            raise ConfigurationError(f"{brief(self.name)} has no classes; give at least one structure name.")
        if self.classes and self.head == "none":
            raise ConfigurationError(
                f"{brief(self.name)} has the classes {brief(self.classes)}, but no head to predict them."
            )
        if len(set(self.classes)) != len(self.classes):
            raise ConfigurationError(f"{brief(self.name)} lists a class twice: {brief(self.classes)}.")
        if self.head not in ("conv", "universal", "none"):
            raise ConfigurationError(f"head is {self.head!r}; it must be 'conv', 'universal' or 'none'.")
        if self.activation not in ("sigmoid", "softmax"):
            raise ConfigurationError(f"activation is {self.activation!r}; it must be 'sigmoid' or 'softmax'.")

    @property
    def num_channels(self) -> int:
        """Output channels of the network: the classes, plus background with softmax; none without a head."""
        return 0 if self.head == "none" else len(self.classes) + (self.activation == "softmax")

    def to_json(self) -> str:
        """The content of ``config.json``."""
        return json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "config.json") -> "ModelConfig":
        """Builds a configuration from parsed JSON or YAML; unknown or missing keys are errors.

        Raises:
            ConfigurationError: with the offending key and ``source``.
        """
        if not isinstance(values, Mapping):
            raise ConfigurationError(f"{source} must be a mapping of keys to values; write it with save_folder().")
        data = dict(values)
        version = data.pop("format_version", FORMAT_VERSION)
        if version != FORMAT_VERSION:
            raise ConfigurationError(
                f"{source} has format_version {brief(version)}; this version reads {FORMAT_VERSION}. Update suprem."
            )
        return from_mapping(cls, data, source)

    @classmethod
    def from_json(cls, text: str, source: str = "config.json") -> "ModelConfig":
        """Builds a configuration from the content of ``config.json``.

        Raises:
            ConfigurationError: not JSON, or see :meth:`from_dict`.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f"{source} is not valid JSON: {error}. Export the model again.") from error
        return cls.from_dict(values, source)
