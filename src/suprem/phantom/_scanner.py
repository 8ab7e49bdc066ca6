"""From tissues to Hounsfield units: contrast, texture, gas, point spread, correlated noise."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from suprem.phantom._tissues import TISSUES, draw_hu, tissue_index

__all__ = ["Protocol", "scan"]

Array = npt.NDArray[Any]

# tissue -> (s.d. in HU, correlation length in mm) of its own texture
_TEXTURE = {
    "colon": (10.0, 3.0),
    "rectum": (8.0, 3.0),
    "intestine": (7.0, 3.0),
    "stomach": (5.0, 9.0),
    "vertebra": (35.0, 3.0),
    "pelvis": (45.0, 3.0),
    "rib": (45.0, 3.0),
    "femur_left": (45.0, 3.0),
    "femur_right": (45.0, 3.0),
    "mesentery": (14.0, 3.0),
    "muscle": (4.0, 3.0),
    "subcutaneous_fat": (4.0, 3.0),
    "visceral_fat": (6.0, 3.0),
    "lung_left": (35.0, 3.0),
    "lung_right": (35.0, 3.0),
}
_PARENCHYMA = (2.5, 9.0)


@dataclass(frozen=True)
class Protocol:
    """How the scan is taken.

    Attributes:
        hu: mean HU of each tissue.
        phase: name of the contrast phase.
        noise_hu: s.d. of the noise in a voxel.
        blur_mm: s.d. of the point spread.
        grain_mm: s.d. of the Gaussian that correlates the noise (the reconstruction kernel).
        sharpness: share of edge enhancement in the kernel, 0 soft to 1 sharp.
    """

    hu: dict[str, float]
    phase: str
    noise_hu: float
    blur_mm: float
    grain_mm: float
    sharpness: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Protocol":
        """A random protocol with noise of 12 to 18 HU."""
        hu, phase = draw_hu(rng)
        noise, blur, grain, sharp = (float(rng.uniform(*r)) for r in ((12, 18), (0.6, 1.3), (0.8, 1.8), (0.0, 0.6)))
        return cls(hu, phase, noise, blur, grain, sharp)


def _correlated(rng: np.random.Generator, shape: tuple[int, ...], sigmas: Array, sharpness: float = 0.0) -> Array:
    """Gaussian noise float32 with a spatial correlation, mean 0 and s.d. 1 over the whole array."""
    white = rng.standard_normal(shape, dtype=np.float32)
    noise = ndimage.gaussian_filter(white, sigmas, mode="wrap", truncate=3.0)
    if sharpness > 0:
        noise -= np.float32(sharpness) * ndimage.gaussian_filter(noise, 2.0 * sigmas, mode="wrap", truncate=3.0)
    noise -= noise.mean()
    noise /= max(float(noise.std()), 1e-6)
    return np.asarray(noise)


def scan(
    tissues: npt.NDArray[np.uint8], spacing_mm: tuple[float, float, float], protocol: Protocol, rng: np.random.Generator
) -> npt.NDArray[np.int16]:
    """CT of a painted patient.

    Args:
        tissues: uint8 (X, Y, Z), from :func:`suprem.phantom._raster.paint`.
        spacing_mm: of that grid.
        protocol: contrast, noise and kernel.
        rng: source of texture and noise.

    Returns:
        int16 (X, Y, Z), HU.
    """
    spacing = np.asarray(spacing_mm)
    means = np.array([protocol.hu[t.name] for t in TISSUES], dtype=np.float32)
    image = means[tissues]
    for length in sorted({length for _, length in (*_TEXTURE.values(), _PARENCHYMA)}):
        amount = np.zeros(len(TISSUES), dtype=np.float32)
        for index, tissue in enumerate(TISSUES):
            sd, own_length = _TEXTURE.get(tissue.name, _PARENCHYMA)
            amount[index] = sd if own_length == length and tissue.name not in ("air", "table") else 0.0
        image += amount[tissues] * _correlated(rng, tissues.shape, length / spacing)
    image = ndimage.gaussian_filter(image, protocol.blur_mm / spacing, mode="nearest", truncate=3.0)
    # Air and lung are less noisy than the body: quantum noise follows attenuation.
    factor = np.where(np.isin(tissues, [tissue_index(n) for n in ("air", "table")]), 0.5, 1.0).astype(np.float32)
    image += (
        protocol.noise_hu * factor * _correlated(rng, tissues.shape, protocol.grain_mm / spacing, protocol.sharpness)
    )
    return np.asarray(np.clip(np.rint(image), -1024, 3071), dtype=np.int16)
