"""What self-supervised training does to a patch: turned and masked for the encoder, distorted for restoration.

All random numbers of one patch follow from its seed and are drawn by :func:`draw_view` or :func:`draw_distortion`;
:func:`apply_view` and :func:`apply_distortion` are pure functions of them and run on the device of the patch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from suprem.errors import ConfigurationError

__all__ = ["Curve", "Distortion", "DrawnDistortion", "Masking", "View", "apply_distortion", "apply_view"]
__all__ += ["bezier", "draw_distortion", "draw_view", "shuffled_order"]

Mask = npt.NDArray[np.bool_]
Shape = tuple[int, int, int]

_CURVE_POINTS = 1000
_FURTHER = 0.95  # probability of one more window, as long as there are less than _WINDOWS
_WINDOWS = 5
_FLIPS = 3


@dataclass(frozen=True)
class Masking:
    """How a view of a patch is masked for inpainting.

    Attributes:
        ratio: share of the voxels that is masked, exactly (rounded to a voxel).
        smallest: shortest edge of a masked box, as a share of the patch's.
        largest: longest edge.

    References:
        Tang et al., "Self-supervised pre-training of Swin Transformers for 3D medical image analysis", CVPR 2022,
        section 3 (masked volume inpainting) and the implementation details, where the ratio is 0.3. What masked voxels
        are filled with, and how large the boxes are, could not be confirmed: here it is uniform noise over the window,
        since air is 0 already, in boxes of an eighth to a quarter of the patch's edges.
    """

    ratio: float = 0.3
    smallest: float = 1 / 8
    largest: float = 1 / 4

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < 1 or not 0 < self.smallest <= self.largest <= 1:
            raise ConfigurationError(
                f"ratio is {self.ratio} and edges are {self.smallest} to {self.largest}; the ratio must lie in [0, 1), "
                "and the edges must rise within (0, 1]."
            )


@dataclass(frozen=True, eq=False)
class View:
    """The drawn changes of one view.

    Attributes:
        turns: quarter turns about the z axis, 0 to 3; the label of the rotation proxy.
        mask: bool (X, Y, Z), the voxels of the turned patch that are masked.
        noise_seed: what they are filled from.
    """

    turns: int
    mask: Mask
    noise_seed: int


@dataclass(frozen=True)
class Distortion:
    """How likely the distortions of Models Genesis are, and how large.

    Attributes:
        flip: probability of mirroring along a random axis, tried up to three times; the target is mirrored too.
        shuffle: probability of shuffling voxels inside small windows.
        windows: number of these windows, shuffled one after the other.
        nonlinear: probability of a non-linear, monotonic change of intensity.
        paint: probability of painting a part of the patch over with noise.
        inpaint: of these, the share that is painted inside windows; the others are painted outside of them.
        holes: edges of the windows of in-painting, as shares of the patch's.
        kept: edges of the windows that out-painting keeps.

    References:
        Zhou et al., "Models Genesis", Medical Image Analysis 67 (2021), section 2 (the four transformations and their
        unified composition). The probabilities 0.9, 0.5, 0.9, 0.2 and 0.4 are those of the published configuration as
        far as known. Not confirmed: the number of shuffled windows and the edges of the others; the paper may bound the
        painted share by a quarter of the patch, which in-painting keeps to here and out-painting does not.
    """

    flip: float = 0.4
    shuffle: float = 0.5
    windows: int = 1000
    nonlinear: float = 0.9
    paint: float = 0.9
    inpaint: float = 0.2
    holes: tuple[float, float] = (1 / 6, 1 / 3)
    kept: tuple[float, float] = (3 / 7, 4 / 7)

    def __post_init__(self) -> None:
        rates = (self.flip, self.shuffle, self.nonlinear, self.paint, self.inpaint)
        edges = (self.holes, self.kept)
        if not all(0 <= rate <= 1 for rate in rates) or self.windows < 1:
            raise ConfigurationError(
                f"flip, shuffle, nonlinear, paint and inpaint are {rates} and windows is {self.windows}; probabilities "
                "must lie in [0, 1], and there must be a window."
            )
        if not all(0 < low <= high <= 1 for low, high in edges):
            raise ConfigurationError(f"holes and kept are {edges}; edges must rise within (0, 1].")


@dataclass(frozen=True)
class Curve:
    """A cubic Bezier curve from (0, 0) to (1, 1), or, falling, from (0, 1) to (1, 0).

    Attributes:
        first: control point next to the start, in the unit square.
        second: control point next to the end.
        falling: turned upside down.
    """

    first: tuple[float, float]
    second: tuple[float, float]
    falling: bool = False


@dataclass(frozen=True, eq=False)
class DrawnDistortion:
    """The drawn distortions of one patch; the defaults change nothing.

    Attributes:
        flips: axes to mirror along, one after the other, in the target too.
        order: int64 (V,), for each voxel the one whose value it takes; ``None`` leaves all in place.
        curve: change of intensity.
        painted: bool (X, Y, Z), voxels to fill with noise.
        noise_seed: what they are filled from.
    """

    flips: tuple[int, ...] = ()
    order: npt.NDArray[np.int64] | None = None
    curve: Curve | None = None
    painted: Mask | None = None
    noise_seed: int = 0


def draw_view(settings: Masking, seed: Sequence[int], shape: Shape) -> View:
    """Draws one view of a patch: the same for the same seed, on every machine.

    Args:
        settings: What is masked.
        seed: Numbers that are not negative.
        shape: Of the patch. Where it is not as wide in x as in y, only half turns are drawn.
    """
    rng = np.random.default_rng(seed)
    turns = int(rng.integers(4)) if shape[0] == shape[1] else 2 * int(rng.integers(2))
    noise_seed = int(rng.integers(2**62))
    return View(turns, _masked(settings, rng, shape), noise_seed)


def _masked(settings: Masking, rng: np.random.Generator, shape: Shape) -> Mask:
    mask = np.zeros(shape, dtype=bool)
    missing = round(settings.ratio * mask.size)
    while missing:
        box = mask[_window(rng, shape, (settings.smallest, settings.largest))]
        fresh = np.argwhere(~box)[:missing]  # the last box is cut to what is missing
        box[tuple(fresh.T)] = True
        missing -= len(fresh)
    return mask


def _window(rng: np.random.Generator, shape: Shape, edges: tuple[float, float]) -> tuple[slice, ...]:
    """A box inside the patch, its edges drawn evenly between two shares of the patch's."""
    box = []
    for size in shape:
        low = max(1, math.floor(edges[0] * size))
        length = int(rng.integers(low, max(low, math.floor(edges[1] * size)) + 1))
        start = int(rng.integers(size - length + 1))
        box.append(slice(start, start + length))
    return tuple(box)


def apply_view(view: View, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Turns and masks one patch.

    Args:
        view: From :func:`draw_view`, for the shape of the patch.
        image: float32 (X, Y, Z) in [0, 1].

    Returns:
        The masked view, and the turned patch without mask, which inpainting has to find.
    """
    turned = torch.rot90(image, view.turns, (0, 1))
    return _painted(turned, view.mask, view.noise_seed), turned


def _painted(image: torch.Tensor, mask: Mask, seed: int) -> torch.Tensor:
    generator = torch.Generator(device=image.device).manual_seed(seed)
    noise = torch.rand(image.shape, generator=generator, device=image.device, dtype=image.dtype)
    return torch.where(torch.from_numpy(mask).to(image.device), noise, image)


def draw_distortion(settings: Distortion, seed: Sequence[int], shape: Shape) -> DrawnDistortion:
    """Draws the distortions of one patch: the same for the same seed, on every machine.

    Args:
        settings: Probabilities and sizes.
        seed: Numbers that are not negative.
        shape: Of the patch.
    """
    # A generator each: switching one distortion off leaves the others as they were.
    flip, shuffle, curve, paint = (np.random.default_rng([*seed, number]) for number in range(4))
    flips: list[int] = []
    while len(flips) < _FLIPS and flip.random() < settings.flip:
        flips.append(int(flip.integers(3)))
    order = shuffled_order(shuffle, shape, settings.windows) if shuffle.random() < settings.shuffle else None
    changed = curve.random() < settings.nonlinear
    (x1, y1), (x2, y2) = curve.random((2, 2)).tolist()
    falling = bool(curve.random() < 0.5)
    painted = None
    if paint.random() < settings.paint:
        inside = paint.random() < settings.inpaint
        windows = _union(paint, shape, settings.holes if inside else settings.kept)
        painted = windows if inside else ~windows
    return DrawnDistortion(
        flips=tuple(flips),
        order=order,
        curve=Curve((x1, y1), (x2, y2), falling) if changed else None,
        painted=painted,
        noise_seed=int(paint.integers(2**62)),
    )


def shuffled_order(rng: np.random.Generator, shape: Shape, windows: int) -> npt.NDArray[np.int64]:
    """Which voxel each voxel takes its value from, int64 (V,), after the voxels of some windows were shuffled.

    Edges of a window are at most a tenth of the patch's (at least 2), so that the disorder stays local.

    Args:
        rng: Is drawn from.
        shape: Of the patch.
        windows: Shuffled one after the other, so that no value is lost where they overlap.
    """
    order = np.arange(math.prod(shape), dtype=np.int64).reshape(shape)
    largest = [min(max(2, size // 10), size) for size in shape]
    edges = rng.integers(1, largest, size=(windows, 3), endpoint=True)
    starts = rng.integers(0, np.array(shape) - edges, endpoint=True)
    for start, stop in zip(starts.tolist(), (starts + edges).tolist(), strict=True):
        window = order[start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]]
        window[...] = rng.permutation(window.reshape(-1)).reshape(window.shape)
    return order.reshape(-1)


def _union(rng: np.random.Generator, shape: Shape, edges: tuple[float, float]) -> Mask:
    mask = np.zeros(shape, dtype=bool)
    for number in range(_WINDOWS):
        if number and rng.random() >= _FURTHER:
            break
        mask[_window(rng, shape, edges)] = True
    return mask


def apply_distortion(drawn: DrawnDistortion, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Distorts one patch.

    Args:
        drawn: From :func:`draw_distortion`, for the shape of the patch.
        image: float32 (X, Y, Z) in [0, 1].

    Returns:
        The distorted patch, in [0, 1], and the one that has to be restored.
    """
    target = image
    for axis in drawn.flips:
        target = target.flip(axis)
    result = target
    if drawn.order is not None:
        result = result.reshape(-1)[torch.from_numpy(drawn.order).to(image.device)].reshape(image.shape)
    if drawn.curve is not None:
        result = _mapped(drawn.curve, result)
    if drawn.painted is not None:
        result = _painted(result, drawn.painted, drawn.noise_seed)
    return result, target


def bezier(curve: Curve, points: int = _CURVE_POINTS) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Points x and y of a curve, float64 (points,).

    Since the control points lie in the unit square, x rises all the way, and y rises (or falls) with it.

    Example:
        >>> x, y = bezier(Curve((0.0, 0.0), (1.0, 1.0)))  # a straight line
        >>> bool(abs(x - y).max() < 1e-15)
        True
    """
    t = np.linspace(0, 1, points)
    first, second, last = 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3
    x, y = (first * p1 + second * p2 + last for p1, p2 in zip(curve.first, curve.second, strict=True))
    return x, 1 - y if curve.falling else y


def _mapped(curve: Curve, image: torch.Tensor) -> torch.Tensor:
    """Each value v becomes the curve's y at x = v, between its points linearly."""
    x, y = (torch.from_numpy(v).to(image.device, image.dtype) for v in bezier(curve))
    right = torch.searchsorted(x, image.contiguous()).clamp_(1, len(x) - 1)
    left = right - 1
    share = (image - x[left]) / (x[right] - x[left]).clamp_(min=torch.finfo(image.dtype).tiny)
    return torch.lerp(y[left], y[right], share.clamp_(0, 1))
