"""What the runs of a study say together: means, tests against the baseline, and a verdict in words."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from suprem.evaluation.statistics import holm, paired_t, welch_t
from suprem.transfer.run_table import Result
from suprem.transfer.study import FULL, Run, Study

__all__ = ["Cell", "summarise", "verdict"]

_FEWEST = 2  # observations of a test
_LEVEL = 0.05
Scope = Literal["group", "structure"]


@dataclass(frozen=True)
class Cell:
    """All seeds of one choice.

    Attributes:
        group: structures that one network segments.
        structure: one of them, or ``""`` for the mean over the group.
        model: architecture.
        initialisation: starting point.
        strategy: which parameters were trained.
        shots: as :attr:`suprem.transfer.study.Run.shown_shots`.
        seeds: that are finished, sorted.
        values: Dice coefficient for each seed.
        nsd: normalised surface distance for each seed.
        difference: mean minus that of the baseline; NaN where there is nothing to compare.
        p_welch: two-sample test against the baseline, as in the paper, for unequal variances.
        p_paired: the same seeds against each other, which draw the same cases.
        p_welch_holm: corrected for all comparisons of the table.
        p_paired_holm: corrected.
        note: why there is no test.
    """

    group: str
    structure: str
    model: str
    initialisation: str
    strategy: str
    shots: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    nsd: tuple[float, ...]
    difference: float = math.nan
    p_welch: float = math.nan
    p_paired: float = math.nan
    p_welch_holm: float = math.nan
    p_paired_holm: float = math.nan
    note: str = ""

    @property
    def mean(self) -> float:
        """Of the seeds."""
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float:
        """Standard deviation over the seeds (n - 1); NaN for a single one."""
        return float(np.std(self.values, ddof=1)) if len(self.values) >= _FEWEST else math.nan

    @property
    def mean_nsd(self) -> float:
        """Of the seeds."""
        return float(np.mean(self.nsd))


def summarise(study: Study, results: Iterable[Result], *, scope: Scope = "group") -> tuple[Cell, ...]:
    """Means and tests of finished runs.

    Args:
        study: what was planned.
        results: of finished runs.
        scope: one number for a group, or for each of its structures.

    Returns:
        In the order of the study. Tests are corrected by Holm over all comparisons that are returned.
    """
    found = list(results)
    cells = _cells(study, found, scope)
    if study.baseline is None:
        return tuple(replace(cell, note="no baseline was named") for cell in cells)
    by_key = {_key(cell): cell for cell in cells}
    tested = [_tested(cell, _baseline(cell, study.baseline, by_key), study.baseline) for cell in cells]
    for name in ("p_welch", "p_paired"):
        places = [i for i, cell in enumerate(tested) if not math.isnan(getattr(cell, name))]
        if places:
            corrected = holm([getattr(tested[i], name) for i in places])
            for place, value in zip(places, corrected, strict=True):
                changed: dict[str, Any] = {f"{name}_holm": float(value)}
                tested[place] = replace(tested[place], **changed)
    return tuple(tested)


def _cells(study: Study, results: Sequence[Result], scope: Scope) -> list[Cell]:
    members: dict[Run, dict[int, Result]] = {}
    for result in results:
        members.setdefault(replace(result.run, seed=0), {})[result.run.seed] = result
    cells = []
    for choice in dict.fromkeys(replace(run, seed=0) for run in study.runs()):
        by_seed = dict(sorted(members.get(choice, {}).items()))
        if not by_seed:
            continue
        structures = list(next(iter(by_seed.values())).dsc) if scope == "structure" else [""]
        cells += [_cell(choice, name, by_seed) for name in structures]
    return cells


def _cell(choice: Run, structure: str, by_seed: Mapping[int, Result]) -> Cell:
    def value(scores: Mapping[str, float]) -> float:
        return scores[structure] if structure else float(np.mean(list(scores.values())))

    return Cell(
        choice.group,
        structure,
        choice.model,
        choice.initialisation,
        choice.strategy,
        choice.shown_shots,
        tuple(by_seed),
        tuple(value(result.dsc) for result in by_seed.values()),
        tuple(value(result.nsd) for result in by_seed.values()),
    )


def _key(cell: Cell) -> tuple[str, ...]:
    return (cell.group, cell.structure, cell.model, cell.initialisation, cell.strategy, cell.shots)


def _baseline(cell: Cell, name: str, cells: Mapping[tuple[str, ...], Cell]) -> Cell | None:
    """With the same strategy, or with all parameters trained, as random weights always are."""
    keys = ((cell.group, cell.structure, cell.model, name, strategy, cell.shots) for strategy in (cell.strategy, FULL))
    return next((cells[key] for key in keys if key in cells), None)


def _tested(cell: Cell, base: Cell | None, name: str) -> Cell:
    if base is None or cell.initialisation == name:
        return cell if cell.initialisation == name else replace(cell, note=f"no finished run of {name}")
    cell = replace(cell, difference=cell.mean - base.mean)
    few = min(len(cell.values), len(base.values))
    if few < _FEWEST:
        return replace(cell, note=f"{few} seed: its spread is unknown, so nothing is tested")
    welch = math.nan
    if np.ptp(cell.values) > 0 and np.ptp(base.values) > 0:
        welch = float(welch_t(cell.values, base.values).p_value)
    both = [seed for seed in cell.seeds if seed in base.seeds]
    ours, theirs = (np.array([c.values[c.seeds.index(seed)] for seed in both], dtype=np.float64) for c in (cell, base))
    paired = math.nan
    if len(both) >= _FEWEST and np.ptp(ours - theirs) > 0:
        paired = float(paired_t(ours, theirs).p_value)
    note = "" if not math.isnan(welch) else "all seeds gave the same value, so there is no spread to test against"
    return replace(cell, p_welch=welch, p_paired=paired, note=note)


def verdict(study: Study, cells: Sequence[Cell]) -> list[str]:
    """One sentence for each starting point that is not the baseline, also when it did not help."""
    names = dict.fromkeys(cell.initialisation for cell in cells if cell.initialisation != study.baseline)
    if study.baseline is None or not names:
        return ["No starting point is compared with a baseline."]
    return [_sentence(name, study.baseline, [c for c in cells if c.initialisation == name]) for name in names]


def _sentence(name: str, baseline: str, cells: Sequence[Cell]) -> str:
    compared = [cell for cell in cells if not math.isnan(cell.difference)]
    tested = [cell for cell in compared if not math.isnan(cell.p_welch_holm)]
    if not tested:
        better = sum(cell.difference > 0 for cell in compared)
        return (
            f"{name}: better than {baseline} in {better} of {len(compared)} comparisons; none could be tested "
            f"({cells[0].note or 'nothing to compare with'})."
        )
    significant = [cell for cell in tested if cell.p_welch_holm <= _LEVEL]
    helped = sum(cell.difference > 0 for cell in significant)
    hurt = len(significant) - helped
    mean = 100 * float(np.mean([cell.difference for cell in tested]))
    facts = (
        f"significantly better than {baseline} in {helped} and significantly worse in {hurt} of {len(tested)} "
        f"comparisons (Welch's t-test, Holm-corrected, 5 %); mean difference {mean:+.1f} points of Dice"
    )
    if hurt > helped:
        return f"{name}: pre-training did harm here: {facts}."
    if not helped:
        return f"{name}: pre-training did not help here: {facts}."
    return f"{name}: pre-training helped here: {facts}."
