"""Fingerprints of a CT: a hash that survives flips and axis swaps, and a thumbnail that survives resampling."""

import hashlib
from collections.abc import Iterator
from itertools import permutations, product

import numpy as np
import numpy.typing as npt

from suprem.errors import VolumeError
from suprem.volumes import Volume
from suprem.volumes.geometry import Array, Reorientation, to_ras

__all__ = ["HASH_HU", "ORIENTATIONS", "THUMBNAIL_HU", "likeness", "scan_hash", "thumbnail"]

HASH_HU = (-1024, 3071)
"""Releases pad the outside of the gantry with different values below air; 12 bits hold the rest."""
THUMBNAIL_HU = (-200, 300)

_SIDE = 32
_COARSE = 8
_SLAB = 16  # long enough for whole cache lines, short enough to need little memory

ORIENTATIONS = tuple(
    Reorientation((x, y, z), (bool(i), bool(j), bool(k)))
    for (x, y, z), (i, j, k) in product(permutations(range(3)), product((0, 1), repeat=3))
)
"""The 48 ways to order and flip three axes."""


def scan_hash(ct: Volume) -> str:
    """A hash of what was scanned: equal for every copy of the same voxels, however its axes are ordered or flipped.

    Several releases store one scan in different, sometimes wrong, orientations, and some have lost its spacing; so
    neither counts. Intensities are clipped to [-1024, 3071] HU and rounded to int16; the shape and the voxels are
    hashed in one of the 48 orientations, which the voxels alone decide.

    Args:
        ct: (X, Y, Z) in HU, any real dtype, any orientation.

    Returns:
        SHA-256 in hexadecimal.

    Raises:
        VolumeError: NaN or infinite voxels.

    Example:
        >>> array = np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6), dtype=np.int16)
        >>> turned = Volume(array.transpose(2, 0, 1)[::-1], np.diag([3.0, 1.0, 2.0, 1.0]))
        >>> scan_hash(Volume(array, np.eye(4))) == scan_hash(turned)
        True
    """
    voxels = _clipped(ct)
    # The sums over the planes of each axis turn with the scan, so the orientations with the smallest sums are the same
    # images for every copy. Nearly always that is one; only a scan with a symmetry has several, which are all hashed.
    profiles = _profiles(voxels)
    keys = [_turned_profiles(profiles, step) for step in ORIENTATIONS]
    smallest = min(keys)
    return min(_digest(step.apply(voxels)) for step, key in zip(ORIENTATIONS, keys, strict=True) if key == smallest)


def _clipped(ct: Volume) -> npt.NDArray[np.int16]:
    result = np.empty_like(ct.array, dtype=np.int16)  # keeps the order in memory
    for x in range(0, ct.shape[0], _SLAB):
        slab = ct.array[x : x + _SLAB]
        if slab.dtype.kind == "f" and not np.isfinite(slab).all():
            raise VolumeError(f"{ct.name} has NaN or infinite voxels; replace them, with -1024 (air) for example.")
        wide = slab if slab.dtype.kind == "f" or slab.dtype == np.int16 else slab.astype(np.int64)
        result[x : x + _SLAB] = np.rint(np.clip(wide, *HASH_HU))
    return result


def _profiles(voxels: npt.NDArray[np.int16]) -> list[npt.NDArray[np.int64]]:
    """For each axis the sum over each plane across it; exact, so no order of summation shows."""
    columns = voxels.sum(axis=2, dtype=np.int64)
    return [columns.sum(axis=1), columns.sum(axis=0), voxels.sum(axis=(0, 1), dtype=np.int64)]


def _turned_profiles(profiles: list[npt.NDArray[np.int64]], step: Reorientation) -> tuple[tuple[int, bytes], ...]:
    turned = (profiles[axis][:: -1 if flip else 1] for axis, flip in zip(step.axes, step.flips, strict=True))
    return tuple((len(profile), profile.astype("<i8").tobytes()) for profile in turned)


def _digest(voxels: npt.NDArray[np.int16]) -> str:
    digest = hashlib.sha256(np.asarray(voxels.shape, dtype="<i8").tobytes())
    for x in range(0, voxels.shape[0], _SLAB):
        digest.update(voxels[x : x + _SLAB].astype("<i2").tobytes())
    return digest.hexdigest()


def thumbnail(ct: Volume) -> npt.NDArray[np.uint8]:
    """The whole scan on 32 x 32 x 32 voxels, to find copies that were resampled or saved with another rescaling.

    Args:
        ct: (X, Y, Z) in HU, any real dtype, any orientation.

    Returns:
        uint8 (32, 32, 32) in RAS: the mean of each cell, HU clipped to [-200, 300] and mapped to 0 to 255.
    """
    array = to_ras(ct)[0].array
    low, high = THUMBNAIL_HU
    along_x, along_y, along_z = (_cells(length) for length in array.shape)
    small = np.zeros((_SIDE, _SIDE, _SIDE), dtype=np.float32)
    for x in range(0, array.shape[0], _SLAB):
        slab = np.clip(array[x : x + _SLAB].astype(np.float32), low, high)
        flat = along_y @ (slab @ along_z.T)
        small += np.tensordot(along_x[:, x : x + _SLAB], flat, axes=1)
    scaled = np.rint((small - low) * (255 / (high - low))).clip(0, 255)
    return np.asarray(scaled, dtype=np.uint8)


def _cells(length: int) -> npt.NDArray[np.float32]:
    """(32, length): the share that each voxel has in each of 32 equal cells; rows sum to 1."""
    edges = np.linspace(0, length, _SIDE + 1)
    voxels = np.arange(length)
    upper = np.minimum(edges[1:, None], voxels + 1)
    lower = np.maximum(edges[:-1, None], voxels)
    share = np.clip(upper - lower, 0, None)
    return np.asarray(share / share.sum(axis=1, keepdims=True), dtype=np.float32)


def likeness(one: Array, other: Array, threshold: float) -> Iterator[tuple[int, int, float]]:
    """The pairs of thumbnails that show the same but for resampling, in any of the 48 orientations.

    Args:
        one: uint8 (N, 32, 32, 32).
        other: uint8 (M, 32, 32, 32).
        threshold: Smallest correlation to report, in [-1, 1].

    Yields:
        Index in ``one``, index in ``other``, and the highest correlation of the two over all orientations.
    """
    fine = _standardised(one)
    # Correlation on cells four times as large is cheap, and hardly lower for what is alike on the small ones.
    coarse = _standardised(_pooled(one))
    far = _pooled(other)
    screened: dict[tuple[int, int], list[Reorientation]] = {}
    for step in ORIENTATIONS:
        turned = np.stack([step.apply(small) for small in far])
        for row, column in np.argwhere(coarse @ _standardised(turned).T >= threshold - 0.02):
            screened.setdefault((int(row), int(column)), []).append(step)
    for (row, column), steps in sorted(screened.items()):
        turned = _standardised(np.stack([step.apply(other[column]) for step in steps]))
        best = float((turned @ fine[row]).max())
        if best >= threshold:
            yield row, column, best


def _pooled(thumbnails: Array) -> npt.NDArray[np.float32]:
    width = _SIDE // _COARSE
    cells = thumbnails.reshape(-1, _COARSE, width, _COARSE, width, _COARSE, width)
    return np.asarray(cells.mean(axis=(2, 4, 6), dtype=np.float32))


def _standardised(images: Array) -> npt.NDArray[np.float32]:
    """(N, voxels) of mean 0 and length 1, so that products are correlations; a constant image becomes zeros."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.where(length > 0, length, 1))
