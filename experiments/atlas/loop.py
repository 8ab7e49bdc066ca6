"""The loop on phantoms: three models annotate, cases with planted errors are ranked, reviewed and learned from.

```
python -m experiments.atlas.loop WORK        # -> results_loop.csv, docs/get-started/atlas-loop.svg
```

Some phantoms are labelled, the others are not. Three copies of the bundled tiny network are trained for the coarse
grid on different draws of the labelled ones. Whenever they have annotated everything, errors are planted in 30 % of
the other cases: in the predictions of two of the three networks and in the fused labels, the same error in every
round, until somebody has revised the structure. The annotator of `annotator.py` corrects the structures that the
ranking puts in doubt, in a few cases per round; the networks are trained further on what was revised.
"""

import argparse
import csv
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.atlas.annotator import annotate
from experiments.phantom.study import collect
from suprem.atlas.label_set import LabelSet
from suprem.atlas.loop import NextStep, next_step, run_loop
from suprem.atlas.loop_settings import LoopSettings, StopRule
from suprem.atlas.predictions import Prediction, write_prediction
from suprem.atlas.ranking import read_ranking
from suprem.atlas.review import Handout
from suprem.atlas.workspace import Atlas
from suprem.errors import ConfigurationError
from suprem.evaluation.metrics import dice_from_counts
from suprem.phantom import generate
from suprem.phantom.planted import KINDS, plant_error
from suprem.tasks.execution import Execution
from suprem.tasks.optimisation import Optimisation
from suprem.tasks.segmentation import SegmentationTask
from suprem.transfer.study import Training
from suprem.transfer.training import fit, new_data, new_trainer, start_training
from suprem.volumes.store import StoreSettings, create_store, write_case, write_index
from suprem.zoo import Preprocessing

HERE = Path(__file__).parent
FIGURE = HERE.parents[1] / "docs" / "get-started" / "atlas-loop.svg"
STRUCTURES = (
    *("spleen", "kidney_right", "kidney_left", "gall_bladder", "liver"),
    *("stomach", "aorta", "postcava", "pancreas", "bladder"),
)
START = "segresnet_tiny.phantom"
Masks = dict[str, npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class Plan:
    """Sizes of an experiment; the test takes smaller ones.

    Attributes:
        cases: without labels.
        labelled: with labels, on which the networks are trained first.
        share: of the cases without labels that get a planted error.
        spacing: of all phantoms, mm.
        models: number of networks.
        steps: of the first training.
        more_steps: of each training in the loop.
        patch: edge of a patch, voxels.
        window: voxels of the windows with which the networks predict.
        reviewed: cases handed out per round.
        rounds: at most.
        first_seed: of the phantoms.
    """

    cases: int = 40
    labelled: int = 6
    share: float = 0.3
    spacing: float = 8.0
    models: int = 3
    steps: int = 60
    more_steps: int = 60
    patch: int = 24
    window: tuple[int, int, int] = (48, 40, 80)
    reviewed: int = 4
    rounds: int = 3
    first_seed: int = 5000

    @property
    def planted(self) -> int:
        """Number of cases with an error."""
        return round(self.share * self.cases)

    def training(self, steps: int, rate: float) -> Training:
        """Settings of one training."""
        return Training(
            steps=steps,
            batch_size=2,
            patch_size=(self.patch, self.patch, self.patch),
            threads=1,
            optimisation=Optimisation(learning_rate=rate, weight_decay=1e-4, warmup_steps=min(20, steps // 4)),
            execution=Execution(channels_last=True),
            trainer={"accelerator": "cpu"},
        )


@dataclass
class Errors:
    """What is planted: case -> kind of error, and once it was planted, the structures that it spoils."""

    kinds: dict[str, str]
    spoilt: dict[str, tuple[str, ...]] = field(default_factory=dict)


def key_of(number: int, plan: Plan) -> str:
    """Of one case; the labelled ones come first."""
    return f"{'labelled' if number < plan.labelled else 'new'}/phantom_{number:03d}"


@cache
def truth(seed: int, spacing: float) -> Masks:
    """Masks of a phantom."""
    case = generate(seed, spacing_mm=(spacing, spacing, spacing), lesion_probability=0.3)
    return {name: case.mask(name) for name in STRUCTURES}


def add_case(number: int, plan: Plan, store: Path) -> None:
    """Writes one phantom into the store, with its labels if it is one of the labelled."""
    dataset, name = key_of(number, plan).split("/")
    case = generate(plan.first_seed + number, spacing_mm=(plan.spacing,) * 3, lesion_probability=0.3)
    labels: dict[str, Any] = {}
    if number < plan.labelled:
        kept = frozenset(STRUCTURES)
        labels = {"labels": case.labels, "table": tuple(entry & kept for entry in case.table), "annotated": kept}
    write_case(
        store, dataset=dataset, case=name, scan=name, subject=name, split=None, ct=case.ct,
        original_shape=case.ct.shape, original_affine=case.ct.affine, **labels,
    )  # fmt: skip


def make_store(plan: Plan, store: Path, jobs: int) -> Path:
    """All phantoms; what is there is not made again."""
    if not (store / "index.jsonl").is_file():
        create_store(store, StoreSettings((plan.spacing,) * 3))
        collect(partial(add_case, plan=plan, store=store), range(plan.labelled + plan.cases), jobs)
        write_index(store)
    return store


def first_model(number: int, plan: Plan, store: Path, out: Path) -> str:
    """One network, trained on a draw of the labelled cases from the bundled weights, which know another spacing."""
    target = out / f"model_{number}"
    if not target.is_dir():
        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        settings = plan.training(plan.steps, 1e-3)
        start_training(settings, number)
        data = new_data(settings, [store], STRUCTURES, subset=max(1, plan.labelled // plan.models), seed=number)
        task = SegmentationTask(
            None, STRUCTURES, init=START, optimisation=settings.optimisation, execution=settings.execution,
            preprocessing=Preprocessing((plan.spacing,) * 3, settings.hu_window, plan.window),
        )  # fmt: skip
        fit(new_trainer(settings, out / f".work_{number}"), task, data, out / f".work_{number}", f"model {number}")
        task.export(target, name=f"segresnet_tiny.model_{number}")
    return f"local-dir:{target.resolve()}"


def choose_errors(plan: Plan) -> Errors:
    """Which cases get which kind of error; kinds take turns."""
    rng = np.random.default_rng(7)
    chosen = sorted(rng.permutation(plan.cases)[: plan.planted].tolist())
    return Errors({key_of(plan.labelled + n, plan): KINDS[i % len(KINDS)] for i, n in enumerate(chosen)})


def plant(atlas: Atlas, number: int, errors: Errors, plan: Plan) -> None:
    """Plants the errors that nobody has revised yet into the labels of a round, and into all predictions but one."""
    for index, key in enumerate(errors.kinds):
        origins = atlas.provenance(key)
        if key in errors.spoilt and all(origins[name].source == "revised" for name in errors.spoilt[key]):
            continue
        folder = atlas.pseudo_folder(number, key)
        labels = LabelSet.read(folder)
        masks = {name: labels.mask(name) for name in labels.structures}
        after = _with_error(masks, key, index, errors, plan)
        if after is None:
            continue  # the models have lost the structure by themselves
        spoilt = tuple(name for name in after if after[name] is not masks[name])
        errors.spoilt.setdefault(key, spoilt)
        changed = LabelSet.from_masks(after.items(), labels.shape, labels.affine, labels.provenance)
        changed.write(folder)
        models = sorted(path.name for path in (atlas.round_folder(number) / "models").iterdir())
        for place in [m for i, m in enumerate(models) if i != index % len(models)]:
            _spoil(atlas.prediction_folder(number, place, key), masks, after)


def _with_error(masks: Masks, key: str, seed: int, errors: Errors, plan: Plan) -> Masks | None:
    """Masks with the error of a case; the first time it is of the next kind where its own does not fit."""
    spacing, wanted = (plan.spacing,) * 3, KINDS.index(errors.kinds[key])  # type: ignore[arg-type]
    known = errors.spoilt.get(key)
    for kind in (*KINDS[wanted:], *KINDS[:wanted])[: 1 if known else None]:
        try:
            after, _ = plant_error(
                masks, kind, spacing, seed, structure=known[0] if known else None, radius_mm=(15.0, 25.0)
            )
        except ConfigurationError:  # such an error does not fit into these masks
            continue
        errors.kinds[key] = kind
        return after
    return None


def _spoil(folder: Path, before: Masks, after: Masks) -> None:
    """Makes a model as sure of the error as it is of what it sees elsewhere."""
    found = Prediction.open(folder)
    values = {name: found.probability(name) for name in found.classes}
    for name, mask in after.items():
        if mask is not before[name] and name in values:
            sure = np.uint8(217)  # 85 %
            values[name] = values[name].copy()
            values[name][mask & (values[name] <= 127)] = sure
            values[name][~mask & (values[name] > 127)] = 255 - sure
    write_prediction(folder, values.items(), exclusive=found.exclusive, info=found.info, overwrite=True)


def scores(atlas: Atlas, plan: Plan) -> dict[tuple[str, str], float]:
    """Dice coefficient of the labels that count against the truth, of each structure that a case has."""
    found = {}
    for number in range(plan.labelled, plan.labelled + plan.cases):
        key, masks = key_of(number, plan), truth(plan.first_seed + number, plan.spacing)
        labels = atlas.labels(key)
        for name, wanted in masks.items():
            if wanted.any():
                mask = labels.mask(name)
                sizes = (int(np.count_nonzero(m)) for m in (mask & wanted, mask, wanted))
                found[key, name] = dice_from_counts(*sizes)
    return found


def mean(values: Mapping[tuple[str, str], float], without: frozenset[str] = frozenset()) -> float:
    """Over cases and structures, without some of the cases."""
    return float(np.mean([value for (case, _), value in values.items() if case not in without]))


@dataclass
class Recorder:
    """Measures the labels after every step that changes them."""

    atlas: Atlas
    plan: Plan
    errors: Errors
    rows: list[dict[str, Any]] = field(default_factory=list)
    achievable: dict[str, float] = field(default_factory=dict)
    first: dict[tuple[str, str], float] = field(default_factory=dict)
    start: float = field(default_factory=time.monotonic)

    def after(self, step: NextStep) -> None:
        """Plants, measures, and notes what a review could gain at most."""
        if step.kind == "ensemble":
            plant(self.atlas, step.round, self.errors, self.plan)
        if step.kind == "prioritise" and step.round == 1:
            self._gains()
        if step.kind in ("ensemble", "review"):
            self._measure(step)

    def _gains(self) -> None:
        """Mean Dice coefficients after a perfect correction of the planted errors, and after a review of all cases."""
        spoilt = {(case, name) for case, names in self.errors.spoilt.items() for name in names}
        rows = read_ranking(self.atlas.priority_folder(1))
        shown = {(row.case, name) for row in rows for name in row.structures}
        for name, corrected in (("planted", spoilt), ("full", shown)):
            self.achievable[name] = mean({k: 1.0 if k in corrected else v for k, v in self.first.items()})

    def _measure(self, step: NextStep) -> None:
        found = scores(self.atlas, self.plan)
        self.first = self.first or found
        reviews = [event.facts for event in self.atlas.journal.events("revision")]
        reviewed = frozenset(str(facts["case"]) for facts in reviews)
        seen = {(case, name) for case in reviewed for name in self._revised(case)}
        left = [c for c, names in self.errors.spoilt.items() if any((c, name) not in seen for name in names)]
        row = {
            "round": step.round,
            "after": step.kind,
            "reviewed": len(reviewed),
            "reviewed_share": len(reviewed) / self.plan.cases,
            "revised_share": len(seen) / (self.plan.cases * len(STRUCTURES)),
            "dsc": mean(found),
            "dsc_not_reviewed": mean(found, reviewed),
            "planted_left": len(left),
            "minutes": (time.monotonic() - self.start) / 60,
        }
        self.rows.append(row)
        write_rows(self.finished(), self.atlas.root.parent / "rows.csv")  # what there is, if somebody stops it
        logging.warning("%s", row)

    def _revised(self, case: str) -> list[str]:
        return [name for name, origin in self.atlas.provenance(case).items() if origin.source == "revised"]

    def finished(self) -> list[dict[str, Any]]:
        """Rows with the share of each achievable gain."""
        start = self.rows[0]["dsc"]
        for row in self.rows:
            for name, best in self.achievable.items():
                row[f"gain_of_{name}"] = (row["dsc"] - start) / (best - start)
                row[f"dsc_{name}"] = best
        return self.rows


def experiment(work: Path, plan: Plan, jobs: int) -> list[dict[str, Any]]:
    """Runs the loop in a new atlas; the store and the first networks are kept."""
    start = time.monotonic()
    store = make_store(plan, work / "store", jobs)
    train = partial(first_model, plan=plan, store=store, out=work / "models")
    models = collect(train, range(plan.models), min(jobs, plan.models))
    atlas = Atlas.create(work / "atlas", store, STRUCTURES)
    settings = LoopSettings(
        tuple(models.values()),
        cases=plan.reviewed,
        overlap=0.0,
        window=plan.window,
        training=plan.training(plan.more_steps, 1e-3),
        stop=StopRule(max_rounds=plan.rounds),
        device="cpu",
    )
    seeds = {key_of(n, plan): plan.first_seed + n for n in range(plan.labelled + plan.cases)}
    recorder = Recorder(atlas, plan, choose_errors(plan), start=start)

    def review(handout: Handout) -> None:
        annotate(atlas, handout, lambda case: truth(seeds[case], plan.spacing))

    run_loop(atlas, settings, annotate=review, after=recorder.after, jobs=jobs, say=logging.info)
    assert next_step(atlas, settings).kind == "done"
    return recorder.finished()


def write_rows(rows: list[dict[str, Any]], path: Path) -> None:
    """The results as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Mean Dice coefficient over the share of cases that were reviewed."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "suprem"
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    shares = [100 * row["reviewed_share"] for row in rows]
    axes.plot(shares, [row["dsc"] for row in rows], "o-", label="all cases")
    axes.plot(shares, [row["dsc_not_reviewed"] for row in rows], "s--", label="cases not reviewed")
    for row, share in zip(rows, shares, strict=True):
        axes.annotate(
            f"{row['round']} {row['after']}", (share, row["dsc"]), (6, -10), textcoords="offset points", size=7
        )
    axes.axhline(rows[0]["dsc_planted"], color="0.6", linestyle=":", label="start, planted errors corrected")
    axes.axvline(20, color="0.85")
    axes.set_xlabel("cases reviewed so far (%)")
    axes.set_ylabel("mean Dice coefficient of the labels")
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="Folder for phantoms, networks and the atlas; the atlas must be new.")
    parser.add_argument("--jobs", type=int, default=2, help="Processes, of one thread each.")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    rows = experiment(options.work.resolve(), Plan(), options.jobs)
    write_rows(rows, HERE / "results_loop.csv")
    draw(rows, FIGURE)
    print(f"{HERE / 'results_loop.csv'}: {len(rows)} rows, {rows[-1]['minutes']:.1f} minutes")


if __name__ == "__main__":
    main()
