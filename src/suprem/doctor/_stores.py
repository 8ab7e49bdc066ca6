"""Stores: index and files, and the CTs of a sample of the cases."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from suprem.doctor.tables import STORE_CHECKS
from suprem.errors import SupremError
from suprem.volumes._remote import is_remote
from suprem.volumes.geometry import Volume
from suprem.volumes.scan_checks import check_scan
from suprem.volumes.store import CaseRecord, Store, finished_cases
from suprem.volumes.symptoms import Symptom

__all__ = ["store_symptoms"]

_SPACING_MM = 0.01
# Of a stored CT: what preparing does on purpose (clip, resample) or what has been judged when it was read.
_EXPECTED = ("clipped", "coarse", "left-handed", "phase")


def store_symptoms(place: str | Path, cases: int) -> Iterator[Symptom]:
    """What is found in a store.

    Args:
        place: folder or address.
        cases: how many of them to read, spread evenly over the index.
    """
    try:
        store = Store.open(place)
    except (SupremError, OSError) as error:
        yield _symptom("store", str(error))
        return
    if not len(store):
        yield _symptom("empty", f"{place} holds no case.")
        return
    missing: set[str] = set()
    if not is_remote(place):
        listed, there = {record.key for record in store.records}, set(finished_cases(place))
        missing = listed - there
        if missing:
            yield _symptom("index", f"{len(missing)} of {len(listed)} cases are not there: {_some(missing)}.")
        if there - listed:
            yield _symptom(
                "not-indexed", f"{len(there - listed)} finished cases are not in it: {_some(there - listed)}."
            )
    yield from _spacings(store)
    chosen = [record for record in _sample(store.records, cases) if record.key not in missing]
    for record in chosen:
        yield from _case(store, record)
    if len(chosen) < len(store):
        yield _symptom("sampled", f"{len(chosen)} of {len(store)} cases were read.")


def _symptom(code: str, text: str) -> Symptom:
    return Symptom.of(STORE_CHECKS, code, text)


def _some(keys: set[str], limit: int = 3) -> str:
    shown = sorted(keys)
    return ", ".join(shown[:limit]) + (f" and {len(shown) - limit} more" if len(shown) > limit else "")


def _sample(records: Sequence[CaseRecord], count: int) -> list[CaseRecord]:
    index = np.unique(np.linspace(0, len(records) - 1, min(count, len(records))).round().astype(int))
    return [records[i] for i in index]


def _spacings(store: Store) -> Iterator[Symptom]:
    wanted = store.settings.spacing_mm
    if wanted is None:
        return
    for record in store.records:
        if not np.allclose(record.spacing_mm, wanted, atol=_SPACING_MM):
            shown = " x ".join(f"{size:g}" for size in record.spacing_mm)
            yield _symptom(
                "case-spacing", f"{record.key} has {shown} mm, the store {' x '.join(f'{s:g}' for s in wanted)} mm."
            )


def _case(store: Store, record: CaseRecord) -> Iterator[Symptom]:
    try:
        problems = store.verify(record.key)
        if problems:
            yield from (_symptom("case", text) for text in problems)
            return
        case = store.case(record.key)
        found = check_scan(Volume(case.ct(), np.array(record.affine), record.key))
        if record.labelled:
            case.labels()
    except (SupremError, OSError) as error:
        yield _symptom("case", str(error))
        return
    for symptom in found:
        if symptom.code not in _EXPECTED:
            yield _symptom("case-scan", f"{record.key}: {symptom.text} ({symptom.code})")
