"""What a transfer study compares: starting points, structures and numbers of cases, as a file and as a list of runs."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from suprem.adapters import STRATEGIES, Strategy
from suprem.errors import ConfigurationError, UnknownNameError, did_you_mean
from suprem.labels import known_name
from suprem.tasks.execution import Execution
from suprem.tasks.optimisation import Optimisation
from suprem.transforms import ProfileName
from suprem.zoo._schema import from_mapping

__all__ = ["FULL", "Initialisation", "ModelPlan", "Run", "Scoring", "Study", "Training", "read_study", "study_from"]
__all__ += ["study_text"]

FULL = "full"
"""The strategy of random weights, of which nothing is worth freezing."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Initialisation:
    """Where the weights of a run start.

    Attributes:
        source: as for :func:`suprem.load_pretrained`; ``None`` starts from random values.
        trained_on: stores of the cases that the weights have seen; none of them may be scored on.
    """

    source: str | None = None
    trained_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelPlan:
    """One architecture and its starting points.

    Attributes:
        initialisations: name -> starting point, in short its source, ``null`` for random values.
        backbone: a name of :func:`suprem.list_backbones`; ``None`` takes that of the first source.
        backbone_kwargs: arguments of the backbone's builder, for random values; with a source they are the source's.
    """

    initialisations: Mapping[str, str | Initialisation | None]
    backbone: str | None = None
    backbone_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def start(self, name: str) -> Initialisation:
        """The starting point of that name, in its long form."""
        found = self.initialisations[name]
        return found if isinstance(found, Initialisation) else Initialisation(found)

    def source(self) -> str | None:
        """The first weights, which tell the architecture where ``backbone`` does not."""
        return next((start.source for start in map(self.start, self.initialisations) if start.source), None)


@dataclass(frozen=True)
class Training:
    """What all runs have in common; the defaults are the paper's fine-tuning where it states them.

    Attributes:
        steps: optimiser steps of every run, however many cases it has.
        batch_size: patches per step and process.
        patch_size: voxels (x, y, z).
        hu_window: mapped to [0, 1] and clipped.
        augmentation: see :mod:`suprem.transforms`.
        exclusive: one softmax over background and the structures of a group, as the paper fine-tunes, instead of a
            sigmoid for each; every case then has to be annotated with all of them.
        prior: foreground probability that new classes start with, alike for all starting points.
        lora_rank: of the strategy ``lora``.
        optimisation: learning rates and schedule.
        execution: memory layout, recomputation, compilation.
        num_workers: processes that read patches.
        threads: of torch on a CPU; ``None`` leaves torch's own choice.
        keep_models: leave the trained model in the folder of each run, for ``load_pretrained("local-dir:...")``.
        checkpoint_every: steps between checkpoints, from which a killed run goes on; ``None`` starts it anew.
        curve_every: steps between scores during the training, for curves of convergence; nothing is selected by them.
        trainer: further arguments of Lightning's trainer, such as accelerator, devices and precision.
    """

    steps: int = 2000
    batch_size: int = 2
    patch_size: tuple[int, int, int] = (96, 96, 96)
    hu_window: tuple[float, float] = (-175.0, 250.0)
    augmentation: ProfileName = "default"
    exclusive: bool = False
    prior: float | None = 0.02
    lora_rank: int = 4
    optimisation: Optimisation = field(default_factory=Optimisation)
    execution: Execution = field(default_factory=Execution)
    num_workers: int = 0
    threads: int | None = None
    keep_models: bool = False
    checkpoint_every: int | None = None
    curve_every: int | None = None
    trainer: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "threads", "checkpoint_every", "curve_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigurationError(f"{name} is {value}; it must be positive.")


@dataclass(frozen=True)
class Scoring:
    """Which cases are scored, and how.

    Attributes:
        store: prepared test cases, scored on the grid of the store; ``None`` takes the official test part of the
            training stores.
        images: folder of scans, scored on their own grid; instead of ``store``.
        references: folder of their masks, in a layout of :func:`suprem.evaluation.masks.find_masks`.
        reference_numbering: of references that are label maps.
        window: voxels (x, y, z) of a window; ``None`` takes the patch size of the training.
        overlap: of neighbouring windows, which lie over the whole scan.
        tolerance_mm: of the normalised surface distance.
    """

    store: str | None = None
    images: str | None = None
    references: str | None = None
    reference_numbering: str | None = None
    window: tuple[int, int, int] | None = None
    overlap: float = 0.5
    tolerance_mm: float = 1.0

    def __post_init__(self) -> None:
        if (self.images is None) != (self.references is None):
            raise ConfigurationError("images and references belong together; give both, or none of them.")
        if self.images is not None and self.store is not None:
            raise ConfigurationError("Both a store and a folder of scans are given; choose one of them to score on.")
        if not 0 <= self.overlap < 1 or self.tolerance_mm < 0:
            raise ConfigurationError(
                f"overlap is {self.overlap} and tolerance_mm {self.tolerance_mm}; overlap lies in [0, 1), the "
                "tolerance is not negative."
            )


@dataclass(frozen=True)
class Run:
    """One training and its scores.

    Attributes:
        group: name of the structures that it segments.
        model: name of the architecture.
        initialisation: name of its starting point.
        strategy: which parameters are trained.
        shots: groups of cases that it is trained on; a share as a float; ``None`` for all.
        seed: of the draw of cases and of everything else that is drawn.
    """

    group: str
    model: str
    initialisation: str
    strategy: str
    shots: int | float | None
    seed: int

    @property
    def name(self) -> str:
        """Unique in a study, and the name of its folder."""
        parts = (self.group, self.model, self.initialisation, self.strategy, f"n{self.shown_shots}", f"s{self.seed}")
        return "__".join(parts)

    @property
    def shown_shots(self) -> str:
        """Number of cases, share, or ``all``."""
        return "all" if self.shots is None else f"{self.shots:g}" if isinstance(self.shots, float) else str(self.shots)


@dataclass(frozen=True)
class Study:
    """Every run is one choice of each: group, model, starting point, strategy, number of cases, seed.

    Random weights are trained with the strategy ``full`` alone: nothing of them is worth freezing.

    Attributes:
        stores: prepared training cases, with the same settings.
        groups: name -> structures that one network segments.
        models: name -> architecture and starting points.
        scoring: which cases are scored, and how.
        training: what all runs have in common.
        strategies: names of :data:`suprem.adapters.STRATEGIES`.
        shots: numbers of cases to train on (groups of copies and of patients count once); a share as a float; ``null``
            for all.
        seeds: one draw of cases for each; the same for every starting point, so that runs can be paired.
        baseline: the starting point that the others are tested against; ``null`` for no tests.

    Raises:
        ConfigurationError: something is empty, named twice, or not to be used as a name of a folder.
    """

    stores: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    models: Mapping[str, ModelPlan]
    scoring: Scoring = Scoring()
    training: Training = Training()
    strategies: tuple[Strategy, ...] = ("full",)
    shots: tuple[int | float | None, ...] = (None,)
    seeds: tuple[int, ...] = (0, 1, 2)
    baseline: str | None = "scratch"

    def __post_init__(self) -> None:
        for name in ("stores", "groups", "models", "strategies", "shots", "seeds"):
            value = getattr(self, name)
            if not value:
                raise ConfigurationError(f"{name} is empty; name at least one.")
            if isinstance(value, tuple) and len(set(map(repr, value))) != len(value):
                raise ConfigurationError(f"{name} is {list(value)}; leave out what is there twice.")
        starts = [start for plan in self.models.values() for start in plan.initialisations]
        for name in (*self.groups, *self.models, *starts):
            if not _NAME.fullmatch(name) or "__" in name:
                raise ConfigurationError(
                    f"{name!r} names a group, model or starting point, and so a folder; use letters, digits, '-', '.' "
                    "and single '_'."
                )
        for group, classes in self.groups.items():
            if not classes or len({known_name(c) for c in classes}) != len(classes):
                raise ConfigurationError(f"Group {group} has the structures {list(classes)}; name each once.")
        self._check_shots()
        self._check_models()

    def _check_shots(self) -> None:
        for shots in self.shots:
            wrong = shots is not None and (not 0 < shots <= 1 if isinstance(shots, float) else shots < 1)
            if wrong:
                raise ConfigurationError(
                    f"shots holds {shots}; a number of cases is 1 or more, a share a float in (0, 1]."
                )

    def _check_models(self) -> None:
        for name, plan in self.models.items():
            if not plan.initialisations:
                raise ConfigurationError(f"Model {name} has no initialisations; name at least one.")
            if self.baseline is not None and self.baseline not in plan.initialisations:
                raise ConfigurationError(
                    f"The baseline is {self.baseline!r}, but model {name} has only "
                    f"{', '.join(plan.initialisations)}; name one that all models have, or null for no tests."
                )
            if plan.backbone is None and plan.source() is None:
                raise ConfigurationError(f"Model {name} has neither a backbone nor weights; name one of them.")
        for strategy in self.strategies:
            if strategy not in STRATEGIES:
                raise UnknownNameError(did_you_mean("strategy", strategy, tuple(STRATEGIES)))

    def runs(self) -> tuple[Run, ...]:
        """All runs, few cases first, so that a faulty study fails early."""
        return tuple(self._runs())

    def _runs(self) -> Iterator[Run]:
        for shots, seed, group, (model, plan) in product(self.shots, self.seeds, self.groups, self.models.items()):
            for start in plan.initialisations:
                for strategy in self.strategies if plan.start(start).source is not None else (FULL,):
                    yield Run(group, model, start, strategy, shots, seed)

    def start(self, run: Run) -> Initialisation:
        """Where a run starts."""
        return self.models[run.model].start(run.initialisation)


def read_study(path: str | Path) -> Study:
    """A study from a YAML file, whose keys are the attributes of :class:`Study`.

    Raises:
        ConfigurationError: the file cannot be read, or an entry is unknown, missing or of the wrong type.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path} cannot be read: {' '.join(str(error).split())}.") from error
    return study_from(values, str(path))


def study_from(values: Any, where: str) -> Study:
    """A study from plain values, as YAML gives them.

    Args:
        values: a mapping whose keys are the attributes of :class:`Study`.
        where: what messages call the place.

    Raises:
        ConfigurationError: an entry is unknown, missing or of the wrong type.
    """
    return from_mapping(Study, values, where)


def study_text(study: Study) -> str:
    """The study as YAML, which :func:`read_study` reads; the same text for the same study."""
    return yaml.safe_dump(_plain(asdict(study)), sort_keys=False, width=120)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
