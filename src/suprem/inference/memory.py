"""How much memory a prediction takes, measured where that can be done, and the plan that keeps it under a limit."""

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from types import TracebackType
from typing import Any

from suprem._files import parse_size
from suprem._workers import usable_processors
from suprem.errors import ConfigurationError

__all__ = [
    "CHUNK_BYTES",
    "DEVICE_CHUNK_BYTES",
    "FILE_CHUNK_BYTES",
    "INTERPOLATED_SLICES",
    "Demand",
    "PeakMeter",
    "Plan",
    "fits",
    "make_plan",
    "resident_bytes",
]

CHUNK_BYTES = 8 * 2**20
"""Size of the temporaries while a finished slab becomes labels; what fits a cache takes half the time (measured)."""

FILE_CHUNK_BYTES = 48 * 2**20
"""The same where probabilities go to a file, which gets larger pieces then; also what is read of it at a time, and
what may be on its way from a GPU of labels."""

DEVICE_CHUNK_BYTES = 512 * 2**20
"""Size of these temporaries on a GPU, which many small steps would keep waiting."""

INTERPOLATED_SLICES = 32
"""Scan slices that are interpolated at a time."""

_STATM = Path("/proc/self/statm")
_GIB = 2**30
_DTYPES = ("float32", "float16")  # of the accumulators, the best first
# Copies of a scan-sized mask that exist while one is made, measured and written (bytes per scan voxel, measured), and
# what each further thread adds that does the same.
_WRITE_BYTES, _MORE_WRITE_BYTES = 3.0, 1.25
# A mask and the numbers of its parts, for the quality flags (bytes per model voxel and thread).
_QUALITY_BYTES = 5.0
_MOST_WRITERS = 4
_WRITERS_BYTES = 2**29  # threads that write may take so much, or as much as another phase does
# Component labels, distances and masks of the post-processing (bytes per model voxel, measured).
_POSTPROCESS_BYTES = 14.0
# What allocators keep and thread stacks take beyond the arrays that are counted.
_RESERVE = 96 * 2**20
_RESERVE_FRACTION = 0.04
_DEVICE_FRACTION = 0.9  # of a GPU's free memory; the rest is for cuDNN and fragmentation


def resident_bytes() -> int:
    """Memory of this process that is in RAM now; where the system does not tell, the most it ever had."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if sys.platform == "win32":
        return 700 * 2**20
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class PeakMeter:
    """Samples :func:`resident_bytes` while a block runs.

    Attributes:
        growth: how far the memory rose above where it was at the start.

    Example:
        >>> import mmap
        >>> with PeakMeter() as meter:  # pages of its own: an allocator may have some to spare
        ...     _ = mmap.mmap(-1, 64 * 2**20).write(bytes(64 * 2**20))
        >>> meter.growth > 32 * 2**20
        True
    """

    def __init__(self, interval_s: float = 0.001) -> None:
        self.growth = 0
        self._interval = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._start = 0

    @property
    def exact(self) -> bool:
        """Whether the system tells the memory in use now, so that :attr:`growth` can be trusted."""
        return _STATM.exists()

    def __enter__(self) -> "PeakMeter":
        self._start = resident_bytes()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._look()
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        self.growth = max(self.growth, resident_bytes() - self._start)

    def _sample(self) -> None:
        while not self._stop.wait(self._interval):
            self._look()


@dataclass(frozen=True)
class Demand:
    """Sizes that a plan is made from.

    Attributes:
        model_shape: voxels of the model grid.
        scan_shape: voxels of the scan.
        in_use: memory of the process before, with the scan and the network in it.
        scan_bytes: size of the scan's array.
        weights_bytes: size of the network's parameters and buffers.
        label_bytes: size of the label store.
        patch_size: voxels of a window.
        channels: channels that are blended.
        blends: ``"features"`` or ``"logits"``.
        window_bytes: memory of one window in the network, measured by running one.
        open_voxels: the most accumulator voxels open at once, for a window batch.
        device_free: free memory of the GPU that holds the accumulators and runs the windows; ``None`` on a CPU.
        device_resident: bytes of labels on the GPU, and of scan and input where they are there.
        postprocess: masks will be post-processed.
        windows: number of windows to run.
        skipped: number of windows left out because they lie outside the body.
    """

    model_shape: tuple[int, int, int]
    scan_shape: tuple[int, int, int]
    in_use: int
    scan_bytes: int
    weights_bytes: int
    label_bytes: int
    patch_size: tuple[int, int, int]
    channels: int
    blends: str
    window_bytes: int
    open_voxels: Callable[[int], int]
    device_free: int | None = None
    device_resident: int = 0
    postprocess: bool = False
    windows: int = 0
    skipped: int = 0


@dataclass(frozen=True)
class Plan:
    """How a scan will be run, and what that takes.

    Attributes:
        slab_height: layers of the model grid that are open at once.
        window_batch: windows per forward pass.
        dtype: of the accumulators, ``"float32"`` or ``"float16"``.
        blends: what is accumulated, ``"features"`` or ``"logits"``.
        channels: how many channels of it.
        patch_size: voxels (x, y, z) of a window.
        windows: windows to run.
        skipped: windows left out because they lie outside the body.
        limit: the memory allowed, ``None`` for no limit.
        bytes_by_purpose: memory of the process at its fullest moment, by what it is for.
        writers: masks that are made and compressed side by side, each in a thread.
        device_bytes: memory on the GPU beyond the weights, 0 on a CPU.
    """

    slab_height: int
    window_batch: int
    dtype: str
    blends: str
    channels: int
    patch_size: tuple[int, int, int]
    windows: int
    skipped: int
    limit: int | None
    bytes_by_purpose: Mapping[str, int]
    writers: int = 1
    device_bytes: int = 0

    @property
    def peak_bytes(self) -> int:
        """The most memory the process should ever have."""
        return _bytes(self.bytes_by_purpose)

    def describe(self) -> str:
        """The plan in words, one purpose per line, sizes in GiB."""
        limit = "no limit" if self.limit is None else f"limit {self.limit / _GIB:.2f} GiB"
        lines = [
            f"{self.windows} windows of {' x '.join(map(str, self.patch_size))} voxels ({self.skipped} outside the "
            f"body skipped), {self.window_batch} at a time; "
            f"{self.channels} channels of {self.blends} in {self.dtype}, {self.slab_height} layers open",
            f"Memory: {self.peak_bytes / _GIB:.2f} GiB expected, {limit}",
        ]
        lines += [f"  {size / _GIB:6.2f} GiB  {purpose}" for purpose, size in self.bytes_by_purpose.items()]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Everything, for manifests."""
        return {
            "slab_height": self.slab_height,
            "window_batch": self.window_batch,
            "dtype": self.dtype,
            "blends": self.blends,
            "channels": self.channels,
            "writers": self.writers,
            "limit_bytes": self.limit,
            "expected_bytes": self.peak_bytes,
            "device_bytes": self.device_bytes,
            "bytes_by_purpose": dict(self.bytes_by_purpose),
        }

    def __str__(self) -> str:
        return self.describe()


def make_plan(demand: Demand, max_ram: str | int | None, *, batches: tuple[int, ...]) -> Plan:
    """The fastest way to run a scan within ``max_ram``: the first that fits of the batches, then of half precision.

    Args:
        demand: sizes.
        max_ram: for the whole process, e.g. ``"4GiB"`` or bytes; ``None`` for no limit.
        batches: window batches to consider, best first.

    Raises:
        ConfigurationError: nothing fits; the message says how much would.
    """
    limit, plans = _plans(demand, max_ram, batches, _DTYPES)
    on_device = [plan for plan in plans if _fits_device(plan, demand)]
    if not on_device:
        least = min(plan.device_bytes for plan in plans)
        raise ConfigurationError(
            f"The GPU has {(demand.device_free or 0) / _GIB:.2f} GiB free, but this scan needs {least / _GIB:.2f} GiB "
            "there with this network. Free some, ask for fewer classes, or use device='cpu'."
        )
    for plan in on_device:
        if limit is None or plan.peak_bytes <= limit:
            return plan
    least_plan = min(on_device, key=lambda plan: plan.peak_bytes)
    needed = ceil(least_plan.peak_bytes * 100 / _GIB) / 100
    raise ConfigurationError(
        f"max_ram is {max_ram}, but this scan needs at least {needed:.2f} GiB with this network. Raise max_ram to "
        f"'{needed:.2f}GiB', ask for fewer classes, or use a smaller network.\n{least_plan.describe()}"
    )


def fits(demand: Demand, max_ram: str | int | None, *, batches: tuple[int, ...]) -> bool:
    """Whether :func:`make_plan` would find a plan in full precision."""
    limit, plans = _plans(demand, max_ram, batches, _DTYPES[:1])
    return any(_fits_device(plan, demand) and (limit is None or plan.peak_bytes <= limit) for plan in plans)


def _plans(
    demand: Demand, max_ram: str | int | None, batches: tuple[int, ...], dtypes: Sequence[str]
) -> tuple[int | None, list[Plan]]:
    limit = None if max_ram is None else parse_size(max_ram)
    return limit, [_plan(demand, dtype, batch, limit) for dtype in dtypes for batch in batches]


def _fits_device(plan: Plan, demand: Demand) -> bool:
    return demand.device_free is None or plan.device_bytes <= _DEVICE_FRACTION * demand.device_free


def _plan(demand: Demand, dtype: str, batch: int, limit: int | None) -> Plan:
    height = min(demand.patch_size[2], demand.model_shape[2])
    on_gpu = demand.device_free is not None
    width = 2 if dtype == "float16" else 4
    computing = {
        f"slab accumulators ({dtype})": demand.open_voxels(batch) * (demand.channels * width + 4),
        "network activations": batch * demand.window_bytes,
    }
    phases: tuple[dict[str, int], ...] = (
        {**_streaming(demand, height), **({} if on_gpu else computing)},
        {"post-processing": int(_POSTPROCESS_BYTES * prod(demand.model_shape) * demand.postprocess)},
    )
    fullest = max(phases, key=_bytes)
    for writers in range(min(_MOST_WRITERS, int(usable_processors())), 0, -1):
        writing = _writing(demand, writers)
        purposes = _purposes(demand, max(fullest, writing, key=_bytes))
        affordable = _bytes(writing) <= max(_bytes(fullest), _WRITERS_BYTES)
        if affordable and (limit is None or _bytes(purposes) <= limit):
            break
    return Plan(
        slab_height=height,
        window_batch=batch,
        dtype=dtype,
        blends=demand.blends,
        channels=demand.channels,
        patch_size=demand.patch_size,
        windows=demand.windows,
        skipped=demand.skipped,
        limit=limit,
        bytes_by_purpose=purposes,
        writers=writers,
        device_bytes=sum(computing.values()) + DEVICE_CHUNK_BYTES + demand.device_resident if on_gpu else 0,
    )


def _bytes(purposes: Mapping[str, int]) -> int:
    return sum(purposes.values())


def _purposes(demand: Demand, fullest: Mapping[str, int]) -> dict[str, int]:
    """What there is all the time, the phase that takes most, and a reserve."""
    weights = demand.weights_bytes if demand.device_free is None else 0
    purposes = {
        "Python, torch and other libraries": max(0, demand.in_use - demand.scan_bytes - weights),
        "network weights": weights,
        "scan": demand.scan_bytes,
        "labels": demand.label_bytes,
        **fullest,
    }
    return {**purposes, "reserve for the allocator": _RESERVE + int(_RESERVE_FRACTION * _bytes(purposes))}


def _writing(demand: Demand, writers: int) -> dict[str, int]:
    """What masks take on their way into files."""
    per_voxel = _WRITE_BYTES + (writers - 1) * _MORE_WRITE_BYTES
    return {
        "masks on the scan's grid": int(per_voxel * prod(demand.scan_shape)),
        "parts of a mask": int(writers * _QUALITY_BYTES * prod(demand.model_shape)),
    }


def _streaming(demand: Demand, height: int) -> dict[str, int]:
    """What the loop over the windows needs in RAM wherever the network runs."""
    x, y, _ = demand.model_shape
    # The band, its successor while it moves on, and one block of scan slices on its way to the model's spacing.
    band = 2 * 4 * x * y * height
    block = 4 * INTERPOLATED_SLICES * x * (max(demand.scan_shape[1], y) + 2 * y)
    return {"network input, resampled": band + block, "labelling of finished slabs": FILE_CHUNK_BYTES}
