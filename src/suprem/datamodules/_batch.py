"""From samples to the batch that a task is fed with, as far as possible on the device that trains."""

from collections.abc import Sequence
from typing import Any

import torch

from suprem.datamodules._classes import Channels
from suprem.transforms import Profile, apply_changes, draw_changes

__all__ = ["collate", "finish"]

_PADDED = ("table", "table_mirrored")


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Stacks samples of one shape; tables of different length are filled up with entries that no voxel has."""
    longest = max(len(sample["table"]) for sample in samples)
    wide = any(sample["labels"].dtype != torch.uint8 for sample in samples)
    batch: dict[str, Any] = {
        "image": torch.stack([sample["image"] for sample in samples]),
        "labels": torch.stack([s["labels"].to(torch.int32) if wide else s["labels"] for s in samples]),
        "ignore": torch.tensor([sample["ignore"] for sample in samples]),
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
    low, high = hu_window
    image = ((batch["image"].to(torch.float32) - low) / (high - low)).clamp_(0, 1)
    images, targets, known, annotated = [], [], [], []
    for number, seed in enumerate(batch["seeds"]):
        one, labels, mirrored = image[number], batch["labels"][number], ""
        if seed is not None:
            changes = draw_changes(settings, seed, square=one.shape[0] == one.shape[1])
            one, labels = apply_changes(changes, one, labels)
            mirrored = "_mirrored" if changes.mirrored else ""
        images.append(one)
        known.append(labels != batch["ignore"][number])
        targets.append(_target(batch[f"table{mirrored}"][number], labels, exclusive=channels.exclusive))
        annotated.append(batch[f"annotated{mirrored}"][number])
    return {
        "image": torch.stack(images)[:, None],
        "target": torch.stack(targets),
        "annotated": torch.stack(annotated),
        "known": torch.stack(known)[:, None],
        "keys": batch["keys"],
        "spacing_mm": batch["spacing_mm"],
    }


def _target(table: torch.Tensor, labels: torch.Tensor, *, exclusive: bool) -> torch.Tensor:
    """A table lookup per voxel: bool (C, X, Y, Z), or for exclusive classes int64 (X, Y, Z)."""
    flat = labels.flatten().to(torch.int32)
    if exclusive:
        number = torch.where(table.any(1), table.to(torch.uint8).argmax(1) + 1, 0)
        return number.index_select(0, flat).view(labels.shape)
    return table.T.contiguous().index_select(1, flat).view(-1, *labels.shape)
