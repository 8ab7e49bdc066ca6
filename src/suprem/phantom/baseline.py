"""What can be told from a voxel's value and position alone: the yardstick beside the bundled network."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suprem.errors import CheckpointError, UnknownNameError, did_you_mean
from suprem.phantom.generator import phantom_table
from suprem.volumes.geometry import Volume, nearest_index, resample_linear, resampled_shape, to_ras

__all__ = ["BaselinePrediction", "PositionBaseline"]

Array = npt.NDArray[Any]

POSITION_BINS = (24, 16, 32)
HU_EDGES = np.array([-900, -600, -300, -160, -125, -100, -75, -50, *range(-25, 146, 9), 180, 250], dtype=np.float32)

_BODY_HU = -180.0
_BODY_SHARE = 0.05


@dataclass(frozen=True, eq=False)
class BaselinePrediction:
    """Labels predicted by :class:`PositionBaseline`.

    Attributes:
        labels: uint8 (X, Y, Z) on the scan's grid, an index into :func:`suprem.phantom.phantom_table`.
    """

    labels: npt.NDArray[np.uint8]

    def mask(self, name: str) -> npt.NDArray[np.bool_]:
        """Voxels of one structure, bool (X, Y, Z).

        Raises:
            UnknownNameError: the phantom does not model that structure.
        """
        member = np.array([name in entry for entry in phantom_table()])
        if not member.any():
            raise UnknownNameError(did_you_mean("phantom structure", name, frozenset().union(*phantom_table())))
        return np.asarray(member[self.labels])


class PositionBaseline:
    """A per-voxel classifier: the most frequent label at a position in the body's box and an intensity.

    Position is binned into 24 x 16 x 32 cells of the box around the body, intensity into 30 bins; the counts come from
    the phantoms the bundled network was trained on, at its spacing, and are smoothed over neighbouring bins. So it
    knows everything a single voxel can tell, and nothing about its surroundings.

    Args:
        winners: uint8 (24, 16, 32, 30), label of each cell and intensity.
        spacing_mm: grid on which voxels are looked up.
    """

    def __init__(self, winners: npt.NDArray[np.uint8], spacing_mm: tuple[float, float, float]) -> None:
        shape = (*POSITION_BINS, len(HU_EDGES) + 1)
        if winners.shape != shape or winners.max(initial=0) >= len(phantom_table()):
            raise CheckpointError(
                f"The baseline's table is {winners.shape}, not {shape}, or of another label table; refit it."
            )
        self.winners = winners
        self.spacing_mm = spacing_mm

    @classmethod
    def fit(cls, cases: Iterable[tuple[Array, Array]], spacing_mm: tuple[float, float, float]) -> "PositionBaseline":
        """Counts labels over cases.

        Args:
            cases: pairs of CT (HU) and label index, both (X, Y, Z) in RAS at ``spacing_mm``.
            spacing_mm: their spacing.
        """
        from scipy import ndimage

        entries = len(phantom_table())
        shape = (*POSITION_BINS, len(HU_EDGES) + 1)
        counts = np.zeros(int(np.prod(shape)) * entries, dtype=np.float32)
        for image, labels in cases:
            bins = np.ravel_multi_index(_bins(image), shape)
            counts += np.bincount((bins * entries + labels).ravel(), minlength=len(counts)).astype(np.float32)
        table = counts.reshape(*shape, entries)
        for axis in range(4):
            table = ndimage.gaussian_filter1d(table, 0.6, axis=axis, mode="nearest", truncate=3.0)
        return cls(table.argmax(-1).astype(np.uint8), spacing_mm)

    @classmethod
    def bundled(cls) -> "PositionBaseline":
        """The classifier fitted on the training phantoms of the bundled network.

        Raises:
            CheckpointError: the file in the package is damaged.
        """
        with files("suprem.phantom").joinpath("baseline.npz").open("rb") as stream, np.load(stream) as stored:
            x, y, z = (float(v) for v in stored["spacing_mm"])
            return cls(stored["winners"], (x, y, z))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the classifier as a compressed ``.npz`` file."""
        np.savez_compressed(Path(path), winners=self.winners, spacing_mm=np.asarray(self.spacing_mm))

    def predict(self, ct: Volume) -> BaselinePrediction:
        """Labels of every voxel of a scan, looked up on the classifier's grid."""
        ras, step = to_ras(ct)
        shape = resampled_shape(ras.shape, ras.spacing_mm, self.spacing_mm)
        x, y, z = (t / s for t, s in zip(self.spacing_mm, ras.spacing_mm, strict=True))
        found = self.winners[_bins(resample_linear(ras.array, shape, (x, y, z)))]
        back = [nearest_index(n, m, 1.0 / s) for n, m, s in zip(shape, ras.shape, (x, y, z), strict=True)]
        return BaselinePrediction(np.ascontiguousarray(step.invert(found[np.ix_(*back)])))


def _bins(image: Array) -> tuple[Array, Array, Array, Array]:
    """Bin of every voxel along x, y, z of the body's box, and of its intensity; broadcastable integer arrays."""
    body = image > _BODY_HU
    places = []
    for axis, count in enumerate(POSITION_BINS):
        share = body.mean(axis=tuple(a for a in range(3) if a != axis))
        inside = np.flatnonzero(share > _BODY_SHARE)
        low, high = (inside[0], inside[-1] + 1) if len(inside) else (0, len(share))
        index = np.floor((np.arange(len(share)) - low) * count / (high - low))
        shape = [1, 1, 1]
        shape[axis] = len(share)
        places.append(np.clip(index, 0, count - 1).astype(np.intp).reshape(shape))
    return places[0], places[1], places[2], np.digitize(image, HU_EDGES)
