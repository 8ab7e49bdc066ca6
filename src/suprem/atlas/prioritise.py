"""Ranks the cases of a round by how much they deserve a look; goes on where an earlier run was stopped."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from suprem._files import atomic_path, check_writable, remove_leftovers
from suprem._workers import map_unordered
from suprem.atlas.importance import DEFAULT_WEIGHTS, Importance, Weights, expected_centre, importance
from suprem.atlas.predictions import Prediction
from suprem.atlas.ranking import CasePriority, Region, attention_path, write_ranking, write_regions
from suprem.atlas.regions import FoundRegion, find_regions
from suprem.atlas.scores import LABELS, StructureScores, score_case
from suprem.atlas.workspace import Atlas
from suprem.errors import ConfigurationError, brief
from suprem.volumes import _chunks as chunks

__all__ = ["PriorityReport", "PriorityStep", "prioritise", "round_models", "to_review"]

_FORMAT = 3


@dataclass(frozen=True)
class PriorityStep:
    """A case whose scores are there, or could not be made.

    Attributes:
        case: key ``dataset/case``.
        done: cases so far.
        total: cases to do.
        reason: why there are none; ``None`` where there are.
    """

    case: str
    done: int
    total: int
    reason: str | None


@dataclass(frozen=True)
class PriorityReport:
    """What came of it.

    Attributes:
        round: of the atlas.
        ranking: first rank first.
        regions: of all cases in the ranking, in its order.
        scored: cases whose scores were made by this run.
        kept: cases whose scores were there already.
        reviewed: cases with nothing left to look at in this round; they are not in the ranking.
        problems: case -> why it could not be scored; it is not in the ranking.
        weights: score -> weight.
        tolerance_mm: as given.
    """

    round: int
    ranking: tuple[CasePriority, ...]
    regions: tuple[Region, ...]
    scored: tuple[str, ...]
    kept: tuple[str, ...]
    reviewed: tuple[str, ...]
    problems: Mapping[str, str]
    weights: Mapping[str, float]
    tolerance_mm: float


@dataclass(frozen=True)
class _Task:
    """One case; picklable."""

    root: Path
    round: int
    case: str
    structures: tuple[str, ...]
    models: tuple[str, ...]
    inputs: dict[str, Any]


@dataclass(frozen=True)
class _Scored:
    """What is kept of a case."""

    structures: Mapping[str, StructureScores]
    regions: tuple[FoundRegion, ...]


def prioritise(
    atlas: Atlas,
    *,
    round: int | None = None,  # the word of the whole package
    weights: Weights = DEFAULT_WEIGHTS,
    tolerance_mm: float = 3.0,
    jobs: int = 1,
    scheduler: str | None = None,
    progress: Callable[[PriorityStep], None] | None = None,
) -> PriorityReport:
    """Scores every case of a finished round and writes ``ranking.csv``, ``regions.csv`` and the attention maps.

    A structure counts in a case where there is something to decide: not where the dataset's own labels settle it, nor
    where somebody has already looked at it in this round. A case without such a structure is not ranked. Scores of a
    case are kept; they are made again when its labels, the models, or ``tolerance_mm`` change.

    Args:
        atlas: With predictions of that round.
        round: Of the atlas; ``None`` for the last finished one.
        weights: Of the three scores.
        tolerance_mm: As for :func:`suprem.atlas.scores.score_case`.
        jobs: Local processes; each holds three volumes of one byte per voxel, slabs, and copies of one structure.
        scheduler: Address of a Dask scheduler to use instead.
        progress: Is told after every case.

    Raises:
        ConfigurationError: no round is finished, or there is no such round.
        OutputError: the disk is full, or the folder cannot be written.
    """
    number, models, ended = round_models(atlas, round)
    folder = atlas.priority_folder(number)
    check_writable(folder)
    for place in (folder, *folder.glob("scores/*/"), *folder.glob("attention/*/")):
        remove_leftovers(place)
    open_structures = to_review(atlas, number)
    inputs = _inputs(atlas, ended, tolerance_mm)
    tasks = [
        _Task(atlas.root, number, case, names, models, {**inputs[case], "structures": list(names)})
        for case, names in open_structures.items()
        if names
    ]
    waiting = [task for task in tasks if _read(folder, task) is None]
    problems = _run(waiting, jobs, scheduler, progress)
    scored = {task.case: one for task in tasks if (one := _read(folder, task)) is not None}
    found = importance({case: one.structures for case, one in scored.items()}, weights)
    ranking = _ranking(found)
    fresh = {task.case for task in waiting}
    report = PriorityReport(
        number,
        ranking,
        _regions(atlas, ranking, found, scored),
        tuple(case for case in scored if case in fresh),
        tuple(case for case in scored if case not in fresh),
        tuple(case for case, names in open_structures.items() if not names),
        problems,
        asdict(weights),
        tolerance_mm,
    )
    _finish(atlas, report)
    return report


def _run(
    waiting: list[_Task], jobs: int, scheduler: str | None, progress: Callable[[PriorityStep], None] | None
) -> dict[str, str]:
    """Scores cases; returns those that could not be scored, and why."""
    problems: dict[str, str] = {}
    for done, (task, outcome) in enumerate(map_unordered(_work, waiting, jobs=jobs, scheduler=scheduler), start=1):
        if isinstance(outcome, Exception):
            problems[task.case] = brief(outcome)
        if progress is not None:
            progress(PriorityStep(task.case, done, len(waiting), problems.get(task.case)))
    return problems


def _finish(atlas: Atlas, report: PriorityReport) -> None:
    """Writes the tables, and last that they are there."""
    folder = atlas.priority_folder(report.round)
    write_regions(folder, report.regions)
    write_ranking(folder, report.ranking)
    atlas.journal.append(
        "priority",
        round=report.round,
        cases=len(report.ranking),
        reviewed=len(report.reviewed),
        failed=sorted(report.problems),
        weights=dict(report.weights),
        tolerance_mm=report.tolerance_mm,
    )


def to_review(atlas: Atlas, number: int) -> dict[str, tuple[str, ...]]:
    """Case -> structures about which there is something to decide in a round.

    Left out are those that the dataset annotates or a person has revised, whatever the models say of them later, and
    those that were looked at in this round and stayed as they were.
    """
    settled = {
        case: {name for name, origin in atlas.provenance(case).items() if origin.source != "pseudo"}
        for case in atlas.cases
    }
    for event in atlas.journal.events("revision"):
        if event.facts.get("round") == number:
            looked_at = {*event.facts.get("changed", ()), *event.facts.get("checked", ())}
            settled.setdefault(event.facts["case"], set()).update(looked_at)
    return {case: tuple(name for name in atlas.structures if name not in settled[case]) for case in atlas.cases}


def round_models(atlas: Atlas, wanted: int | None) -> tuple[int, tuple[str, ...], str]:
    """Number of a finished round, the last one for ``None``; its models; and when it ended.

    Raises:
        ConfigurationError: no round is finished, or there is no such round.
    """
    events = {int(event.facts["round"]): event for event in atlas.journal.events("ensemble")}
    if not events:
        raise ConfigurationError(f"{atlas.root} has no finished round; run `suprem atlas ensemble` first.")
    number = max(events) if wanted is None else wanted
    if number not in events:
        raise ConfigurationError(f"{atlas.root} has no round {number}; finished ones are {sorted(events)}.")
    event = events[number]
    return number, tuple(str(model["name"]) for model in event.facts["models"]), event.time


def _inputs(atlas: Atlas, ended: str, tolerance_mm: float) -> dict[str, dict[str, Any]]:
    """Case -> what its scores depend on beside its structures; plain JSON values."""
    inputs: dict[str, dict[str, Any]] = {
        case: {"round_ended": ended, "tolerance_mm": tolerance_mm, "revisions": []} for case in atlas.cases
    }
    for event in atlas.journal.events("revision"):
        case, number = event.facts["case"], event.facts["revision"]
        if case in inputs and number is not None:  # it is in the store, and something was changed
            inputs[case]["revisions"].append(number)
    return inputs


def _scores_path(folder: Path, case: str) -> Path:
    return folder / "scores" / f"{case}.json"


def _work(task: _Task) -> None:
    """Scores one case and keeps what came out; the scores come last, so that what is there is complete."""
    atlas = Atlas.open(task.root)
    folder = atlas.priority_folder(task.round)
    labels = atlas.labels(task.case)
    predictions = {m: Prediction.open(atlas.prediction_folder(task.round, m, task.case)) for m in task.models}
    beside = tuple(name for name in atlas.structures if name not in task.structures)
    tolerance_mm = task.inputs["tolerance_mm"]
    found = score_case(predictions, labels, task.structures, beside=beside, tolerance_mm=tolerance_mm)
    regions = find_regions(found, predictions, labels, beside=beside)
    with atomic_path(attention_path(folder, task.case)) as temporary:
        chunks.write(found.attention, temporary)
    content = {
        "format": _FORMAT,
        "inputs": task.inputs,
        "structures": {name: asdict(scores) for name, scores in found.structures.items()},
        "regions": [asdict(region) for region in regions],
    }
    with atomic_path(_scores_path(folder, task.case)) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _read(folder: Path, task: _Task) -> _Scored | None:
    """What an earlier run has kept of a case; ``None`` where there is nothing, or something else was asked for."""
    path = _scores_path(folder, task.case)
    if not path.is_file() or not attention_path(folder, task.case).is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT or content["inputs"] != task.inputs:
            return None
        structures = {str(name): _structure_scores(facts) for name, facts in content["structures"].items()}
        return _Scored(structures, tuple(FoundRegion(**region) for region in content["regions"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # spoilt: it is made again
        return None


def _structure_scores(facts: dict[str, Any]) -> StructureScores:
    centre = facts.pop("centre")
    return StructureScores(**facts, centre=None if centre is None else (centre[0], centre[1], centre[2]))


def _ranking(found: Mapping[str, Importance]) -> tuple[CasePriority, ...]:
    order = sorted(found, key=lambda case: (-found[case].value, case))
    return tuple(
        CasePriority(rank, case, one.value, **one.scores, structures=tuple(one.structures))
        for rank, case in enumerate(order, start=1)
        for one in [found[case]]
    )


def _regions(
    atlas: Atlas, ranking: tuple[CasePriority, ...], found: Mapping[str, Importance], scored: Mapping[str, _Scored]
) -> tuple[Region, ...]:
    """Regions of all cases: each has the part of its structure's importance that its attention has in all of them.

    A structure that nobody sees though most cases have it is a region without a volume, where it should be; one on the
    other side of its counterpart than usual is a region of its own, where it lies.
    """
    everything = {case: one.structures for case, one in scored.items()}
    result = []
    for row in ranking:
        regions, structures = scored[row.case].regions, found[row.case].structures
        rows = []
        for one in regions:
            if one.cause == "topology" and one.structure not in found[row.case].broken:
                continue  # as in many cases
            whole = sum(other.attention_ml for other in regions if other.structure == one.structure)
            value = structures.get(one.structure, 0.0) * one.attention_ml / whole if whole else 0.0
            rows.append(Region(row.case, one.structure, value, one.x, one.y, one.z, one.volume_ml, one.reason))
        rows += _surprises(atlas, row.case, found[row.case], everything)
        result += sorted(rows, key=lambda region: -region.importance)
    return tuple(result)


def _surprises(
    atlas: Atlas, case: str, found: Importance, everything: Mapping[str, Mapping[str, StructureScores]]
) -> list[Region]:
    """Regions of what is not in doubt in any voxel, but not as in most cases."""
    shape = atlas.store.record(case).shape
    rows: list[Region] = []
    for name in (*found.missing, *found.exchanged):
        own, said = everything[case][name], name.replace("_", " ")
        if name in found.exchanged:
            place, volume = own.centre, own.volumes_ml[LABELS]
            why = f"{said} lies on the other side of its counterpart than in most cases"
        elif not own.seen:
            place, volume = expected_centre(everything, case, name), 0.0
            why = f"nobody sees {said}, which most cases have; it should be about here"
        else:
            continue  # somebody sees it, so there is a region already
        if place is not None:
            x, y, z = (min(max(round(at), 0), size - 1) for at, size in zip(place, shape, strict=True))
            rows.append(Region(case, name, found.structures[name], x, y, z, volume, why))
    return rows
