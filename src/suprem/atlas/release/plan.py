"""What is decided before a release is written, and whether it may be."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from suprem.atlas.label_set import Provenance
from suprem.atlas.release.card import CardFacts
from suprem.atlas.release.case import CaseJob, planned_state, released_provenance, without_folders
from suprem.atlas.release.identifiers import Finding, check_free_of_identifiers, text_findings
from suprem.atlas.release.registers import FIRST_ID, case_ids, numbering, reviewer_codes
from suprem.atlas.release.terms import Terms, terms_of
from suprem.atlas.workspace import Atlas
from suprem.datasets._groups import scan_groups
from suprem.datasets._overlap import Pair, ScanFact
from suprem.errors import ConfigurationError
from suprem.labels import label_space, list_structures
from suprem.volumes.store import CaseRecord

__all__ = ["Plan", "ReleaseOptions", "plan_release"]


@dataclass(frozen=True)
class ReleaseOptions:
    """How a release is made.

    Attributes:
        name: of the dataset; ``None`` takes that of the atlas' folder.
        version: of the release.
        licences: dataset -> SPDX identifier or sentence, for datasets whose terms are not known here.
        labels_only: leave out all CTs.
        prefix: of the names of cases; readers of AbdomenAtlas expect the default.
        first_id: smallest number of cases that have none yet.
        space: label space of the combined label maps; further structures get the numbers that follow.
        anonymise: codes instead of the names of reviewers.
        accept: texts that look as if they identified somebody, and do not.
    """

    name: str | None = None
    version: str = "1.0"
    licences: Mapping[str, str] | None = None
    labels_only: bool = False
    prefix: str = "BDMAP"
    first_id: int = FIRST_ID
    space: str = "abdomenatlas_1_1"
    anonymise: bool = True
    accept: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a release will be.

    Attributes:
        jobs: one for each case, sorted by their keys.
        states: of the jobs, see :func:`suprem.atlas.release.case.planned_state`.
        terms: of the datasets.
        numbers: number -> structure.
        facts: for the data card.
        skipped: key of a case that is left out -> why.
    """

    jobs: tuple[CaseJob, ...]
    states: tuple[str, ...]
    terms: Mapping[str, Terms]
    numbers: Mapping[int, str]
    facts: CardFacts
    skipped: Mapping[str, str]

    @property
    def state(self) -> str:
        """A digest of all of it: equal for releases with the same content."""
        content = [self.states, asdict(self.facts), [asdict(entry) for entry in self.terms.values()]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def plan_release(atlas: Atlas, books: Path, folder: Path, options: ReleaseOptions) -> Plan:
    """Decides what is released under which names, and gives new cases and structures their numbers.

    Args:
        atlas: What to release.
        books: Where the atlas keeps its registers.
        folder: Of the release.
        options: How.

    Raises:
        ConfigurationError: nothing is annotated, terms are not known, or a text could identify a person.
    """
    provenance = {key: atlas.provenance(key) for key in atlas.cases}
    skipped = {key: "no structure is known in it" for key, known in provenance.items() if not known}
    provenance = {key: known for key, known in provenance.items() if known}
    if not provenance:
        raise ConfigurationError(f"No case of {atlas.root} has any labels; run `suprem atlas ensemble` first.")
    records = {key: atlas.store.record(key) for key in provenance}
    terms = terms_of({record.dataset for record in records.values()}, options.licences)
    entries = [(name, entry) for known in provenance.values() for name, entry in known.items()]
    structures, people = {name for name, _ in entries}, {e.by for _, e in entries if e.source == "revised"}
    name, space = options.name or atlas.root.resolve().name, label_space(options.space)
    _check_file_names(structures)
    texts = _free_texts(entries, terms, options, name)
    _check_texts(texts, _private(records.values(), terms, people if options.anonymise else ()), options.accept)
    ids = case_ids(books, records, prefix=options.prefix, first=options.first_id)
    numbers = numbering(books, space, structures)
    codes = reviewer_codes(books, people) if options.anonymise else None
    patients = _patients(records, ids)

    def job(key: str) -> CaseJob:
        of_source = terms[records[key].dataset]
        return CaseJob(atlas, key, ids[key], patients[key], of_source, options.labels_only, numbers, codes, folder)

    jobs = tuple(job(key) for key in records)
    models = {e.by for entry in jobs for e in released_provenance(entry).values() if e.source == "pseudo"}
    settings = atlas.store.settings
    facts = CardFacts(
        name=name,
        version=options.version,
        spacing_mm=settings.spacing_mm,
        hu_range=settings.hu_range,
        space=space.name,
        models=tuple(sorted(models)),
        anonymous=options.anonymise,
    )
    return Plan(jobs, tuple(planned_state(entry) for entry in jobs), terms, numbers, facts, skipped)


def _free_texts(
    entries: Iterable[tuple[str, Provenance]], terms: Mapping[str, Terms], options: ReleaseOptions, name: str
) -> dict[str, set[str]]:
    """What people have written and a release would repeat; place -> texts."""
    listed = list(entries)
    return {
        "the name of the dataset": {name},
        "the version": {options.version},
        "the prefix": {options.prefix},
        "a structure": {structure for structure, _ in listed} - set(list_structures()),
        "a model": {without_folders(entry.by) for _, entry in listed if entry.source == "pseudo"},
        "a dataset": {text for t in terms.values() if not t.public for text in (t.dataset, t.licence)},
    }


def _private(records: Iterable[CaseRecord], terms: Mapping[str, Terms], people: Iterable[str]) -> set[str]:
    """Names that only those who have the scans know, and those of people that are replaced by codes."""
    kept = [record for record in records if not terms[record.dataset].public]
    return {name for record in kept for name in (record.case, record.subject, record.source) if name} | set(people)


def _check_texts(texts: Mapping[str, Iterable[str]], private: set[str], accepted: Sequence[str]) -> None:
    """Refuses names that could identify somebody, before anything is written."""
    findings: list[Finding] = []
    for place, entries in texts.items():
        for text in sorted(entries):
            findings += text_findings(place, text, private, accepted)
    check_free_of_identifiers(
        findings, "Rename it where it comes from, or pass --accept with the text if it identifies nobody."
    )


def _check_file_names(structures: Iterable[str]) -> None:
    names: dict[str, str] = {}
    for name in sorted(set(structures)):
        file = label_space("abdomenatlas_1_1").file_name(name)
        if not file or names.setdefault(file, name) != name:
            raise ConfigurationError(
                f"The masks of {name!r} and {names.get(file, 'nothing')!r} would both be called {file!r}; rename one."
            )


def _patients(records: Mapping[str, CaseRecord], ids: Mapping[str, str]) -> dict[str, str]:
    """Key -> the first id of all cases of the same scan or patient."""
    facts = [ScanFact(key, record.scan or key, record.subject, record.scan_hash) for key, record in records.items()]
    people: dict[tuple[str, str], list[str]] = {}
    for key, record in records.items():
        if record.subject:
            people.setdefault((record.dataset, record.subject), []).append(key)
    pairs = [Pair(a, b, "name", "one patient", "verified") for keys in people.values() for a, b in pairwise(keys)]
    groups, first = scan_groups(facts, pairs), dict[str, str]()
    for key in sorted(records, key=lambda key: ids[key]):
        first.setdefault(groups[key], ids[key])
    return {key: first[group] for key, group in groups.items()}
