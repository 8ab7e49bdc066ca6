"""Tables of a release: cases, licences, provenance, statistics, numbering, checksums."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from suprem._files import atomic_path, sha256_file
from suprem.atlas.label_set import SOURCES
from suprem.atlas.release.case import CASE, ReleasedCase
from suprem.atlas.release.terms import Terms
from suprem.errors import ConfigurationError

__all__ = ["CHECKSUMS", "DESCRIPTION", "RULE", "Statistics", "StructureStatistics", "checksums", "read_checksums"]
__all__ += ["statistics", "write_description", "write_tables"]

CHECKSUMS, DESCRIPTION = "SHA256SUMS", "dataset.json"
RULE = "Where structures overlap, the higher number is left; the masks under segmentations/ keep both."


@dataclass(frozen=True)
class StructureStatistics:
    """Counts of one structure.

    Attributes:
        structure: canonical name.
        number: in the combined label maps.
        cases: in which it is known.
        expert: of these, annotated in the source.
        revised: revised in review.
        pseudo: predicted.
        empty: known to be absent.
        voxels: annotated.
        volume_ml: of these voxels.
        slices: axial slices that it touches.
    """

    structure: str
    number: int
    cases: int
    expert: int
    revised: int
    pseudo: int
    empty: int
    voxels: int
    volume_ml: float
    slices: int


@dataclass(frozen=True)
class Statistics:
    """What a release holds, as papers on datasets count it.

    Attributes:
        volumes: cases.
        patients: as far as known; scans that are known to be copies count once.
        datasets: sources.
        cts: cases whose CT is in the release.
        structures: kinds.
        masks: structures of cases, empty ones included.
        masks_included: of these, in the release.
        annotated_voxels: over all masks.
        annotated_slices: axial slices with any structure.
        per_structure: one entry each, in the order of their numbers.
    """

    volumes: int
    patients: int
    datasets: int
    cts: int
    structures: int
    masks: int
    masks_included: int
    annotated_voxels: int
    annotated_slices: int
    per_structure: tuple[StructureStatistics, ...]


def statistics(cases: Sequence[ReleasedCase]) -> Statistics:
    """Counts over the cases of a release."""
    rows = []
    numbers = {name: entry.number for case in cases for name, entry in case.structures.items()}
    for name, number in sorted(numbers.items(), key=lambda item: item[1]):
        found = [(case, case.structures[name]) for case in cases if name in case.structures]
        by_source = {source: sum(entry.source == source for _, entry in found) for source in SOURCES}
        rows.append(
            StructureStatistics(
                structure=name,
                number=number,
                cases=len(found),
                **by_source,
                empty=sum(entry.voxels == 0 for _, entry in found),
                voxels=sum(entry.voxels for _, entry in found),
                volume_ml=sum(entry.voxels * _voxel_ml(case) for case, entry in found),
                slices=sum(entry.slices for _, entry in found),
            )
        )
    entries = [entry for case in cases for entry in case.structures.values()]
    return Statistics(
        volumes=len(cases),
        patients=len({case.patient for case in cases}),
        datasets=len({case.dataset for case in cases}),
        cts=sum(case.ct_included for case in cases),
        structures=len(rows),
        masks=len(entries),
        masks_included=sum(entry.included for entry in entries),
        annotated_voxels=sum(row.voxels for row in rows),
        annotated_slices=sum(case.annotated_slices for case in cases),
        per_structure=tuple(rows),
    )


def _voxel_ml(case: ReleasedCase) -> float:
    return float(abs(np.linalg.det(np.array(case.affine)[:3, :3]))) / 1000


def write_tables(folder: Path, cases: Sequence[ReleasedCase], terms: Mapping[str, Terms], found: Statistics) -> None:
    """Writes ``ids.csv``, ``licences.csv``, ``provenance.csv`` and ``statistics.csv``.

    Raises:
        OutputError: they cannot be written.
    """
    _csv(
        folder / "ids.csv",
        ("id", "patient", "dataset", "source_case", "ct", "masks"),
        (
            (c.id, c.patient, c.dataset, c.source_case or "", _told(c, c.ct_included), _told(c, c.labels_complete))
            for c in cases
        ),
    )
    _csv(
        folder / "licences.csv",
        ("id", "dataset", "licence", "stated_by", "ct", "may_be_passed_on", "reason"),
        (
            (c.id, t.title, t.licence, t.stated_by, _told(c, c.ct_included), "yes" if t.shared else "no", t.reason)
            for c in cases
            for t in [terms[c.dataset]]
        ),
    )
    _csv(
        folder / "provenance.csv",
        ("id", "structure", "source", "by", "round", "voxels", "mask"),
        (
            (c.id, name, e.source, e.by, e.round, e.voxels, _told(c, e.included))
            for c in cases
            for name, e in c.structures.items()
        ),
    )
    names = tuple(StructureStatistics.__dataclass_fields__)
    rows = ([getattr(row, name) for name in names] for row in found.per_structure)
    _csv(folder / "statistics.csv", names, ([f"{v:.1f}" if isinstance(v, float) else v for v in row] for row in rows))


def _told(case: ReleasedCase, included: bool) -> str:
    """Only what everybody can obtain can be re-assembled."""
    return "included" if included else "to be re-assembled" if case.source_case else "not included"


def write_description(folder: Path, content: Mapping[str, Any], numbers: Mapping[int, str]) -> None:
    """Writes ``dataset.json``: what the numbers of the combined label maps mean, and how the cases were prepared."""
    labels = {"background": 0, **{name: number for number, name in numbers.items()}}
    text = json.dumps({**content, "labels": labels, "overlap": RULE}, indent=1, ensure_ascii=False)
    with atomic_path(folder / DESCRIPTION) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def checksums(folder: Path, cases: Iterable[ReleasedCase], tables: Iterable[str]) -> str:
    """Writes ``SHA256SUMS``, which ``sha256sum -c`` reads, over the cases and tables; returns its own SHA-256.

    The data card is left out: people complete it.

    Raises:
        ConfigurationError: a file is missing.
        OutputError: it cannot be written.
    """
    names = [name for case in cases for name in _names(case)] + list(tables)
    with atomic_path(folder / CHECKSUMS) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for name in sorted(names):
            if not (folder / name).is_file():
                raise ConfigurationError(f"{folder / name} is missing; was it removed? Run the command again.")
            file.write(f"{sha256_file(folder / name)}  {name}\n")
    return sha256_file(folder / CHECKSUMS)


def _names(case: ReleasedCase) -> Iterator[str]:
    yield f"{case.id}/{CASE}"
    for name in case.files:
        yield f"{case.id}/{name}"


def read_checksums(folder: Path) -> dict[str, str]:
    """File -> SHA-256, as ``SHA256SUMS`` says.

    Raises:
        ConfigurationError: it is missing or damaged.
    """
    path = folder / CHECKSUMS
    try:
        lines = [line.split("  ", 1) for line in path.read_text(encoding="utf-8").splitlines()]
        return {name: digest for digest, name in lines}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} is missing or damaged: {error}. Release again.") from error


def _csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)
