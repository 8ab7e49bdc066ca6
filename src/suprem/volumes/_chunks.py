"""Compressed arrays in chunks, each a file (Blosc2).

One thread always: with more, a forked worker hangs once its parent has read a chunk, and files differ from run to run.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suprem.errors import VolumeError

__all__ = ["open_array", "write"]

_EDGE = 64
"""Voxels along each side of a chunk: a patch of 96 touches at most 27 of them."""
_BLOCK = 16
"""Voxels along each side of what is decompressed at once."""


def write(array: npt.NDArray[Any], path: Path) -> None:
    """Writes an array; the same array gives the same bytes.

    Args:
        array: (X, Y, Z), any integer dtype.
        path: File that does not exist yet, ending in ``.b2nd``.

    Raises:
        OSError: the disk is full, or the place cannot be written.
    """
    import blosc2

    edges = tuple(min(_EDGE, n) for n in array.shape)
    compressed = blosc2.asarray(
        np.ascontiguousarray(array),
        contiguous=True,
        chunks=edges,
        blocks=tuple(min(_BLOCK, n) for n in edges),
        cparams={
            "codec": blosc2.Codec.LZ4HC,  # reads nearly twice as fast as Zstd, for 6 % more disk
            "clevel": 5,
            "filters": [blosc2.Filter.BITSHUFFLE],
            "nthreads": 1,
        },
    )
    # Not by the library, which cannot tell a full disk from any other error.
    path.write_bytes(compressed.to_cframe())


def open_array(path: Path, shape: tuple[int, int, int], dtypes: tuple[str, ...]) -> Any:
    """The array of a file, memory-mapped; slicing decompresses the chunks that are touched.

    Args:
        path: File written by :func:`write`.
        shape: What it must have.
        dtypes: One of which it must have.

    Raises:
        VolumeError: missing, damaged, or another shape or dtype.
    """
    import blosc2

    if not path.is_file():
        raise VolumeError(f"{path} is missing; prepare the case again.")
    try:
        array = blosc2.open(str(path), mode="r", mmap_mode="r", dparams={"nthreads": 1})
    except Exception as error:  # the library's own errors have no common class
        raise VolumeError(f"{path} is damaged and cannot be opened: {error}. Prepare the case again.") from error
    if not isinstance(array, blosc2.NDArray):
        raise VolumeError(f"{path} holds no array but a {type(array).__name__}; prepare the case again.")
    if tuple(array.shape) != shape or str(array.dtype) not in dtypes:
        raise VolumeError(
            f"{path} holds {array.dtype} {tuple(array.shape)} where the index says {shape}; prepare the case again."
        )
    return array
