"""Scores of a folder of predictions against a folder of references."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from suprem.errors import ConfigurationError, LabelSpaceError
from suprem.evaluation.cases import CaseResult, CaseTask, score_cases
from suprem.evaluation.masks import CaseMasks, find_masks
from suprem.evaluation.metrics import EmptyConvention
from suprem.evaluation.numberings import fitting_numberings, frequent
from suprem.evaluation.scores import Evaluation
from suprem.labels import known_name

__all__ = ["evaluate_folders"]

_AGREE = 0.5
"""Mean Dice coefficient above which a structure is surely the same on both sides."""


def evaluate_folders(
    predictions: str | Path,
    references: str | Path,
    *,
    prediction_numbering: str | None = None,
    reference_numbering: str | None = None,
    structures: Sequence[str] | None = None,
    tolerance_mm: float = 1.0,
    empty: EmptyConvention = "absent",
    resample: bool = False,
    strict: bool = False,
    trust_numbering: bool = False,
    jobs: int = 1,
    progress: Callable[[str, int], None] | None = None,
) -> Evaluation:
    """Compares every case that both folders hold, on the grid of the reference; see :func:`find_masks` for the layouts.

    Voxels that the numbering of the reference calls not annotated count neither for nor against a prediction.

    Args:
        predictions: folder.
        references: folder.
        prediction_numbering: of label maps, see :func:`find_masks`.
        reference_numbering: the same.
        structures: those to compare, in any spelling; ``None`` takes all that both folders hold.
        tolerance_mm: of the normalised surface distance.
        empty: convention for structures that neither mask holds, see
            :data:`suprem.evaluation.metrics.EMPTY_CONVENTIONS`.
        resample: bring a prediction on another grid to that of the reference, by the nearest voxel.
        strict: refuse cases and masks without a partner instead of reporting them.
        trust_numbering: go on although another numbering fits the masks better.
        jobs: processes, each with one case at a time; the scores do not depend on it.
        progress: called with the name of each case that has ended, and the number of all.

    Raises:
        ConfigurationError: the folders have no case or no structure in common, or ``strict`` finds something missing.
        VolumeError: a file cannot be read, or the grids of a case differ and ``resample`` is not set.
        LabelSpaceError: label maps hold numbers that their numbering does not know, or mean what the other side says
            under another numbering.
    """
    predicted, wanted = find_masks(predictions, prediction_numbering), find_masks(references, reference_numbering)
    cases = _shared_cases(predictions, references, predicted, wanted)
    names = _names(predicted, wanted, cases, structures)
    missing = _missing(predicted, wanted, cases, names)
    if strict:
        _refuse_missing(predictions, references, predicted, wanted, missing)
    threads = 1 if jobs > 1 else None  # the processes take the cores
    tasks = [CaseTask(predicted[case], wanted[case], names, tolerance_mm, empty, resample, threads) for case in cases]
    results = score_cases(tasks, jobs=jobs, progress=progress)
    notes = _numbering_notes(results, tasks[0], trust_numbering) + _grid_notes(cases, results)
    return Evaluation(
        str(predictions),
        tuple(score for result in results for score in result.scores),
        tuple(sorted(predicted.keys() - wanted.keys())),
        tuple(sorted(wanted.keys() - predicted.keys())),
        *_one_sided(predicted, wanted, cases),
        missing,
        tuple(notes),
        tuple(found for result in results for found in result.detections),
    )


def _shared_cases(
    predictions: str | Path,
    references: str | Path,
    predicted: Mapping[str, CaseMasks],
    wanted: Mapping[str, CaseMasks],
) -> list[str]:
    cases = [case for case in wanted if case in predicted]
    if not cases:
        raise ConfigurationError(
            f"{predictions} and {references} have no case in common: {_some(predicted)} and {_some(wanted)}. Name the "
            "files or folders of a case alike."
        )
    return cases


def _missing(
    predicted: Mapping[str, CaseMasks], wanted: Mapping[str, CaseMasks], cases: Sequence[str], names: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """Case and structure of masks that exactly one of the two folders has."""
    return tuple(
        (case, name)
        for case in cases
        for name in names
        if (name in predicted[case].structures) != (name in wanted[case].structures)
    )


def _refuse_missing(
    predictions: str | Path,
    references: str | Path,
    predicted: Mapping[str, CaseMasks],
    wanted: Mapping[str, CaseMasks],
    missing: Sequence[tuple[str, str]],
) -> None:
    problems = [
        f"{what}: {_listed(names)}"
        for what, names in (
            (f"not in {predictions}", sorted(wanted.keys() - predicted.keys())),
            (f"not in {references}", sorted(predicted.keys() - wanted.keys())),
            ("masks of one side only", [f"{case}/{name}" for case, name in missing]),
        )
        if names
    ]
    if problems:
        raise ConfigurationError(
            f"Not everything has a partner; {'; '.join(problems)}. Complete the folders, or compare without strictness."
        )


def _numbering_notes(results: Sequence[CaseResult], task: CaseTask, trusted: bool) -> list[str]:
    """What to say about structures that lie where the other side has another one.

    Raises:
        LabelSpaceError: another numbering explains all of them.
    """
    scores = [score for result in results for score in result.scores if score.reference_ml > 0]
    present = Counter(score.structure for score in scores)
    mixed = frequent([result.confusions for result in results], present)
    if not mixed:
        return []
    dice: dict[str, list[float]] = {}
    for score in scores:
        dice.setdefault(score.structure, []).append(score.scores.dsc)
    kept = [name for name, values in dice.items() if sum(values) / len(values) >= _AGREE]
    listed = ", ".join(
        f"{theirs} of the references is called {ours} in the predictions" for theirs, ours in mixed.items()
    )
    sides = (
        ("predictions", task.prediction, {ours: theirs for theirs, ours in mixed.items()}),
        ("references", task.reference, mixed),
    )
    for side, masks, renamed in sides:
        others = fitting_numberings(masks, renamed, kept)
        if others and not trusted:
            raise LabelSpaceError(
                f"{listed[0].upper()}{listed[1:]}. The numbers of the {side} fit {_listed(others)}, not "
                f"{masks.numbering}; name that numbering for the {side}, or say that theirs is to be trusted."
            )
    return [f"{listed[0].upper()}{listed[1:]}: are names, sides or numbers mixed up?"]


def _grid_notes(cases: Sequence[str], results: Sequence[CaseResult]) -> list[str]:
    moved = [case for case, result in zip(cases, results, strict=True) if result.resampled]
    return [f"Resampled to the grid of the reference: {_listed(moved)}."] if moved else []


def _listed(names: Sequence[str], limit: int = 10) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _some(cases: Mapping[str, CaseMasks]) -> str:
    names = sorted(cases)
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")


def _names(
    predicted: Mapping[str, CaseMasks],
    wanted: Mapping[str, CaseMasks],
    cases: Sequence[str],
    structures: Sequence[str] | None,
) -> tuple[str, ...]:
    ours = {name for case in cases for name in predicted[case].structures}
    theirs = dict.fromkeys(name for case in cases for name in wanted[case].structures)
    if structures is None:
        names = tuple(name for name in theirs if name in ours)
        if not names:
            raise ConfigurationError(
                f"No structure has both a prediction and a reference: predicted are {', '.join(sorted(ours)[:5])}, "
                f"references are {', '.join(sorted(theirs)[:5])}. Check the numbering of label maps."
            )
        return names
    names = tuple(dict.fromkeys(known_name(name) for name in structures))
    for name in names:
        for known, what in ((ours, "prediction"), (theirs.keys(), "reference")):
            if name not in known:
                raise ConfigurationError(f"No case has a {what} of {name}; there are {', '.join(sorted(known)[:12])}.")
    return names


def _one_sided(
    predicted: Mapping[str, CaseMasks], wanted: Mapping[str, CaseMasks], cases: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    ours = {name for case in cases for name in predicted[case].structures}
    theirs = {name for case in cases for name in wanted[case].structures}
    return tuple(sorted(theirs - ours)), tuple(sorted(ours - theirs))
