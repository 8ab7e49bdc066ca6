"""A release for other programs: nnU-Net's raw format, and the list of cases that MONAI reads."""

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from suprem._files import atomic_path
from suprem.atlas.label_set import PaletteBuilder
from suprem.atlas.release.build import read_release
from suprem.atlas.release.case import COMBINED, CT, ReleasedCase, mask_file
from suprem.atlas.release.reassemble import read_cases
from suprem.atlas.release.tables import DESCRIPTION, RULE
from suprem.datasets._nnunet import NnunetReport, export_nnunet
from suprem.errors import ConfigurationError, LabelSpaceError
from suprem.labels import ordered
from suprem.volumes.boxes import Box
from suprem.volumes.io import read_ct, read_volume
from suprem.volumes.store import CaseRecord, Store, StoredCase, StoreSettings

__all__ = ["NnunetReport", "ReleaseStore", "release_to_nnunet", "write_datalist"]


class _ReleasedScan(StoredCase):
    """A case of a release, read like one of a store."""

    def __init__(self, folder: Path, record: CaseRecord, case: ReleasedCase) -> None:
        super().__init__(folder, record)
        self._place, self._case = folder, case

    def ct(self, box: Box | None = None) -> npt.NDArray[np.int16]:
        """HU, int16 (X, Y, Z)."""
        array: npt.NDArray[np.int16] = read_ct(self._place / CT).array.astype(np.int16, copy=False)
        return array if box is None else array[box]

    def labels(self, box: Box | None = None) -> npt.NDArray[Any]:
        """Palette indices (X, Y, Z)."""
        indices = self._palette()[0]
        return indices if box is None else indices[box]

    @cached_property
    def _entries(self) -> tuple[frozenset[str], ...]:
        return self._palette()[1]

    @property
    def table(self) -> tuple[frozenset[str], ...]:
        """Palette index -> structures."""
        return self._entries

    @property
    def ignore(self) -> int | None:
        """A release has no such index."""
        return None

    def _palette(self) -> tuple[npt.NDArray[Any], tuple[frozenset[str], ...]]:
        builder = PaletteBuilder(self._case.shape)
        for name in ordered(self._case.structures):
            builder.add(name, read_volume(self._place / mask_file(name)).array != 0)
        return builder.finish()


class ReleaseStore(Store):
    """The complete cases of a release as a store, for what is written for stores.

    Attributes:
        left_out: id -> why it is not among them.
    """

    def __init__(self, folder: str | Path) -> None:
        top = Path(folder)
        settings = StoreSettings.from_json({**read_release(top), "format": 1}, top)
        cases = read_cases(top)
        self.left_out = {case.id: "has to be re-assembled first" for case in cases if not _is_complete(top, case)}
        self._cases = {f"{c.dataset}/{c.id}": c for c in cases if c.id not in self.left_out}
        super().__init__(top, settings, tuple(_record(case) for case in self._cases.values()))

    def case(self, key: str) -> StoredCase:
        """One case, its files not opened yet."""
        record, case = self.record(key), self._cases[key]
        return _ReleasedScan(Path(self.root) / case.id, record, case)


def _is_complete(folder: Path, case: ReleasedCase) -> bool:
    return all((folder / case.id / name).is_file() for name in (CT, COMBINED, *map(mask_file, case.structures)))


def _record(case: ReleasedCase) -> CaseRecord:
    return CaseRecord(
        dataset=case.dataset,
        case=case.id,
        scan=case.patient,
        subject=case.patient,
        split=None,
        variant="",
        source=case.ct_sha256[:32],
        shape=case.shape,
        affine=case.affine,
        original_shape=case.shape,
        original_affine=case.affine,
        labelled=True,
        annotated=ordered(case.structures),
        voxels={name: entry.voxels for name, entry in case.structures.items()},
        ignored_voxels=0,
        flags=(),
        scan_hash="",
    )


def release_to_nnunet(
    release: str | Path,
    folder: str | Path,
    *,
    classes: Sequence[str] | Literal["common"] | None = None,
    skip_partial: bool = False,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> NnunetReport:
    """Writes the complete cases of a release in nnU-Net's raw format, as ``suprem data export`` does for a store.

    Args:
        release: Folder of the release, re-assembled where the sources' terms ask for it.
        folder: Must not exist, unless ``overwrite``; nnU-Net wants it called ``Dataset123_Name``.
        classes: Structures to write; ``"common"`` for those that all cases know; ``None`` for all.
        skip_partial: Leave out cases that do not know all classes, instead of refusing.
        overwrite: Replace an existing folder.
        progress: Called with the case, the number done and the number to do.

    Raises:
        ConfigurationError: no release, no complete case, or cases that know a part of the classes.
        UnknownNameError: a class that no case knows.
        OutputError: the folder exists, or cannot be written.
    """
    store = ReleaseStore(release)
    report = export_nnunet(
        store, folder, classes=classes, skip_partial=skip_partial, overwrite=overwrite, progress=progress
    )
    skipped = {**store.left_out, **report.skipped}
    return NnunetReport(report.folder, report.classes, report.regions, report.cases, skipped)


def write_datalist(
    release: str | Path, path: str | Path, *, folds: int = 5, seed: int = 0, skip_partial: bool = False
) -> dict[str, Any]:
    """Writes the list of cases that ``monai.data.load_decathlon_datalist`` and Auto3DSeg read, with folds by patient.

    Paths are relative to the release, which is the list's base folder.

    Args:
        release: Folder of the release.
        path: File to write; an existing one is replaced.
        folds: Parts for cross-validation; all scans of a patient are in one.
        seed: Of the division.
        skip_partial: Leave out cases in which a structure is unknown that others have, instead of refusing; the
            combined label map has background there.

    Returns:
        The content of the file.

    Raises:
        ConfigurationError: no complete case, cases that know a part of the structures, or fewer patients than folds.
        OutputError: the file cannot be written.
    """
    store = ReleaseStore(release)
    records = _all_known(store, skip_partial=skip_partial)
    patients = sorted({record.subject for record in records})
    if not 2 <= folds <= len(patients):
        raise ConfigurationError(f"folds is {folds}; it must lie between 2 and the {len(patients)} patients.")
    order = np.random.default_rng(seed).permutation(len(patients))
    fold = {patients[patient]: int(place) % folds for place, patient in enumerate(order)}
    description = json.loads((Path(release) / DESCRIPTION).read_text(encoding="utf-8"))
    known = frozenset[str]().union(*(record.annotated for record in records))
    labels = {number: name for name, number in description["labels"].items() if number == 0 or name in known}
    content = {
        "name": description["name"],
        "description": f"Version {description['version']}. {RULE}",
        "modality": {"0": "CT"},
        "tensorImageSize": "3D",
        "licence": "per case, see licences.csv",
        "labels": {str(number): labels[number] for number in sorted(labels)},
        "numTraining": len(records),
        "numTest": 0,
        "training": [
            {"image": f"{r.case}/{CT}", "label": f"{r.case}/{COMBINED}", "fold": fold[r.subject]} for r in records
        ],
        "test": [],
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return content


def _all_known(store: ReleaseStore, *, skip_partial: bool) -> list[CaseRecord]:
    """The cases in which everything is known."""
    if not store.records:
        raise ConfigurationError(f"{store.root} has no complete case; run `suprem atlas reassemble` first.")
    known = frozenset[str]().union(*(record.annotated for record in store.records))
    whole = [record for record in store.records if known <= set(record.annotated)]
    if len(whole) < len(store.records) and not skip_partial:
        partial = next(record for record in store.records if not known <= set(record.annotated))
        missing = ", ".join(ordered(known - set(partial.annotated))[:5])
        raise LabelSpaceError(
            f"{len(store.records) - len(whole)} of {len(store.records)} cases do not know all structures "
            f"({partial.case} lacks {missing}), and their label maps have background there. Leave them out "
            "(--skip-partial), or annotate them."
        )
    if not whole:
        raise ConfigurationError(f"No case of {store.root} knows all of {', '.join(ordered(known))}.")
    return whole
