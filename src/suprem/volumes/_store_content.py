"""What is derived from a case before it is stored: checks, voxel counts, and voxels to place patches on."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from suprem.errors import LabelSpaceError, VolumeError
from suprem.volumes.geometry import Volume

__all__ = ["BODY", "check_grids", "counts", "foreground"]

BODY = 65535
"""Stands for the body in the first column of the foreground table; no dataset has as many structures."""
_BODY_HU = -175
_PER_STRUCTURE, _PER_BODY = 512, 2048


def check_grids(ct: Volume, labels: Volume | None, key: str) -> None:
    """Makes sure that CT and labels are of the stored kind and lie on one grid.

    Raises:
        VolumeError: they do not.
    """
    if ct.array.dtype != np.int16 or ct.orientation != "RAS" or max(ct.shape) > BODY:
        raise VolumeError(
            f"The CT of {key} is {ct.array.dtype} {ct.shape} in {ct.orientation}; int16 in RAS is stored."
        )
    if labels is None:
        return
    if labels.array.dtype not in (np.uint8, np.uint16):
        raise VolumeError(f"The labels of {key} are {labels.array.dtype}; uint8 or uint16 palette indices are stored.")
    if labels.shape != ct.shape or not np.allclose(labels.affine, ct.affine, rtol=0, atol=1e-4):
        raise VolumeError(
            f"CT {ct.shape} and labels {labels.shape} of {key} do not lie on the same grid; resample them together."
        )


def counts(
    indices: npt.NDArray[Any] | None,
    table: tuple[frozenset[str], ...],
    ignore: int | None,
    names: tuple[str, ...],
    key: str,
) -> tuple[dict[str, int], int]:
    """Voxels of every annotated structure, and of the ignored index."""
    if indices is None:
        if names:
            raise LabelSpaceError(f"{key} has no labels, yet {', '.join(names)} are said to be annotated.")
        return {}, 0
    sizes = np.zeros(65536, dtype=np.int64)
    for plane in indices:  # by planes: bincount widens its input to 8 bytes per voxel
        sizes += np.bincount(plane.ravel(), minlength=65536)
    highest = int(np.flatnonzero(sizes)[-1])
    if highest >= len(table):
        raise LabelSpaceError(
            f"{key} has a voxel with palette index {highest}, but the table ends at {len(table) - 1}."
        )
    voxels = {name: int(sum(sizes[i] for i, entry in enumerate(table) if name in entry)) for name in names}
    return voxels, int(sizes[ignore]) if ignore is not None else 0


def foreground(
    ct: npt.NDArray[np.int16],
    indices: npt.NDArray[Any] | None,
    table: tuple[frozenset[str], ...],
    names: tuple[str, ...],
    key: str,
) -> npt.NDArray[np.uint16]:
    """uint16 (K, 4): rank of the structure, x, y, z."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    rng = np.random.default_rng(seed)
    rows = []
    wanted: list[tuple[int, int, Callable[[npt.NDArray[Any]], npt.NDArray[np.bool_]], npt.NDArray[Any]]] = []
    if indices is not None:
        for rank, name in enumerate(names):
            member = np.array([name in entry for entry in table])
            wanted.append((rank, _PER_STRUCTURE, lambda plane, member=member: member[plane], indices))  # type: ignore[misc]
    wanted.append((BODY, _PER_BODY, lambda plane: plane > _BODY_HU, ct))
    for rank, count, select, array in wanted:
        points = _some_voxels(array, select, count, rng)
        rows.append(np.column_stack([np.full(len(points), rank), points]).astype(np.uint16))
    return np.concatenate(rows)


def _some_voxels(
    array: npt.NDArray[Any],
    select: Callable[[npt.NDArray[Any]], npt.NDArray[np.bool_]],
    count: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """At most ``count`` of the selected voxels, each as likely as the other; (K, 3) in the order of the array."""
    flat = np.concatenate(
        [np.flatnonzero(select(plane)) + x * plane.size for x, plane in enumerate(array)] or [np.zeros(0, np.int64)]
    )
    if len(flat) > count:
        flat = np.sort(rng.choice(flat, count, replace=False))
    return np.column_stack(np.unravel_index(flat, array.shape)).astype(np.int64)
