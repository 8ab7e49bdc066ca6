"""Scores of a folder of predictions against a folder of references, and of several such folders against each other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from suprem.errors import ConfigurationError, VolumeError
from suprem.evaluation.masks import CaseMasks, find_masks
from suprem.evaluation.metrics import EmptyConvention, MaskScores, compare_masks
from suprem.evaluation.statistics import bootstrap_interval, holm, paired_t, wilcoxon_signed_rank
from suprem.labels import known_name
from suprem.volumes.geometry import Volume, corner_distance_mm, to_ras

__all__ = [
    "METRICS",
    "CaseScore",
    "Comparison",
    "Evaluation",
    "StructureSummary",
    "compare_evaluations",
    "evaluate_folders",
]

METRICS = ("dsc", "nsd", "hd95_mm")
"""Those that are summarised; the others stand in the table of cases."""

_SAME = 0.1
"""Fraction of a voxel by which the corners of two grids may differ and still be the same."""

_FEWEST = 2  # observations of a statistic


@dataclass(frozen=True)
class CaseScore:
    """One structure in one case.

    Attributes:
        case: name.
        structure: name.
        reference_ml: volume of the reference.
        scores: all metrics.
    """

    case: str
    structure: str
    reference_ml: float
    scores: MaskScores

    def row(self) -> dict[str, Any]:
        """Plain values for a table."""
        return {
            "case": self.case,
            "structure": self.structure,
            "reference_ml": round(self.reference_ml, 3),
            **{name: _rounded(value) for name, value in asdict(self.scores).items()},
        }


def _rounded(value: float) -> float:
    return round(value, 6) if math.isfinite(value) else value


@dataclass(frozen=True)
class StructureSummary:
    """One metric of one structure over the cases.

    Attributes:
        structure: name.
        metric: one of :data:`METRICS`.
        cases: that have a finite value.
        infinite: cases in which exactly one of the masks is empty, so that distances are infinite; not in the mean.
        mean: over the cases.
        low: lower limit of the 95 % bootstrap interval of the mean; ``None`` for fewer than 2 cases.
        high: upper limit.
        median: over the cases.
    """

    structure: str
    metric: str
    cases: int
    infinite: int
    mean: float
    low: float | None
    high: float | None
    median: float


@dataclass(frozen=True)
class Evaluation:
    """What a folder of predictions is worth.

    Attributes:
        predictions: the folder.
        scores: per case and structure.
        without_reference: cases that were predicted and have no reference.
        without_prediction: cases with a reference that were not predicted.
        not_predicted: structures of the reference that no case was predicted for.
        no_reference: predicted structures that no case has a reference for.
    """

    predictions: str
    scores: tuple[CaseScore, ...]
    without_reference: tuple[str, ...]
    without_prediction: tuple[str, ...]
    not_predicted: tuple[str, ...]
    no_reference: tuple[str, ...]

    @property
    def structures(self) -> tuple[str, ...]:
        """Compared structures in order."""
        return tuple(dict.fromkeys(score.structure for score in self.scores))

    def values(self, structure: str, metric: str) -> dict[str, float]:
        """Case -> value, where there is one."""
        found = {s.case: float(getattr(s.scores, metric)) for s in self.scores if s.structure == structure}
        return {case: value for case, value in found.items() if not math.isnan(value)}

    def summary(self) -> tuple[StructureSummary, ...]:
        """Every metric of every structure that a case has."""
        rows = (self._summary(structure, metric) for structure in self.structures for metric in METRICS)
        return tuple(row for row in rows if row is not None)

    def _summary(self, structure: str, metric: str) -> StructureSummary | None:
        every = list(self.values(structure, metric).values())
        finite = [value for value in every if math.isfinite(value)]
        if not every:
            return None
        if not finite:
            return StructureSummary(structure, metric, 0, len(every), math.nan, None, None, math.nan)
        low = high = None
        if len(finite) >= _FEWEST:
            low = high = finite[0]  # where all are equal, so is every resampled mean
            if np.ptp(finite) > 0:
                interval = bootstrap_interval(finite)
                low, high = interval.low, interval.high
        middle = float(np.median(finite))
        mean = float(np.mean(finite))
        return StructureSummary(structure, metric, len(finite), len(every) - len(finite), mean, low, high, middle)

    def worst(self, count: int = 10) -> tuple[CaseScore, ...]:
        """Cases and structures with the lowest Dice coefficient."""
        scored = [score for score in self.scores if not math.isnan(score.scores.dsc)]
        return tuple(sorted(scored, key=lambda score: score.scores.dsc)[:count])


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
) -> Evaluation:
    """Compares every case that both folders hold, on the grid of the reference; see :func:`find_masks` for the layouts.

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

    Raises:
        ConfigurationError: the folders have no case or no structure in common.
        VolumeError: the grids of a case differ and ``resample`` is not set.
    """
    predicted, wanted = find_masks(predictions, prediction_numbering), find_masks(references, reference_numbering)
    cases = [case for case in wanted if case in predicted]
    if not cases:
        raise ConfigurationError(
            f"{predictions} and {references} have no case in common: {_some(predicted)} and {_some(wanted)}. Name the "
            "files or folders of a case alike."
        )
    names = _names(predicted, wanted, cases, structures)
    scores = [
        score
        for case in cases
        for score in _case_scores(predicted[case], wanted[case], names, tolerance_mm, empty, resample)
    ]
    return Evaluation(
        str(predictions),
        tuple(scores),
        tuple(sorted(predicted.keys() - wanted.keys())),
        tuple(sorted(wanted.keys() - predicted.keys())),
        *_one_sided(predicted, wanted, cases),
    )


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


def _case_scores(
    prediction: CaseMasks,
    reference: CaseMasks,
    names: Sequence[str],
    tolerance_mm: float,
    empty: EmptyConvention,
    resample: bool,
) -> list[CaseScore]:
    ours, theirs = prediction.read(), reference.read()
    result = []
    for name in names:
        if name not in prediction.structures or name not in reference.structures:
            continue
        wanted = to_ras(theirs.mask(name))[0]
        found = _on_grid(ours.mask(name), wanted, resample)
        scores = compare_masks(found, wanted.array, wanted.spacing_mm, tolerance_mm, empty=empty)
        volume = float(np.count_nonzero(wanted.array)) * math.prod(wanted.spacing_mm) / 1000
        result.append(CaseScore(reference.case, name, volume, scores))
    return result


def _on_grid(mask: Volume, wanted: Volume, resample: bool) -> npt.NDArray[np.bool_]:
    """The mask on the grid of the reference, bool (X, Y, Z) in RAS."""
    upright = to_ras(mask)[0]
    if upright.shape == wanted.shape and corner_distance_mm(upright, wanted) <= _SAME * min(wanted.spacing_mm):
        return upright.array
    if not resample:
        raise VolumeError(
            f"{mask.name} and {wanted.name} lie on different grids: {upright.shape} voxels of "
            f"{_mm(upright)} mm and {wanted.shape} of {_mm(wanted)} mm. Predict on the grid of the reference, or "
            "allow resampling to it."
        )
    matrix = np.linalg.inv(upright.affine) @ wanted.affine
    moved = ndimage.affine_transform(
        upright.array.astype(np.uint8), matrix[:3, :3], matrix[:3, 3], output_shape=wanted.shape, order=0
    )
    return np.asarray(moved > 0)


def _mm(volume: Volume) -> str:
    return " x ".join(f"{size:.3g}" for size in volume.spacing_mm)


@dataclass(frozen=True)
class Comparison:
    """Two folders of predictions, case by case, in one metric of one structure.

    Attributes:
        structure: name.
        metric: one of :data:`METRICS`.
        cases: that both have a finite value for.
        difference: mean of first minus second.
        effect: of the t test, Cohen's d of the differences.
        p_t: paired t test.
        p_t_holm: the same, corrected for all structures of this metric.
        p_wilcoxon: signed-rank test.
        p_wilcoxon_holm: corrected.
        note: why there is no test.
    """

    structure: str
    metric: str
    cases: int
    difference: float
    effect: float = math.nan
    p_t: float = math.nan
    p_t_holm: float = math.nan
    p_wilcoxon: float = math.nan
    p_wilcoxon_holm: float = math.nan
    note: str = ""


def compare_evaluations(first: Evaluation, second: Evaluation, metric: str = "dsc") -> tuple[Comparison, ...]:
    """Paired tests of two evaluations against the same references, corrected by Holm over the structures.

    Args:
        first: one.
        second: the other.
        metric: one of :data:`METRICS`.

    Raises:
        ConfigurationError: they have no structure in common.
    """
    names = [name for name in first.structures if name in second.structures]
    if not names:
        raise ConfigurationError(f"{first.predictions} and {second.predictions} have no structure in common.")
    rows = [_compared(name, metric, first.values(name, metric), second.values(name, metric)) for name in names]
    tested = [row for row in rows if not row.note]
    if not tested:
        return tuple(rows)
    corrected = zip(tested, holm([row.p_t for row in tested]), holm([row.p_wilcoxon for row in tested]), strict=True)
    by_name = {
        row.structure: Comparison(**{**asdict(row), "p_t_holm": float(t), "p_wilcoxon_holm": float(w)})
        for row, t, w in corrected
    }
    return tuple(by_name.get(row.structure, row) for row in rows)


def _compared(name: str, metric: str, first: Mapping[str, float], second: Mapping[str, float]) -> Comparison:
    cases = [c for c in first if c in second and math.isfinite(first[c]) and math.isfinite(second[c])]
    one, two = np.array([first[c] for c in cases]), np.array([second[c] for c in cases])
    if len(cases) < _FEWEST:
        mean = float((one - two).mean()) if cases else math.nan
        return Comparison(name, metric, len(cases), mean, note=f"{len(cases)} case: nothing to test")
    if np.ptp(one - two) == 0:
        return Comparison(name, metric, len(cases), float((one - two).mean()), note="the same difference in all cases")
    t, w = paired_t(one, two), wilcoxon_signed_rank(one, two)
    return Comparison(
        name,
        metric,
        len(cases),
        float((one - two).mean()),
        effect=float(t.effect),
        p_t=float(t.p_value),
        p_wilcoxon=float(w.p_value),
    )
