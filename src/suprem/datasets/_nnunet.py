"""A store as a dataset in nnU-Net's raw format (version 2), which `suprem data prepare folder` reads again."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from suprem._files import atomic_folder
from suprem.datasets._spec import dataset, list_datasets
from suprem.errors import ConfigurationError, UnknownNameError, did_you_mean
from suprem.labels import known_name, ordered
from suprem.volumes.geometry import Volume
from suprem.volumes.io import write_volume
from suprem.volumes.store import CaseRecord, Store, StoredCase

__all__ = ["COMMON", "NnunetReport", "export_nnunet"]

COMMON = "common"
"""Stands for the classes that every labelled case of a store is annotated for."""

_ENDING = ".nii.gz"
_Sets = tuple[frozenset[str], ...]


@dataclass(frozen=True)
class NnunetReport:
    """What was written.

    Attributes:
        folder: where.
        classes: structures, in the order of the file.
        regions: whether structures overlap, so that some label values belong to several.
        cases: key in the store -> name in the dataset.
        skipped: key of a case that was left out -> why.
    """

    folder: str
    classes: tuple[str, ...]
    regions: bool
    cases: Mapping[str, str]
    skipped: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def export_nnunet(
    store: Store,
    folder: str | Path,
    *,
    classes: Sequence[str] | Literal["common"] | None = None,
    skip_partial: bool = False,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> NnunetReport:
    """Writes the labelled cases of a store as ``imagesTr``, ``labelsTr`` and ``dataset.json``, all of it or nothing.

    A label value stands for a set of structures. Where structures overlap, such as a tumour in its organ, they are
    written as nnU-Net's regions. Cases of the official part "test" go to ``imagesTs`` and ``labelsTs``. Voxels that are
    unknown in every structure become nnU-Net's ignore label. Images are int16 HU on the grid of the store.

    Args:
        store: Open for reading.
        folder: Must not exist, unless ``overwrite``; nnU-Net wants it called ``Dataset123_Name``.
        classes: Structures to write, in any spelling; ``"common"`` for those that all labelled cases are annotated for;
            ``None`` for all in the store.
        skip_partial: Leave out cases that are not annotated for all classes, instead of refusing. nnU-Net takes what is
            not labelled for background, so they cannot be kept.
        overwrite: Replace an existing folder.
        progress: Called with the case, the number done and the number to do.

    Raises:
        ConfigurationError: cases are annotated in part, none is left, or two have the same name.
        UnknownNameError: a class that no case of the store is annotated for.
        OutputError: the folder exists, or cannot be written.
    """
    labelled = [record for record in store.records if record.labelled]
    names = _wanted(store, labelled, classes)
    chosen, skipped = _complete(store, labelled, names, skip_partial=skip_partial)
    stored = [store.case(record.key) for record in chosen]
    tables = [tuple(entry & frozenset(names) for entry in case.table) for case in stored]
    values = _values(tables, names)
    ignore = len(values) + 1 if any(case.ignore is not None for case in stored) else None
    titles = _titles(chosen)
    with atomic_folder(folder, overwrite=overwrite) as target:
        for number, (case, table) in enumerate(zip(stored, tables, strict=True), start=1):
            _write_case(case, table, values, ignore, target, titles[case.record.key])
            if progress is not None:
                progress(case.record.key, number, len(stored))
        content = _description(store, chosen, names, values, ignore)
        (target / "dataset.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return NnunetReport(str(folder), names, any(len(entry) > 1 for entry in values), titles, skipped)


def _wanted(
    store: Store, labelled: Sequence[CaseRecord], classes: Sequence[str] | Literal["common"] | None
) -> tuple[str, ...]:
    """The classes to write, in the order of the registry."""
    if not labelled:
        raise ConfigurationError(f"{store.root} has no labelled case; nnU-Net learns from labelled ones.")
    known = frozenset[str]().union(*(record.annotated for record in labelled))
    if classes is None:
        return ordered(known)
    if classes == COMMON:
        shared = _shared(labelled)
        if not shared:
            raise ConfigurationError(
                f"No structure is annotated in all {len(labelled)} labelled cases of {store.root}; name classes."
            )
        return ordered(shared)
    if isinstance(classes, str) or not classes:
        raise ConfigurationError(f"classes is {classes!r}; give a list of names, {COMMON!r}, or nothing for all.")
    names = {name if name in known else known_name(name) for name in classes}
    for name in sorted(names - known):
        raise UnknownNameError(did_you_mean("annotated structure", name, known))
    return ordered(frozenset(names))


def _shared(records: Sequence[CaseRecord]) -> frozenset[str]:
    return frozenset.intersection(*(frozenset(record.annotated) for record in records))


def _complete(
    store: Store, labelled: Sequence[CaseRecord], names: tuple[str, ...], *, skip_partial: bool
) -> tuple[list[CaseRecord], dict[str, str]]:
    """The cases that know all classes, and why each other one is left out."""
    skipped = {record.key: "without labels" for record in store.records if not record.labelled}
    partial = {record.key: [name for name in names if name not in record.annotated] for record in labelled}
    partial = {key: missing for key, missing in partial.items() if missing}
    if partial and not skip_partial:
        key, missing = next(iter(partial.items()))
        shared = ", ".join(ordered(_shared(labelled))) or "none"
        lacks = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise ConfigurationError(
            f"{len(partial)} of {len(labelled)} labelled cases are not annotated for all classes ({key} lacks {lacks})"
            ", and nnU-Net would take what they lack for background. Leave them out (--skip-partial), or choose "
            f"classes that all of them know: {shared} (--classes {COMMON})."
        )
    skipped |= {key: f"not annotated for {', '.join(missing)}" for key, missing in partial.items()}
    chosen = [record for record in labelled if record.key not in partial]
    if not any(record.split != "test" for record in chosen):
        raise ConfigurationError(f"No training case of {store.root} is annotated for {', '.join(names)}; choose fewer.")
    return chosen, skipped


def _values(tables: Sequence[_Sets], names: tuple[str, ...]) -> _Sets:
    """The set of structures that each label value from 1 on stands for; single structures come first."""
    rank = {name: position for position, name in enumerate(names)}
    found = {entry for table in tables for entry in table if entry}
    # A class that no scan shows keeps a value of its own: it was looked for.
    found |= {frozenset({name}) for name in names if not any(name in entry for entry in found)}
    return tuple(sorted(found, key=lambda entry: (len(entry), sorted(rank[name] for name in entry))))


def _titles(records: Sequence[CaseRecord]) -> dict[str, str]:
    """Key -> a name that is unique: the case's, with the dataset's in front where several have it."""
    count = Counter(record.case for record in records)
    titles = {r.key: r.case if count[r.case] == 1 else f"{r.dataset}_{r.case}" for r in records}
    twice = [title for title, number in Counter(titles.values()).items() if number > 1]
    if twice:
        raise ConfigurationError(f"Two cases would both be called {twice[0]!r}; rename one of them.")
    return titles


def _write_case(case: StoredCase, table: _Sets, values: _Sets, ignore: int | None, target: Path, title: str) -> None:
    part = "Ts" if case.record.split == "test" else "Tr"
    affine = np.array(case.record.affine)
    lookup: npt.NDArray[np.uint16] = np.array([values.index(entry) + 1 if entry else 0 for entry in table], np.uint16)
    if ignore is not None and case.ignore is not None:
        lookup[case.ignore] = ignore
    dtype = np.uint8 if (ignore or len(values)) <= 255 else np.uint16
    labels = lookup.astype(dtype)[case.labels()]
    write_volume(Volume(case.ct(), affine, title), target / f"images{part}" / f"{title}_0000{_ENDING}")
    write_volume(Volume(labels, affine, title), target / f"labels{part}" / f"{title}{_ENDING}")


def _description(
    store: Store, chosen: Sequence[CaseRecord], names: tuple[str, ...], values: _Sets, ignore: int | None
) -> dict[str, Any]:
    """The content of dataset.json."""
    members = {name: [v for v, entry in enumerate(values, start=1) if name in entry] for name in names}
    # From a predicted region nnU-Net writes one value; the later one stays, so what lies inside comes behind.
    order = sorted(names, key=lambda name: len(values[members[name][0] - 1]))
    labels: dict[str, int | list[int]] = {"background": 0}
    labels |= {name: found if len(found) > 1 else found[0] for name in order if (found := members[name])}
    if ignore is not None:
        labels["ignore"] = ignore
    overlap = any(len(entry) > 1 for entry in values)
    spacing = store.settings.spacing_mm
    sources = sorted({record.dataset for record in chosen})
    licences = {name: [fact.text for fact in dataset(name).licence] for name in sources if name in list_datasets()}
    return {
        "channel_names": {"0": "CT"},
        "labels": labels,
        **({"regions_class_order": [members[name][0] for name in order]} if overlap else {}),
        "numTraining": sum(record.split != "test" for record in chosen),
        "file_ending": _ENDING,
        "licence": "; ".join(f"{name}: {' / '.join(texts)}" for name, texts in licences.items()) or "unknown",
        "description": (
            f"CT in HU, clipped to {store.settings.hu_range[0]} to {store.settings.hu_range[1]}, "
            f"{'own spacing' if spacing is None else ' x '.join(f'{s:g}' for s in spacing) + ' mm'}, RAS. "
            f"Sources: {', '.join(sources)}."
        ),
    }
