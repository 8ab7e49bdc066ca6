"""HU in one byte: fine steps where soft tissues differ, coarse ones in air, lung and bone.

A CT holds 4,096 values and a picture 256, so the values of a report are companded: one code stands for a few
neighbouring HU, fewer where small differences matter.
"""

import numpy as np
import numpy.typing as npt

__all__ = ["SEGMENTS", "compand", "describe", "expand", "representatives"]

# First HU of each segment and the whole HU that one of its codes stands for; 54 + 133 + 40 + 29 = 256 codes.
SEGMENTS = ((-1023, 16), (-159, 3), (240, 20), (1040, 70))
_END = 3070
_LOWEST, _HIGHEST = -1024, 3071


def _edges() -> npt.NDArray[np.int64]:
    """First whole HU of each code, and one past the last."""
    starts = [start for start, _ in SEGMENTS]
    parts = [np.arange(start, stop, step) for (start, step), stop in zip(SEGMENTS, [*starts[1:], _END], strict=True)]
    return np.concatenate([*parts, [_END]])


_EDGES = _edges()
_CODES = np.clip(np.searchsorted(_EDGES, np.arange(_LOWEST, _HIGHEST + 1), side="right") - 1, 0, 255).astype(np.uint8)
_HU = (_EDGES[:-1] + _EDGES[1:] - 1) / 2


def compand(hu: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Codes of intensities.

    Args:
        hu: Any shape and real dtype, HU. What lies outside -1023 to 3069 gets the first or the last code, and what is
            not a number the first.

    Returns:
        uint8 array of the same shape.

    Example:
        >>> [round(float(v), 1) for v in expand(compand(np.array([-1000.0, 40.0, 41.0, 700.0])))]
        [-999.5, 40.0, 40.0, 709.5]
    """
    if np.issubdtype(hu.dtype, np.floating):
        hu = np.rint(np.nan_to_num(hu, nan=_LOWEST))
    return np.asarray(_CODES[np.clip(hu, _LOWEST, _HIGHEST).astype(np.int64) - _LOWEST])


def representatives() -> npt.NDArray[np.float64]:
    """The HU that each of the 256 codes is shown as: the middle of what it stands for."""
    return _HU.copy()


def expand(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """HU of codes, off by no more than half the step of the segment (whole HU are off by less)."""
    return np.asarray(_HU[codes])


def describe() -> str:
    """The steps in words, for the page itself.

    Example:
        >>> describe()
        'steps of 3 HU from -159 to 239, 16 HU below, 20 HU up to 1039, 70 HU above'
    """
    (_, below), (low, soft), (high, middle), (top, above) = SEGMENTS
    return (
        f"steps of {soft} HU from {low} to {high - 1}, {below} HU below, {middle} HU up to {top - 1}, {above} HU above"
    )
