"""Probabilities of a prediction, for those who need more than labels: handed over cell by cell, kept on disk."""

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

import numpy as np
import numpy.typing as npt

from suprem._files import output_error
from suprem.errors import ConfigurationError
from suprem.inference.grid import ModelGrid
from suprem.inference.memory import FILE_CHUNK_BYTES
from suprem.inference.segmentation import matching_class
from suprem.volumes.boxes import Box
from suprem.volumes.geometry import resample_linear

__all__ = ["ProbabilityFile", "ProbabilitySink"]

# Per voxel of the scan's grid while a part is interpolated: two float32 steps, the sum, and its rounding.
_VOXEL_BYTES = 16


class ProbabilitySink(Protocol):
    """What :meth:`~suprem.inference.predictor.Predictor.predict` hands the probabilities to."""

    def begin(self, classes: tuple[str, ...], grid: ModelGrid) -> None:
        """Called once, before the first window.

        Args:
            classes: structures in the order of the values that follow.
            grid: the grid on which they lie.
        """

    def write(self, region: Box, values: npt.NDArray[np.uint8]) -> None:
        """Called for each part of the grid as soon as it is final; what no call covers has probability 0.

        Args:
            region: ranges along the axes of the model grid.
            values: uint8 (K, x, y, z), probability of each class, 255 for certain; 0 outside the body where the
                prediction is restricted to it.
        """


class ProbabilityFile:
    """Probabilities in a temporary file without a name, which ends with the block or with the process.

    One byte per class and voxel of the model grid on disk, none of it in the memory of the process.

    Args:
        folder: where the file lies; not in memory, as ``/tmp`` may be.

    Attributes:
        classes: the structures, once the prediction has begun.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.

    Example:
        >>> from suprem.backbones import create_model
        >>> from suprem.inference import Predictor
        >>> from suprem.volumes import Volume
        >>> from suprem.zoo.config import ModelConfig, Preprocessing
        >>> network = create_model("segresnet_tiny", num_classes=1)
        >>> network.config = ModelConfig(
        ...     "example", "segresnet_tiny", ("liver",), preprocessing=Preprocessing((3, 3, 3), patch_size=(32, 32, 32))
        ... )
        >>> scan = Volume(np.zeros((40, 40, 20), dtype=np.int16), np.diag([2.0, 2.0, 5.0, 1.0]))
        >>> with ProbabilityFile(tempfile.gettempdir()) as sink:
        ...     _ = Predictor(network, device="cpu").predict(scan, probabilities=sink)
        ...     sink.on_grid("liver").shape, sink.on_scan("liver").shape
        ((27, 27, 33), (40, 40, 20))
    """

    def __init__(self, folder: str | Path) -> None:
        self.classes: tuple[str, ...] = ()
        self._folder = Path(folder)
        self._grid: ModelGrid | None = None
        try:
            file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 (lives as long as this object)
        except OSError as error:
            raise output_error(self._folder, error) from error
        self._file: IO[bytes] = file

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def begin(self, classes: tuple[str, ...], grid: ModelGrid) -> None:
        """Makes room for a prediction; what an earlier one has left goes."""
        self.classes, self._grid = classes, grid
        x, y, z = grid.shape
        try:
            self._file.truncate(0)
            self._file.truncate(len(classes) * x * y * z)  # zeros that take no space until they are written
        except OSError as error:
            raise output_error(self._folder, error) from error

    def write(self, region: Box, values: npt.NDArray[np.uint8]) -> None:
        """Keeps the probabilities of one part of the grid, which spans all of y."""
        x_size, y_size, z_size = self._begun().shape
        x, _, z = region
        # Layer by layer in the file, so that a range of x is one piece there.
        layers = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
        try:
            for number, of_class in enumerate(layers):
                for layer, plane in zip(range(z.start, z.stop), of_class, strict=True):
                    start = ((number * z_size + layer) * x_size + x.start) * y_size
                    _write_all(self._file.fileno(), plane.data.cast("B"), start)
        except OSError as error:
            raise output_error(self._folder, error) from error

    def agree(self, name: str, mask: npt.NDArray[np.bool_]) -> None:
        """Brings a class to agree with a mask of it, as rules of post-processing may have left it.

        Args:
            name: the class.
            mask: bool (X, Y, Z) on the model grid; the probability becomes more than one half inside, at most one half
                outside, and stays where it is so already.

        Raises:
            UnknownNameError: the class was not predicted.
        """
        values = self.on_grid(name)
        number = matching_class(name, self.classes, "the prediction")
        np.maximum(values, 128, out=values, where=mask)
        np.minimum(values, 127, out=values, where=~mask)
        try:
            _write_all(self._file.fileno(), values.transpose(2, 0, 1).data.cast("B"), number * values.size)
        except OSError as error:
            raise output_error(self._folder, error) from error

    def on_grid(self, name: str, layers: slice | None = None) -> npt.NDArray[np.uint8]:
        """Probability of one class on the model grid: uint8 (X, Y, Z) in RAS, or a range of its layers.

        Raises:
            UnknownNameError: the class was not predicted.
        """
        x, y, z = self._begun().shape
        start, stop, _ = (layers or slice(None)).indices(z)
        found = np.empty((stop - start, x, y), dtype=np.uint8)
        place = (matching_class(name, self.classes, "the prediction") * z + start) * x * y
        view = found.data.cast("B")
        while view:
            count = os.preadv(self._file.fileno(), [view], place)
            if not count:
                raise ConfigurationError(f"The probabilities in {self._folder} end early; predict again.")
            view, place = view[count:], place + count
        return found.transpose(1, 2, 0)

    def on_scan(self, name: str) -> npt.NDArray[np.uint8]:
        """Probability of one class on the scan's own index axes, uint8 (X, Y, Z), linearly interpolated.

        Where both grids are equal the values are those of :meth:`on_grid`. Parts of bounded size are interpolated at a
        time.

        Raises:
            UnknownNameError: the class was not predicted.
        """
        grid = self._begun()
        if grid.scan_shape == grid.shape and grid.steps == (1.0, 1.0, 1.0):
            return grid.reorientation.invert(self.on_grid(name))
        x, y, z = grid.scan_shape
        result = np.empty((z, x, y), dtype=np.uint8).transpose(1, 2, 0)
        count = max(1, FILE_CHUNK_BYTES // (_VOXEL_BYTES * x * y))
        for first in range(0, z, count):
            part = result[:, :, first : first + count]
            part[...] = self._interpolated(name, first, part.shape[2])
        return grid.reorientation.invert(result)

    def _interpolated(self, name: str, first: int, count: int) -> npt.NDArray[np.uint8]:
        """Layers ``first : first + count`` of the scan on RAS axes."""
        grid = self._begun()
        x, y, _ = grid.scan_shape
        steps = tuple(1.0 / step for step in grid.steps)
        position = np.clip((first + np.arange(count)) * steps[2], 0, grid.shape[2] - 1)
        low = int(position[0])
        high = min(int(position[-1]) + 2, grid.shape[2])
        values = self.on_grid(name, slice(low, high))
        lower = np.minimum((position - low).astype(np.intp), max(high - low - 2, 0))
        upper = np.minimum(lower + 1, high - low - 1)
        weight = (position - low - lower).astype(np.float32)
        plane = resample_linear(values, (x, y, high - low), (steps[0], steps[1], 1.0))
        layers: npt.NDArray[np.float32] = plane[:, :, lower]
        layers += weight * (plane[:, :, upper] - layers)
        return np.rint(layers).astype(np.uint8)

    def _begun(self) -> ModelGrid:
        if self._grid is None:
            raise ConfigurationError("No probabilities are there yet; hand the file to Predictor.predict first.")
        return self._grid


def _write_all(handle: int, data: memoryview, start: int) -> None:
    while data:
        count = os.pwrite(handle, data, start)
        data, start = data[count:], start + count
