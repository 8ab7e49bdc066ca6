"""Whether what is scored was trained on: checked before anything is trained."""

from collections.abc import Iterable, Sequence

from suprem.datasets._groups import check_leakage, scan_groups
from suprem.datasets._overlap import ScanFact
from suprem.errors import ConfigurationError
from suprem.transfer.scoring import ScoredCase, fact_of, scored_cases
from suprem.transfer.study import Study
from suprem.volumes.store import Store
from suprem.zoo import card, list_checkpoints

__all__ = ["check_study"]


def check_study(study: Study) -> list[str]:
    """Makes sure that no scored scan, nor another one of its patient, was trained on as far as that can be known.

    Training cases are those of the stores outside their official test part, and of the stores that a starting point
    names as ``trained_on``. Scans are compared by name and by their voxels.

    Returns:
        What could not be checked, one sentence for each starting point.

    Raises:
        ConfigurationError: a scored case was trained on.
    """
    scored = scored_cases(study)
    facts = _prefixed("scored", (case.fact() for case in scored))
    own = _facts(study.stores, official_test=study.scoring.store is None and study.scoring.images is None)
    _compare(_prefixed("training", own), facts)
    notes = []
    for model, plan in study.models.items():
        for name in plan.initialisations:
            start = plan.start(name)
            if start.trained_on:
                try:
                    _compare(_prefixed("pre-training", _facts(start.trained_on)), facts)
                except ConfigurationError as error:
                    raise ConfigurationError(f"Pre-training of {model} / {name}: {error}") from error
            elif start.source is not None:
                notes.append(f"{model} / {name}: {_unknown(start.source, scored)}")
    return notes


def _facts(stores: Iterable[str], *, official_test: bool = False) -> list[ScanFact]:
    """Of all cases of some stores; ``official_test`` leaves out those that no training of a study takes."""
    records = [record for path in stores for record in Store.open(path).records]
    held_out = {(r.dataset, r.subject) for r in records if official_test and r.split == "test" and r.subject}
    return [
        fact_of(r)
        for r in records
        if not (official_test and r.split == "test") and (r.dataset, r.subject) not in held_out
    ]


def _prefixed(where: str, facts: Iterable[ScanFact]) -> list[ScanFact]:
    return [ScanFact(f"{where} case {f.key}", f.scan, f.subject, f.hash) for f in facts]


def _compare(train: Sequence[ScanFact], test: Sequence[ScanFact]) -> None:
    subjects = {fact.key: fact.subject for fact in (*train, *test)}
    check_leakage(
        (fact.key for fact in train), (fact.key for fact in test), scan_groups([*train, *test]), subjects=subjects
    )


def _unknown(source: str, scored: Sequence[ScoredCase]) -> str:
    told = f"its card says: {card(source).training_data.value}" if source in list_checkpoints() else "nothing is told"
    examples = ", ".join(case.key for case in scored[:2])
    return (
        f"which scans {source} was trained on is not known case by case ({told}), so that nobody can rule out that it "
        f"has seen {examples} and the others. Name its stores as trained_on to check."
    )
