"""The data card of a release, its page of citations, and its statement on licences.

The sections follow Gebru et al., "Datasheets for Datasets", Communications of the ACM 64(12), 2021. What the files
cannot tell is left to a person, and marked.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from suprem._files import atomic_path
from suprem.atlas.release.case import ReleasedCase
from suprem.atlas.release.tables import RULE, Statistics
from suprem.atlas.release.terms import Terms
from suprem.zoo.model_card import is_generated, signed

__all__ = ["CARD", "CITATIONS", "LICENCES", "CardFacts", "unfilled", "write_card"]

CARD, LICENCES, CITATIONS = "README.md", "LICENSE.md", "CITATIONS.md"
_MARK = re.compile(r"\*\*To be filled in:\*\* *([^\n]*)")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))


@dataclass(frozen=True)
class CardFacts:
    """What the card tells beside the cases.

    Attributes:
        name: of the dataset.
        version: of the release.
        spacing_mm: of all cases, ``None`` where each has its own.
        hu_range: to which intensities are clipped.
        space: label space of the numbers.
        models: that made pseudo labels.
        anonymous: reviewers have codes.
    """

    name: str
    version: str
    spacing_mm: tuple[float, float, float] | None
    hu_range: tuple[int, int]
    space: str
    models: tuple[str, ...]
    anonymous: bool


def unfilled(text: str) -> list[str]:
    """What a person still has to fill in.

    Example:
        >>> unfilled("**To be filled in:** Who paid for it?")
        ['Who paid for it?']
    """
    return [question.strip() for question in _MARK.findall(text)]


def write_card(
    folder: Path, facts: CardFacts, cases: Sequence[ReleasedCase], found: Statistics, terms: Mapping[str, Terms]
) -> bool:
    """Writes ``README.md``, ``LICENSE.md`` and ``CITATIONS.md``; returns whether the first is still as generated.

    A card that a person has edited stays as it is.

    Raises:
        OutputError: they cannot be written.
    """
    used = [terms[name] for name in sorted({case.dataset for case in cases})]
    _write(folder / LICENCES, _licences(used, cases))
    _write(folder / CITATIONS, _citations(used))
    path = folder / CARD
    if path.is_file() and not is_generated(path.read_text(encoding="utf-8", errors="replace")):
        return False
    parts = (_metadata(facts, found), _head(facts, found), _table(found), _motivation(), _composition(found, used))
    text = "\n".join((*parts, _collection(used), _labelling(facts), _uses(), _distribution(found, used)))
    _write(path, signed(text + _maintenance()))
    return True


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _metadata(facts: CardFacts, found: Statistics) -> str:
    size = next((name for limit, name in _SIZES if found.volumes < limit), "100K<n<1M")
    content = {
        "pretty_name": facts.name,
        "license": "other",
        "license_name": "per-case",
        "license_link": LICENCES,
        "task_categories": ["image-segmentation"],
        "tags": ["medical", "computed-tomography", "3d", "segmentation", "suprem"],
        "size_categories": [size],
    }
    return f"---\n{yaml.safe_dump(content, sort_keys=False)}---\n"


def _head(facts: CardFacts, found: Statistics) -> str:
    text = f"# {facts.name}, version {facts.version}\n\nNot for clinical use.\n\n"
    text += f"{found.volumes:,} computed tomographies of {found.datasets} datasets with {found.structures} structures: "
    text += f"{found.masks:,} masks. "
    missing = found.volumes - found.cts
    if missing:
        text += (
            f"The CTs of {missing:,} cases are not here, because their terms do not allow it or because labels alone "
            "are released; `suprem atlas reassemble` makes them from your own copy of the source."
        )
    return (
        text
        + "\n\n```\n<id>/ct.nii.gz                         HU, int16\n<id>/segmentations/<structure>.nii.gz  0 or 1; "
        "empty where a structure is known to be absent, no file where it is unknown\n<id>/combined_labels.nii.gz"
        "            numbered as in dataset.json\n```\n"
    )


def _table(found: Statistics) -> str:
    rows = [
        ("volumes", found.volumes),
        ("of these with their CT", found.cts),
        ("patients, as far as known", found.patients),
        ("datasets", found.datasets),
        ("structures", found.structures),
        ("masks", found.masks),
        ("annotated voxels", found.annotated_voxels),
        ("annotated axial slices", found.annotated_slices),
    ]
    text = "## Statistics\n\n| | |\n|---|---:|\n" + "".join(f"| {name} | {count:,} |\n" for name, count in rows)
    text += "\n| structure | number | cases | expert | revised | pseudo | absent | volume, ml |\n"
    text += "|---|---:|---:|---:|---:|---:|---:|---:|\n"
    for row in found.per_structure:
        counts = " | ".join(f"{n:,}" for n in (row.cases, row.expert, row.revised, row.pseudo, row.empty))
        text += f"| {row.structure} | {row.number} | {counts} | {row.volume_ml:,.0f} |\n"
    return text


def _motivation() -> str:
    return (
        "## Motivation\n\n**To be filled in:** For what purpose was the dataset created?\n\n"
        "**To be filled in:** Who created it, and who paid for it?\n"
    )


def _composition(found: Statistics, used: Sequence[Terms]) -> str:
    sources = "".join(f"- {_title(terms)}\n" for terms in used)
    return (
        "## Composition\n\nEach case is one CT with masks. `provenance.csv` says of every mask whether experts of the "
        "source annotated it, a reviewer revised it, or models predicted it. A structure without a file is unknown "
        f"in that case, not absent.\n\nSources:\n\n{sources}\n"
        f"Scans that are known to be copies of each other, and scans of one patient, share an entry in the column "
        f"`patient` of `ids.csv` ({found.patients:,} of {found.volumes:,}); keep them on one side of every split.\n\n"
        "Names of cases are replaced by numbers; the files carry no texts in their headers. Names of the sources' "
        "cases are given for datasets that everybody can obtain.\n\n"
        "**To be filled in:** Could faces or other features of the images identify somebody?\n"
    )


def _collection(used: Sequence[Terms]) -> str:
    public = ", ".join(terms.title for terms in used if terms.public)
    text = "## Collection process\n\n"
    if public:
        text += f"The scans of {public} come from their public releases; their papers ({CITATIONS}) describe them.\n\n"
    if any(not terms.public for terms in used):
        text += (
            "**To be filled in:** How were the scans that are not public elsewhere collected, and who consented?\n\n"
        )
    return text + "**To be filled in:** Was there an ethical review?\n"


def _labelling(facts: CardFacts) -> str:
    grid = "their own spacing" if facts.spacing_mm is None else " x ".join(f"{s:g}" for s in facts.spacing_mm) + " mm"
    models = ", ".join(f"`{model}`" for model in facts.models) or "none"
    people = "codes; the people are known to those who released it" if facts.anonymous else "the names of reviewers"
    return (
        f"## Preprocessing, cleaning, labelling\n\nScans lie in RAS orientation with {grid} and HU clipped to "
        f"{facts.hu_range[0]} to {facts.hu_range[1]}; the affine is that of the scan, moved by nothing. Labels of the "
        "source's experts count before revised ones, and these before predicted ones. Models: "
        f"{models}. `provenance.csv` has {people}.\n\nNumbers of `combined_labels.nii.gz` are those of "
        f"`{facts.space}`, continued for further structures (`dataset.json`). {RULE}\n\n"
        "**To be filled in:** Who reviewed, with what training, and by what rules?\n"
    )


def _uses() -> str:
    return (
        "## Uses\n\nTraining and evaluation of segmentation. Predicted masks carry the errors of their models: do not "
        "evaluate on them. A model that has seen a source, or another copy of it, must not be tested on its cases.\n\n"
        "**To be filled in:** For what should the dataset not be used?\n"
    )


def _distribution(found: Statistics, used: Sequence[Terms]) -> str:
    kept = [terms.title for terms in used if not terms.shared]
    text = (
        f"## Distribution\n\nThere is no licence for the whole. Each case has the terms of its source "
        f"(`licences.csv`, [{LICENCES}]({LICENCES})).\n\n"
    )
    if kept:
        text += (
            f"CTs and the sources' own masks of {', '.join(kept)} are not included: their terms forbid it, or do not "
            "settle it. Do not publish them after re-assembly either.\n\n"
        )
    text += f"{found.masks_included:,} of {found.masks:,} masks and {found.cts:,} of {found.volumes:,} CTs are here. "
    text += f"`sha256sum -c SHA256SUMS` checks them. What to cite: [{CITATIONS}]({CITATIONS}).\n\n"
    return text + "**To be filled in:** Under which licence are the masks that were made for this dataset?\n"


def _maintenance() -> str:
    return (
        "\n## Maintenance\n\nNumbers of cases and structures stay the same in later releases.\n\n"
        "**To be filled in:** Who maintains the dataset, and how can errors be reported?\n"
    )


def _title(terms: Terms) -> str:
    page = f" (<{terms.homepage}>)" if terms.homepage else ""
    return f"{terms.title}{page}: {terms.licence}"


def _licences(used: Sequence[Terms], cases: Sequence[ReleasedCase]) -> str:
    text = (
        "# Licences\n\nThis dataset has no licence of its own for the whole. The terms of each source hold for its "
        "cases, which `licences.csv` lists one by one; where statements contradict each other, all are quoted.\n\n"
        "| dataset | cases | licence as stated | stated by | may be passed on |\n|---|---:|---|---|---|\n"
    )
    for terms in used:
        count = sum(case.dataset == terms.dataset for case in cases)
        passed = f"{'yes' if terms.shared else 'no'}: {terms.reason}"
        text += f"| {terms.title} | {count:,} | {terms.licence} | {terms.stated_by} | {passed} |\n"
    return text


def _citations(used: Sequence[Terms]) -> str:
    text = "# What to cite\n\nWhoever uses a case cites its source.\n"
    for terms in used:
        entries = "".join(f"- {entry}\n" for entry in terms.citation) or "- Nothing is stated.\n"
        text += f"\n## {terms.title}\n\n{entries}"
    return text
