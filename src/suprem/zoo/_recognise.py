"""Finds out which network a file of weights is for, from the names and shapes of its tensors alone."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from suprem.backbones import create_model, list_backbones
from suprem.backbones._base import SegmentationNetwork
from suprem.errors import CheckpointError, ConfigurationError
from suprem.zoo.card import card, list_checkpoints
from suprem.zoo.state_dict import StateDict

__all__ = ["blueprint", "closest_backbone", "completed", "detect_backbone", "listed"]

_SHOWN = 12
_SIMILAR = 0.9
_OTHER_OPTIONS: tuple[tuple[str, Mapping[str, Any]], ...] = (("segresnet", {"init_filters": 32}),)
"""Published forms of a backbone that no card has."""

_NOT_YET = (
    (re.compile(r"(encoder\.stages|decoder\.encoder\.stages|decoder\.seg_layers)\.\d"), "an nnU-Net (version 2)"),
    (re.compile(r"conv_blocks_context\.\d+\.blocks\."), "an nnU-Net (version 1)"),
    (re.compile(r"conv_blocks_context\.\d+\.\d+\.conv"), "a STU-Net"),
    (re.compile(r"(skip_layers|input_block|downsamples\.\d+)\..*conv\d?\."), "a DynUNet of MONAI"),
)
"""Layouts that are known and not read, by a tensor name that only they have."""


class _ReadableSchedules(TorchFunctionMode):
    """Keeps ``linspace`` real: Swin UNETR reads its stochastic-depth schedule while it is built."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


def blueprint(
    backbone: str, num_classes: int, head: str, in_channels: int, kwargs: Mapping[str, Any]
) -> SegmentationNetwork:
    """The network without memory behind its tensors: names and shapes only."""
    with torch.device("meta"), _ReadableSchedules():
        return create_model(backbone, num_classes=num_classes, in_channels=in_channels, head=head, **kwargs)


def _candidates(tensors: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every backbone with its defaults, the forms in which it was published besides, and those that the file tells."""
    from suprem.backbones._unet_monai import options_of

    told = options_of(tensors)
    if told is not None:
        yield "unet_monai", told
    yield from ((name, {}) for name in list_backbones())
    seen: list[tuple[str, Mapping[str, Any]]] = []
    for name in list_checkpoints():
        form = card(name).architecture
        if form.built and form.kwargs and (form.backbone, form.kwargs) not in seen:
            seen.append((form.backbone, form.kwargs))
    yield from (*seen, *_OTHER_OPTIONS)


@dataclass(frozen=True, order=True)
class _Likeness:
    """How well a file fits a network, the better the larger.

    Attributes:
        shaped: share of the file's names that the network has with the same shape.
        named: share of the file's names that the network has.
        filled: share of the network's names that are in the file.
        backbone: registered name.
        place: of the candidate, so that the first of equals wins.
    """

    shaped: float
    named: float
    filled: float
    place: int
    backbone: str


def _compare(
    tensors: Mapping[str, torch.Tensor], backbone: str, kwargs: Mapping[str, Any], place: int
) -> _Likeness | None:
    try:
        network = blueprint(backbone, 1, "conv", 1, kwargs)
    except ConfigurationError:  # options that a file of something else seemed to tell
        return None
    own = network.state_dict()
    try:
        pairs = [(n, t) for n, t in network.translate_keys(tensors).items() if t is not None]
    except CheckpointError:  # two names for one tensor: not this layout
        return None
    known = [(n, t) for n, t in pairs if t in own]
    if not known:
        return None
    shaped = sum(tensors[n].shape == own[t].shape for n, t in known)
    return _Likeness(shaped / len(pairs), len(known) / len(pairs), len(known) / len(own), -place, backbone)


def _closest(tensors: Mapping[str, torch.Tensor]) -> tuple[_Likeness, Mapping[str, Any]] | None:
    best: tuple[_Likeness, Mapping[str, Any]] | None = None
    for place, (backbone, kwargs) in enumerate(_candidates(tensors)):
        found = _compare(tensors, backbone, kwargs, place)
        if found is not None and (best is None or found > best[0]):
            best = found, kwargs
        # No other can fit better.
        if found is not None and found.named == 1.0 and min(found.shaped, found.filled) >= _SIMILAR:
            break
    return best


def closest_backbone(tensors: Mapping[str, torch.Tensor]) -> str | None:
    """The registered backbone that has the names of these tensors; equal names go by shapes.

    Returns:
        ``None`` when fewer than nine in ten names belong to any of them.
    """
    best = _closest(tensors)
    return best[0].backbone if best is not None and best[0].named >= _SIMILAR else None


def completed(state: StateDict, network: SegmentationNetwork) -> StateDict:
    """The file with what follows from it, see :meth:`SegmentationNetwork.supplied`."""
    more = network.supplied(state.tensors)
    if not more:
        return state
    names = {**state.file_names, **{name: f"{name} (the identity)" for name in more}}
    return StateDict({**state.tensors, **more}, state.container, names)


def detect_backbone(tensors: Mapping[str, torch.Tensor], source: str) -> tuple[str, Mapping[str, Any]]:
    """The backbone of a file whose user did not name it, and its options.

    Raises:
        ConfigurationError: the names belong to no registered backbone; the message tells which one comes closest.
    """
    best = _closest(tensors)
    if best is not None and best[0].named >= _SIMILAR:
        return best[0].backbone, best[1]
    for pattern, name in _NOT_YET:
        if any(pattern.search(key) for key in tensors):
            raise ConfigurationError(
                f"{source} is {name}; this layout is not read yet. Convert it with its own program."
            )
    if best is None:
        raise ConfigurationError(
            f"{source} is not recognised: none of its names, such as {listed(list(tensors)[:3])}, is that of a tensor "
            f"of {', '.join(list_backbones())}."
        )
    raise ConfigurationError(f"{source} is not recognised. {_why(tensors, *best)}")


def _why(tensors: Mapping[str, torch.Tensor], likeness: _Likeness, kwargs: Mapping[str, Any]) -> str:
    """Which network comes closest, and what is wrong with it."""
    network = blueprint(likeness.backbone, 1, "conv", 1, kwargs)
    own, translated = network.state_dict(), network.translate_keys(tensors)
    foreign = [name for name, target in translated.items() if target is not None and target not in own]
    missing = [name for name in own if name not in set(translated.values())]
    return (
        f"The closest backbone is {likeness.backbone!r}, but {len(foreign)} of the {len(tensors)} names in the file "
        f"are none of its own ({listed(foreign[:3])}), and {len(missing)} of its {len(own)} tensors are not in the "
        f"file ({listed(missing[:3])}). Known are {', '.join(list_backbones())}."
    )


def listed(names: Iterable[str]) -> str:
    """The first names of many."""
    every = list(names)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more
