"""Copies matched tensors into a network and records what happened."""

from collections.abc import Mapping, Sequence

import torch

from suprem.backbones._base import SegmentationNetwork
from suprem.errors import CheckpointError
from suprem.heads.universal import random_codes
from suprem.zoo._classes import Channels
from suprem.zoo._match import Match
from suprem.zoo.report import LoadReport
from suprem.zoo.source import Origin
from suprem.zoo.state_dict import StateDict

__all__ = ["check_counts", "fill", "is_whole"]


def fill(
    network: SegmentationNetwork,
    state: StateDict,
    pairs: Match,
    rows: Sequence[int | None],
    target: Channels,
    origin: Origin,
    notes: tuple[str, ...],
) -> LoadReport:
    """Puts the paired tensors into ``network``.

    They are put in place, not copied: those of a ``.safetensors`` file stay mapped from it until they are changed, so
    the weights are in memory once, and once for all processes that load them.

    Args:
        network: with its random initial values, or a blueprint where :func:`is_whole`.
        state: the file.
        pairs: which tensor goes where.
        rows: for each output channel the channel of the file to copy, or ``None`` to leave the initial values.
        target: what the output channels mean.
        origin: where the file comes from.
        notes: what is to be told already.

    Raises:
        CheckpointError: the output layer in the file is incomplete or has another width.
    """
    own = network.state_dict()
    body = {key: state.tensors[name] for key, name in pairs.body.items()}
    fitted = network.repeat_input_channels(network.resize_tables(body, pairs.body))
    used = any(row is not None for row in rows)
    head = {key: _new_head(key, own[key], pairs, state, rows if used else [], origin) for key in network.head_keys}
    placed = _independent({**fitted, **head}, own)
    network.load_state_dict({**own, **placed}, strict=True, assign=True)

    whole = used and None not in rows
    loaded = tuple(key for key in own if key in fitted or (whole and key in head))
    taken = {**pairs.body, **(pairs.head if used else {})}
    shift = target.count - len(target.classes)
    fresh = tuple(name for name, row in zip(target.classes, rows[shift:], strict=True) if row is None)
    dropped = pairs.dropped + (() if used else tuple(pairs.head.values()))
    return LoadReport(
        source=origin.source,
        path=str(origin.path),
        sha256=origin.sha256,
        container=state.container,
        loaded=loaded,
        renamed={state.file_names[n]: key for key, n in taken.items() if state.file_names[n] != key},
        adapted=tuple(key for key in body if fitted[key] is not body[key]),
        dropped=tuple(state.file_names[name] for name in dropped),
        initialised=tuple(key for key in own if key not in loaded),
        kept_classes=tuple(name for name in target.classes if name not in fresh),
        new_classes=fresh,
        notes=notes + _warnings(pairs, fresh, target),
    )


def is_whole(network: SegmentationNetwork, pairs: Match, rows: Sequence[int | None]) -> bool:
    """Whether the file fills every tensor of the network, so that none needs an initial value."""
    own = network.state_dict().keys()
    kept = len(own) == len(list(network.parameters())) + len(list(network.buffers()))  # nothing that is not saved
    return kept and None not in rows and own == {*pairs.body, *pairs.head}


def _independent(tensors: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors in the network's type, none of which shares memory with another one or keeps more than it needs."""
    seen = set[int]()
    result = {}
    for key, tensor in tensors.items():
        tensor = tensor.to(own[key].dtype).contiguous()
        storage = tensor.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() > tensor.nbytes:
            tensor = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
        result[key] = tensor
    return result


def _warnings(pairs: Match, fresh: tuple[str, ...], target: Channels) -> tuple[str, ...]:
    notes = []
    if fresh:
        notes.append(f"{len(fresh)} of {len(target.classes)} classes are new and mean nothing until they are trained")
    if pairs.absent:
        notes.append(
            f"the file holds a part of the network; {len(pairs.absent)} tensors beside the output layer start anew"
        )
    return tuple(notes)


def _new_head(
    key: str, own: torch.Tensor, pairs: Match, state: StateDict, rows: Sequence[int | None], origin: Origin
) -> torch.Tensor:
    """The head tensor with the file's rows where they are wanted, fresh ones elsewhere."""
    if not rows:
        return random_codes(len(own)) if own.isnan().any() else own
    found = state.tensors[pairs.head[key]] if key in pairs.head else None
    if found is None or found.shape[1:] != own.shape[1:] or len(found) <= max(row or 0 for row in rows):
        has = "is missing" if found is None else f"has shape {tuple(found.shape)}"
        raise CheckpointError(
            f"{origin.source}: {key} {has}, which does not go with {tuple(own.shape)}; the file is incomplete or for "
            "another width of the network."
        )
    if None not in rows:
        return found if list(rows) == list(range(len(found))) else found[list(rows)]
    result = own.clone()
    if own.isnan().any():
        result = random_codes(len(own), float(found.float().norm(dim=1).mean()))
    for i, row in enumerate(rows):
        if row is not None:
            result[i] = found[row]
    return result


def check_counts(origin: Origin, state: StateDict, report: LoadReport, head_keys: tuple[str, ...]) -> tuple[str, ...]:
    """Compares the number of tensors with the card of the file.

    Returns:
        A note when the numbers differ from those of a card that is not sure of them; which tensors a file may lack was
        checked by name before.

    Raises:
        CheckpointError: another number of tensors arrived in the backbone, or was in the file.
    """
    counts = origin.card.file.tensors if origin.card else None
    if counts is None:
        return ()
    universal = head_keys == ("organ_embedding",)
    body = [k for k in report.loaded if k not in head_keys and (not universal or k.startswith("backbone."))]
    arrived = len(body) == counts.transferred
    whole = counts.in_file in (None, len(state.tensors))
    if arrived and whole:
        return ()
    numbers = (
        f"{len(state.tensors)} tensors, of which {len(body)} fill the backbone; the card says {counts.in_file} and "
        f"{counts.transferred}"
    )
    if counts.confidence in ("stated", "measured") or (counts.confidence == "third party" and not arrived):
        raise CheckpointError(f"{origin.path} has {numbers}. It is not the file that the card describes.")
    return (f"the file has {numbers}, and is not sure",)
