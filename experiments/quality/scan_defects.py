"""Clean scans of phantoms, and the same with one defect planted; seeded, for the accuracy of ``suprem doctor``."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial.transform import Rotation

from suprem.errors import VolumeError
from suprem.phantom import PhantomCase, generate
from suprem.phantom._disguise_files import write_series
from suprem.volumes.geometry import Volume, to_ras
from suprem.volumes.io import write_volume
from suprem.volumes.scan_checks import SCAN_CHECKS, check_scan, check_scan_file
from suprem.volumes.symptoms import Symptom

Rng = np.random.Generator
Array = npt.NDArray[Any]

ORIENTATIONS = ("RAS", "LPS", "LAS", "RPI", "ASR", "PIR", "SAR", "IPL")
FRAME_MM = 15.0
"""Air that is put around a clean phantom, whose own field of view often cuts the body."""


def phantom_of(seed: int) -> PhantomCase:
    """A phantom of drawn voxel size and orientation."""
    rng = np.random.default_rng([seed, 99])
    pixel = round(float(rng.uniform(3.5, 5.0)), 2)
    spacing = (pixel, pixel, round(float(rng.uniform(3.0, 7.0)), 2))
    return generate(seed, spacing_mm=spacing, orientation=str(rng.choice(ORIENTATIONS)))


def clean(ct: Volume, seed: int) -> tuple[Volume, str]:
    """A scan without defect: framed by air, and in part shorter, noisier, tilted a little, padded, in floating point.

    Args:
        ct: a phantom's, which stays as it is.
        seed: of what is drawn.

    Returns:
        The scan, and what was drawn, in words.
    """
    rng = np.random.default_rng([seed, 98])
    ras, step = to_ras(ct)
    array, told = ras.array.astype(np.float32), []
    frame_in_air(array, ras.spacing_mm, rng)
    low, high = 0, array.shape[2]
    if rng.random() < 0.4:
        layers = min(high, int(np.ceil(rng.uniform(180, 350) / ras.spacing_mm[2])))
        low = int(rng.integers(0, high - layers + 1))
        high = low + layers
        told.append(f"{layers * ras.spacing_mm[2]:.0f} mm long")
    if rng.random() < 0.5:
        sigma = float(rng.uniform(3, 25))
        array += rng.normal(0, sigma, array.shape).astype(np.float32)
        told.append(f"noise of {sigma:.0f} HU more")
    if rng.random() < 0.2:
        pad(array, ras.spacing_mm, 1.02 * _reach(array, ras.spacing_mm), float(rng.choice([-1024, -2000, -3024])))
        told.append("padded circle")
    if rng.random() < 0.9:
        array = np.clip(np.rint(array), -3024, 3071).astype(np.int16)
    else:
        told.append("floating point")
    affine = ras.affine.copy()
    affine[:3, 3] += affine[:3, 2] * low
    if rng.random() < 0.3:
        angle = float(rng.uniform(0.2, 3.0))
        affine[:3, :3] = (
            Rotation.from_euler(str(rng.choice(list("xyz"))), angle, degrees=True).as_matrix() @ affine[:3, :3]
        )
        told.append(f"turned by {angle:.1f} degrees")
    scan = Volume(array[:, :, low:high], affine, f"phantom {seed}")
    return _back(scan, step, ct), ", ".join(told)


def _back(ras: Volume, step: Any, like: Volume) -> Volume:
    """On the index axes of ``like`` again."""
    corner = np.array([ras.shape[a] - 1 if f else 0 for a, f in zip(range(3), step.flips, strict=True)])
    linear = np.zeros((3, 3))
    for out, (source, flip) in enumerate(zip(step.axes, step.flips, strict=True)):
        linear[:, source] = -ras.affine[:3, out] if flip else ras.affine[:3, out]
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = ras.affine[:3, :3] @ corner + ras.affine[:3, 3]
    return Volume(np.ascontiguousarray(step.invert(ras.array)), affine, like.name)


def frame_in_air(array: Array, spacing_mm: tuple[float, float, float], rng: Rng) -> None:
    """Replaces what lies close to the sides of a RAS array by noisy air, in place."""
    for axis in (0, 1):
        count = int(np.ceil(FRAME_MM / spacing_mm[axis]))
        along = np.moveaxis(array, axis, 0)
        for part in (along[:count], along[-count:]):
            part[:] = np.maximum(-1000 + rng.normal(0, 8, part.shape), -1024)


def _reach(array: Array, spacing_mm: tuple[float, float, float]) -> float:
    """Largest distance of the body from the axis in the middle, in mm."""
    distance = _from_axis(array.shape, spacing_mm)
    return float(distance[(array > -300).any(axis=2)].max()) + 2 * FRAME_MM


def _from_axis(shape: tuple[int, ...], spacing_mm: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    x, y = ((np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape[:2], spacing_mm[:2], strict=True))
    return np.hypot(x[:, None], y[None, :])


def pad(array: Array, spacing_mm: tuple[float, float, float], radius_mm: float, value: float) -> None:
    """Fills everything outside a circle, in place."""
    array[_from_axis(array.shape, spacing_mm) > radius_mm] = value


# One defect each: a clean scan on RAS axes and a source of random numbers -> the defective scan.
Planter = Callable[[Volume, Rng], Volume]


def _with(array: Array, scan: Volume) -> Volume:
    return replace(scan, array=array)


def _turned(scan: Volume, rng: Rng) -> Volume:
    affine = scan.affine.copy()
    turn = Rotation.from_euler(str(rng.choice(list("xyz"))), float(rng.uniform(8, 35)), degrees=True)
    affine[:3, :3] = turn.as_matrix() @ affine[:3, :3]
    return replace(scan, affine=affine)


def _units(scan: Volume, rng: Rng) -> Volume:
    return replace(scan, affine=scan.affine @ np.diag([*[float(rng.choice([0.001, 0.1, 10.0]))] * 3, 1.0]))


def _thick(scan: Volume, rng: Rng) -> Volume:
    """Averages slices until they are 9 mm thick or more."""
    count = int(np.ceil(9 / scan.spacing_mm[2]))
    layers = scan.shape[2] // count
    parts = scan.array[:, :, : layers * count].reshape(*scan.shape[:2], layers, count)
    mean = np.rint(parts.mean(axis=3)).astype(np.int16)
    return Volume(mean, scan.affine @ np.diag([1, 1, count, 1]), scan.name)


def _scaled(low: float, high: float, top: float) -> Planter:
    def plant(scan: Volume, rng: Rng) -> Volume:
        values = (np.clip(scan.array.astype(np.float32), low, high) - low) / (high - low) * top
        return _with(np.rint(values).astype(np.int16) if top > 1 else values, scan)

    return plant


def _standardised(scan: Volume, rng: Rng) -> Volume:
    values = scan.array.astype(np.float32)
    return _with((values - values.mean()) / values.std(), scan)


def _shifted(amount: int) -> Planter:
    return lambda scan, rng: _with((scan.array + amount).astype(np.int16), scan)


def _stretched(scan: Volume, rng: Rng) -> Volume:
    return _with(((scan.array + 1024) * float(rng.choice([0.25, 2.0, 4.0]))).astype(np.float32), scan)


def _like_mr(scan: Volume, rng: Rng) -> Volume:
    """Intensities as in a T1 or T2 weighted image: dark air and bone, bright fat or fluid, a field that varies."""
    hu = [-1100, -950, -850, -150, -100, -50, 0, 40, 80, 150, 400]
    t1 = [0, 0, 30, 350, 500, 350, 80, 220, 300, 200, 40]
    t2 = [0, 0, 20, 300, 380, 300, 600, 200, 120, 150, 30]
    smooth = ndimage.gaussian_filter(scan.array.astype(np.float32), 0.7)
    image = np.interp(smooth, hu, t1 if rng.random() < 0.5 else t2)
    x = np.linspace(-1, 1, scan.shape[0])[:, None, None]
    image = image * (1 + 0.35 * x * rng.choice([-1, 1]))
    noise = rng.normal(0, 15, (2, *scan.shape))
    return _with(np.rint(np.hypot(image + noise[0], noise[1])).astype(np.int16), scan)


def _window(low: float, high: float) -> Planter:
    return lambda scan, rng: _with(np.clip(scan.array, low, high), scan)


def _gap(scan: Volume, rng: Rng) -> Volume:
    """Without 25 to 50 mm of slices, as if they had never been there."""
    layers = scan.shape[2]
    count = int(np.ceil(rng.uniform(25, 50) / scan.spacing_mm[2]))
    first = int(rng.integers(layers // 5, max(layers // 5 + 1, 4 * layers // 5 - count)))
    return _with(np.delete(scan.array, np.s_[first : first + count], axis=2), scan)


def _doubled(scan: Volume, rng: Rng) -> Volume:
    k = int(rng.integers(1, scan.shape[2] - 1))
    return _with(np.insert(scan.array, k, scan.array[:, :, k], axis=2), scan)


def _blank(scan: Volume, rng: Rng) -> Volume:
    array = scan.array.copy()
    array[:, :, int(rng.integers(2, scan.shape[2] - 2))] = -1024
    return _with(array, scan)


def _nobody(scan: Volume, rng: Rng) -> Volume:
    noise = np.rint(rng.normal(-1000, 12, scan.shape)).astype(np.int16)
    noise[:2, :2] = 60  # something small, so that there is more than air
    return _with(noise, scan)


def _reversed(axis: int) -> Planter:
    return lambda scan, rng: _with(np.flip(scan.array, axis), scan)


def _cut_box(scan: Volume, rng: Rng) -> Volume:
    """Without a side, so that the border runs 25 to 60 mm inside the body."""
    axis, side = int(rng.choice([0, 0, 1])), int(rng.choice([0, 1]))
    other = tuple(a for a in range(3) if a != axis)
    filled = np.flatnonzero((scan.array > -300).sum(axis=other) > 0.02 * np.prod([scan.shape[a] for a in other]))
    depth = int(np.ceil(rng.uniform(25, 60) / scan.spacing_mm[axis]))
    part = [slice(None)] * 3
    part[axis] = slice(filled[0] + depth, None) if side == 0 else slice(None, filled[-1] + 1 - depth)
    return _with(scan.array[tuple(part)], scan)


def _cut_circle(scan: Volume, rng: Rng) -> Volume:
    """A circular field of view that is narrower than the body."""
    array = scan.array.astype(np.int16)
    wide = np.flatnonzero((array > -300).any(axis=(1, 2)))
    radius = (wide[-1] - wide[0]) * scan.spacing_mm[0] / 2 - float(rng.uniform(25, 50))
    pad(array, scan.spacing_mm, radius, float(rng.choice([-1024, -2000, -3024])))
    return _with(array, scan)


def _slab(scan: Volume, rng: Rng) -> Volume:
    layers = int(rng.uniform(60, 125) / scan.spacing_mm[2])
    first = int(rng.integers(0, scan.shape[2] - layers))
    return _with(scan.array[:, :, first : first + layers], scan)


def _implant(scan: Volume, rng: Rng) -> Volume:
    """A ball of metal in the body, bright and dark streaks through it in its slices."""
    array = scan.array.astype(np.float32)
    inside = np.argwhere(ndimage.binary_erosion(array > -200, iterations=3))
    centre = inside[rng.integers(len(inside))]
    squares = [((np.arange(n) - c) * s) ** 2 for n, c, s in zip(scan.shape, centre, scan.spacing_mm, strict=True)]
    near = np.sqrt(squares[0][:, None, None] + squares[1][None, :, None] + squares[2][None, None, :])
    radius = float(rng.uniform(8, 16))
    layers = np.flatnonzero(squares[2] < radius**2)
    x, y = np.ogrid[: scan.shape[0], : scan.shape[1]]
    streaks = 250 * np.cos(6 * np.arctan2(y - centre[1], x - centre[0])) * np.exp(-near[:, :, centre[2]] / 60)
    array[:, :, layers] += streaks[:, :, None]
    array[near < radius] = 3071
    return _with(np.clip(np.rint(array), -1024, 3071).astype(np.int16), scan)


def _as_volume(planter: Planter) -> Callable[[Volume, Rng, Path], tuple[Symptom, ...]]:
    return lambda scan, rng, folder: check_scan(planter(scan, rng))


def _file(change: Callable[[Path, Rng], None], suffix: str = ".nii.gz", shear: float = 0.0) -> Any:
    """Written, changed as a file, and read again."""

    def run(scan: Volume, rng: Rng, folder: Path) -> tuple[Symptom, ...]:
        affine = scan.affine.copy()
        affine[1, 2] += shear * scan.spacing_mm[2]
        path = folder / f"scan{suffix}"
        write_volume(replace(scan, affine=affine, stored_geometry=None), path)
        change(path, rng)
        return check_scan_file(path)[1]

    return run


def _series(change: Callable[[list[Path], Rng], None]) -> Any:
    """Written as DICOM, changed, and read again; a part of the scan is enough."""

    def run(scan: Volume, rng: Rng, folder: Path) -> tuple[Symptom, ...]:
        # Rows and columns run to the left and the back in DICOM.
        array = scan.array[::-1, ::-1, :30]
        affine = np.diag([-scan.spacing_mm[0], -scan.spacing_mm[1], scan.spacing_mm[2], 1.0])
        paths = write_series(Volume(array.astype(np.int16), affine, scan.name), folder / "series")
        change(paths, rng)
        return check_scan_file(folder / "series")[1]

    return run


def _truncate(path: Path, rng: Rng) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * rng.uniform(0.3, 0.9))])


def _forget_orientation(path: Path, rng: Rng) -> None:
    """Both codes of a NIfTI-1 header are 0."""
    data = bytearray(path.read_bytes())
    data[252:256] = bytes(4)
    path.write_bytes(bytes(data))


def _remove(paths: list[Path], rng: Rng) -> None:
    paths[int(rng.integers(5, len(paths) - 5))].unlink()


def _tilt(paths: list[Path], rng: Rng) -> None:
    from pydicom import dcmread

    angle = float(rng.uniform(5, 20))
    for k, path in enumerate(paths):
        data = dcmread(path)
        x, y, z = data.ImagePositionPatient
        data.ImagePositionPatient = [x, round(float(y) + np.tan(np.radians(angle)) * k * 5.0, 3), z]
        data.save_as(path)


def _repeat(paths: list[Path], rng: Rng) -> None:
    """A second slice at the position of one, as of another phase."""
    from pydicom import dcmread
    from pydicom.uid import generate_uid

    data = dcmread(paths[int(rng.integers(len(paths)))])
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.save_as(paths[0].with_name("again.dcm"))


Defect = Callable[[Volume, Rng, Path], tuple[Symptom, ...]]

DEFECTS: dict[str, tuple[str, Defect]] = {
    "NIfTI file cut short": ("unreadable", _file(_truncate)),
    "sheared grid, as of a tilted gantry": ("unreadable", _file(lambda path, rng: None, shear=0.2)),
    "DICOM: a slice is missing": ("unreadable", _series(_remove)),
    "DICOM: two slices at one position": ("unreadable", _series(_repeat)),
    "DICOM: tilted gantry": ("unreadable", _series(_tilt)),
    "NIfTI without orientation": ("reading", _file(_forget_orientation, ".nii")),
    "left-handed index axes": (
        "left-handed",
        lambda scan, rng, folder: check_scan(replace(scan, affine=scan.affine @ np.diag([-1.0, 1, 1, 1]))),
    ),
    "turned by 8 to 35 degrees": ("oblique", _as_volume(_turned)),
    "spacing in another unit": ("spacing", _as_volume(_units)),
    "slices of 9 mm or more": ("coarse", _as_volume(_thick)),
    "rescaled to 0-1": ("rescaled", _as_volume(_scaled(-1024, 3071, 1.0))),
    "window of 400 HU rescaled to 0-1": ("rescaled", _as_volume(_scaled(-160, 240, 1.0))),
    "rescaled to 0-255": ("rescaled", _as_volume(_scaled(-1024, 1500, 255.0))),
    "window of 400 HU rescaled to 0-255": ("rescaled", _as_volume(_scaled(-160, 240, 255.0))),
    "mean 0, variance 1": ("rescaled", _as_volume(_standardised)),
    "multiplied by 1/4, 2 or 4": ("rescaled", _as_volume(_stretched)),
    "1024 too high": ("hu-offset", _as_volume(_shifted(1024))),
    "1024 too low": ("hu-offset", _as_volume(_shifted(-1024))),
    "intensities like MR": ("not-ct", _as_volume(_like_mr)),
    "cut off below -175 and above 250 HU": ("clipped", _as_volume(_window(-175, 250))),
    "cut off below -500 HU": ("clipped", _as_volume(_window(-500, 3071))),
    "cut off above 150 HU": ("clipped", _as_volume(_window(-1024, 150))),
    "25 to 50 mm of slices left out": ("missing-slices", _as_volume(_gap)),
    "a slice twice": ("duplicate-slices", _as_volume(_doubled)),
    "a blank slice": ("blank-slices", _as_volume(_blank)),
    "no patient": ("no-body", _as_volume(_nobody)),
    "head and feet exchanged": ("posture", _as_volume(_reversed(2))),
    "front and back exchanged": ("posture", _as_volume(_reversed(1))),
    "a side cut by 25 to 60 mm": ("truncated", _as_volume(_cut_box)),
    "cut by a narrow circle": ("truncated", _as_volume(_cut_circle)),
    "60 to 125 mm long": ("short", _as_volume(_slab)),
    "metal implant": ("metal", _as_volume(_implant)),
}
"""Defect -> the symptom it should show, and how it is planted and looked for. Label maps come with the phantom."""


def check_defect(name: str, scan: Volume, seed: int, folder: Path) -> tuple[Symptom, ...]:
    """What is found after planting one defect in a clean scan.

    Args:
        name: key of :data:`DEFECTS`.
        scan: clean, on any index axes.
        seed: of what is drawn.
        folder: empty, for files.
    """
    rng = np.random.default_rng([seed, list(DEFECTS).index(name)])
    ras, _ = to_ras(scan)
    try:
        return DEFECTS[name][1](ras, rng, folder)
    except VolumeError as error:  # not even a volume any more
        return (Symptom.of(SCAN_CHECKS, "unreadable", str(error)),)


def cut_by_its_own_field(ct: Volume) -> bool:
    """Whether a raw phantom's body touches a side over 3 cm in a twentieth of its slices, voxel by voxel."""
    ras, _ = to_ras(ct)
    tissue = ras.array > -160  # the table is less dense
    x_mm, y_mm, _ = ras.spacing_mm
    lengths = [tissue[end].sum(axis=0) * y_mm for end in (0, -1)]
    lengths += [tissue[:, end].sum(axis=0) * x_mm for end in (0, -1)]
    return any((length > 30).mean() > 0.05 for length in lengths)
