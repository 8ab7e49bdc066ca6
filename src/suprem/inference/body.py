"""A coarse, generous mask of the patient, so that windows over air and table need not be run.

It may be too large, never too small: lungs and bowel gas lie inside, a patient who is cut by the field of view is
followed to its edge, and a margin is added all around.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from suprem.inference.grid import ModelGrid
from suprem.inference.windows import Box
from suprem.volumes.body import COARSE_MM, block_means, coarse_body
from suprem.volumes.geometry import Volume

__all__ = ["BodyMask", "coarse_factors", "find_body"]

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class BodyMask:
    """The patient on a coarse grid, and which coarse voxel each model voxel lies in.

    Attributes:
        coarse: bool (x, y, z).
        index: for each axis, the coarse index of every model voxel, ascending.
    """

    coarse: BoolArray
    index: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]

    def touches(self, start: Sequence[int], size: Sequence[int]) -> bool:
        """Whether any model voxel of the box ``start : start + size`` is inside the patient."""
        box = []
        for index, first, count in zip(self.index, start, size, strict=True):
            low, high = max(first, 0), min(first + count, index.size)
            box.append(slice(index[low], index[high - 1] + 1))
        return bool(self.coarse[tuple(box)].any())

    def extent(self, start: int, stop: int) -> Box:
        """The smallest box of model voxels around the patient between layers ``start`` and ``stop``.

        Where no voxel of these layers belongs to the patient, the box around the whole of it.
        """
        here = self.index[2][start:stop]
        layers, (along_x, along_y) = slice(here[0], here[-1] + 1), self._sides
        x, y, z = (
            np.flatnonzero(side[:, layers].any(axis=axis)) for side, axis in ((along_x, 1), (along_y, 1), (along_x, 0))
        )
        if not x.size:
            return self.extent(0, self.index[2].size)
        box = []
        for index, found in zip(self.index, (x, y, z + layers.start), strict=True):
            box.append((int(np.searchsorted(index, found[0])), int(np.searchsorted(index, found[-1], side="right"))))
        return box[0], box[1], (max(box[2][0], start), min(box[2][1], stop))

    @cached_property
    def _sides(self) -> tuple[BoolArray, BoolArray]:
        """The patient seen along y and along x, bool (x, z) and (y, z)."""
        return np.asarray(self.coarse.any(axis=1)), np.asarray(self.coarse.any(axis=0))


def coarse_factors(grid: ModelGrid) -> list[int]:
    """How many voxels of the scan along each RAS axis are one of the coarse grid."""
    return [max(1, round(COARSE_MM / s)) for s in grid.scan_spacing_mm]


def find_body(scan: Volume, grid: ModelGrid, means: npt.NDArray[np.float32] | None = None) -> BodyMask | None:
    """The patient in a CT, or ``None`` where nothing large enough stands out from air.

    Args:
        scan: HU on its own index axes.
        grid: the model grid of ``scan``.
        means: of the scan on RAS axes over blocks of :func:`coarse_factors` voxels, where they are known.
    """
    factors = coarse_factors(grid)
    if means is None:
        means = block_means(grid.reorientation.apply(scan.array), factors)
    spacing = [f * s for f, s in zip(factors, grid.scan_spacing_mm, strict=True)]
    coarse = coarse_body(means, spacing)
    if coarse is None:
        return None
    indices = []
    for axis in range(3):
        nearest = np.rint(np.arange(grid.shape[axis]) * grid.steps[axis]).astype(np.intp) // factors[axis]
        indices.append(np.clip(nearest, 0, coarse.shape[axis] - 1))
    return BodyMask(coarse, (indices[0], indices[1], indices[2]))
