"""Checks the labels of an atlas or of a store case by case, and writes what deserves a look: tables, pictures, a page.

::

    <out>/
      findings.csv      one row per finding
      findings.json     the same, with what was checked
      pictures/         the slice of each finding, as far as they were wanted
      index.html        a page with all of it, in one file
"""

import csv
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path

import numpy as np

from suprem._files import atomic_folder
from suprem._workers import map_unordered
from suprem.atlas.label_set import LabelSet
from suprem.atlas.rules import RULES, Doubt, check_case
from suprem.atlas.workspace import Atlas, expert_labels
from suprem.errors import OutputError
from suprem.evaluation.pictures import Outline, draw_slice
from suprem.inference.planes import cut_across, plane_of
from suprem.labels import color
from suprem.quality.findings import FLAGS
from suprem.report.document import Report
from suprem.report.sections import Picture, Section, Table, Text
from suprem.volumes.geometry import Volume
from suprem.volumes.store import Store

__all__ = ["MEANINGS", "CheckResult", "LabelFinding", "check_labels"]

_CSV, _JSON, _PAGE, _PICTURES = "findings.csv", "findings.json", "index.html", "pictures"
_ALONG_Z = ("gap", "jump", "end", "order")
"""Shown in a coronal plane, in which slices lie above each other."""

MEANINGS = {
    "parts": "in several parts where one is usual",
    "volume": "volume outside the range usual in adults",
    "intensity": "mean density outside the range usual in adults",
    "spread": "spread of density outside the range usual in adults",
    "side": "on the other side of the body",
    "missing": "absent though its neighbours are in view",
    "outside": "a lesion or part outside its organ",
    "overlap": "two organs in the same voxels",
    "apart": "far from what it touches in everybody",
    "order": "above what it lies below",
    "across": "partly on the other side of the body",
    "gap": "absent from slices in between",
    "jump": "area jumps from one slice to the next",
    "end": "ends flat, as if slices were missing",
    "cavity": "encloses voxels that nothing claims",
}
"""Rule -> what it says in a few words."""


@dataclass(frozen=True)
class LabelFinding:
    """One reason to look at the labels of a structure.

    Attributes:
        case: key ``dataset/case``.
        structure: its name.
        rule: one of :data:`suprem.atlas.rules.RULES`, or a flag of :mod:`suprem.quality`.
        source: where the labels come from: expert, revised or pseudo.
        slice: index along z of the stored grid; ``None`` where there is nothing to show.
        slice_mm: its height in the patient, RAS mm.
        text: a sentence for people.
        others: structures that it speaks of.
        picture: its file below the output folder; empty without one.
    """

    case: str
    structure: str
    rule: str
    source: str
    slice: int | None
    slice_mm: float | None
    text: str
    others: tuple[str, ...] = ()
    picture: str = ""


@dataclass(frozen=True)
class CheckResult:
    """What was found.

    Attributes:
        cases: that were checked.
        findings: in the order of the cases, and within a case of the structures.
    """

    cases: tuple[str, ...]
    findings: tuple[LabelFinding, ...]

    def counts(self) -> dict[str, int]:
        """Findings per rule, in the order of the rules."""
        found = Counter(finding.rule for finding in self.findings)
        return {rule: found[rule] for rule in (*FLAGS, *RULES) if found[rule]}


def check_labels(
    place: str | Path,
    out: str | Path,
    *,
    cases: Sequence[str] | None = None,
    pictures: int = 60,
    jobs: int = 1,
    scheduler: str | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> CheckResult:
    """Checks the labels that count in an atlas, or the annotation of a store.

    Args:
        place: Folder of an atlas, or a store.
        out: Folder to write; an earlier check in it is replaced when the new one is complete.
        cases: Keys ``dataset/case``; ``None`` checks all.
        pictures: At most so many; every rule gets its share.
        jobs: Processes.
        scheduler: Address of a Dask scheduler, instead.
        progress: Called with the key of each case that ended, and the number of cases.

    Raises:
        ConfigurationError: nothing lies there.
        UnknownNameError: it has no such case.
        OutputError: ``out`` holds something else, or cannot be written.
    """
    target = Path(out)
    if target.exists() and not (target / _JSON).is_file():
        raise OutputError(f"{target} exists and holds no earlier check; choose another folder.")
    opened = _Place.open(place)
    keys = opened.keys(cases)
    found: dict[str, tuple[LabelFinding, ...]] = {}
    for key, outcome in map_unordered(partial(_check, place=str(place)), keys, jobs=jobs, scheduler=scheduler):
        if isinstance(outcome, Exception):
            raise outcome
        found[key] = outcome
        if progress:
            progress(key, len(keys))
    findings = [finding for key in keys for finding in found[key]]
    with atomic_folder(target, overwrite=True) as folder:
        shown = _draw(opened, findings, folder, pictures)
        result = CheckResult(keys, tuple(shown))
        _write(result, folder, str(place))
    return result


@dataclass(frozen=True)
class _Place:
    """Where the labels lie: an atlas, or the annotation of a store alone."""

    store: Store
    atlas: Atlas | None

    @classmethod
    def open(cls, place: str | Path) -> "_Place":
        atlas = Atlas.open(place) if Atlas.is_at(place) else None
        return cls(atlas.store if atlas else Store.open(place), atlas)

    def keys(self, cases: Sequence[str] | None) -> tuple[str, ...]:
        if cases is not None:
            return tuple(self.store.record(key).key for key in cases)
        return tuple(record.key for record in self.store.records)

    def labels(self, key: str) -> LabelSet:
        if self.atlas is not None:
            return self.atlas.labels(key)
        return expert_labels(self.store, key, self.store.record(key).annotated)


def _check(key: str, place: str) -> tuple[LabelFinding, ...]:
    """Everything found in one case; a function of the module, for other processes."""
    opened = _Place.open(place)
    labels = opened.labels(key)
    if not labels.provenance:
        return ()
    return tuple(_finding(key, labels, doubt) for doubt in check_case(labels, opened.store.case(key).ct()))


def _finding(key: str, labels: LabelSet, doubt: Doubt) -> LabelFinding:
    height = None
    if doubt.slice is not None:
        middle = [(size - 1) / 2 for size in labels.shape[:2]]
        height = round(float((labels.affine @ np.array([*middle, doubt.slice, 1.0]))[2]), 1)
    source = labels.provenance[doubt.structure].source
    return LabelFinding(key, doubt.structure, doubt.rule, source, doubt.slice, height, doubt.text, doubt.others)


def _draw(place: _Place, findings: Sequence[LabelFinding], folder: Path, limit: int) -> list[LabelFinding]:
    """Draws the first findings of every rule, and notes their files."""
    rank: Counter[str] = Counter()
    order = []
    for number, finding in enumerate(findings):
        if finding.slice is not None:
            order.append((rank[finding.rule], number))
            rank[finding.rule] += 1
    chosen = sorted(number for _, number in sorted(order)[:limit])
    shown, last = list(findings), None
    (folder / _PICTURES).mkdir()
    for number in chosen:
        finding = findings[number]
        if last is None or last[0] != finding.case:  # findings are in the order of the cases: each is read once
            last = finding.case, place.labels(finding.case), place.store.case(finding.case).ct()
        name = f"{_PICTURES}/{number + 1:05d}.png"
        (folder / name).write_bytes(_picture(finding, last[1], Volume(last[2], last[1].affine, finding.case)))
        shown[number] = replace(finding, picture=name)
    return shown


def _picture(finding: LabelFinding, labels: LabelSet, ct: Volume) -> bytes:
    masks = {name: labels.mask(name) for name in (finding.structure, *finding.others)}
    index, axis = finding.slice or 0, 2
    if finding.rule in _ALONG_Z:
        axis, rows = 1, np.flatnonzero(masks[finding.structure].any(axis=(0, 2)))
        index = int(rows[len(rows) // 2]) if len(rows) else ct.shape[1] // 2
    plane = plane_of(ct, axis, index)
    outlines = [Outline(cut_across(mask, axis, index), color(name), name) for name, mask in masks.items()]
    lines = (f"{finding.case}   {finding.structure}: {finding.rule}", f"{plane.title} slice {index}; {finding.text}")
    return draw_slice(plane, outlines, lines)


def _write(result: CheckResult, folder: Path, place: str) -> None:
    columns = [field.name for field in fields(LabelFinding)]
    with (folder / _CSV).open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows({**asdict(finding), "others": ";".join(finding.others)} for finding in result.findings)
    content = {
        "checked": place,
        "cases": list(result.cases),
        "counts": result.counts(),
        "findings": [asdict(finding) for finding in result.findings],
    }
    (folder / _JSON).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    _report(result, folder, place).write(folder / _PAGE)


def _report(result: CheckResult, folder: Path, place: str) -> Report:
    touched = {rule: len({f.case for f in result.findings if f.rule == rule}) for rule in result.counts()}
    rules = [(rule, MEANINGS[rule], count, touched[rule]) for rule, count in result.counts().items()]
    rows = [(f.case, f.structure, f.rule, f.source, f.slice, f.slice_mm, f.text) for f in result.findings]
    sections: list[Section] = [
        Text("Findings are hints to look at the labels, not verdicts: anatomy varies, and so do scans.", kind="note"),
        Table(("rule", "what it says", "findings", "cases"), rules, "By rule"),
        Table(("case", "structure", "rule", "labels", "slice", "height (mm)", "what"), rows, "Findings"),
    ]
    for finding in result.findings:
        if finding.picture:
            title = f"{finding.case}, {finding.structure}: {finding.rule}"
            sections.append(Picture((folder / finding.picture).read_bytes(), title, title, finding.text))
    provenance = {"checked": place, "cases": len(result.cases), "findings": len(result.findings)}
    subtitle = (
        f"{len(result.findings)} findings in {len({f.case for f in result.findings})} of {len(result.cases)} cases"
    )
    return Report("Label check", sections, provenance, subtitle)
