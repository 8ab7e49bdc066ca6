"""Whether the labels of a case can be true: intensities under the masks, sides, volumes, and what reading has found."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from suprem.datasets._labels import HarmonisedLabels
from suprem.datasets._reading import SourceCase, read_case
from suprem.datasets._spec import DatasetSpec
from suprem.errors import SupremError
from suprem.labels import list_structures, mirrored, structure
from suprem.volumes.geometry import Volume, to_ras
from suprem.volumes.store import Store, StoredCase

__all__ = ["CaseVerdict", "Finding", "Verdict", "examine", "stored_as_read", "verify_raw", "verify_store"]

Verdict = Literal["ok", "warning", "wrong"]
_ORDER: tuple[Verdict, ...] = ("ok", "warning", "wrong")

# Mean HU under a whole structure, with and without contrast, in health and disease: wide on purpose. A shifted, flipped
# or mis-numbered mask lies in something else and leaves them; a rare patient may as well. General physiology.
_HU_OF_GROUP = {
    "abdominal organ": (-50.0, 320.0),
    "vascular structure": (-20.0, 600.0),
    "skeletal structure": (30.0, 1500.0),
    "cardiac structure": (-20.0, 500.0),
    "muscle": (-60.0, 200.0),
    "tumour or cyst": (-60.0, 300.0),
}
_HU_OF_STRUCTURE = {
    # organs with air in them
    **dict.fromkeys(("stomach", "colon", "intestine", "rectum", "duodenum", "esophagus"), (-700.0, 400.0)),
    **dict.fromkeys(("bladder", "gall_bladder"), (-50.0, 800.0)),  # with excreted contrast, or stones
    **dict.fromkeys(("liver", "spleen"), (-20.0, 280.0)),  # a fatty liver lies below zero
    "pancreas": (-60.0, 200.0),
    **dict.fromkeys(("lung_right", "lung_left"), (-1000.0, -300.0)),
    "lung_tumor": (-600.0, 300.0),
    "colon_tumor": (-200.0, 300.0),
    "coronary_artery": (-50.0, 900.0),
}
_HU_OF_DATASET = {  # recommended checks of single datasets
    ("chaos_ct", "liver"): (60.0, 160.0),
    ("pancreas_ct", "pancreas"): (0.0, 150.0),
}
_MOST_ML = {"liver": 6000.0, "spleen": 5000.0, "lung_right": 6000.0, "lung_left": 6000.0}
_MOST_ML_OF_OTHERS = 4000.0
_LEAST_ML = {"liver": 300.0, "lung_right": 200.0, "lung_left": 200.0}
"""Of a structure that is whole, i.e. does not reach the border of the field of view."""
_APART_MM = 10.0
"""Centres of a right and a left structure closer than this say nothing about sides, e.g. those of adrenal stumps."""


@dataclass(frozen=True)
class Finding:
    """Something to look at.

    Attributes:
        verdict: ``"warning"`` or ``"wrong"``.
        text: a sentence.
    """

    verdict: Verdict
    text: str


@dataclass(frozen=True)
class CaseVerdict:
    """What was found about one case.

    Attributes:
        case: its name.
        findings: none when it is as it should be.
    """

    case: str
    findings: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of the findings."""
        return max((finding.verdict for finding in self.findings), key=_ORDER.index, default="ok")


def examine(dataset: str, case: SourceCase) -> tuple[Finding, ...]:
    """Looks for labels that cannot be true.

    Args:
        dataset: Name of the dataset, some of which have narrower ranges.
        case: CT and labels on one grid.
    """
    ct = to_ras(case.ct)[0]
    findings = [Finding("warning", text) for text in ct.warnings]
    if ct.array.min() >= -200 or ct.array.max() <= 100:
        findings.append(
            Finding(
                "wrong",
                f"The CT holds values from {ct.array.min():g} to {ct.array.max():g}; these are not HU of a patient in "
                "air. Check its rescale slope and intercept.",
            )
        )
    labels = case.labels
    if labels is None:
        return tuple(findings)
    findings += [Finding("warning", f"{text}.") for text in labels.flags]
    centres: dict[str, float] = {}
    for name in sorted(labels.annotated & labels.structures_in(labels.volume.array)):
        findings += _of_structure(dataset, name, ct, labels, centres)
    findings += _sides(centres)
    return tuple(findings)


def _of_structure(
    dataset: str, name: str, ct: Volume, labels: HarmonisedLabels, centres: dict[str, float]
) -> Iterator[Finding]:
    mask = labels.mask(name)
    volume_ml = float(np.count_nonzero(mask)) * math.prod(ct.spacing_mm) / 1000
    mean = float(ct.array[mask].mean(dtype=np.float64))
    centres[name] = float(np.average(np.arange(mask.shape[0]), weights=mask.sum(axis=(1, 2)))) * ct.spacing_mm[0]
    low, high = _range_of(dataset, name)
    if not low <= mean <= high:
        yield Finding(
            "wrong",
            f"{name} has a mean of {mean:.0f} HU, outside {low:g} to {high:g}; its mask seems to lie elsewhere. Look "
            "at orientation and numbering.",
        )
    most = _MOST_ML.get(name, _MOST_ML_OF_OTHERS)
    if volume_ml > most:
        yield Finding("warning", f"{name} has {volume_ml:.0f} ml, more than {most:g}.")
    least = _LEAST_ML.get(name, 0.0)
    if volume_ml < least and not _cut_off(mask):
        yield Finding("warning", f"{name} has {volume_ml:.0f} ml though it is wholly in view; expected are {least:g}.")


def _range_of(dataset: str, name: str) -> tuple[float, float]:
    group = structure(name).group if name in list_structures() else ""
    known = _HU_OF_DATASET.get((dataset, name)) or _HU_OF_STRUCTURE.get(name) or _HU_OF_GROUP.get(group)
    return known or (-math.inf, math.inf)


def _cut_off(mask: np.ndarray) -> bool:
    return bool(any(mask.take(end, axis).any() for axis in range(3) for end in (0, -1)))


def _sides(centres: dict[str, float]) -> Iterator[Finding]:
    """In RAS x grows to the right of the patient, so the right one of a pair has the larger centre."""
    for name in centres:
        if name in list_structures() and structure(name).side == "right" and mirrored(name) in centres:
            left = mirrored(name)
            if centres[left] - centres[name] > _APART_MM:
                yield Finding(
                    "wrong",
                    f"{name} lies {centres[left] - centres[name]:.0f} mm to the left of {left}; sides are swapped or "
                    "the scan is mirrored.",
                )


def verify_raw(
    spec: DatasetSpec,
    root: Path,
    *,
    variant: str | None = None,
    trust_grid: bool = False,
    progress: Callable[[CaseVerdict, int], None] | None = None,
) -> list[CaseVerdict]:
    """Reads every case of a dataset and says what is wrong with it; the dataset itself comes first, as case ``*``.

    Args:
        spec: Which dataset.
        root: Its folder.
        variant: Which layout; ``None`` takes the only one that fits.
        trust_grid: As for :func:`suprem.datasets._prepare.prepare`.
        progress: Called after each case, with the number of all.
    """
    spec = spec.at(root)
    found = spec.discover(root, variant)
    verdicts = [CaseVerdict("*", tuple(_counts(spec, sum(c.labelled for c in found.cases), len(found.cases))))]
    verdicts += [CaseVerdict(p.case, (Finding("wrong", p.reason),)) for p in found.problems]
    for files in found.cases:
        flags = tuple(Finding("warning", f"{text}.") for text in files.flags)
        try:
            findings = flags + examine(spec.slug, read_case(spec, files, trust_grid=trust_grid))
        except (SupremError, OSError) as error:
            findings = (*flags, Finding("wrong", str(error)))
        verdicts.append(CaseVerdict(files.case, findings))
        if progress is not None:
            progress(verdicts[-1], len(found.cases))
    return verdicts


def _counts(spec: DatasetSpec, labelled: int, cases: int) -> Iterator[Finding]:
    for what, here, known in (("cases", cases, spec.counts.public), ("labelled cases", labelled, spec.counts.labelled)):
        if known is not None and here != known:
            yield Finding("warning", f"There are {here:,} {what}; {known:,} are published ({spec.counts.confidence}).")


def verify_store(store: Store, *, progress: Callable[[CaseVerdict, int], None] | None = None) -> list[CaseVerdict]:
    """Checks the files of every stored case against the index, then its labels as those of raw data.

    Args:
        store: The store.
        progress: Called after each case, with the number of all.
    """
    verdicts = []
    for record in store.records:
        findings = tuple(Finding("wrong", text) for text in store.verify(record.key))
        if not findings:
            try:
                findings = examine(record.dataset, stored_as_read(store.case(record.key)))
            except (SupremError, OSError) as error:
                findings = (Finding("wrong", str(error)),)
            findings += tuple(Finding("warning", f"{text}.") for text in record.flags)
        verdicts.append(CaseVerdict(record.key, findings))
        if progress is not None:
            progress(verdicts[-1], len(store))
    return verdicts


def stored_as_read(case: StoredCase) -> SourceCase:
    """A stored case in the form of one that was just read."""
    record = case.record
    affine = np.array(record.affine)
    ct = Volume(case.ct(), affine, record.key)
    if not record.labelled:
        return SourceCase(ct, None)
    volume = Volume(case.labels(), affine, record.key)
    return SourceCase(ct, HarmonisedLabels(volume, case.table, case.ignore, frozenset(record.annotated)))
