"""Scores of many cases: per case and structure, summarised, and the worst of them first."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from suprem.errors import ConfigurationError
from suprem.evaluation.detection import DetectionCounts, DetectionSummary, pool_detections
from suprem.evaluation.metrics import MaskScores
from suprem.evaluation.statistics import bootstrap_interval
from suprem.labels import known_name

__all__ = ["HIGHER_IS_BETTER", "METRICS", "CaseDetection", "CaseScore", "Evaluation", "StructureSummary"]

METRICS = ("dsc", "nsd", "hd95_mm")
"""Those that are summarised, compared and ranked; the others stand in the table of cases."""

HIGHER_IS_BETTER = {"dsc": True, "nsd": True, "hd95_mm": False}
"""Of each of :data:`METRICS`."""

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
class CaseDetection:
    """Lesions of one kind in one case.

    Attributes:
        case: name.
        structure: name.
        counts: how many there are, were predicted, and were found.
    """

    case: str
    structure: str
    counts: DetectionCounts


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
        missing: case and structure of masks that one side has and the other lacks, though it has the structure in
            other cases.
        notes: what a reader should know about how it came about; each a sentence.
        detections: lesions per case, of the structures that are lesions.
    """

    predictions: str
    scores: tuple[CaseScore, ...]
    without_reference: tuple[str, ...]
    without_prediction: tuple[str, ...]
    not_predicted: tuple[str, ...]
    no_reference: tuple[str, ...]
    missing: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    detections: tuple[CaseDetection, ...] = ()

    @property
    def structures(self) -> tuple[str, ...]:
        """Compared structures in order."""
        return tuple(dict.fromkeys(score.structure for score in self.scores))

    def only(self, structures: Sequence[str]) -> "Evaluation":
        """The same with some of its structures.

        Raises:
            ConfigurationError: no case has a score of one of them.
        """
        names = [known_name(name) for name in structures]
        for name in names:
            if name not in self.structures:
                raise ConfigurationError(
                    f"{self.predictions} has no score of {name}; there are {', '.join(self.structures[:12])}."
                )
        return replace(self, scores=tuple(score for score in self.scores if score.structure in names))

    def values(self, structure: str, metric: str) -> dict[str, float]:
        """Case -> value, where there is one."""
        found = {s.case: float(getattr(s.scores, metric)) for s in self.scores if s.structure == structure}
        return {case: value for case, value in found.items() if not math.isnan(value)}

    def summary(self) -> tuple[StructureSummary, ...]:
        """Every metric of every structure that a case has."""
        return self._summaries

    @cached_property
    def _summaries(self) -> tuple[StructureSummary, ...]:
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

    def lesions(self) -> dict[str, DetectionSummary]:
        """Structure -> its lesions found and missed in all cases."""
        kinds = dict.fromkeys(found.structure for found in self.detections)
        return {
            name: pool_detections([found.counts for found in self.detections if found.structure == name])
            for name in kinds
        }

    def worst(self, count: int = 10) -> tuple[CaseScore, ...]:
        """Cases and structures with the lowest Dice coefficient; the larger HD95 first where it is the same."""
        scored = [score for score in self.scores if not math.isnan(score.scores.dsc)]
        return tuple(sorted(scored, key=_badness)[:count])


def _badness(score: CaseScore) -> tuple[float, float]:
    far = score.scores.hd95_mm
    return score.scores.dsc, -far if not math.isnan(far) else 0.0
