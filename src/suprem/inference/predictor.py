"""Prediction of whole scans with one network."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch

from suprem._files import parse_size
from suprem.errors import ConfigurationError
from suprem.inference.blending import ClassChannels, WindowNetwork
from suprem.inference.body import BodyMask, coarse_factors, find_body
from suprem.inference.devices import free_bytes, resolve_device, tensor_bytes, window_bytes
from suprem.inference.engine import Job, LabelWriter, Progress, Stopwatch, stream
from suprem.inference.grid import InputBand, ModelGrid
from suprem.inference.levels import QualityName, quality_level
from suprem.inference.memory import Demand, Plan, fits, make_plan, resident_bytes
from suprem.inference.on_device import BodyLookup, DeviceScan, device_bytes
from suprem.inference.postprocessing import check_profile, postprocess
from suprem.inference.probabilities import ProbabilitySink
from suprem.inference.segmentation import Segmentation, matching_class
from suprem.inference.slabs import SlabLayout
from suprem.inference.windows import best_window, check_overlap, fitted_windows, plan_windows, shared_voxels, whole
from suprem.volumes.geometry import Volume

if TYPE_CHECKING:
    from suprem.backbones._base import SegmentationNetwork
    from suprem.zoo.config import ModelConfig
    from suprem.zoo.report import LoadReport

__all__ = ["PrecisionName", "Predictor"]

_log = logging.getLogger(__name__)

PrecisionName = Literal["float32", "bfloat16"]
_GPU_BATCHES = (8, 4, 2, 1)

_RESIDENT_FRACTION = 0.4


@dataclass(frozen=True)
class _Prepared:
    """A job with its plan, and what was left out on the way."""

    job: Job
    plan: Plan
    skipped: int
    body_note: str


@dataclass(frozen=True)
class _Facts:
    """What a plan is made for: the scan, and the memory there was before it."""

    scan: Volume
    grid: ModelGrid
    in_use: int
    device_free: int | None
    device_resident: int


class Predictor:
    """Segments scans with one network; the network is moved to the device and put into evaluation mode.

    Args:
        network: with a :class:`~suprem.zoo.config.ModelConfig` in ``network.config``, as ``load_pretrained`` gives it.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        quality: a name of :data:`~suprem.inference.levels.LEVELS`: how much work is done for the last bit of accuracy.
            ``"balanced"`` lays few windows over the body, a little larger ones than the network was trained with where
            that saves work and memory allows, and labels nothing outside; ``"fast"`` overlaps them less;
            ``"exhaustive"`` runs everywhere, window for window as MONAI's sliding-window inference.
        overlap: least fraction of a window of the trained size that neighbours share, at least 0 and below 1; longer
            windows share as many voxels. ``None`` for that of ``quality``.
        max_ram: limit for the memory of the whole process, e.g. ``"4GiB"``; ``None`` for none. Reading the scan and
            running one window come before the plan is made, so they are not held back by it.
        postprocess: a name of :func:`~suprem.inference.postprocessing.list_postprocess`.
        flip_tta: run each window mirrored as well, with left and right swapped back, and average; twice the time, and
            the memory of blended logits where features could have been blended.
        classes: structures to predict; ``None`` for all the network knows.
        window_batch: windows per forward pass; ``None`` lets the plan choose. Changes speed and memory only.
        precision: ``"bfloat16"`` runs the network in mixed precision, faster on recent GPUs, with slightly other
            results.

    Raises:
        ConfigurationError: an argument that cannot work.
        UnknownNameError: a class that the network does not predict.

    Example:
        >>> from suprem.backbones import create_model
        >>> from suprem.zoo.config import ModelConfig
        >>> network = create_model("segresnet_tiny", num_classes=2)
        >>> network.config = ModelConfig("example", "segresnet_tiny", ("liver", "spleen"))
        >>> Predictor(network, device="cpu", classes=["spleen"]).classes
        ('spleen',)
    """

    def __init__(
        self,
        network: "SegmentationNetwork",
        *,
        device: str | torch.device = "auto",
        quality: QualityName = "balanced",
        overlap: float | None = None,
        max_ram: str | int | None = "4GiB",
        postprocess: str = "none",
        flip_tta: bool = False,
        classes: Sequence[str] | None = None,
        window_batch: int | None = None,
        precision: PrecisionName = "float32",
    ) -> None:
        self._config = _checked_config(network)
        self._quality, self._level = quality, quality_level(quality)
        _check_choice("precision", precision, get_args(PrecisionName))
        check_profile(postprocess)
        if window_batch is not None and window_batch < 1:
            raise ConfigurationError(f"window_batch is {window_batch}; it must be at least 1.")
        self._overlap = self._level.overlap if overlap is None else overlap
        check_overlap(self._overlap)
        if max_ram is not None:
            parse_size(max_ram)
        chosen = _chosen(self._config, classes)
        self.device = resolve_device(device)
        self._channels = ClassChannels(self._config, chosen, flip=flip_tta)
        mixed = precision == "bfloat16"
        self._network = WindowNetwork(network.to(self.device).eval(), self._channels, flip=flip_tta, mixed=mixed)
        self._weights_bytes = tensor_bytes(network)
        self._load_report = network.load_report
        self._max_ram, self._postprocess, self._flip, self._precision = max_ram, postprocess, flip_tta, precision
        self._window_batch, self._step = window_batch, network.divisor
        self._window_bytes: int | None = None
        self._exact = self._probe() is None or self.device.type != "cpu"

    def _probe(self) -> tuple[int, int, int] | None:
        """A window of an eighth of the voxels to measure memory with, ``None`` where the trained one is small."""
        x, y, z = (size // 2 // self._step * self._step for size in self._config.preprocessing.patch_size)
        return (x, y, z) if min(x, y, z) >= 2 * self._step else None

    @property
    def _batches(self) -> tuple[int, ...]:
        """Window batches to consider, the fastest first; windows gain nothing from company on a CPU (measured)."""
        if self._window_batch:
            return (self._window_batch,)
        return (1,) if self.device.type == "cpu" else _GPU_BATCHES

    @property
    def classes(self) -> tuple[str, ...]:
        """The structures that are predicted, as the network's configuration spells them."""
        return self._channels.names

    @property
    def config(self) -> "ModelConfig":
        """The contract of the network's weights."""
        return self._config

    @property
    def load_report(self) -> "LoadReport | None":
        """What happened when the weights were loaded; ``None`` for a network made from scratch."""
        return self._load_report

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but the network and the scan that decides the result; holds only what JSON can."""
        return {
            "classes": list(self.classes),
            "quality": self._quality,
            "overlap": self._overlap,
            "postprocess": self._postprocess,
            "flip_tta": self._flip,
            "precision": self._precision,
        }

    def plan(self, volume: Volume) -> Plan:
        """How ``volume`` would be run, and the memory that takes; runs one window to measure it.

        Raises:
            ConfigurationError: ``max_ram`` cannot be held; the message says what is needed.
        """
        return self._prepare(volume, Stopwatch()).plan

    def predict(
        self,
        volume: Volume,
        progress: Progress | None = None,
        *,
        planned: Callable[[Plan], None] | None = None,
        probabilities: ProbabilitySink | None = None,
    ) -> Segmentation:
        """Segments one scan.

        Args:
            volume: HU on any grid.
            progress: called with the number of windows done and the number to do.
            planned: called with the plan before the first window.
            probabilities: is handed the probabilities of :attr:`classes` while the scan is predicted, such as a
                :class:`~suprem.inference.probabilities.ProbabilityFile`; post-processing changes labels alone.

        Raises:
            ConfigurationError: ``max_ram`` cannot be held; the message says what is needed.
            VolumeError: intensities that are not finite.
            CheckpointError: the network returns NaN.
        """
        clock = Stopwatch()
        with clock.measure("total"):
            prepared = self._prepare(volume, clock, probabilities)
            job, plan = prepared.job, prepared.plan
            _log.info("%s: %s", volume.name, plan.describe())
            if planned is not None:
                planned(plan)
            labels = stream(job, plan.window_batch, getattr(torch, plan.dtype), progress)
            info = self._info(prepared)
            undecided_ml = job.channels.by_name(job.undecided) * prod(job.grid.spacing_mm) / 1000
            segmentation = Segmentation(self.classes, volume, job.grid, labels, info, undecided_ml.tolist())
            with clock.measure("postprocess"):
                records = postprocess(segmentation, self._postprocess)
            info["postprocess"] = {"profile": self._postprocess, "rules": records}
        info["seconds"] = {phase: round(seconds, 3) for phase, seconds in clock.seconds.items()}
        return segmentation

    def _prepare(self, volume: Volume, clock: Stopwatch, probabilities: ProbabilitySink | None = None) -> _Prepared:
        contract = self._config.preprocessing
        in_use, device_free = resident_bytes(), free_bytes(self.device)
        grid = ModelGrid.of(volume, contract.spacing_mm)
        label_bytes = prod(grid.shape) * self._channels.planes * self._channels.label_dtype.itemsize
        resident = label_bytes + device_bytes(grid, volume.array.nbytes)
        there, means = None, None
        with clock.measure("copy"):
            if self._on_device(resident, device_free):
                there = DeviceScan(volume, grid, self.device)
        if there is not None and self._level.fitted:
            with clock.measure("body"):
                means = there.block_means(coarse_factors(grid))
        with clock.measure("input"):
            source = there.input(contract.hu_window) if there else InputBand(volume, grid, contract.hu_window)
        body, note = None, "not looked for: the exhaustive level runs everywhere"
        if self._level.fitted:
            with clock.measure("body"):  # on a CPU, while a GPU makes the input
                body = find_body(volume, grid, means)
            note = "found" if body is not None else "none found, so the whole volume was run"
        with clock.measure("plan"):
            facts = _Facts(volume, grid, in_use, device_free, resident if there else label_bytes)
            if self._window_bytes is None:
                self._window_bytes = window_bytes(self._network, contract.patch_size, self.device, self._probe())
            layout, demand = self._laid_out(facts, body)
            if not self._exact and not fits(demand, self._max_ram, batches=self._batches):
                # The estimate is generous; what a whole window takes may still be allowed.
                self._window_bytes, self._exact = window_bytes(self._network, contract.patch_size, self.device), True
                layout, demand = self._laid_out(facts, body)
            plan = make_plan(demand, self._max_ram, batches=self._batches)
        job = Job(
            scan=volume,
            grid=grid,
            source=source,
            layout=layout,
            network=self._network,
            channels=self._channels,
            device=self.device,
            clock=clock,
            labels=LabelWriter(self._channels, grid.shape, self.device if self.device.type != "cpu" else None),
            inside=BodyLookup(body, self.device).region,
            undecided=torch.zeros(len(self._channels.rows), dtype=torch.int64, device=self.device),
            sound=torch.ones((), dtype=torch.bool, device=self.device),
            probabilities=probabilities,
        )
        return _Prepared(job, plan, demand.skipped, note)

    def _laid_out(self, facts: _Facts, body: BodyMask | None) -> tuple[SlabLayout, Demand]:
        """The windows that are the least work of those whose memory is allowed; of the trained size where none is."""
        shape, patch = facts.grid.shape, self._config.preprocessing.patch_size
        if not self._level.fitted:
            layout = SlabLayout(shape, patch, plan_windows(shape, patch, self._overlap, mirror=self._flip))
            return layout, self._demand(facts, layout, 0)
        extent = body.extent if body is not None else whole(shape)
        level, shared = self._level, shared_voxels(patch, self._overlap)
        for share in (1.0, 0.5, 0.0) if level.growth > 1 else (0.0,):
            size = best_window(shape, patch, shared, extent, **level.limits(share), divisor=self._step)
            windows = fitted_windows(shape, size, shared, extent, mirror=self._flip)
            kept = [w for w in windows if body is None or body.touches(w.start, size)]
            layout = SlabLayout(shape, size, kept)
            demand = self._demand(facts, layout, len(windows) - len(kept))
            if fits(demand, self._max_ram, batches=self._batches):
                break
        return layout, demand

    def _on_device(self, resident: int, free: int | None) -> bool:
        """Whether scan and input go to the GPU: they must leave most of it to the network."""
        return free is not None and resident <= _RESIDENT_FRACTION * free

    def _demand(self, facts: _Facts, layout: SlabLayout, skipped: int) -> Demand:
        # Activations grow with the voxels of a window.
        growth = prod(layout.patch_size) / prod(self._config.preprocessing.patch_size)
        return Demand(
            model_shape=facts.grid.shape,
            scan_shape=facts.grid.scan_shape,
            in_use=facts.in_use,
            scan_bytes=facts.scan.array.nbytes,
            weights_bytes=self._weights_bytes,
            label_bytes=self._channels.store_bytes(facts.grid.shape),
            patch_size=layout.patch_size,
            channels=self._network.channels,
            blends=self._network.blends,
            window_bytes=ceil(growth * (self._window_bytes or 0)),
            open_voxels=layout.peak_voxels,
            device_free=facts.device_free,
            device_resident=facts.device_resident,
            postprocess=self._postprocess != "none",
            windows=len(layout.windows),
            skipped=skipped,
        )

    def _info(self, prepared: _Prepared) -> dict[str, Any]:
        job, run = prepared.job, len(prepared.job.layout.windows)
        return {
            "model": self._config.name,
            "device": str(self.device),
            **self.settings,
            "body": prepared.body_note,
            "windows": {
                "total": run + prepared.skipped,
                "run": run,
                "skipped": prepared.skipped,
                "size": list(job.layout.patch_size),
            },
            "model_grid": {"shape": list(job.grid.shape), "spacing_mm": list(job.grid.spacing_mm)},
            "plan": prepared.plan.to_dict(),
        }


def _check_choice(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigurationError(f"{name} is {value!r}; it must be {' or '.join(map(repr, known))}.")


def _checked_config(network: "SegmentationNetwork") -> "ModelConfig":
    config = network.config
    if config is None:
        raise ConfigurationError(
            "The network has no config, so its classes and preprocessing are unknown; load it with load_pretrained, or "
            "set network.config = ModelConfig(...)."
        )
    if config.in_channels != 1:
        raise ConfigurationError(f"{config.name} takes {config.in_channels} input channels; a CT is one channel.")
    if config.num_channels != network.num_classes:
        raise ConfigurationError(
            f"{config.name} has {network.num_classes} output channels, but its config describes {config.num_channels}; "
            "correct the config."
        )
    patch = config.preprocessing.patch_size
    if any(size % network.divisor for size in patch):
        raise ConfigurationError(
            f"{config.name} has patch_size {patch}; with this network each must be a multiple of {network.divisor}."
        )
    return config


def _chosen(config: "ModelConfig", classes: Sequence[str] | None) -> list[int]:
    """Positions of the requested classes in the network's order."""
    if classes is None:
        return list(range(len(config.classes)))
    if isinstance(classes, str) or not classes:
        raise ConfigurationError(f"classes is {classes!r}; give a list of names, such as ['liver'], or leave it out.")
    found = [matching_class(name, config.classes, config.name) for name in classes]
    return list(dict.fromkeys(found))
