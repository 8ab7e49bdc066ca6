"""Colours of overlays that people with any kind of colour vision can tell apart where it matters: where they touch.

The fixed colours of :mod:`suprem.labels.palette` are far apart for full colour vision only; as a dichromat sees them,
liver and colon are one colour. No set of 32 colours is safe for everybody, so a structure keeps its fixed colour
unless that is too close to a neighbour's, and else takes the closest of a small safe set.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from suprem.labels import color

__all__ = ["ENOUGH", "difference", "safe_colors"]

RGB = tuple[int, int, int]

# OKLab distance of neighbours for every kind of colour vision; about 0.02 is just noticeable side by side.
ENOUGH = 0.12
# Full dichromats, linear RGB (Machado, Oliveira and Fernandes 2009, severity 1): protanopia, deuteranopia, tritanopia.
_DICHROMATS = np.array(
    [
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ]
)
_VIEWS = np.concatenate([np.eye(3)[None], _DICHROMATS])
# OKLab (Ottosson 2020).
_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
# Okabe and Ito's seven colours without the black, then light, middle and dark ones that differ most from these.
_SAFE: tuple[RGB, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (255, 200, 221),
    (136, 34, 85),
    (60, 40, 160),
    (190, 255, 230),
    (110, 70, 20),
    (20, 90, 70),
    (160, 140, 255),
)


@lru_cache(maxsize=512)
def _seen(rgb: RGB) -> npt.NDArray[np.float64]:
    """OKLab coordinates (4, 3) of an sRGB colour for full colour vision and the three dichromats."""
    c = np.asarray(rgb) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    lms = np.clip(_VIEWS @ linear, 0, 1) @ _TO_LMS.T
    return np.asarray(np.cbrt(lms) @ _TO_LAB.T)


def difference(a: RGB, b: RGB) -> float:
    """OKLab distance of two colours for the kind of colour vision that tells them apart worst.

    Example:
        >>> difference((0, 114, 178), (230, 159, 0)) > ENOUGH > difference((180, 83, 42), (112, 112, 20))
        True
    """
    return float(np.linalg.norm(_seen(a) - _seen(b), axis=1).min())


def safe_colors(names: Sequence[str], touching: Mapping[str, set[str]]) -> dict[str, RGB]:
    """A colour for each structure.

    Args:
        names: Structures, the most important (largest) first; these keep their fixed colours.
        touching: For each structure those that it has a face in common with or overlaps.
    """
    chosen: dict[str, RGB] = {}
    for name in names:
        near = np.array([_seen(chosen[other]) for other in touching.get(name, ()) if other in chosen])
        fixed = color(name)
        options = [fixed, *sorted(_SAFE, key=lambda rgb: difference(rgb, fixed))]
        apart = {rgb: float(np.linalg.norm(near - _seen(rgb), axis=-1).min()) if len(near) else 1.0 for rgb in options}
        enough = [rgb for rgb in options if apart[rgb] >= ENOUGH]
        chosen[name] = enough[0] if enough else max(options, key=lambda rgb: apart[rgb])
    return chosen
