"""Does the importance score find planted errors? Phantoms, three simulated models, errors of five kinds.

```
python experiments/atlas/prioritise.py --scores FOLDER    # -> results_prioritise*.csv
python experiments/atlas/prioritise.py --scores FOLDER --first 4000 --cases 30 --draws 20 --out FOLDER    # for choosing
```

Nothing is trained: each model is the truth of the phantom, warped and blurred, with outlines that err smoothly by
a millimetre or two, more in fuzzy structures, and with probabilities that fall off around it. The labels are the
majority of the three, as after `suprem atlas ensemble`. In every draw one tenth of the cases gets one error each:

- ``labels``: in the labels alone, as by a slip of a person or in an import;
- ``two models``: in two of three models, and so in the labels, their majority;
- ``all models``: in all three, and so in the labels. Only doubt and overlap can tell of it;
- ``mixed``: a third of the cases each.

A model that makes a planted error believes in it with a probability drawn between 0.55 and 1.
"""

import argparse
import csv
import itertools
import json
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from suprem._files import atomic_path
from suprem._workers import map_unordered
from suprem.atlas.importance import importance
from suprem.atlas.label_set import LabelSet, Provenance
from suprem.atlas.predictions import Prediction, write_prediction
from suprem.atlas.scores import SCORES, StructureScores, score_case
from suprem.phantom import generate
from suprem.phantom.planted import KINDS, PlantedError, plant_error

HERE = Path(__file__).parent
LOG = logging.getLogger("prioritise")

ORGANS = ("spleen", "kidney_right", "kidney_left", "gall_bladder", "liver", "stomach", "aorta", "postcava", "pancreas")
STRUCTURES = (*ORGANS, "liver_tumor")
SPACING_MM, MARGIN_MM = 4.0, 24.0
SPACING = (SPACING_MM,) * 3
RADIUS_MM = (12.0, 20.0)
"""Of leaks, holes and fragments: 7 to 34 ml."""
DESIGNS = {"labels": 0, "two models": 2, "all models": 3}
MIXED = "mixed"
PLANTED_SHARE = 0.1
LARGE_ML = 15.0

# How far an outline errs and how wide the doubt around it is, relative to a sharp organ.
FUZZY = {"pancreas": 1.5, "stomach": 1.5, "gall_bladder": 1.2, "liver_tumor": 1.5}
WARP_MM, OUTLINE_MM, OFFSET_MM, WIDTH_MM = 1.2, 1.2, 0.5, 1.2

Probabilities = dict[str, npt.NDArray[np.uint8]]
Masks = dict[str, npt.NDArray[np.bool_]]
Scores = Mapping[str, StructureScores]
Ranking = Callable[[Mapping[str, Scores]], Mapping[str, float]]


@dataclass(frozen=True, eq=False)
class Case:
    """A phantom's labels and what three models say."""

    labels: Masks
    models: tuple[Probabilities, ...]


def smooth_noise(shape: Sequence[int], scale_mm: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Noise of unit deviation that changes over about ``scale_mm``."""
    noise = rng.standard_normal([n // 2 + 1 for n in shape], dtype=np.float32)
    coarse = ndimage.gaussian_filter(noise, scale_mm / SPACING_MM / 4, mode="wrap", truncate=3)
    fine = coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2)[tuple(slice(n) for n in shape)]
    return fine / max(float(fine.std()), 1e-6)


def simulated(masks: Masks, rng: np.random.Generator) -> Probabilities:
    """What an imperfect model says: probabilities as uint8."""
    shape = next(iter(masks.values())).shape
    warp = [WARP_MM / SPACING_MM * smooth_noise(shape, 40.0, rng) for _ in range(3)]
    result = {name: np.zeros(shape, dtype=np.uint8) for name in masks}
    for name, mask in masks.items():
        found = ndimage.find_objects(mask.astype(np.uint8))
        if not found:
            continue
        box = tuple(slice(max(0, span.start - 4), span.stop + 4) for span in found[0])
        inside = np.pad(mask[box], 1)
        signed = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
        signed = SPACING_MM * (signed - 0.5 * np.sign(signed))[1:-1, 1:-1, 1:-1]
        places = np.indices(signed.shape, dtype=np.float32) + np.stack([field[box] for field in warp])
        moved = ndimage.map_coordinates(signed, places, order=1, mode="nearest")
        fuzzy = FUZZY.get(name, 1.0)
        moved += fuzzy * (OUTLINE_MM * smooth_noise(moved.shape, 25.0, rng) + rng.normal(0, OFFSET_MM))
        result[name][box] = np.round(255 / (1 + np.exp(-np.clip(moved / (fuzzy * WIDTH_MM), -30, 30))))
    return result


def spoilt(model: Probabilities, before: Masks, after: Masks, error: PlantedError, sure: float) -> Probabilities:
    """What a model says that makes an error which was planted in labels, and is ``sure`` of it."""
    result = dict(model)
    changed = [name for name in after if after[name] is not before[name]]
    if error.kind == "swapped":
        one, other = changed
        result[one], result[other] = model[other], model[one]
        return result
    (name,) = changed
    result[name] = values = model[name].copy()
    if error.kind == "missing":
        values[values > 127] = round(255 * (1 - sure))
    values[after[name] & ~before[name]] = round(255 * sure)
    values[before[name] & ~after[name]] = round(255 * (1 - sure))
    return result


def majority(models: Sequence[Probabilities]) -> Masks:
    """What most models see."""
    return {name: sum((p[name] > 127).astype(np.uint8) for p in models) * 2 > len(models) for name in models[0]}


def make_case(seed: int) -> Case:
    """One phantom around its organs."""
    phantom = generate(seed, spacing_mm=SPACING, lesion_probability=0.5)
    masks = {name: phantom.mask(name) for name in STRUCTURES}
    (spans,) = ndimage.find_objects(np.logical_or.reduce(list(masks.values())).astype(np.uint8))
    margin = round(MARGIN_MM / SPACING_MM)
    box = tuple(slice(max(0, span.start - margin), span.stop + margin) for span in spans)
    masks = {name: mask[box] for name, mask in masks.items()}
    rng = np.random.default_rng([seed, 1])
    models = tuple(simulated(masks, rng) for _ in range(3))
    return Case(majority(models), models)


def with_error(case: Case, design: str, kind: Any, seed: int) -> tuple[Case, PlantedError]:
    """The case with one planted error."""
    after, error = plant_error(case.labels, kind, SPACING, seed, radius_mm=RADIUS_MM)
    rng = np.random.default_rng([seed, 2])
    models = list(case.models)
    for index in rng.permutation(len(models))[: DESIGNS[design]]:
        models[index] = spoilt(models[index], case.labels, after, error, rng.uniform(0.55, 1.0))
    if DESIGNS[design]:
        return Case(majority(models), tuple(models)), error
    return replace(case, labels=after), error


def scored(case: Case, structures: Sequence[str] = STRUCTURES) -> Scores:
    """Scores of some structures of a case, by way of files as in an atlas."""
    shape = next(iter(case.labels.values())).shape
    affine, origin = np.diag([*SPACING, 1.0]), Provenance("pseudo", "majority", 1)
    labels = LabelSet.from_masks(case.labels.items(), shape, affine, dict.fromkeys(case.labels, origin))
    with tempfile.TemporaryDirectory() as folder:
        predictions = {}
        for number, model in enumerate(case.models):
            place = Path(folder) / str(number)
            write_prediction(place, model.items(), exclusive=False, info={})
            predictions[str(number)] = Prediction.open(place)
        beside = [name for name in STRUCTURES if name not in structures]
        return score_case(predictions, labels, structures, beside=beside).structures


def scored_again(before: Case, scores: Scores, after: Case) -> Scores:
    """Scores of a case that has been changed: only of structures that are or touch what has."""
    voters = [(before.labels, after.labels)]
    voters += [(masks_of(old), masks_of(new)) for old, new in zip(before.models, after.models, strict=True)]
    place = np.logical_or.reduce([new[name] != old[name] for old, new in voters for name in STRUCTURES])
    again = [
        name
        for name in STRUCTURES
        if any((new[name] & place).any() or (new[name] != old[name]).any() for old, new in voters)
        or any(new[name] is not old[name] for old, new in zip(before.models, after.models, strict=True))
    ]
    return {**scores, **scored(after, again)}


def masks_of(model: Probabilities) -> Masks:
    """What a model sees."""
    return {name: values > 127 for name, values in model.items()}


def rankings() -> dict[str, Ranking]:
    """What cases are ranked by."""

    def single(score: str) -> Ranking:
        return lambda scores: {case: one.scores[score] for case, one in importance(scores).items()}

    def unnormalised(scores: Mapping[str, Scores]) -> dict[str, float]:
        return {case: sum(getattr(s, f"{n}_ml") for s in own.values() for n in SCORES) for case, own in scores.items()}

    combined: dict[str, Ranking] = {
        "importance": lambda scores: {c: one.value for c, one in importance(scores).items()}
    }
    return {**combined, **{f"{score} alone": single(score) for score in SCORES}, "sum of all, as it is": unnormalised}


def found_curve(values: Mapping[str, float], planted: Sequence[str], rng: np.random.Generator) -> npt.NDArray[Any]:
    """Share of the planted cases among the first 0, 1, 2, ... cases; ties are broken at random."""
    order = sorted(values, key=lambda case: (-values[case], rng.random()))
    return np.concatenate([[0.0], np.cumsum([case in set(planted) for case in order]) / len(planted)])


def area(curve: npt.NDArray[Any]) -> float:
    """Under the curve of errors found over volumes reviewed, both from 0 to 1."""
    return float(np.trapezoid(curve, np.linspace(0, 1, len(curve))))


@dataclass(frozen=True)
class Task:
    """One phantom, and the errors that are planted in it: draw -> kind."""

    seed: int
    place: int
    errors: Mapping[int, str]
    file: Path


def tasks(first: int, cases: int, draws: int, folder: Path) -> list[Task]:
    """Every draw plants errors in a tenth of the cases; the kinds take turns."""
    per_draw = round(PLANTED_SHARE * cases)
    errors: dict[int, dict[int, str]] = {place: {} for place in range(cases)}
    for draw in range(draws):
        places = np.random.default_rng([first, draw]).permutation(cases)[:per_draw].tolist()
        for turn, place in enumerate(places):
            errors[place][draw] = KINDS[(draw * per_draw + turn) % len(KINDS)]
    return [Task(first + place, place, own, folder / f"{first + place}.json") for place, own in errors.items()]


def measure(task: Task) -> None:
    """Scores of one phantom without an error, and with each of its errors in each design, into its file."""
    case = make_case(task.seed)
    clean = scored(case)
    planted: list[dict[str, Any]] = []
    for draw, kind in task.errors.items():
        for design in DESIGNS:
            changed, error = with_error(case, design, kind, 1000 * draw + task.place)
            facts = {"draw": draw, "design": design, "case": str(task.seed), "kind": kind, "structure": error.structure}
            planted.append({**facts, "voxels": error.voxels, "scores": as_json(scored_again(case, clean, changed))})
    with atomic_path(task.file) as temporary:
        temporary.write_text(json.dumps({"clean": as_json(clean), "planted": planted}), encoding="utf-8")


def measured(given: Sequence[Task], jobs: int) -> dict[str, Any]:
    """What was measured of all phantoms; those whose files are there are not measured again."""
    waiting = [task for task in given if not task.file.is_file()]
    for done, (task, outcome) in enumerate(map_unordered(measure, waiting, jobs=jobs), start=1):
        if isinstance(outcome, Exception):
            raise outcome
        LOG.info("phantom %s: %s of %s", task.seed, done, len(waiting))
    found = {str(task.seed): json.loads(task.file.read_text(encoding="utf-8")) for task in given}
    planted = [error for one in found.values() for error in one["planted"]]
    return {"clean": {case: one["clean"] for case, one in found.items()}, "planted": planted}


def as_json(scores: Scores) -> dict[str, Any]:
    """Scores as plain values."""
    return {name: asdict(one) for name, one in scores.items()}


def from_json(content: Mapping[str, Any]) -> Scores:
    """The inverse of :func:`as_json`."""
    return {name: StructureScores(**one) for name, one in content.items()}


def chosen(planted: Sequence[Mapping[str, Any]], draw: int, design: str) -> dict[str, Mapping[str, Any]]:
    """Case -> its error in a draw; in the mixed design the others take turns from case to case."""
    own = [one for one in planted if one["draw"] == draw]
    cases = sorted({one["case"] for one in own}, key=int)
    turns = dict(zip(cases, itertools.cycle(DESIGNS), strict=False))
    return {one["case"]: one for one in own if one["design"] == (turns[one["case"]] if design == MIXED else design)}


def evaluate(found: Mapping[str, Any]) -> tuple[list[list[Any]], list[list[Any]]]:
    """One row per design, draw and ranking; and one per design, draw, ranking and planted case.

    Draws plant errors in a tenth of the cases; each is also split into two with a twentieth.
    """
    clean = {case: from_json(one) for case, one in found["clean"].items()}
    rows: list[list[Any]] = []
    cases: list[list[Any]] = []
    for design in (*DESIGNS, MIXED):
        for draw in sorted({one["draw"] for one in found["planted"]}):
            errors = chosen(found["planted"], draw, design)
            halves = [dict(list(errors.items())[start::2]) for start in (0, 1)]
            for share, part in (("10 %", errors), ("5 %", halves[0]), ("5 %", halves[1])):
                scores = {**clean, **{case: from_json(one["scores"]) for case, one in part.items()}}
                ranked = {name: rank(scores) for name, rank in rankings().items()}
                curves = {n: found_curve(v, list(part), np.random.default_rng(draw)) for n, v in ranked.items()}
                curves["random"] = random_curve(list(scores), list(part), draw)
                tenth = round(0.1 * len(scores))
                rows += [[design, share, draw, n, len(part), float(c[tenth]), area(c)] for n, c in curves.items()]
                if part is errors:
                    cases += [[design, draw, *row] for row in place_rows(ranked, errors)]
    return rows, cases


def random_curve(cases: Sequence[str], planted: Sequence[str], draw: int) -> npt.NDArray[Any]:
    """Mean of 1000 orders."""
    rng = np.random.default_rng([draw, 3])
    orders = [dict(zip(cases, rng.permutation(len(cases)).tolist(), strict=True)) for _ in range(1000)]
    return np.mean([found_curve(order, planted, rng) for order in orders], axis=0)


def place_rows(ranked: Mapping[str, Mapping[str, float]], errors: Mapping[str, Mapping[str, Any]]) -> list[list[Any]]:
    """Of each ranking and error: what it is, and how many cases come before it that have none."""
    rows = []
    for name, values in ranked.items():
        for case, error in errors.items():
            before = sum(value >= values[case] for other, value in values.items() if other not in errors)
            volume = error["voxels"] * SPACING_MM**3 / 1000
            rows.append([name, case, error["kind"], error["structure"], volume, before])
    return rows


def summary(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Mean, deviation and worst of the draws."""
    table = []
    for key in dict.fromkeys((row[0], row[1], row[3]) for row in rows):
        own = np.array([[row[5], row[6]] for row in rows if (row[0], row[1], row[3]) == key])
        (recall, under), (recall_sd, under_sd) = own.mean(axis=0), own.std(axis=0, ddof=1)
        numbers = (recall, recall_sd, own[:, 0].min(), under, under_sd)
        table.append([*key, len(own), *(f"{number:.3f}" for number in numbers)])
    return table


def by_kind(cases: Sequence[Sequence[Any]], tenth: int) -> list[list[Any]]:
    """Per design and group: how many were planted, and the share with fewer than a tenth of all cases before them."""
    table = []
    for design in dict.fromkeys(row[0] for row in cases):
        groups: dict[str, Callable[[Sequence[Any]], bool]] = {
            **{kind: lambda row, kind=kind: row[4] == kind for kind in KINDS},
            f"below {LARGE_ML:g} ml": lambda row: row[6] < LARGE_ML,
            f"{LARGE_ML:g} ml or more": lambda row: row[6] >= LARGE_ML,
        }
        for group, belongs in groups.items():
            here = [row for row in cases if row[0] == design and belongs(row)]
            hits = {n: [row[7] < tenth for row in here if row[2] == n] for n in rankings()}
            shares = [f"{np.mean(own):.3f}" if own else "" for own in hits.values()]
            table.append([design, group, len(hits["importance"]), *shares])
    return table


def write(path: Path, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table as CSV."""
    shown = [[f"{cell:.4f}" if isinstance(cell, float) else cell for cell in row] for row in rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *shown])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=10000, help="seed of the first phantom")
    parser.add_argument("--cases", type=int, default=60, help="number of phantoms")
    parser.add_argument("--draws", type=int, default=10, help="times that errors are planted")
    parser.add_argument("--jobs", type=int, default=1, help="local processes")
    parser.add_argument(
        "--scores", type=Path, required=True, help="folder of a file per phantom, to go on after a stop"
    )
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the tables")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    found = measured(tasks(given.first, given.cases, given.draws, given.scores), given.jobs)
    rows, cases = evaluate(found)
    given.out.mkdir(parents=True, exist_ok=True)
    head = ["errors in", "planted in", "draw", "ranked by", "errors", "recall in the first 10 %", "area"]
    write(given.out / "results_prioritise.csv", head, rows)
    head = ["errors in", "planted in", "ranked by", "draws", "recall in the first 10 %", "sd", "worst", "area", "sd"]
    write(given.out / "results_prioritise_summary.csv", head, summary(rows))
    head = ["errors in", "which", "planted", *(f"found by {name}" for name in rankings())]
    write(given.out / "results_prioritise_kinds.csv", head, by_kind(cases, round(0.1 * len(found["clean"]))))
    for row in summary(rows):
        LOG.info("%s", "  ".join(map(str, row)))


if __name__ == "__main__":
    main()
