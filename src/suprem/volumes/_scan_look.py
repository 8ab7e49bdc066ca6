"""What all checks of a scan share, measured once: a thinned copy of the values, and coarse means."""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod

import numpy as np
import numpy.typing as npt

from suprem.volumes.body import COARSE_MM, block_means, filled_between, solid_body
from suprem.volumes.geometry import Array, Volume, to_ras

__all__ = ["Look"]

_SPARSE_VOXELS = 1_500_000
_PLANES = 8
_ISOTROPIC = 1.3  # below this ratio of the two largest spacings no axis is the one of the slices

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Look:
    """A scan on RAS axes, and what is derived from it when it is first asked for.

    Attributes:
        scan: as it was given.
        array: (X, Y, Z), a view on RAS axes.
        spacing_mm: in the same order.
    """

    scan: Volume
    array: Array
    spacing_mm: tuple[float, float, float]

    @classmethod
    def at(cls, scan: Volume) -> "Look":
        """Looks at a scan."""
        ras, _ = to_ras(scan)
        return cls(scan, ras.array, ras.spacing_mm)

    @cached_property
    def slice_axis(self) -> int:
        """The axis of the largest spacing; the one from feet to head where another has much the same."""
        apart = max(self.spacing_mm) > _ISOTROPIC * sorted(self.spacing_mm)[1]
        return int(np.argmax(self.spacing_mm)) if apart else 2

    @cached_property
    def sparse(self) -> npt.NDArray[np.float32]:
        """Values of a regular part of the voxels, at most some 1.5 million, float32 (N,)."""
        step = max(1, ceil((prod(self.array.shape) / _SPARSE_VOXELS) ** (1 / 3)))
        return np.asarray(self.array[::step, ::step, ::step], dtype=np.float32).ravel()

    @cached_property
    def planes(self) -> Array:
        """Up to eight whole planes across the slice axis, evenly spread: (planes, rows, columns)."""
        along = np.moveaxis(self.array, self.slice_axis, 0)
        index = np.unique(np.linspace(0, len(along) - 1, min(_PLANES, len(along))).astype(int))
        return np.asarray(along[index])

    @cached_property
    def factors(self) -> tuple[int, int, int]:
        """Voxels of a coarse block along each axis."""
        x, y, z = (max(1, round(COARSE_MM / size)) for size in self.spacing_mm)
        return x, y, z

    @cached_property
    def means(self) -> npt.NDArray[np.float32]:
        """Means over coarse blocks of some 6 mm, float32 (x, y, z)."""
        return block_means(self.array, self.factors)

    @cached_property
    def coarse_mm(self) -> tuple[float, float, float]:
        """Edges of the coarse blocks."""
        x, y, z = (factor * size for factor, size in zip(self.factors, self.spacing_mm, strict=True))
        return x, y, z

    @cached_property
    def solid(self) -> BoolArray | None:
        """The tissue of the patient in coarse blocks, ``None`` where no body is found."""
        return solid_body(self.means, self.coarse_mm)

    @cached_property
    def filled(self) -> BoolArray | None:
        """The patient with all that lies between tissue, such as lungs; ``None`` where no body is found."""
        return None if self.solid is None else filled_between(self.solid)

    @cached_property
    def slice_means(self) -> npt.NDArray[np.float32]:
        """Means over blocks of some 6 mm within each slice, float32 (slices, rows, columns)."""
        factors = list(self.factors)
        factors[self.slice_axis] = 1
        return np.moveaxis(block_means(self.array, factors), self.slice_axis, 0)
