"""Which cases of two datasets are the same scan, and how that is known."""

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from suprem._files import read_csv
from suprem.datasets._layout import CaseFiles
from suprem.datasets._spec import dataset, list_datasets
from suprem.errors import ConfigurationError, VolumeError

if TYPE_CHECKING:
    from suprem.volumes.store import CaseRecord

__all__ = [
    "FLARE23_TABLE",
    "LIKENESS",
    "Evidence",
    "Pair",
    "Same",
    "ScanFact",
    "facts_of_cases",
    "facts_of_records",
    "find_overlap",
    "read_flare23_table",
    "read_table",
]

logger = logging.getLogger(__name__)

Evidence = Literal["name", "table", "hash", "thumbnail"]

FLARE23_TABLE = "FLARE23-DataInfoTraining.xlsx"
LIKENESS = 0.95
"""Correlation of thumbnails that counts as alike: resampled copies of phantoms reach 0.98, others stay below 0.8."""

_RANK = {"verified": 0, "inferred": 1, "memory": 2, "unknown": 3}


@dataclass(frozen=True)
class ScanFact:
    """What is known about one case when looking for copies of its scan.

    Attributes:
        key: ``dataset/case``.
        scan: name of the scan, equal for every case that is known by name to be the same one.
        subject: the patient, as far as known.
        hash: result of ``scan_hash``, empty where the voxels were not read.
        thumbnail: uint8 (32, 32, 32), or ``None`` where the voxels were not read.
    """

    key: str
    scan: str
    subject: str = ""
    hash: str = ""
    thumbnail: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Pair:
    """One piece of evidence that two cases are the same scan.

    Attributes:
        a: key of a case.
        b: key of another.
        kind: where it comes from; a ``thumbnail`` only says that somebody should look.
        detail: for people.
        confidence: how sure it is.
    """

    a: str
    b: str
    kind: Evidence
    detail: str
    confidence: str


@dataclass(frozen=True)
class Same:
    """A line of a table: two names of scans that are one, who says so, and how sure that is."""

    a: str
    b: str
    source: str
    confidence: str


def facts_of_cases(cases: Iterable[CaseFiles], *, name: str | None = None, pixels: bool = False) -> list[ScanFact]:
    """The facts of discovered cases.

    Args:
        cases: From :meth:`suprem.datasets.DatasetSpec.cases`.
        name: Stands for the dataset in all names: two folders of somebody's own are not one because both have a case 1.
        pixels: Read each CT for its hash and thumbnail; one that cannot be read is named in a warning.
    """
    facts = []
    for files in cases:
        scan, subject = files.scan, files.subject
        if name is not None:
            scan, subject = f"{name}/{files.case}", f"{name}/{subject.removeprefix(f'{files.dataset}/')}"
        fact = ScanFact(f"{name or files.dataset}/{files.case}", scan, subject)
        facts.append(_with_pixels(fact, files) if pixels else fact)
    return facts


def _with_pixels(fact: ScanFact, files: CaseFiles) -> ScanFact:
    from suprem.datasets._hashes import scan_hash, thumbnail
    from suprem.volumes import read_ct

    try:
        ct = read_ct(files.image)
    except VolumeError as error:
        logger.warning("%s is compared by name only: %s", fact.key, error)
        return fact
    return replace(fact, hash=scan_hash(ct), thumbnail=thumbnail(ct))


def facts_of_records(records: Iterable["CaseRecord"]) -> list[ScanFact]:
    """The facts of prepared cases, as the index of a store holds them; no voxel is read."""
    return [ScanFact(record.key, record.scan, record.subject, record.scan_hash) for record in records]


def find_overlap(
    a: Sequence[ScanFact],
    b: Sequence[ScanFact] | None = None,
    *,
    same: Iterable[Same] = (),
    threshold: float = LIKENESS,
) -> list[Pair]:
    """The evidence that cases of ``a`` and ``b`` are the same scan.

    Args:
        a: Cases of one dataset.
        b: Cases of another; ``None`` looks for copies within ``a``.
        same: Lines of tables, from :func:`read_table` and :func:`read_flare23_table`.
        threshold: Smallest correlation of thumbnails that is reported.

    Returns:
        By keys, a pair of cases once for each kind of evidence. Voxels that differ although names agree are said in
        ``detail``; thumbnails are not compared where the hashes are already equal.

    Example:
        >>> lits, msd = ScanFact("lits/volume-7", "lits/7"), ScanFact("msd_liver/liver_7", "lits/7")
        >>> [(pair.a, pair.b, pair.kind) for pair in find_overlap([lits], [msd])]
        [('lits/volume-7', 'msd_liver/liver_7', 'name')]
    """
    others = a if b is None else b
    pairs = [*_by_name(a, others), *_by_table(a, others, same), *_by_hash(a, others), *_by_look(a, others, threshold)]
    if b is None:
        pairs = [pair for pair in pairs if pair.a < pair.b]
    return sorted(dict.fromkeys(pairs), key=lambda pair: (pair.a, pair.b, get_args(Evidence).index(pair.kind)))


def _compared(one: ScanFact, other: ScanFact) -> str:
    return "; the voxels differ" if one.hash and other.hash and one.hash != other.hash else ""


def _by_name(a: Sequence[ScanFact], b: Sequence[ScanFact]) -> Iterator[Pair]:
    named = _by_scan(b)
    for one in a:
        for other in named.get(one.scan, ()):
            rules = [_rule_of(one), _rule_of(other)]
            confidence = max((rule[1] for rule in rules), key=lambda text: _RANK.get(text, len(_RANK)))
            note = next((text for text, _ in rules if text), "the same name")
            yield Pair(one.key, other.key, "name", note + _compared(one, other), confidence)


def _rule_of(fact: ScanFact) -> tuple[str, str]:
    """The note and the confidence of the rule that gave a case the name of its scan."""
    slug, _, case = fact.key.partition("/")
    if slug in list_datasets():
        for rule in dataset(slug).identity:
            if rule.scan_of(case):
                return rule.note, rule.confidence
    return "", "verified"


def _by_table(a: Sequence[ScanFact], b: Sequence[ScanFact], same: Iterable[Same]) -> Iterator[Pair]:
    # By the name of the scan: a line about LiTS also tells about its copies in other datasets.
    first, second = _by_scan(a), _by_scan(b)
    for line in same:
        for left, right in ((line.a, line.b), (line.b, line.a)):
            for one in first.get(left, ()):
                for other in second.get(right, ()):
                    yield Pair(one.key, other.key, "table", line.source + _compared(one, other), line.confidence)


def _by_scan(facts: Sequence[ScanFact]) -> dict[str, list[ScanFact]]:
    names = defaultdict(list)
    for fact in facts:
        names[fact.scan].append(fact)
    return names


def _by_hash(a: Sequence[ScanFact], b: Sequence[ScanFact]) -> Iterator[Pair]:
    hashed = defaultdict(list)
    for fact in b:
        if fact.hash:
            hashed[fact.hash].append(fact)
    for one in a:
        for other in hashed.get(one.hash, ()):
            yield Pair(one.key, other.key, "hash", "the same voxels", "verified")


def _by_look(a: Sequence[ScanFact], b: Sequence[ScanFact], threshold: float) -> Iterator[Pair]:
    one = [fact for fact in a if fact.thumbnail is not None]
    other = [fact for fact in b if fact.thumbnail is not None]
    if not one or not other:
        return
    import numpy as np

    from suprem.datasets._hashes import likeness

    left, right = (np.stack([fact.thumbnail for fact in facts]) for facts in (one, other))
    for row, column, value in likeness(left, right, threshold):
        if not one[row].hash or one[row].hash != other[column].hash:
            detail = f"thumbnails correlate {value:.3f}: look at both"
            yield Pair(one[row].key, other[column].key, "thumbnail", detail, "unknown")


def _scan_named(name: str) -> str:
    """The name of the scan of ``dataset/case``."""
    slug, _, case = name.partition("/")
    return dataset(slug).scan_of(case) if case and slug in list_datasets() else name


def read_table(path: Path) -> list[Same]:
    """Pairs of cases from a CSV file with the columns ``id_a`` and ``id_b``, each ``dataset/case``.

    Raises:
        ConfigurationError: the file cannot be read, or has other columns or another kind of name.
    """
    columns, lines = read_csv(path, advice="Save it as CSV in UTF-8.")
    if not {"id_a", "id_b"} <= set(columns):
        raise ConfigurationError(f"{path} has the columns {', '.join(columns) or 'none'}; id_a and id_b are needed.")
    rows = [((line["id_a"] or "").strip(), (line["id_b"] or "").strip()) for line in lines]
    for row in rows:
        if not all("/" in name for name in row):
            raise ConfigurationError(f"{path} has the line {','.join(row)}; write dataset/case, like lits/volume-7.")
    return [Same(_scan_named(a), _scan_named(b), path.name, "stated by the user") for a, b in rows]


def read_flare23_table(path: Path, others: Iterable[ScanFact]) -> list[Same]:
    """Which scan each FLARE'23 image was, from the column ``public_name`` of its spreadsheet.

    A public name counts only when it holds a letter and all cases of that name among ``others`` are one scan; a bare
    number would fit many datasets.

    Args:
        path: The spreadsheet of the challenge.
        others: Cases that the public names may mean.

    Raises:
        ConfigurationError: openpyxl is missing, the file cannot be read, or it has no such column.
    """
    named = defaultdict(set)
    for fact in others:
        named[fact.key.partition("/")[2].lower()].add(fact.scan)
    found = []
    for case, public in _flare23_rows(path):
        stem = Path(public.lower()).name.removesuffix(".gz").removesuffix(".nii").removesuffix("_0000")
        if any(letter.isalpha() for letter in stem) and len(named.get(stem, ())) == 1:
            (scan,) = named[stem]
            found.append(Same(_scan_named(f"flare23/{case}"), scan, f"{path.name} says {public}", "inferred"))
    return found


def _flare23_rows(path: Path) -> list[tuple[str, str]]:
    """(case, public name) of each row that names a case in any of its cells."""
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise ConfigurationError(f"{path} is a spreadsheet; install openpyxl to read it.") from error
    try:
        book = load_workbook(path, read_only=True, data_only=True)
        rows = [[str(cell or "").strip() for cell in row] for row in book.worksheets[0].iter_rows(values_only=True)]
        book.close()
    except Exception as error:  # zip, XML and openpyxl errors have no common base
        raise ConfigurationError(f"{path} cannot be read: {error}. Download it again.") from error
    if not rows or "public_name" not in rows[0]:
        raise ConfigurationError(f"{path} has no column public_name in its first row. Download it again.")
    column = rows[0].index("public_name")
    cases = []
    for row in rows[1:]:
        name = re.search(r"FLARE23_\d{4}(?!\d)", " ".join(row[:column] + row[column + 1 :]))
        if name and column < len(row) and row[column]:
            cases.append((name[0], row[column]))
    if not cases:
        raise ConfigurationError(f"{path} names no FLARE23 case beside a public_name; give the pairs as a CSV file.")
    return cases
