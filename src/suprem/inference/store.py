"""Predicted labels on the model grid in as little memory as they need: one index per voxel, or one bit per class."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["BitStore", "IndexStore", "LabelStore", "Region"]

BoolArray = npt.NDArray[np.bool_]
Region = tuple[slice, slice, slice]


class LabelStore:
    """Masks of ``count`` classes over one grid, starting empty.

    Attributes:
        count: number of classes; they are addressed as 0 ... count - 1.
        shape: voxels (X, Y, Z).
        exclusive: a voxel belongs to one class at most.
    """

    exclusive: bool

    def __init__(self, count: int, shape: tuple[int, int, int], array: npt.NDArray[Any]) -> None:
        self.count = count
        self.shape = shape
        self._array = array

    @property
    def nbytes(self) -> int:
        """Size of the array in bytes."""
        return int(self._array.nbytes)

    def fill(self, array: npt.NDArray[Any]) -> None:
        """Replaces everything by an array of the kind that is kept, perhaps of a wider dtype."""
        self._array[...] = array

    def mask(self, index: int) -> BoolArray:
        """Mask of one class, bool (X, Y, Z), a new array."""
        raise TypeError(f"{type(self).__name__} does not define mask.")

    def set_mask(self, index: int, mask: BoolArray) -> None:
        """Replaces the mask of one class; in an exclusive store the voxels it gains leave their old class."""
        raise TypeError(f"{type(self).__name__} does not define set_mask.")

    def any(self) -> BoolArray:
        """Voxels of any class, bool (X, Y, Z)."""
        raise TypeError(f"{type(self).__name__} does not define any.")

    def numbered(self, numbers: Sequence[int]) -> npt.NDArray[Any]:
        """One label map; class i becomes ``numbers[i]``, 0 leaves it out, the higher number wins where classes overlap.

        Returns:
            uint8 (X, Y, Z), uint16 when a number exceeds 255.
        """
        raise TypeError(f"{type(self).__name__} does not define numbered.")


def _label_dtype(numbers: Sequence[int]) -> Any:
    return np.uint16 if max(numbers, default=0) > 255 else np.uint8


class IndexStore(LabelStore):
    """Exclusive classes: uint8 or uint16 per voxel, 0 is background, i + 1 is class i."""

    exclusive = True

    def __init__(self, count: int, shape: tuple[int, int, int]) -> None:
        super().__init__(count, shape, np.zeros(shape, dtype=_label_dtype((count,))))

    def write(self, region: Region, index: npt.NDArray[Any]) -> None:
        """Stores class index + 1 per voxel, 0 for background, over a box of the grid."""
        self._array[region] = index

    def mask(self, index: int) -> BoolArray:
        """Mask of one class, bool (X, Y, Z)."""
        return np.asarray(self._array == index + 1)

    def set_mask(self, index: int, mask: BoolArray) -> None:
        """Replaces the mask of one class; voxels it gains leave their old class."""
        self._array[(self._array == index + 1) & ~mask] = 0
        self._array[mask] = index + 1

    def any(self) -> BoolArray:
        """Voxels of any class, bool (X, Y, Z)."""
        return np.asarray(self._array != 0)

    def numbered(self, numbers: Sequence[int]) -> npt.NDArray[Any]:
        """One label map with class i as ``numbers[i]``."""
        table = np.array([0, *numbers], dtype=_label_dtype(numbers))
        out = np.empty(self.shape, dtype=table.dtype)
        for plane, labels in zip(out, self._array, strict=True):  # by planes: numpy widens indices to 8 bytes
            plane[...] = table[labels]
        return out


class BitStore(LabelStore):
    """Classes that may overlap: one bit each, eight classes to a byte plane."""

    exclusive = False

    def __init__(self, count: int, shape: tuple[int, int, int]) -> None:
        super().__init__(count, shape, np.zeros((-(-count // 8), *shape), dtype=np.uint8))

    def write(self, region: Region, bits: npt.NDArray[np.uint8]) -> None:
        """Stores packed bits over a box of the grid: uint8 (planes, x, y, z), class i in bit i % 8 of plane i // 8."""
        self._array[(slice(None), *region)] = bits

    def mask(self, index: int) -> BoolArray:
        """Mask of one class, bool (X, Y, Z)."""
        plane, bit = divmod(index, 8)
        found = self._array[plane] & np.uint8(1 << bit)
        return np.asarray(found != 0)

    def set_mask(self, index: int, mask: BoolArray) -> None:
        """Replaces the mask of one class."""
        plane, bit = divmod(index, 8)
        self._array[plane] &= np.uint8(255 ^ (1 << bit))
        self._array[plane] |= mask.astype(np.uint8) << np.uint8(bit)

    def any(self) -> BoolArray:
        """Voxels of any class, bool (X, Y, Z)."""
        found = np.zeros(self.shape, dtype=np.bool_)
        for plane in self._array:
            found |= plane != 0
        return found

    def numbered(self, numbers: Sequence[int]) -> npt.NDArray[Any]:
        """One label map; class i becomes ``numbers[i]``, the higher number wins where classes overlap."""
        out = np.zeros(self.shape, dtype=_label_dtype(numbers))
        for number, index in sorted((n, i) for i, n in enumerate(numbers) if n):
            out[self.mask(index)] = number
        return out
