"""The cases of a study that are scored: prepared ones on the grid of their store, or scans with masks on their own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from suprem.datasets._hashes import scan_hash
from suprem.datasets._overlap import ScanFact
from suprem.errors import ConfigurationError
from suprem.evaluation.masks import CaseMasks, find_masks
from suprem.evaluation.metrics import compare_masks
from suprem.evaluation.scores import CaseScore
from suprem.inference.predictor import Predictor
from suprem.transfer.study import Scoring, Study
from suprem.volumes.geometry import Volume, same_grid, to_ras
from suprem.volumes.io import read_ct
from suprem.volumes.scans import find_scans
from suprem.volumes.store import CaseRecord, Store, StoredCase

__all__ = ["ScoredCase", "fact_of", "mean_scores", "scored_cases"]

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ScoredCase:
    """One case with its reference.

    Attributes:
        key: unique name.
        annotated: structures that the reference tells of; one that it lacks is absent, all others are unknown.
        read: the scan in HU, and a function that gives the reference mask of a structure on the grid of the scan.
        fact: what identifies the scan, computed when asked for.
        present: structures that are in the scan, where that is known without reading it.
    """

    key: str
    annotated: frozenset[str]
    read: Callable[[], tuple[Volume, Callable[[str], Mask]]]
    fact: Callable[[], ScanFact]
    present: frozenset[str] | None = None

    def scores(self, predictor: Predictor, classes: Sequence[str], tolerance_mm: float) -> list[CaseScore]:
        """Scores of the structures that the reference tells of."""
        ct, reference = self.read()
        found = predictor.predict(ct)
        rows = []
        for name in classes:
            if name in self.annotated:
                wanted = reference(name)
                scores = compare_masks(found.mask(name), wanted, ct.spacing_mm, tolerance_mm)
                volume_ml = float(np.count_nonzero(wanted)) * float(np.prod(ct.spacing_mm)) / 1000
                rows.append(CaseScore(self.key, name, volume_ml, scores))
        return rows


def scored_cases(study: Study) -> tuple[ScoredCase, ...]:
    """All cases that the runs of a study are scored on.

    Raises:
        ConfigurationError: there are none, or none has a structure of a group.
    """
    cases = _of_files(study.scoring) if study.scoring.images is not None else _of_stores(study)
    if not cases:
        raise ConfigurationError(
            "There is no case to score on: the training stores have no official test part. Name a store of test cases "
            "(scoring: store), or scans with masks (scoring: images, references)."
        )
    for group, classes in study.groups.items():
        for name in classes:
            if not any(name in case.annotated and (case.present is None or name in case.present) for case in cases):
                raise ConfigurationError(
                    f"None of the {len(cases)} cases to score on has {name} of group {group}; leave it out, or add a "
                    "case."
                )
    return tuple(cases)


def _of_stores(study: Study) -> list[ScoredCase]:
    if study.scoring.store is not None:
        store = Store.open(study.scoring.store)
        return [_stored(store.case(record.key)) for record in store.records if record.labelled]
    stores = [Store.open(path) for path in study.stores]
    return [_stored(s.case(r.key)) for s in stores for r in s.records if r.labelled and r.split == "test"]


def _stored(case: StoredCase) -> ScoredCase:
    record = case.record

    def read() -> tuple[Volume, Callable[[str], Mask]]:
        labels = case.labels()

        def reference(name: str) -> Mask:
            return np.isin(labels, [index for index, names in enumerate(case.table) if name in names])

        return Volume(case.ct(), np.asarray(record.affine, dtype=np.float64), record.key), reference

    present = frozenset(name for name, count in zip(record.annotated, record.voxels, strict=True) if count)
    return ScoredCase(record.key, frozenset(record.annotated), read, partial(fact_of, record), present)


def fact_of(record: CaseRecord) -> ScanFact:
    """What identifies the scan and the patient of a stored case; names of patients count within their dataset."""
    subject = f"{record.dataset}/{record.subject}" if record.subject else ""
    return ScanFact(record.key, record.scan, subject, record.scan_hash)


def _of_files(scoring: Scoring) -> list[ScoredCase]:
    masks = find_masks(Path(str(scoring.references)), scoring.reference_numbering)
    scans = {scan.case_id: scan.path for scan in find_scans(str(scoring.images))}
    both = sorted(scans.keys() & masks.keys())
    if not both:
        raise ConfigurationError(
            f"No scan of {scoring.images} has a reference in {scoring.references}: scans are called "
            f"{', '.join(sorted(scans)[:3])}, references {', '.join(sorted(masks)[:3])}."
        )
    return [_file(case, scans[case], masks[case]) for case in both]


def _file(key: str, path: Path, masks: CaseMasks) -> ScoredCase:
    def read() -> tuple[Volume, Callable[[str], Mask]]:
        ct = to_ras(read_ct(path))[0]
        opened = masks.read()

        def reference(name: str) -> Mask:
            mask = to_ras(opened.mask(name))[0]
            if not same_grid(mask, ct):
                raise ConfigurationError(
                    f"{mask.name} ({name}) has {mask.shape} voxels, and its scan {path} has {ct.shape} or lies "
                    "elsewhere; bring both to one grid."
                )
            return np.asarray(mask.array, dtype=np.bool_)

        return ct, reference

    def fact() -> ScanFact:
        return ScanFact(key, f"{path}", "", scan_hash(read_ct(path)))

    return ScoredCase(key, frozenset(masks.structures), read, fact)


def mean_scores(rows: Sequence[CaseScore], metric: str) -> dict[str, float]:
    """Mean of a metric of each structure over the cases whose reference has it."""
    values: dict[str, list[float]] = {}
    for row in rows:
        if row.reference_ml > 0:
            values.setdefault(row.structure, []).append(float(getattr(row.scores, metric)))
    return {name: float(np.mean(found)) for name, found in values.items()}
