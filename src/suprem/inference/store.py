"""Predicted labels on the model grid in as little memory as they need: one index per voxel, or one bit per class.

In memory x is the fastest axis, as it is in image files, so that what is made for them is read and written in one go.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["BitStore", "IndexStore", "LabelStore"]

BoolArray = npt.NDArray[np.bool_]


class LabelStore:
    """Masks of ``count`` classes over one grid, starting empty.

    Arguments and results have the axes (X, Y, Z); results are views of arrays whose fastest axis is x.

    Attributes:
        count: number of classes; they are addressed as 0 ... count - 1.
        shape: voxels (X, Y, Z).
        exclusive: a voxel belongs to one class at most.
        memory: (planes, Z, Y, X), one plane of indices or one of bits for every eight classes.
    """

    exclusive: bool

    def __init__(self, count: int, shape: tuple[int, int, int], dtype: Any, planes: int = 1) -> None:
        self.count = count
        self.shape = shape
        self.memory = np.zeros((planes, *shape[::-1]), dtype=dtype)

    @property
    def nbytes(self) -> int:
        """Size of the array in bytes."""
        return int(self.memory.nbytes)

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
        super().__init__(count, shape, _label_dtype((count,)))

    def mask(self, index: int) -> BoolArray:
        """Mask of one class, bool (X, Y, Z)."""
        labels = self.memory[0].T
        return np.asarray(labels == index + 1)

    def set_mask(self, index: int, mask: BoolArray) -> None:
        """Replaces the mask of one class; voxels it gains leave their old class."""
        labels = self.memory[0].T
        np.copyto(labels, 0, where=(labels == index + 1) & ~mask)
        np.copyto(labels, index + 1, where=mask)

    def any(self) -> BoolArray:
        """Voxels of any class, bool (X, Y, Z)."""
        return np.asarray(self.memory[0].T != 0)

    def numbered(self, numbers: Sequence[int]) -> npt.NDArray[Any]:
        """One label map with class i as ``numbers[i]``."""
        table = np.array([0, *numbers], dtype=_label_dtype(numbers))
        out = np.empty(self.shape[::-1], dtype=table.dtype)
        for layer, labels in zip(out, self.memory[0], strict=True):  # by layers: numpy widens indices to 8 bytes
            layer[...] = table[labels]
        return out.T


class BitStore(LabelStore):
    """Classes that may overlap: one bit each, eight classes to a byte plane; class i is bit i % 8 of plane i // 8."""

    exclusive = False

    def __init__(self, count: int, shape: tuple[int, int, int]) -> None:
        super().__init__(count, shape, np.uint8, -(-count // 8))

    def mask(self, index: int) -> BoolArray:
        """Mask of one class, bool (X, Y, Z)."""
        plane, bit = divmod(index, 8)
        found = self.memory[plane] & np.uint8(1 << bit)
        return np.asarray(np.not_equal(found, 0, out=found.view(np.bool_)).T)

    def set_mask(self, index: int, mask: BoolArray) -> None:
        """Replaces the mask of one class."""
        plane, bit = divmod(index, 8)
        labels = self.memory[plane].T
        labels &= np.uint8(255 ^ (1 << bit))
        labels |= mask.astype(np.uint8) << np.uint8(bit)

    def any(self) -> BoolArray:
        """Voxels of any class, bool (X, Y, Z)."""
        found = np.zeros(self.memory.shape[1:], dtype=np.bool_)
        for plane in self.memory:
            found |= plane != 0
        return found.T

    def numbered(self, numbers: Sequence[int]) -> npt.NDArray[Any]:
        """One label map; class i becomes ``numbers[i]``, the higher number wins where classes overlap."""
        out = np.zeros(self.shape[::-1], dtype=_label_dtype(numbers))
        for number, index in sorted((n, i) for i, n in enumerate(numbers) if n):
            out[self.mask(index).T] = number
        return out.T
