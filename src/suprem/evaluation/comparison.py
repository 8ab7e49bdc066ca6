"""Several sets of predictions of the same cases against each other: paired tests, effects, and a ranking."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from suprem.errors import ConfigurationError
from suprem.evaluation.scores import HIGHER_IS_BETTER, METRICS, Evaluation
from suprem.evaluation.statistics import holm, paired_t, wilcoxon_signed_rank

__all__ = ["FAMILY", "Comparison", "Rank", "compare_evaluations", "rank_evaluations"]

FAMILY = (
    "p-values are corrected by Holm within one metric and one test, over all structures and all folders that the first "
    "is compared with"
)
"""What a family of comparisons is."""

_FEWEST = 2  # observations of a test


@dataclass(frozen=True)
class Comparison:
    """Two sets of predictions, case by case, in one metric of one structure.

    Attributes:
        against: the second one.
        structure: name.
        metric: one of :data:`METRICS`.
        cases: that both have a finite value for; these are compared.
        infinite: cases left out because one of the two is infinite, as a distance to an empty mask is.
        difference: mean of first minus second.
        cohen_dz: effect of the t test, mean over standard deviation of the differences.
        p_t: paired t test.
        p_t_holm: the same, corrected for its family, see :data:`FAMILY`.
        rank_biserial: effect of the signed-rank test, in [-1, 1].
        p_wilcoxon: signed-rank test.
        p_wilcoxon_holm: corrected.
        family: comparisons that were corrected together.
        note: why there is no test.
    """

    against: str
    structure: str
    metric: str
    cases: int
    infinite: int
    difference: float
    cohen_dz: float = math.nan
    p_t: float = math.nan
    p_t_holm: float = math.nan
    rank_biserial: float = math.nan
    p_wilcoxon: float = math.nan
    p_wilcoxon_holm: float = math.nan
    family: int = 0
    note: str = ""


def compare_evaluations(first: Evaluation, *others: Evaluation) -> tuple[Comparison, ...]:
    """Paired tests of an evaluation with each of the others, in every metric of every structure that both have.

    The t test asks for the mean difference, Wilcoxon's signed-rank test for a shift without assuming a distribution.
    Holm's correction spans, for each metric and each test, all structures and all others.

    Args:
        first: one.
        others: evaluations against the same references.

    Raises:
        ConfigurationError: two have no structure in common.
    """
    rows = []
    for other in others:
        names = [name for name in first.structures if name in other.structures]
        if not names:
            raise ConfigurationError(f"{first.predictions} and {other.predictions} have no structure in common.")
        rows += [_compared(first, other, name, metric) for metric in METRICS for name in names]
    return tuple(row for metric in METRICS for row in _corrected([row for row in rows if row.metric == metric]))


def _compared(first: Evaluation, other: Evaluation, name: str, metric: str) -> Comparison:
    ours, theirs = first.values(name, metric), other.values(name, metric)
    shared = [case for case in ours if case in theirs]
    finite = [case for case in shared if math.isfinite(ours[case]) and math.isfinite(theirs[case])]
    one, two = np.array([ours[case] for case in finite]), np.array([theirs[case] for case in finite])
    difference = float((one - two).mean()) if finite else math.nan
    row = Comparison(other.predictions, name, metric, len(finite), len(shared) - len(finite), difference)
    if len(finite) < _FEWEST:
        count = "no case" if not finite else "1 case"
        return replace(row, note=f"{count}: nothing to test")
    if np.ptp(one - two) == 0:
        return replace(row, note="the same difference in all cases")
    t, w = paired_t(one, two), wilcoxon_signed_rank(one, two)
    return replace(
        row,
        cohen_dz=float(t.effect),
        p_t=float(t.p_value),
        rank_biserial=float(w.effect),
        p_wilcoxon=float(w.p_value),
    )


def _corrected(rows: Sequence[Comparison]) -> list[Comparison]:
    """The rows of one family with corrected p-values, where there was a test."""
    tested = [row for row in rows if not row.note]
    if not tested:
        return list(rows)
    corrected = iter(zip(holm([row.p_t for row in tested]), holm([row.p_wilcoxon for row in tested]), strict=True))
    result = []
    for row in rows:
        if not row.note:
            t, w = next(corrected)
            row = replace(row, p_t_holm=float(t), p_wilcoxon_holm=float(w), family=len(tested))
        result.append(row)
    return result


@dataclass(frozen=True)
class Rank:
    """Where a set of predictions stands among the others, in one metric.

    Attributes:
        metric: one of :data:`METRICS`.
        predictions: the folder.
        place: 1 is the best mean rank; equal ones share it.
        mean_rank: over pairs of case and structure that all have a value for; ties share their ranks, an infinite
            distance comes last.
        mean: over structures of the mean over their finite values, over the same pairs.
        pairs: number of these.
        infinite: of these, that are infinite here and not in the mean.
    """

    metric: str
    predictions: str
    place: int
    mean_rank: float
    mean: float
    pairs: int
    infinite: int


def rank_evaluations(evaluations: Sequence[Evaluation]) -> tuple[Rank, ...]:
    """Ranks sets of predictions pair by pair of case and structure, then takes the mean: one outlier weighs little.

    Args:
        evaluations: at least one, against the same references.

    Returns:
        For each metric that they share values of, the best first.
    """
    rows: list[Rank] = []
    for metric in METRICS:
        tables = [_by_pair(evaluation, metric) for evaluation in evaluations]
        pairs = [pair for pair in tables[0] if all(pair in table for table in tables)]
        if not pairs:
            continue
        values = np.array([[table[pair] for pair in pairs] for table in tables])
        ranks = stats.rankdata(-values if HIGHER_IS_BETTER[metric] else values, axis=0).mean(axis=1)
        places = stats.rankdata(ranks.round(12), method="min")
        unordered = [
            Rank(
                metric,
                evaluation.predictions,
                int(place),
                float(rank),
                _mean_of_means(pairs, row),
                len(pairs),
                int(np.isinf(row).sum()),
            )
            for evaluation, row, rank, place in zip(evaluations, values, ranks, places, strict=True)
        ]
        rows += sorted(unordered, key=lambda row: row.place)
    return tuple(rows)


def _by_pair(evaluation: Evaluation, metric: str) -> dict[tuple[str, str], float]:
    return {
        (case, name): value for name in evaluation.structures for case, value in evaluation.values(name, metric).items()
    }


def _mean_of_means(pairs: Sequence[tuple[str, str]], values: npt.NDArray[np.float64]) -> float:
    by_structure: dict[str, list[float]] = {}
    for (_, name), value in zip(pairs, values, strict=True):
        if math.isfinite(value):
            by_structure.setdefault(name, []).append(float(value))
    return float(np.mean([np.mean(found) for found in by_structure.values()])) if by_structure else math.nan
