"""The streaming loop: windows from the feet to the head, slabs turned into labels as soon as they are complete."""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from suprem.errors import CheckpointError
from suprem.inference.blending import ClassChannels, WindowNetwork
from suprem.inference.grid import ModelGrid
from suprem.inference.memory import CHUNK_BYTES, DEVICE_CHUNK_BYTES, FILE_CHUNK_BYTES
from suprem.inference.probabilities import ProbabilitySink
from suprem.inference.slabs import Cell, SlabAccumulator, SlabLayout
from suprem.inference.store import BitStore, IndexStore
from suprem.inference.windows import Window, importance_map, in_batches
from suprem.volumes.boxes import Box
from suprem.volumes.geometry import Volume

__all__ = ["Job", "LabelWriter", "Progress", "Stopwatch", "WindowSource", "stream"]

Progress = Callable[[int, int], None]
"""Called with the number of windows done and the number to do."""


class Stopwatch:
    """Seconds per phase; on a GPU the network's time shows where its result is first needed.

    Attributes:
        seconds: phase -> seconds so far.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def measure(self, phase: str) -> Iterator[None]:
        """Adds the time the block takes to ``phase``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] += time.perf_counter() - start


class WindowSource(Protocol):
    """Where the network's input comes from."""

    def advance(self, start: int, stop: int) -> None:
        """Makes layers ``start:stop`` available; called in ascending order."""

    def window(self, start: Sequence[int], size: Sequence[int]) -> "torch.Tensor | npt.NDArray[np.float32]":
        """Voxels ``start : start + size`` of the model grid, float32, zero beyond the volume."""


class LabelWriter:
    """Stores labels where they are kept.

    A CPU writes them there cell by cell. A GPU collects them, and sends whole layers as soon as they are complete; a
    thread waits for them and stores them, while the GPU goes on with the next windows.

    Args:
        channels: what the logits mean.
        shape: voxels (X, Y, Z) of the model grid.
        device: the GPU that collects them, ``None`` on a CPU.
        waiting: bytes that may be on their way at most.
    """

    def __init__(
        self,
        channels: ClassChannels,
        shape: tuple[int, int, int],
        device: torch.device | None = None,
        *,
        waiting: int = FILE_CHUNK_BYTES,
    ) -> None:
        self._store = channels.store(shape)
        self._labels = self._kept = torch.from_numpy(self._store.memory)
        if device is not None:
            self._labels = torch.zeros(self._kept.shape, dtype=channels.label_dtype, device=device)
        self._limit, self._sent, self._waiting_bytes = waiting, 0, 0
        self._waiting: deque[tuple[int, Future[Any]]] = deque()
        self._thread = ThreadPoolExecutor(1) if device is not None else None
        if self._thread is not None:
            # Pages that are written to for the first time take ten times as long, which nobody has to wait for now.
            self._waiting.append((0, self._thread.submit(self._kept.zero_)))

    def write(self, region: Box, labels: torch.Tensor, inside: torch.Tensor | None) -> None:
        """Stores labels of a box, (V,) or (planes, V); nothing is there outside ``inside``, bool (x, y, z)."""
        box = tuple(len(range(*part.indices(n))) for part, n in zip(region, self._store.shape, strict=True))
        found = labels.view(-1, *box)
        found = found if inside is None else found * inside
        # To the order of memory, in which x is last: of two axes torch changes places block by block.
        turned = found.flatten(2).transpose(1, 2).contiguous().view(len(found), *box[1:], box[0])
        self._labels[(slice(None), *region[::-1])] = turned.transpose(1, 2)

    def complete(self, stop: int) -> None:
        """To be called when nothing will be written any more below layer ``stop``."""
        if self._thread is not None and stop > self._sent:
            layers = self._labels[:, self._sent : stop]
            stored = self._thread.submit(self._receive, self._sent, *_sent(layers))
            self._waiting.append((layers.nbytes, stored))
            self._sent, self._waiting_bytes = stop, self._waiting_bytes + layers.nbytes
            self._wait(self._limit)

    def finish(self) -> BitStore | IndexStore:
        """All labels."""
        self.complete(self._store.shape[2])
        self._wait(-1)
        if self._thread is not None:
            self._thread.shutdown()
        return self._store

    def _wait(self, limit: int) -> None:
        """Waits until no more than ``limit`` bytes are on their way; with -1 for everything."""
        while self._waiting and self._waiting_bytes > limit:
            size, stored = self._waiting.popleft()
            stored.result()
            self._waiting_bytes -= size

    def _receive(self, start: int, labels: torch.Tensor, arrival: torch.cuda.Event | None) -> None:
        if arrival is not None:
            arrival.synchronize()
        self._kept[:, start : start + labels.shape[1]] = labels


def _sent(labels: torch.Tensor) -> tuple[torch.Tensor, torch.cuda.Event | None]:
    """A copy in the memory of the computer, and what to wait for before it is there."""
    if not labels.is_cuda:
        return labels, None
    # Only page-locked memory is written to while the program goes on.
    here = torch.empty(labels.shape, dtype=labels.dtype, pin_memory=True)
    for target, plane in zip(here, labels, strict=True):  # each of them in one piece
        target.copy_(plane, non_blocking=True)
    return here, torch.cuda.current_stream(labels.device).record_event()


@dataclass(frozen=True, eq=False)
class Job:
    """One scan, ready to run.

    Attributes:
        scan: HU on its own index axes.
        grid: its model grid.
        source: the network's input.
        layout: the windows to run and the cells they fill.
        network: runs windows.
        channels: what the outputs mean.
        device: where windows run and slabs accumulate.
        clock: takes the time.
        labels: where labels go.
        inside: the mask of the body over a box, bool (x, y, z) on the device, ``None`` for everywhere.
        undecided: int64, voxels of each output channel whose decision was close; counted on the device.
        sound: bool on the device: no output was NaN or infinite so far.
        probabilities: where the probabilities of the classes go, ``None`` for nowhere.
    """

    scan: Volume
    grid: ModelGrid
    source: WindowSource
    layout: SlabLayout
    network: WindowNetwork
    channels: ClassChannels
    device: torch.device
    clock: Stopwatch
    labels: LabelWriter
    inside: Callable[[Box], torch.Tensor | None]
    undecided: torch.Tensor
    sound: torch.Tensor
    probabilities: ProbabilitySink | None = None


@torch.inference_mode()
def stream(job: Job, batch: int, dtype: torch.dtype, progress: Progress | None = None) -> BitStore | IndexStore:
    """Runs all windows of a job and returns the labels on the model grid.

    Args:
        job: what to run.
        batch: windows per forward pass; changes nothing but speed and memory.
        dtype: of the accumulators.
        progress: called after each batch.

    Raises:
        CheckpointError: the network's output is not finite.
    """
    layout, measure = job.layout, job.clock.measure
    patch = layout.patch_size
    if job.probabilities is not None:
        job.probabilities.begin(job.channels.names, job.grid)
    importance = importance_map(patch).to(job.device)
    accumulator = SlabAccumulator(layout, importance, job.network.channels, dtype)
    done, layer = 0, None
    for group in in_batches(layout.windows, batch):
        with measure("input"):
            if group[0].z != layer:
                layer = group[0].z
                job.source.advance(layer, layer + patch[2])
            images = _images(job.source, group, patch).to(job.device)
        with measure("network"):
            outputs = job.network.run(images, [window.mirrored for window in group])
        del images
        with measure("blend"):
            for window, output in zip(group, outputs, strict=True):
                accumulator.add(window, output)
        del output, outputs  # a window's output is as large as all else together
        done += len(group)
        with measure("label"):
            for cell in accumulator.close(done):
                _label(job, cell)
            if done < len(layout.windows):  # they run from the feet to the head
                job.labels.complete(layout.windows[done].z)
        if progress is not None:
            progress(done, len(layout.windows))
    with measure("label"):
        _check_sound(job)
        return job.labels.finish()


def _images(source: WindowSource, group: list[Window], patch: tuple[int, int, int]) -> torch.Tensor:
    """The windows' voxels, float32 (N, 1, x, y, z)."""
    return torch.stack([torch.as_tensor(source.window(window.start, patch)) for window in group])[:, None]


def _label(job: Job, cell: Cell) -> None:
    """Normalises a finished cell, classifies it and stores the labels, a bounded number of voxels at a time."""
    channels, width, depth, height = cell.values.shape
    # Per voxel: the normalised values, the logits, their sigmoid, and its comparison.
    voxel_bytes, chunk = 4 * channels + 9 * len(job.channels.rows), CHUNK_BYTES
    if job.probabilities is not None:  # the probabilities, scaled, rounded, and in two orders
        voxel_bytes, chunk = voxel_bytes + 4 * len(job.channels.rows) + 6 * len(job.channels.names), FILE_CHUNK_BYTES
    on_gpu = job.device.type == "cuda"
    step = max(1, (DEVICE_CHUNK_BYTES if on_gpu else chunk) // (voxel_bytes * depth * height))
    region, found = (cell.x, slice(None), cell.z), []
    inside = job.inside(region)
    for first in range(0, width, step):
        part = slice(first, min(first + step, width))
        # Where no window was run the weight is 0, and the result is discarded below.
        values = cell.values[:, part].float() / cell.weights[part].clamp_min(1e-12)
        logits = job.network.logits(values.flatten(1))
        # The sum is finite where every logit is, and is taken thirty times as fast as a look at each of them.
        job.sound.logical_and_(torch.isfinite(logits.sum()))
        if not on_gpu:  # a GPU would have to be waited for
            _check_sound(job)
        here = None if inside is None else inside[part]
        labels, undecided = job.channels.decide(logits, None if here is None else here.flatten())
        job.undecided.add_(undecided)
        found.append(labels)
        if job.probabilities is not None:
            shares = job.channels.probabilities(logits).reshape(-1, part.stop - part.start, depth, height)
            place = slice(cell.x.start + part.start, cell.x.start + part.stop), slice(None), cell.z
            job.probabilities.write(place, shares if here is None else shares * here.cpu().numpy())
    job.labels.write(region, torch.cat(found, dim=-1), inside)


def _check_sound(job: Job) -> None:
    if not bool(job.sound):
        raise CheckpointError(
            "The network's output holds NaN or infinite values; its weights are damaged or do not fit the "
            "preprocessing. Check them with `suprem zoo verify`."
        )
