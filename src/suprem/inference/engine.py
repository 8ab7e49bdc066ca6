"""The streaming loop: windows from the feet to the head, slabs turned into labels as soon as they are complete."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from suprem.inference.blending import ClassChannels, WindowNetwork
from suprem.inference.body import BodyMask
from suprem.inference.grid import InputBand, ModelGrid
from suprem.inference.memory import CHUNK_BYTES
from suprem.inference.probabilities import ProbabilitySink
from suprem.inference.slabs import Cell, SlabAccumulator, SlabLayout
from suprem.inference.store import BitStore, IndexStore
from suprem.inference.windows import Window, importance_map, in_batches
from suprem.volumes.geometry import Volume

__all__ = ["Job", "Progress", "Stopwatch", "stream"]

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


@dataclass(frozen=True, eq=False)
class Job:
    """One scan, ready to run.

    Attributes:
        scan: HU on its own index axes.
        grid: its model grid.
        hu_window: lower and upper HU of the network's input.
        body: where labels may lie, ``None`` for everywhere.
        layout: the windows to run and the cells they fill.
        network: runs windows.
        channels: what the outputs mean.
        device: where windows run and slabs accumulate.
        clock: takes the time.
        undecided: int64, voxels of each class whose decision was close; counted while the job runs.
        probabilities: where the probabilities of the classes go, ``None`` for nowhere.
    """

    scan: Volume
    grid: ModelGrid
    hu_window: tuple[float, float]
    body: BodyMask | None
    layout: SlabLayout
    network: WindowNetwork
    channels: ClassChannels
    device: torch.device
    clock: Stopwatch
    undecided: npt.NDArray[np.int64]
    probabilities: ProbabilitySink | None = None


@torch.inference_mode()
def stream(job: Job, batch: int, dtype: torch.dtype, progress: Progress | None = None) -> BitStore | IndexStore:
    """Runs all windows of a job and returns the labels on the model grid.

    Args:
        job: what to run.
        batch: windows per forward pass; changes nothing but speed and memory.
        dtype: of the accumulators.
        progress: called after each batch.
    """
    layout, measure = job.layout, job.clock.measure
    patch = layout.patch_size
    store = job.channels.store(job.grid.shape)
    if job.probabilities is not None:
        job.probabilities.begin(job.channels.names, job.grid)
    band = InputBand(job.scan, job.grid, job.hu_window)
    importance = importance_map(patch).to(job.device)
    accumulator = SlabAccumulator(layout, importance, job.network.channels, dtype)
    done, layer = 0, None
    for group in in_batches(layout.windows, batch):
        with measure("input"):
            if group[0].z != layer:
                layer = group[0].z
                band.advance(layer, layer + patch[2])
            images = _images(band, group, patch).to(job.device)
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
                _label(job, store, cell)
        if progress is not None:
            progress(done, len(layout.windows))
    return store


def _images(band: InputBand, group: list[Window], patch: tuple[int, int, int]) -> torch.Tensor:
    """The windows' voxels, float32 (N, 1, x, y, z)."""
    return torch.stack([torch.from_numpy(band.window(window.start, patch)) for window in group])[:, None]


def _label(job: Job, store: BitStore | IndexStore, cell: Cell) -> None:
    """Normalises a finished cell, classifies it and stores the labels, a bounded number of voxels at a time."""
    channels, width, depth, height = cell.values.shape
    # Per voxel: the normalised values, the logits, their sigmoid, and its comparison.
    voxel_bytes = 4 * channels + 9 * len(job.channels.rows)
    if job.probabilities is not None:  # the probabilities, scaled, rounded, and in two orders
        voxel_bytes += 4 * len(job.channels.rows) + 6 * len(job.channels.names)
    step = max(1, CHUNK_BYTES // (voxel_bytes * depth * height))
    for first in range(0, width, step):
        part = slice(first, min(first + step, width))
        # Where no window was run the weight is 0, and the result is discarded below.
        values = cell.values[:, part].float() / cell.weights[part].clamp_min(1e-12)
        logits = job.network.logits(values.flatten(1))
        labels = job.channels.labels(logits)
        box = (part.stop - part.start, depth, height)
        labels = labels.reshape(*labels.shape[:-1], *box)
        region = (slice(cell.x.start + part.start, cell.x.start + part.stop), slice(None), cell.z)
        inside = body = None
        if job.body is not None:
            body = job.body.region(*region)
            labels = labels * body
            inside = torch.from_numpy(body).flatten().to(job.device)
        job.undecided[:] += job.channels.undecided(logits, inside)
        store.write(region, labels)
        if job.probabilities is not None:
            values = job.channels.probabilities(logits).reshape(-1, *box)
            job.probabilities.write(region, values if body is None else values * body)
