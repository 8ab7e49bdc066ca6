"""Which cases train and which validate: never two copies of one scan, nor two scans of one patient, on both sides."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from suprem.datasets._groups import scan_groups
from suprem.datasets._overlap import Pair, ScanFact
from suprem.errors import ConfigurationError
from suprem.volumes.store import CaseRecord, StoredCase

__all__ = ["Case", "Split", "split_cases"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Case:
    """One case that can be drawn.

    Attributes:
        stored: where its arrays are.
        copies: name of the group of cases that are the same scan.
    """

    stored: StoredCase
    copies: str

    @property
    def record(self) -> CaseRecord:
        """What the index knows of it."""
        return self.stored.record


@dataclass(frozen=True, eq=False)
class Split:
    """The cases of a run, in a seeded order that puts all cases of one patient next to each other.

    Attributes:
        train: cases to draw patches from.
        val: cases to validate on.
        held_out: cases of an official test part, and of the patients in it; never used in training.
    """

    train: tuple[Case, ...]
    val: tuple[Case, ...]
    held_out: tuple[str, ...] = ()


def split_cases(cases: Sequence[StoredCase], *, val_fraction: float, subset: int | float | None, seed: int) -> Split:
    """Divides cases by patient.

    Official parts are respected: groups with a case of the part ``test`` are held out, and where a dataset has a part
    ``val`` its groups validate; otherwise ``val_fraction`` of the groups does. What is one group follows from names of
    scans, hashes of their content, and names of patients.

    Args:
        cases: All cases that may be used.
        val_fraction: Share of the groups that validates, 0 to 1 (exclusive).
        subset: Train on this many groups, or on this share of them if it is a float; the smaller subset of two is part
            of the larger one. ``None`` takes all.
        seed: Of the order of the groups.

    Raises:
        ConfigurationError: nothing is left to train on, or an argument is out of its range.
    """
    if not 0 <= val_fraction < 1:
        raise ConfigurationError(f"val_fraction is {val_fraction}; it must lie in [0, 1).")
    copies, patients = _groups(cases)
    members: dict[str, list[Case]] = {}
    for position, stored in enumerate(cases):
        members.setdefault(patients[position], []).append(Case(stored, copies[position]))
    order = sorted(members, key=lambda group: hashlib.sha256(f"{seed}:{group}".encode()).digest())
    parts = {group: {case.record.split for case in members[group]} for group in order}
    held_out = [group for group in order if "test" in parts[group]]
    usable = [group for group in order if group not in set(held_out)]
    official = [group for group in usable if "val" in parts[group]]
    # At least one group validates where a share was asked for, and at least one is left to train on.
    count = min(max(1, round(val_fraction * len(usable))), len(usable) - 1) if val_fraction and usable else 0
    val = official or usable[len(usable) - count :]
    train = [group for group in usable if group not in set(val)]
    train = train[: _size(subset, len(train))]
    if not train:
        raise ConfigurationError(
            f"No case is left to train on: of {len(order)} groups of cases {len(held_out)} belong to an official test "
            f"part and {len(val)} validate. Prepare more data, or lower val_fraction."
        )
    if held_out:
        logger.info("%d groups belong to an official test part and are left out", len(held_out))
    return Split(
        tuple(case for group in train for case in members[group]),
        tuple(case for group in val for case in members[group]),
        tuple(case.record.key for group in held_out for case in members[group]),
    )


def _groups(cases: Sequence[StoredCase]) -> tuple[list[str], list[str]]:
    """Names of the groups of equal scans, and of the groups that share a scan or a patient; one per case."""
    facts = [
        ScanFact(f"{number}", stored.record.scan, stored.record.subject, stored.record.scan_hash)
        for number, stored in enumerate(cases)
    ]
    first: dict[tuple[str, str], str] = {}
    same_patient = []
    for fact, stored in zip(facts, cases, strict=True):
        if fact.subject:
            known = first.setdefault((stored.record.dataset, fact.subject), fact.key)
            same_patient.append(Pair(known, fact.key, "table", "one patient", "verified"))
    copies, patients = scan_groups(facts), scan_groups(facts, same_patient)
    return [copies[fact.key] for fact in facts], [patients[fact.key] for fact in facts]


def _size(subset: int | float | None, available: int) -> int:
    if subset is None:
        return available
    if isinstance(subset, float):
        if not 0 < subset <= 1:
            raise ConfigurationError(f"subset is {subset}; a share must lie in (0, 1], a number must be an integer.")
        return max(1, round(subset * available))
    if not 1 <= subset <= available:
        raise ConfigurationError(f"subset is {subset}; there are {available} groups of cases to train on.")
    return subset
