"""The loop on phantoms: three models annotate, cases with planted errors are ranked, reviewed and learned from.

```
OMP_NUM_THREADS=1 python -m experiments.atlas.loop WORK        # -> results_loop.csv, docs/get-started/atlas-loop.svg
```

Three networks know six of ten structures, as labels of different data sets would have taught them: they start from the
bundled weights without the others, and each is trained for a moment on another labelled phantom. Whenever they have
annotated everything, errors are planted in 30 % of the other cases: in the predictions of two of the three networks and
in the fused labels, the same error in every round, until somebody has revised the structure. The annotator of
`annotator.py` corrects the structures that the ranking puts in doubt and draws those that no model knows, in a few
cases per round; the networks of the first round are trained on all that was revised so far.

From the same first round start two others, whose networks are trained as long as those: one after all cases were
reviewed and every structure was corrected, one on the labelled cases alone.
"""

import argparse
import csv
import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from experiments.atlas.annotator import annotate
from experiments.atlas.phantoms import STRUCTURES, Plan, first_models, make_store, phantom
from experiments.atlas.planting import Errors, choose_errors, plant, planted_left
from experiments.phantom.study import collect
from suprem import load_pretrained
from suprem.atlas.ensemble import run_ensemble
from suprem.atlas.finetune import fine_tune
from suprem.atlas.label_set import LabelSet
from suprem.atlas.loop import NextStep, run_loop
from suprem.atlas.prioritise import prioritise
from suprem.atlas.review import Handout, export_cases
from suprem.atlas.training import write_training_store
from suprem.atlas.workspace import Atlas
from suprem.evaluation.metrics import dice, dice_from_counts
from suprem.inference import Predictor

HERE = Path(__file__).parent
FIGURE = HERE.parents[1] / "docs" / "get-started" / "atlas-loop.svg"
Branch = Literal["ranked", "all", "none"]
BRANCHES: tuple[Branch, ...] = ("ranked", "all", "none")
"""What is reviewed: what the ranking puts first, everything, or nothing."""


@dataclass
class Recorder:
    """Measures the labels of an atlas after every step that changes them."""

    atlas: Atlas
    plan: Plan
    errors: Errors
    branch: str
    start: float
    rows: list[dict[str, Any]] = field(default_factory=list)

    def after(self, step: NextStep) -> None:
        """Of the loop."""
        if step.kind == "ensemble":
            self.annotated(step.round)
        elif step.kind == "review":
            self.measure(step.round, "review")

    def annotated(self, number: int) -> None:
        """After a round of annotation, before anybody sees it."""
        plant(self.atlas, number, self.errors, self.plan)
        models = json.loads((self.atlas.round_folder(number) / "ensemble.json").read_text(encoding="utf-8"))["models"]
        self.measure(number, "ensemble", on_unseen([model["source"] for model in models], self.plan))

    def measure(self, number: int, after: str, unseen: float = float("nan")) -> None:
        """Appends a row."""
        reviewed = {str(event.facts["case"]) for event in self.atlas.journal.events("revision")}
        pseudo, counting = self._dice(number), self._dice(None)
        revised = sum(origin.source == "revised" for key in reviewed for origin in self.atlas.provenance(key).values())
        row = {
            "branch": self.branch,
            "round": number,
            "after": after,
            "reviewed": len(reviewed),
            "reviewed_share": len(reviewed) / self.plan.cases,
            "revised_share": revised / (self.plan.cases * len(STRUCTURES)),
            "dsc_models": mean(pseudo),
            "dsc_models_not_reviewed": mean({k: v for k, v in pseudo.items() if k[0] not in reviewed}),
            "dsc_labels": mean(counting),
            "dsc_unseen": unseen,
            "planted_left": len(planted_left(self.atlas, self.errors)),
            "minutes": (time.time() - self.start) / 60,
        }
        self.rows.append(row)
        logging.warning("%s", row)

    def _dice(self, number: int | None) -> dict[tuple[str, str], float]:
        """Of each structure that a case has: of the models' labels in a round, or of the labels that count."""
        found = {}
        for key in self.plan.keys:
            labels = self.atlas.labels(key) if number is None else LabelSet.read(self.atlas.pseudo_folder(number, key))
            for name, wanted in self.plan.truth(key).items():
                if wanted.any():
                    mask = labels.mask(name) if name in labels.structures else np.zeros_like(wanted)
                    sizes = (int(np.count_nonzero(m)) for m in (mask & wanted, mask, wanted))
                    found[key, name] = dice_from_counts(*sizes)
        return found


def on_unseen(sources: Sequence[str], plan: Plan) -> float:
    """Mean Dice coefficient of the networks, each alone, on phantoms that are in no store."""
    found = []
    for source in sources:
        network = Predictor(load_pretrained(source), device="cpu", overlap=plan.settings(sources).overlap)
        for seed in range(plan.first_seed + 1000, plan.first_seed + 1000 + plan.unseen):
            ct, truth = phantom(seed, plan.spacing)
            predicted = network.predict(ct)
            for name, wanted in truth.items():
                if wanted.any():
                    found.append(dice(predicted.mask(name), wanted) if name in predicted.classes else 0.0)
    return float(np.mean(found))


def mean(values: dict[tuple[str, str], float]) -> float:
    """Over cases and structures; not a number where there are none."""
    return float(np.mean(list(values.values()))) if values else float("nan")


def experiment(work: Path, plan: Plan, jobs: int) -> list[dict[str, Any]]:
    """Runs the loop and the two it is compared with; the store, the first networks and the first round are kept."""
    start = time.time()
    store = make_store(plan, work / "store", jobs)
    models = first_models(plan, store, work / "models", jobs)
    atlas = Atlas.create(work / "first", store, STRUCTURES)
    settings = plan.settings(models)
    options = {"fusion": settings.fusion, "overlap": settings.overlap, "device": settings.device}
    run_ensemble(atlas, models, jobs=jobs, **options)  # type: ignore[arg-type]
    recorder = Recorder(atlas, plan, choose_errors(plan), "first", start)
    recorder.annotated(1)
    prioritise(atlas, jobs=jobs)
    go_on = partial(_branch, first=recorder, models=models)
    others = collect(go_on, BRANCHES, jobs)
    rows = [*recorder.rows, *(row for own in others.values() for row in own)]
    return with_gains(rows)


def with_gains(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with what was gained, as a share of what the review of all cases gains."""
    best = next(row for row in rows if row["branch"] == "all" and row["after"] == "ensemble")
    for row in rows:
        for gain, of in (("gain", "dsc_models"), ("gain_unseen", "dsc_unseen")):
            row[gain] = (row[of] - rows[0][of]) / (best[of] - rows[0][of])
    return rows


def _branch(branch: Branch, first: Recorder, models: list[str]) -> list[dict[str, Any]]:
    """One way to go on after the first round, in a copy of its atlas."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    plan, root = first.plan, first.atlas.root.parent / branch
    shutil.copytree(first.atlas.root, root)
    atlas = Atlas.open(root)
    recorder = Recorder(atlas, plan, first.errors, branch, first.start)
    settings = plan.settings(models)
    if branch == "ranked":

        def review(handout: Handout) -> None:
            annotate(atlas, handout, plan.truth)

        run_loop(atlas, settings, annotate=review, after=recorder.after)
        return recorder.rows
    if branch == "all":
        annotate(atlas, export_cases(atlas, cases=plan.keys), plan.truth, thorough=True)
        recorder.measure(1, "review")
    data = write_training_store(atlas, root / "training-store", settings.sources, val_fraction=0.0)
    training = plan.training(plan.more_steps)
    trained = [
        fine_tune(source, data.path, root / "trained" / str(number), name=f"segresnet.{branch}_{number}",
                  settings=training, window=plan.window, seed=1).source
        for number, source in enumerate(models)
    ]  # fmt: skip
    run_ensemble(atlas, trained, fusion=settings.fusion, overlap=settings.overlap, device=settings.device)
    recorder.annotated(2)
    return recorder.rows


def write_rows(rows: list[dict[str, Any]], path: Path) -> None:
    """The results as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Mean Dice coefficients over the share of cases that were reviewed."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "suprem"
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    loop = [row for row in rows if row["branch"] in ("first", "ranked")]
    annotated = [row for row in loop if row["after"] == "ensemble"]
    share = [100 * row["reviewed_share"] for row in annotated]
    axes.plot(share, [row["dsc_models"] for row in annotated], "o-", label="labels of the models, after each training")
    counting = [(100 * row["reviewed_share"], row["dsc_labels"]) for row in loop]
    axes.plot(*zip(*counting, strict=True), "s--", label="labels that count: revised before models'")
    for branch, style in (("all", ":"), ("none", "-.")):
        text = "after a review of all cases" if branch == "all" else "without a review, as many steps"
        for row in [row for row in rows if row["branch"] == branch][-1:]:
            axes.axhline(row["dsc_models"], color="0.5", linestyle=style, label=f"models, {text}")
    axes.axvline(20, color="0.85")
    axes.set_xlabel("cases reviewed so far (%)")
    axes.set_ylabel("mean Dice coefficient")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="Folder for phantoms, networks and atlases; the atlases must be new.")
    parser.add_argument("--jobs", type=int, default=2, help="Processes, of one thread each.")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    rows = experiment(options.work.resolve(), Plan(), options.jobs)
    write_rows(rows, HERE / "results_loop.csv")
    draw(rows, FIGURE)
    print(f"{HERE / 'results_loop.csv'}: {len(rows)} rows, {max(row['minutes'] for row in rows):.1f} minutes")


if __name__ == "__main__":
    main()
