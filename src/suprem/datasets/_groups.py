"""Groups of cases that are one scan, and whether lists of cases keep them, and each patient, on one side."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from suprem.datasets._overlap import Pair, ScanFact
from suprem.errors import ConfigurationError

__all__ = ["Leak", "SharedCases", "check_leakage", "check_lists", "scan_groups"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Leak:
    """A training and a test case that share a scan or a patient.

    Attributes:
        train: key of the training case.
        test: key of the test case.
        shared: what they share.
        name: of the group of scans or the patient.
    """

    train: str
    test: str
    shared: Literal["scan", "subject"]
    name: str


@dataclass(frozen=True)
class SharedCases:
    """What two lists have in common.

    Attributes:
        one: name of a list.
        other: name of another.
        cases: cases in both, sorted.
        subjects: patients with cases in both, sorted; empty where patients are not known.
    """

    one: str
    other: str
    cases: tuple[str, ...]
    subjects: tuple[str, ...]


def scan_groups(facts: Sequence[ScanFact], confirmed: Iterable[Pair] = ()) -> dict[str, str]:
    """Puts cases that are the same scan into one group; each group belongs on one side of every split.

    Equal names of scans and equal hashes always unite. Pairs unite when they are given here, so look at those found by
    thumbnail before you pass them on.

    Args:
        facts: Of all cases.
        confirmed: Further pairs that are the same scan; their cases need not be among ``facts``.

    Returns:
        Key of each case -> name of its group: the first in sorting order of the names of its scans.

    Example:
        >>> scan_groups([ScanFact("lits/volume-7", "lits/7"), ScanFact("msd_liver/liver_7", "lits/7")])
        {'lits/volume-7': 'lits/7', 'msd_liver/liver_7': 'lits/7'}
    """
    parents: dict[tuple[str, str], tuple[str, str]] = {}

    def find(node: tuple[str, str]) -> tuple[str, str]:
        parents.setdefault(node, node)
        while parents[node] != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    for fact in facts:
        parents[find(("key", fact.key))] = find(("scan", fact.scan))
        if fact.hash:
            parents[find(("key", fact.key))] = find(("hash", fact.hash))
    for pair in confirmed:
        parents[find(("key", pair.a))] = find(("key", pair.b))
    names: dict[tuple[str, str], str] = {}
    for fact in facts:
        top = find(("key", fact.key))
        names[top] = min(names.get(top, fact.scan), fact.scan)
    return {fact.key: names[find(("key", fact.key))] for fact in facts}


def check_leakage(
    train: Iterable[str],
    test: Iterable[str],
    groups: Mapping[str, str],
    *,
    subjects: Mapping[str, str] | None = None,
    warn: bool = False,
) -> list[Leak]:
    """Makes sure that no test case is a copy of a training case, nor of one of its patients.

    Args:
        train: Keys of the training cases.
        test: Keys of the test cases.
        groups: From :func:`scan_groups`, for all of them.
        subjects: Key -> patient, where known; an empty name is not compared.
        warn: Warn and return the pairs instead of raising.

    Returns:
        The offending pairs, sorted; a pair of one scan is not named again for its patient.

    Raises:
        ConfigurationError: there are such pairs, or a case is in no group.
    """
    train, test = list(train), list(test)
    missing = [key for key in (*train, *test) if key not in groups]
    if missing:
        raise ConfigurationError(f"{missing[0]!r} and {len(missing) - 1} more are in no group; pass the facts of all.")
    patients = {} if subjects is None else subjects
    leaks = _shared(train, test, groups, "scan")
    known = {(leak.train, leak.test) for leak in leaks}
    leaks += [leak for leak in _shared(train, test, patients, "subject") if (leak.train, leak.test) not in known]
    leaks.sort(key=lambda leak: (leak.test, leak.train))
    if leaks:
        shown = "; ".join(f"{leak.test} and {leak.train} are one {leak.shared} ({leak.name})" for leak in leaks[:3])
        more = f"; and {len(leaks) - 3} more" if len(leaks) > 3 else ""
        count = len({leak.test for leak in leaks})
        text = f"{count} test cases leak into training: {shown}{more}. Keep each scan and each patient on one side."
        if not warn:
            raise ConfigurationError(text)
        logger.warning(text)
    return leaks


def _shared(
    train: Iterable[str], test: Iterable[str], names: Mapping[str, str], kind: Literal["scan", "subject"]
) -> list[Leak]:
    trained: dict[str, list[str]] = {}
    for key in dict.fromkeys(train):
        trained.setdefault(names.get(key, ""), []).append(key)
    return [
        Leak(other, key, kind, name)
        for key in dict.fromkeys(test)
        if (name := names.get(key, ""))
        for other in trained.get(name, ())
    ]


def check_lists(
    lists: Mapping[str, Iterable[str]], subject_of: Callable[[str], str] | None = None
) -> list[SharedCases]:
    """What lists such as training, validation and test have in common, by case and by patient.

    Two published examples that this finds: the validation list of ImageCAS shares cases with training and with test in
    all five folds, and the five-fold lists of JHH divide the scans, so that most test patients are also in training.

    Args:
        lists: Name -> cases.
        subject_of: Case -> patient; ``None`` compares cases alone.

    Returns:
        One entry for each two lists that share anything.

    Example:
        >>> check_lists({"train": ["a_1", "b_1"], "test": ["a_2"]}, lambda case: case.split("_")[0])
        [SharedCases(one='train', other='test', cases=(), subjects=('a',))]
    """
    cases = {name: frozenset(entries) for name, entries in lists.items()}
    patients = {name: frozenset(map(subject_of, found)) if subject_of else frozenset() for name, found in cases.items()}
    found = [
        SharedCases(
            one,
            other,
            tuple(sorted(cases[one] & cases[other])),
            tuple(sorted(patients[one] & patients[other])),
        )
        for one, other in combinations(cases, 2)
    ]
    return [shared for shared in found if shared.cases or shared.subjects]
