"""Does the direction of a claim hold: in the numbers of the paper, and in ours."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from suprem.report.experiment import Comparison, Item, Row
from suprem.report.table import significance

__all__ = ["Effect", "Verdict", "effects", "verdict"]

Outcome = Literal["holds", "mixed", "not found", "not comparable"]


@dataclass(frozen=True)
class Effect:
    """Two rows that differ in the compared key only.

    Attributes:
        of: the row that should be better.
        against: its baseline.
        gain: difference of their means; positive is better, whether more or less of the metric is.
    """

    of: Row
    against: Row
    gain: float

    @property
    def significant(self) -> bool | None:
        """Whether p <= 0.05; ``None`` without a test."""
        return None if self.of.p_value is None else significance(self.of.p_value) != "ns"


@dataclass(frozen=True)
class Verdict:
    """What the effects say about the claim.

    Attributes:
        outcome: ``"holds"``, ``"mixed"``, ``"not found"``, or ``"not comparable"`` if there is nothing to compare.
        text: the same in sentences, with the counts.
    """

    outcome: Outcome
    text: str


def effects(item: Item, rows: Iterable[Row]) -> tuple[Effect, ...]:
    """All pairs of rows with numbers that the item's comparison is about, in the order of the rows."""
    compared = item.comparison
    if compared is None:
        return ()
    groups: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        side = row.keys[compared.key]
        if (
            row.mean is None
            or side not in (compared.of, compared.against)
            or item.metrics[row.metric].better == "neither"
        ):
            continue
        if set(row.keys.values()) & set(compared.leave_out):
            continue
        aside = (compared.key, compared.least_against_most)
        group = groups.setdefault((row.metric, *(value for key, value in row.keys.items() if key not in aside)), {})
        if side not in group or _further(compared, row, group[side]):
            group[side] = row
    pairs = (
        (group[compared.of], group[compared.against])
        for group in groups.values()
        if compared.of in group and compared.against in group
    )
    return tuple(Effect(of, against, _gain(item, of, against)) for of, against in pairs)


def _further(compared: Comparison, row: Row, other: Row) -> bool:
    """Whether a row lies further than another towards its end of the key that is not paired."""
    key = compared.least_against_most
    if key is None:
        return False
    value, present = float(row.keys[key] or 0), float(other.keys[key] or 0)
    return value < present if row.keys[compared.key] == compared.of else value > present


def _gain(item: Item, of: Row, against: Row) -> float:
    sign = -1.0 if item.metrics[of.metric].better == "lower" else 1.0
    # The means have been checked to be there; rounding removes what binary fractions add to decimal ones.
    return round(sign * ((of.mean or 0.0) - (against.mean or 0.0)), 9)


def verdict(item: Item, found: Sequence[Effect]) -> Verdict:
    """Counts directions and significance.

    The direction holds if most differences go its way and, where there are tests, some are significantly better and
    none significantly worse. It is not found if most go the other way, or if tests find nothing that is better.
    """
    compared = item.comparison
    if compared is None:
        return Verdict("not comparable", "Nothing is compared; these are counts.")
    if not found:
        of, against = item.label(compared.of), item.label(compared.against)
        return Verdict("not comparable", f"There are no two numbers of {of} and {against} to compare.")
    better, worse = [e for e in found if e.gain > 0], [e for e in found if e.gain < 0]
    tested = [e for e in found if e.significant is not None]
    surely_better, surely_worse = sum(e.significant is True for e in better), sum(e.significant is True for e in worse)
    of, against = item.label(compared.of), item.label(compared.against)
    counts = f"{of} is better than {against} in {len(better)} of {len(found)} comparisons, worse in {len(worse)}"
    if tested:
        counts += (
            f"; of {len(tested)} that were tested it is significantly better in {surely_better} and significantly worse"
            f" in {surely_worse} (p ≤ 0.05)"
        )
    outcome = _outcome(len(found), len(better), len(tested), surely_better, surely_worse)
    if outcome == "holds":
        where = "in all comparisons" if len(better) == len(found) else "in most comparisons"
        conclusion = f"The direction of the claim holds {where}" + ("." if tested else ", though nothing was tested.")
    elif outcome == "mixed":
        conclusion = "The result is mixed."
    else:
        conclusion = f"The direction of the claim is not found: {compared.otherwise}."
    return Verdict(outcome, f"{counts}. {conclusion} {_untested(found)}".strip())


def _outcome(total: int, better: int, tested: int, surely_better: int, surely_worse: int) -> Outcome:
    most = 2 * better > total
    if tested and not surely_better:
        return "not found"
    if not tested:
        return "holds" if most else "not found"
    return "holds" if most and not surely_worse else "mixed"


def _untested(found: Sequence[Effect]) -> str:
    """Why there is no test where there is none."""
    without = [e for e in found if e.significant is None]
    single = [e for e in without if any(row.n is not None and row.n < 2 for row in (e.of, e.against))]
    parts = []
    if single:
        parts.append(f"{len(single)} without a test: a single run (n < 2) has no spread.")
    if len(without) > len(single):
        parts.append(f"{len(without) - len(single)} without a test: no p-value is in the file.")
    return " ".join(parts)
