"""What the loop on phantoms starts from: a store, networks, and the truth."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.phantom.study import collect
from suprem import load_pretrained
from suprem.atlas.label_set import PaletteBuilder
from suprem.atlas.loop_settings import LoopSettings, StopRule
from suprem.inference._components import bounding_box
from suprem.phantom import generate
from suprem.tasks.execution import Execution
from suprem.tasks.optimisation import Optimisation
from suprem.tasks.segmentation import SegmentationTask
from suprem.transfer.study import Training
from suprem.transfer.training import fit, new_data, new_trainer, start_training
from suprem.volumes.geometry import Volume
from suprem.volumes.store import StoreSettings, create_store, write_case, write_index
from suprem.zoo import Preprocessing, save_folder

__all__ = ["STRUCTURES", "Masks", "Plan", "first_models", "key_of", "make_store", "phantom"]

STRUCTURES = (
    *("spleen", "kidney_right", "kidney_left", "gall_bladder", "liver"),
    *("stomach", "aorta", "postcava", "pancreas", "bladder"),
)
MARGIN_MM = 12.0
Masks = dict[str, npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class Plan:
    """Sizes of an experiment; the test takes smaller ones.

    Attributes:
        cases: without labels.
        labelled: with labels, on which the networks are trained first.
        share: of the cases without labels that get a planted error.
        spacing: of all phantoms, mm.
        start: weights that all networks are trained from, after they have forgotten the structures in ``unknown``.
        unknown: structures that no labelled case has, and no network of the first round.
        models: number of networks.
        steps: of the first training.
        more_steps: of each training in the loop, which begins with the networks of the first round.
        patch: edge of a patch, voxels.
        window: voxels of the windows with which the networks predict.
        rate: of learning.
        head_rate: of the output layer, relative to ``rate``: it has rows to learn from nothing.
        reviewed: cases handed out per round.
        rounds: of annotation; after each but the last, cases are reviewed and learned from.
        unseen: phantoms beside those of the store, on which the networks are measured.
        first_seed: of the phantoms.
    """

    cases: int = 40
    labelled: int = 3
    share: float = 0.3
    spacing: float = 4.0
    start: str = "segresnet_tiny.phantom"
    unknown: tuple[str, ...] = ("spleen", "stomach", "aorta", "bladder")
    models: int = 3
    steps: int = 20
    more_steps: int = 240
    patch: int = 48
    window: tuple[int, int, int] = (48, 48, 48)
    rate: float = 5e-4
    head_rate: float = 40.0
    reviewed: int = 4
    rounds: int = 3
    unseen: int = 10
    first_seed: int = 5000

    @property
    def planted(self) -> int:
        """Number of cases with an error."""
        return round(self.share * self.cases)

    @property
    def keys(self) -> tuple[str, ...]:
        """Of the cases without labels."""
        return tuple(key_of(number, self) for number in range(self.labelled, self.labelled + self.cases))

    @property
    def known(self) -> tuple[str, ...]:
        """Structures of the labelled cases and of the first networks."""
        return tuple(name for name in STRUCTURES if name not in self.unknown)

    def training(self, steps: int) -> Training:
        """Settings of one training."""
        return Training(
            steps=steps,
            batch_size=2,
            patch_size=(self.patch, self.patch, self.patch),
            augmentation="none",
            threads=1,
            optimisation=Optimisation(
                learning_rate=self.rate,
                weight_decay=1e-4,
                head_rate=self.head_rate,
                warmup_steps=min(20, steps // 4),
            ),
            execution=Execution(channels_last=True),
            trainer={"accelerator": "cpu"},
        )

    def settings(self, models: Sequence[str]) -> LoopSettings:
        """Of the loop."""
        return LoopSettings(
            tuple(models),
            cases=self.reviewed,
            overlap=0.0,
            window=self.window,
            training=self.training(self.more_steps),
            restart=True,
            stop=StopRule(max_rounds=self.rounds),
            device="cpu",
        )

    def truth(self, key: str) -> Masks:
        """Masks of a case."""
        return phantom(self.first_seed + int(key.rsplit("_", 1)[1]), self.spacing)[1]


def key_of(number: int, plan: Plan) -> str:
    """Of one case; the labelled ones come first."""
    return f"{'labelled' if number < plan.labelled else 'new'}/phantom_{number:03d}"


@cache
def phantom(seed: int, spacing: float) -> tuple[Volume, Masks]:
    """A phantom around its structures, with a margin, and their masks; the rest would only take time."""
    case = generate(seed, spacing_mm=(spacing, spacing, spacing), lesion_probability=0.3)
    masks = {name: case.mask(name) for name in STRUCTURES}
    box = bounding_box(np.logical_or.reduce(list(masks.values())), [round(MARGIN_MM / spacing)] * 3)
    assert box is not None
    affine = case.ct.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [axis.start for axis in box]
    ct = Volume(np.ascontiguousarray(case.ct.array[box]), affine, case.ct.name)
    return ct, {name: np.ascontiguousarray(mask[box]) for name, mask in masks.items()}


def add_case(number: int, plan: Plan, store: Path) -> None:
    """Writes one phantom into the store, with its labels if it is one of the labelled."""
    dataset, name = key_of(number, plan).split("/")
    ct, masks = phantom(plan.first_seed + number, plan.spacing)
    labels: dict[str, Any] = {}
    if number < plan.labelled:
        builder = PaletteBuilder(ct.shape)
        for known in plan.known:
            builder.add(known, masks[known])
        indices, table = builder.finish()
        labels = {"labels": Volume(indices, ct.affine, name), "table": table, "annotated": frozenset(plan.known)}
    write_case(
        store, dataset=dataset, case=name, scan=name, subject=name, split=None, ct=ct,
        original_shape=ct.shape, original_affine=ct.affine, **labels,
    )  # fmt: skip


def make_store(plan: Plan, store: Path, jobs: int) -> Path:
    """All phantoms; what is there is not made again."""
    if not (store / "index.jsonl").is_file():
        create_store(store, StoreSettings((plan.spacing,) * 3))
        collect(partial(add_case, plan=plan, store=store), range(plan.labelled + plan.cases), jobs)
        write_index(store)
    return store


def first_models(plan: Plan, store: Path, out: Path, jobs: int) -> list[str]:
    """The networks of the first round, each trained on a draw of its own; finished ones are not trained again."""
    start = f"local-dir:{_start(plan, out / 'start')}"
    train = partial(_first_model, plan=plan, start=start, store=store, out=out)
    return list(collect(train, range(plan.models), min(jobs, plan.models)).values())


def _start(plan: Plan, folder: Path) -> Path:
    """Weights that have forgotten what no labelled case has."""
    if not folder.is_dir():
        save_folder(load_pretrained(plan.start, classes=plan.known), folder)
    return folder


def _first_model(number: int, plan: Plan, start: str, store: Path, out: Path) -> str:
    """One network, trained for a moment on a draw of the labelled cases."""
    target = out / f"model_{number}"
    if not target.is_dir():
        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        settings = plan.training(plan.steps)
        start_training(settings, number)
        data = new_data(settings, [store], plan.known, subset=max(1, plan.labelled // plan.models), seed=number)
        task = SegmentationTask(
            None, plan.known, init=start, optimisation=settings.optimisation, execution=settings.execution,
            preprocessing=Preprocessing((plan.spacing,) * 3, settings.hu_window, plan.window),
        )  # fmt: skip
        fit(new_trainer(settings, out / f".work_{number}"), task, data, out / f".work_{number}", f"model {number}")
        task.export(target, name=f"segresnet.model_{number}")
    return f"local-dir:{target.resolve()}"
