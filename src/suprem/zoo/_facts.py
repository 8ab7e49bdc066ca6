"""What is known about a file of weights: from its card or configuration, the caller's words, and the tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from suprem.backbones._base import SegmentationNetwork
from suprem.errors import CheckpointError, ConfigurationError
from suprem.zoo._classes import DEFAULT_SPACE, Channels, channels_of_file, check_rows
from suprem.zoo._match import match
from suprem.zoo._recognise import blueprint, completed, detect_backbone
from suprem.zoo.config import Preprocessing
from suprem.zoo.source import Origin
from suprem.zoo.state_dict import StateDict

__all__ = ["Facts", "Head", "Overrides", "gather_facts"]

Head = Literal["conv", "universal"]
_ASSUMED = "the file does not say how its input was prepared; 1.5 mm and -175 to 250 HU are assumed"
_ASSUMED_CLASSES = (
    f"the file does not say what its channels mean; those of the published files are assumed "
    f"(source_classes={DEFAULT_SPACE!r})"
)


@dataclass(frozen=True)
class Overrides:
    """What the caller says about a file that says nothing itself."""

    backbone: str | None
    kwargs: Mapping[str, Any] | None
    preprocessing: Preprocessing | None
    source_classes: str | Sequence[str] | None


@dataclass(frozen=True)
class Facts:
    """What is known about a file before a network is made.

    Attributes:
        backbone: registered name.
        kwargs: options of its builder.
        head: the output layer of use in the file.
        known: what its channels mean; ``None`` exactly when ``head`` is.
        preprocessing: input contract.
        in_channels: input channels of the network to make.
        state: the tensors, with those that follow from the file.
        notes: what a user should know.
    """

    backbone: str
    kwargs: Mapping[str, Any]
    head: Head | None
    known: Channels | None
    preprocessing: Preprocessing
    in_channels: int
    state: StateDict
    notes: tuple[str, ...]


def gather_facts(origin: Origin, state: StateDict, overrides: Overrides, in_channels: int | None) -> Facts:
    """Brings card, configuration, the caller's words and the tensors together.

    Args:
        origin: the file.
        state: its tensors.
        overrides: what the caller says.
        in_channels: input channels the caller wants; ``None`` for those of the file.

    Raises:
        ConfigurationError: the meaning of the output channels is not known, or the caller contradicts the source.
        CheckpointError: the tensors are not those of the backbone, or the output layer is not the announced one.
    """
    backbone, kwargs = _backbone_of(origin, state, overrides)
    channels = (origin.config.in_channels if origin.config else 1) if in_channels is None else in_channels
    # One class is as good as any: the sizes of the output layer are not compared here, everything else is.
    plain = blueprint(backbone, 1, "conv", channels, kwargs)
    if not origin.described:
        state = completed(state, plain)
    rows, found = _output_rows(state, plain, backbone, origin.source)
    head, known = _announced(origin)
    gives_up = overrides.source_classes is not None and not overrides.source_classes
    if origin.described:
        _refuse_source_classes(origin, overrides)
        if head is not None and head != found:
            raise CheckpointError(
                f"{origin.path} should have a {head} output layer and has {found or 'none'}; it is incomplete, or not "
                "the file that its description belongs to."
            )
        if known is not None:
            check_rows(rows, known, origin.source)
    elif found is not None and not gives_up:
        head, known = found, channels_of_file(rows, overrides.source_classes, origin.source)
    if gives_up:
        head, known = None, None
    unsure = {
        _ASSUMED: not origin.described and overrides.preprocessing is None,
        _ASSUMED_CLASSES: not origin.described and overrides.source_classes is None and known is not None,
    }
    return Facts(
        backbone=backbone,
        kwargs=kwargs,
        head=head,
        known=known,
        preprocessing=overrides.preprocessing or _preprocessing(origin),
        in_channels=channels,
        state=state,
        notes=tuple(note for note, applies in unsure.items() if applies),
    )


def _announced(origin: Origin) -> tuple[Head | None, Channels | None]:
    """Output layer and channels that configuration or card announce."""
    if origin.config is not None:
        config = origin.config
        if config.head == "none":
            return None, None
        return config.head, Channels(config.classes, config.activation, config.label_space)
    if origin.card is not None and origin.card.classes is not None and origin.card.architecture.head != "none":
        order = origin.card.classes
        return origin.card.architecture.head, Channels(origin.card.class_names, order.activation, order.label_space)
    return None, None


def _preprocessing(origin: Origin) -> Preprocessing:
    if origin.config is not None:
        return origin.config.preprocessing
    if origin.card is not None and origin.card.preprocessing is not None:
        return origin.card.preprocessing.values
    return Preprocessing()


def _refuse_source_classes(origin: Origin, overrides: Overrides) -> None:
    if overrides.source_classes:
        raise ConfigurationError(
            f"source_classes cannot be chosen for {origin.source!r}, whose classes are known; only [] is possible, "
            "which gives its output layer up."
        )


def _backbone_of(origin: Origin, state: StateDict, overrides: Overrides) -> tuple[str, Mapping[str, Any]]:
    if origin.config is not None:
        return origin.config.backbone, origin.config.backbone_kwargs
    if origin.card is not None:
        return origin.card.architecture.backbone, origin.card.architecture.kwargs
    if overrides.backbone is not None:
        return overrides.backbone, overrides.kwargs or {}
    backbone, kwargs = detect_backbone(state.tensors, origin.source)
    return backbone, kwargs if overrides.kwargs is None else overrides.kwargs


def _output_rows(state: StateDict, plain: SegmentationNetwork, backbone: str, source: str) -> tuple[int, Head | None]:
    """Number of classes in the file and the kind of output layer they come from; (0, None) without one."""
    pairs = match(plain, state.tensors, source, backbone, values=False)
    for name, tensor in state.tensors.items():
        if name.rsplit(".", 1)[-1] == "organ_embedding":
            return _row_count(tensor, name, source), "universal"
    name = pairs.head.get(plain.head_keys[0], "")
    return (_row_count(state.tensors[name], name, source), "conv") if name else (0, None)


def _row_count(tensor: torch.Tensor, name: str, source: str) -> int:
    if tensor.ndim < 2 or not tensor.shape[0]:
        raise CheckpointError(f"{source}: {name} has shape {tuple(tensor.shape)}, not one row per class.")
    return int(tensor.shape[0])
