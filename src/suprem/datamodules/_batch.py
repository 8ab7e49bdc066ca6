"""From samples to the batch that a task is fed with, as far as possible on the device that trains."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from suprem.datamodules._classes import Channels
from suprem.transforms import Changes, Profile, apply_changes, draw_changes

__all__ = ["collate", "finish", "windowed"]

_PADDED = ("table", "table_mirrored")


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Stacks samples of one shape; tables of different length are filled up with entries that no voxel has."""
    longest = max(len(sample["table"]) for sample in samples)
    wide = any(sample["labels"].dtype != torch.uint8 for sample in samples)
    batch: dict[str, Any] = {
        "image": _stacked([sample["image"] for sample in samples]),
        "labels": _stacked([s["labels"].to(torch.int32) if wide else s["labels"] for s in samples]),
        "ignore": [sample["ignore"] for sample in samples],
        "spacing_mm": torch.tensor([sample["spacing_mm"] for sample in samples], dtype=torch.float32),
        "keys": [sample["key"] for sample in samples],
        "seeds": [sample["seed"] for sample in samples],
    }
    for name in ("annotated", "annotated_mirrored"):
        batch[name] = torch.stack([sample[name] for sample in samples])
    for name in _PADDED:
        tables = [torch.nn.functional.pad(s[name], (0, 0, 0, longest - len(s[name]))) for s in samples]
        batch[name] = torch.stack(tables)
    return batch


def windowed(batch: dict[str, Any], hu_window: tuple[float, float]) -> torch.Tensor:
    """The images of a batch, float32 (N, X, Y, Z): ``hu_window`` mapped to [0, 1] and clipped."""
    low, high = hu_window
    # In place: on a CPU new memory costs more than the arithmetic does.
    image: torch.Tensor = batch["image"].to(torch.float32).sub_(low).div_(high - low).clamp_(0, 1)
    return image


def finish(
    batch: dict[str, Any], channels: Channels, hu_window: tuple[float, float], settings: Profile
) -> dict[str, Any]:
    """Windows, augments and looks up the target.

    Args:
        batch: From :func:`collate`, on any device.
        channels: Classes of the task.
        hu_window: Mapped to [0, 1] and clipped.
        settings: Augmentation; samples without a seed are not changed.

    Returns:
        ``image`` float32 (N, 1, X, Y, Z); ``target`` bool (N, C, X, Y, Z), for exclusive classes int64 (N, X, Y, Z)
        with 0 for background; ``annotated`` bool (N, C); ``known`` bool (N, 1, X, Y, Z), false where nothing is known;
        ``keys``; ``spacing_mm`` float32 (N, 3).
    """
    # Into what is returned, for the same reason.
    image = windowed(batch, hu_window)
    count, device = len(image), image.device
    classes = () if channels.exclusive else (len(channels.names),)
    target = torch.empty(
        (count, *classes, *image.shape[1:]), dtype=torch.int64 if channels.exclusive else torch.bool, device=device
    )
    known = torch.ones((count, 1, *image.shape[1:]), dtype=torch.bool, device=device)
    annotated = batch["annotated"].clone()
    for number, seed in enumerate(batch["seeds"]):
        labels, mirrored = batch["labels"][number], ""
        changes = Changes() if seed is None else draw_changes(settings, seed, square=image.shape[1] == image.shape[2])
        if changes != Changes():
            image[number], labels = apply_changes(changes, image[number], labels)
            mirrored = "_mirrored" if changes.mirrored else ""
        if batch["ignore"][number] is not None:
            torch.ne(labels, batch["ignore"][number], out=known[number, 0])
        _look_up(batch[f"table{mirrored}"][number], labels, target[number], exclusive=channels.exclusive)
        annotated[number] = batch[f"annotated{mirrored}"][number]
    return {
        "image": image[:, None],
        "target": target,
        "annotated": annotated,
        "known": known,
        "keys": batch["keys"],
        "spacing_mm": batch["spacing_mm"],
    }


def _look_up(table: torch.Tensor, labels: torch.Tensor, target: torch.Tensor, *, exclusive: bool) -> None:
    """A table lookup per voxel, into bool (C, X, Y, Z), or for exclusive classes int64 (X, Y, Z)."""
    flat = labels.flatten().to(torch.int32)
    if exclusive:
        number = torch.where(table.any(1), table.to(torch.uint8).argmax(1) + 1, 0)
        torch.index_select(number, 0, flat, out=target.view(-1))
    elif flat.is_cuda:
        torch.index_select(table.T.contiguous(), 1, flat, out=target.view(len(target), -1))
    else:  # most structures do not occur in a patch, and a CPU takes notice
        there = table[torch.bincount(flat, minlength=len(table)) > 0].any(0)
        for channel, column, some in zip(target, table.T.contiguous(), there.tolist(), strict=True):
            if some:
                torch.index_select(column, 0, flat, out=channel.view(-1))
            else:
                channel.zero_()


def _stacked(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """``torch.stack``, in a reading process straight into the memory that it shares with the training one."""
    if torch.utils.data.get_worker_info() is None:
        return torch.stack(tuple(tensors))
    first = tensors[0]
    shape = (len(tensors), *first.shape)
    # What torch's own collating uses; it has no public name.
    storage = torch.UntypedStorage._new_shared(math.prod(shape) * first.element_size())  # type: ignore[no-untyped-call]
    result = torch.empty(0, dtype=first.dtype).set_(storage).view(shape)
    return torch.stack(tuple(tensors), out=result)
