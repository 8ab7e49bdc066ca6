"""Random changes of a training patch.

All random numbers of one patch are drawn by :func:`draw_changes`; :func:`apply_changes` is a pure function of them and
runs on the device of the patch. Label index maps are only permuted or looked up at the nearest voxel, so no index
appears that was not there before.
"""

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
import torch
from torch.nn import functional as F

from suprem.errors import UnknownNameError, did_you_mean

__all__ = ["PROFILES", "Changes", "Profile", "ProfileName", "apply_changes", "draw_changes", "profile"]

ProfileName = Literal["default", "strong", "none"]


@dataclass(frozen=True)
class Profile:
    """How likely and how large the random changes are; probability 0 switches one off.

    Attributes:
        rotate90: probability of 1 to 3 quarter turns about the z axis. A turn moves the patient, it does not mirror
            him: left structures stay left ones, so labels need no change.
        shift: probability of adding one number to the image.
        shift_limit: largest such number, in units of the [0, 1] window.
        flip: probability of mirroring left and right; the labels of the two sides have to be swapped then.
        affine: probability of a rotation about a random axis with scaling.
        degrees: largest angle of that rotation.
        scale: largest relative change of size.
        gamma: probability of raising the image to a power.
        gamma_range: the power's range, drawn evenly on the log scale.
        blur: probability of a Gaussian blur.
        blur_range: its standard deviation, in voxels.
        noise: probability of Gaussian noise.
        noise_limit: its largest standard deviation, in units of the [0, 1] window.
    """

    rotate90: float = 0.0
    shift: float = 0.0
    shift_limit: float = 0.1
    flip: float = 0.0
    affine: float = 0.0
    degrees: float = 15.0
    scale: float = 0.15
    gamma: float = 0.0
    gamma_range: tuple[float, float] = (0.7, 1.5)
    blur: float = 0.0
    blur_range: tuple[float, float] = (0.4, 1.0)
    noise: float = 0.0
    noise_limit: float = 0.05


PROFILES: MappingProxyType[str, Profile] = MappingProxyType(
    {
        # What the SuPreM paper trains with.
        "default": Profile(rotate90=0.1, shift=0.2),
        "strong": Profile(rotate90=0.1, shift=0.2, flip=0.5, affine=0.3, gamma=0.3, blur=0.15, noise=0.15),
        "none": Profile(),
    }
)


def profile(name: str) -> Profile:
    """The profile called ``name``.

    Raises:
        UnknownNameError: there is none; the message offers the closest names.

    Example:
        >>> profile("default").rotate90
        0.1
    """
    if name not in PROFILES:
        raise UnknownNameError(did_you_mean("augmentation", name, get_args(ProfileName)))
    return PROFILES[name]


@dataclass(frozen=True)
class Changes:
    """The drawn changes of one patch; the defaults change nothing.

    Attributes:
        quarter_turns: 0 to 3, in the plane of the first two axes.
        mirrored: left and right are exchanged.
        matrix: rows of the 3 x 3 matrix from output to input voxel offsets from the patch's middle; ``None`` for none.
        gamma: power of the image.
        blur: standard deviation in voxels.
        noise: standard deviation in units of the window.
        noise_seed: what the noise is drawn from.
        shift: number added to the image.
    """

    quarter_turns: int = 0
    mirrored: bool = False
    matrix: tuple[tuple[float, float, float], ...] | None = None
    gamma: float = 1.0
    blur: float = 0.0
    noise: float = 0.0
    noise_seed: int = 0
    shift: float = 0.0


def draw_changes(settings: Profile, seed: int, *, square: bool = True) -> Changes:
    """Draws the changes of one patch: the same for the same seed, on every machine.

    Args:
        settings: Probabilities and limits.
        seed: Seed of this patch, not negative.
        square: The patch is as wide in x as in y; otherwise only half turns keep its shape, and only those are drawn.

    Example:
        >>> draw_changes(profile("none"), 7) == Changes()
        True
    """
    rng = np.random.default_rng(seed)
    # Every number is drawn, whether it is used or not: switching one change off leaves the others as they were.
    rotate, shift, flip, affine, gamma, blur, noise = rng.random(7) < (
        settings.rotate90, settings.shift, settings.flip, settings.affine, settings.gamma, settings.blur,
        settings.noise,
    )  # fmt: skip
    turns = int(rng.integers(1, 4)) if square else 2
    added = float(rng.uniform(-settings.shift_limit, settings.shift_limit))
    matrix = _matrix(rng, settings)
    low, high = np.log(settings.gamma_range)
    power, width = float(np.exp(rng.uniform(low, high))), float(rng.uniform(*settings.blur_range))
    spread, noise_seed = float(rng.uniform(0, settings.noise_limit)), int(rng.integers(2**62))
    return Changes(
        quarter_turns=turns if rotate else 0,
        mirrored=bool(flip),
        matrix=matrix if affine else None,
        gamma=power if gamma else 1.0,
        blur=width if blur else 0.0,
        noise=spread if noise else 0.0,
        noise_seed=noise_seed if noise else 0,
        shift=added if shift else 0.0,
    )


def _matrix(rng: np.random.Generator, settings: Profile) -> tuple[tuple[float, float, float], ...]:
    """A rotation about a random axis (Rodrigues' formula) times a scale; never a reflection."""
    axis = rng.normal(size=3)
    x, y, z = axis / np.linalg.norm(axis)
    angle = math.radians(rng.uniform(-settings.degrees, settings.degrees))
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation = np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
    scaled = rotation * (1 + rng.uniform(-settings.scale, settings.scale))
    first, second, third = (tuple(float(v) for v in row) for row in scaled)
    return (first, second, third)  # type: ignore[return-value]


def apply_changes(changes: Changes, image: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Applies drawn changes to one patch; the arguments stay as they are.

    Args:
        changes: From :func:`draw_changes`.
        image: float32 (X, Y, Z), RAS, HU window scaled to [0, 1].
        labels: integer (X, Y, Z), palette indices below 2**24. What they mean is the caller's: after
            ``changes.mirrored`` a left structure's index marks the right one.

    Returns:
        Image and labels of the same shape and dtype. The image may leave [0, 1] by noise and shift, as in the paper.
    """
    image, labels = _moved(changes, image, labels)
    if changes.gamma != 1.0:
        image = image.clamp(min=0) ** changes.gamma
    if changes.blur:
        image = _blurred(image, changes.blur)
    if changes.noise:
        generator = torch.Generator(device=image.device).manual_seed(changes.noise_seed)
        noise = torch.randn(image.shape, generator=generator, device=image.device, dtype=image.dtype)
        image = image + changes.noise * noise
    if changes.shift:
        image = image + changes.shift
    return image, labels


def _moved(changes: Changes, image: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if changes.mirrored:
        image, labels = image.flip(0), labels.flip(0)
    if changes.quarter_turns:
        image, labels = (torch.rot90(t, changes.quarter_turns, (0, 1)) for t in (image, labels))
    if changes.matrix is not None:
        grid = _grid(changes.matrix, image)
        image = _sampled(image, grid, "bilinear")
        labels = _sampled(labels.to(torch.float32), grid, "nearest").to(labels.dtype)
    return image, labels


def _grid(matrix: tuple[tuple[float, float, float], ...], image: torch.Tensor) -> torch.Tensor:
    """Sampling positions (1, X, Y, Z, 3) in the convention of ``grid_sample``: last axis first, edges at -1 and 1."""
    half = [max(size - 1, 1) / 2 for size in image.shape]
    axes = [torch.arange(size, device=image.device, dtype=torch.float32) - (size - 1) / 2 for size in image.shape]
    offsets = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    moved = offsets @ torch.tensor(matrix, device=image.device).T / torch.tensor(half, device=image.device)
    return moved.flip(-1)[None]


def _sampled(tensor: torch.Tensor, grid: torch.Tensor, mode: str) -> torch.Tensor:
    # Beyond the patch there is air (the window's lower bound) and background, as beyond the scan.
    return F.grid_sample(tensor[None, None], grid, mode=mode, padding_mode="zeros", align_corners=True)[0, 0]


def _blurred(image: torch.Tensor, sigma: float) -> torch.Tensor:
    radius = max(1, math.ceil(3 * sigma))
    positions = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (positions / sigma) ** 2)
    kernel = kernel / kernel.sum()
    result = F.pad(image[None, None], (radius,) * 6, mode="replicate")
    for axis in range(3):
        shape = [1, 1, 1, 1, 1]
        shape[2 + axis] = -1
        result = F.conv3d(result, kernel.view(shape))
    return result[0, 0]
