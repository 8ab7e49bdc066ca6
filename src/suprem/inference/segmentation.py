"""The result of a prediction: labels on the model grid, handed out on the scan's grid one mask at a time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from suprem.errors import ConfigurationError, UnknownNameError, did_you_mean
from suprem.inference.grid import ModelGrid
from suprem.inference.store import LabelStore
from suprem.labels import known_name
from suprem.volumes.geometry import Volume

if TYPE_CHECKING:
    from suprem.labels import LabelSpace

__all__ = ["Segmentation", "matching_class"]

BoolArray = npt.NDArray[np.bool_]


def matching_class(name: str, classes: Sequence[str], owner: str) -> int:
    """Position of a structure among ``classes``, whatever accepted spelling either uses.

    Raises:
        UnknownNameError: it is not among them; the message offers the closest names.
    """
    if name in classes:
        return classes.index(name)
    wanted = known_name(name)
    for index, own in enumerate(classes):
        if known_name(own) == wanted:
            return index
    raise UnknownNameError(did_you_mean(f"class of {owner}", name, classes))


class Segmentation:
    """Predicted structures of one scan.

    Only labels on the model grid are held; masks on the scan's grid are made when asked for, and not kept.

    Attributes:
        classes: canonical names of the predicted structures.
        exclusive: a voxel belongs to one structure at most.
        scan: the scan as it was given.
        info: how it was made: model, quality, windows run and skipped, memory plan, seconds per phase, post-processing.
            Holds only what JSON can.
        undecided_ml: structure -> millilitres in which the network was close to its decision threshold, before any
            post-processing; empty where that is not known.
    """

    def __init__(
        self,
        classes: Sequence[str],
        scan: Volume,
        grid: ModelGrid,
        labels: LabelStore,
        info: dict[str, Any],
        undecided_ml: Sequence[float] = (),
    ) -> None:
        if labels.count != len(classes) or labels.shape != grid.shape:
            raise ConfigurationError(
                f"The labels hold {labels.count} classes over {labels.shape}; {len(classes)} classes over {grid.shape} "
                "are needed."
            )
        self.classes = tuple(known_name(name) for name in classes)
        self.exclusive = labels.exclusive
        self.scan = scan
        self.info = info
        self.undecided_ml = dict(zip(self.classes, undecided_ml, strict=True)) if undecided_ml else {}
        self._grid = grid
        self._labels = labels

    @property
    def grid_shape(self) -> tuple[int, int, int]:
        """Voxels (X, Y, Z) of the model grid, RAS axes."""
        return self._grid.shape

    @property
    def grid_spacing_mm(self) -> tuple[float, float, float]:
        """Spacing of the model grid."""
        return self._grid.spacing_mm

    @property
    def grid_affine(self) -> npt.NDArray[np.float64]:
        """Index on the model grid -> RAS millimetres, (4, 4)."""
        return self._grid.affine

    def mask(self, name: str) -> BoolArray:
        """One structure on the scan's own grid.

        Args:
            name: any accepted spelling of one of :attr:`classes`.

        Returns:
            bool array of the scan's shape, possibly a view with other strides; made anew on every call.

        Raises:
            UnknownNameError: the structure was not predicted.
        """
        return self._grid.to_scan(self.grid_mask(name))

    def combined(self, label_space: "LabelSpace") -> npt.NDArray[Any]:
        """All structures in one label map on the scan's own grid.

        Where structures overlap the higher number wins; :meth:`left_out` lists those without a number.

        Returns:
            uint8 array of the scan's shape, uint16 when the label space has numbers above 255.
        """
        targets = {known_name(name): number for number, name in label_space.numbers.items()}
        labels = self._labels.numbered([targets.get(name, 0) for name in self.classes])
        if max(label_space.numbers, default=0) > 255:
            labels = labels.astype(np.uint16, copy=False)
        return self._grid.to_scan(labels)

    def left_out(self, label_space: "LabelSpace") -> tuple[str, ...]:
        """Predicted structures that have no number in ``label_space``."""
        known = {known_name(name) for name in label_space.numbers.values()}
        return tuple(name for name in self.classes if name not in known)

    def grid_mask(self, name: str) -> BoolArray:
        """One structure on the model grid (RAS axes), bool (X, Y, Z), a new array."""
        return self._labels.mask(self._index(name))

    def set_grid_mask(self, name: str, mask: BoolArray) -> None:
        """Replaces one structure on the model grid.

        In an exclusive segmentation the voxels it gains leave the structure that held them.

        Args:
            name: any accepted spelling of one of :attr:`classes`.
            mask: bool (X, Y, Z) on the model grid.

        Raises:
            ConfigurationError: ``mask`` has another shape or dtype.
        """
        if mask.shape != self._grid.shape or mask.dtype != np.bool_:
            raise ConfigurationError(
                f"The mask of {name!r} is {mask.dtype} {mask.shape}; it must be bool {self._grid.shape} (model grid)."
            )
        self._labels.set_mask(self._index(name), mask)

    def grid_foreground(self) -> BoolArray:
        """Voxels of the model grid that belong to any structure, bool (X, Y, Z)."""
        return self._labels.any()

    def _index(self, name: str) -> int:
        return matching_class(name, self.classes, f"the segmentation of {self.scan.name}")
