"""Pairs the tensors of a file with those of a network, by name, before the network takes any memory."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from suprem.backbones._base import SegmentationNetwork
from suprem.errors import CheckpointError, brief
from suprem.zoo._recognise import closest_backbone, listed

__all__ = ["Match", "match"]


@dataclass(frozen=True)
class Match:
    """What a file gives to a network.

    Attributes:
        body: own name -> name in the file, for everything but the head.
        head: the same for the tensors that follow the class count.
        dropped: names in the file that the network has no use for by design.
        absent: own names that a file of this layout never holds, the head aside.
    """

    body: Mapping[str, str]
    head: Mapping[str, str]
    dropped: tuple[str, ...]
    absent: tuple[str, ...]


def match(
    network: SegmentationNetwork,
    tensors: Mapping[str, torch.Tensor],
    source: str,
    backbone: str,
    *,
    values: bool = True,
) -> Match:
    """Pairs by name and refuses anything that does not fit.

    Args:
        network: a real network or its :func:`suprem.zoo._recognise.blueprint`.
        tensors: the file's tensors without ``module.``.
        source: what messages call the file.
        backbone: registered name of the network, for messages.
        values: look at the values too, which reads the whole file.

    Raises:
        CheckpointError: tensors other than the head are missing, unexpected, misshapen or not finite; the message
            lists them and names the backbone that the file looks like.
    """
    own = network.state_dict()
    paired = network.translate_keys(tensors)
    head_keys = set(network.head_keys)
    found = {target: name for name, target in paired.items() if target is not None}
    absent = network.absent_by_design(tensors)
    problems = {
        "missing": [k for k in own if k not in found and k not in head_keys and k not in absent],
        "unexpected": [name for target, name in found.items() if target not in own],
        "of another shape or type": [
            f"{name} {_said(tensors[name])}, network {_said(own[target])}"
            for target, name in found.items()
            if target in own and target not in head_keys and not _fits(tensors[name], own[target], target, network)
        ],
    }
    if any(problems.values()):
        raise CheckpointError(_explain(problems, tensors, source, backbone))
    broken = [name for name in found.values() if not _is_finite(tensors[name])] if values else []
    if broken:
        raise CheckpointError(f"{source} has NaN or infinite values in {listed(broken)}; the training had diverged.")
    return Match(
        body={k: v for k, v in found.items() if k not in head_keys},
        head={k: v for k, v in found.items() if k in head_keys},
        dropped=tuple(name for name, target in paired.items() if target is None),
        absent=tuple(k for k in own if k in absent and k not in head_keys and k not in found),
    )


def _fits(tensor: torch.Tensor, own: torch.Tensor, key: str, network: SegmentationNetwork) -> bool:
    if tensor.is_floating_point() != own.is_floating_point():
        return False
    if key in network.input_keys and tensor.ndim == 5 and tensor.shape[1] == 1:
        return tensor.shape[:1] + tensor.shape[2:] == own.shape[:1] + own.shape[2:]
    if key in network.table_keys and tensor.ndim == 3 and tensor.shape[1] > 1:
        return tensor.shape[::2] == own.shape[::2]
    return tensor.shape == own.shape


def _is_finite(tensor: torch.Tensor) -> bool:
    if not tensor.is_floating_point():
        return True
    tensor = tensor.float() if tensor.itemsize == 1 else tensor  # the 8-bit types can neither be added nor tested
    # A sum needs no memory, and is finite only if all values are; that of large values may not be.
    return math.isfinite(float(tensor.sum(dtype=torch.float32))) or bool(tensor.isfinite().all())


def _said(tensor: torch.Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _explain(problems: Mapping[str, list[str]], tensors: Mapping[str, torch.Tensor], source: str, backbone: str) -> str:
    likely = closest_backbone(tensors)
    if likely is not None and likely != backbone:
        return f"{source} looks like a {likely} checkpoint, not {backbone}: load it with backbone={likely!r}."
    shown = {what: [n if n.isprintable() else brief(n) for n in names] for what, names in problems.items()}
    parts = [f"{len(names)} {what} ({listed(names)})" for what, names in shown.items() if names]
    if likely is None:
        advice = "It looks like no backbone of this version; check which network it was trained with."
    else:
        advice = (
            "The names are those of this backbone; check in_channels, backbone_kwargs and that the file is complete."
        )
    return f"{source} does not fit backbone {backbone!r}: {', '.join(parts)}. {advice}"
