"""One case of a release: its folder, and what is told about it."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suprem._files import atomic_folder, sha256_file
from suprem.atlas.label_set import LabelSet, Provenance
from suprem.atlas.release.identifiers import Finding, check_free_of_identifiers, header_findings
from suprem.atlas.release.terms import Terms
from suprem.atlas.workspace import Atlas
from suprem.errors import ConfigurationError, OutputError, SupremError, brief
from suprem.labels import label_space
from suprem.volumes.geometry import Volume
from suprem.volumes.io import write_volume
from suprem.volumes.store import CaseRecord

__all__ = ["CASE", "COMBINED", "CT", "CaseJob", "ReleasedCase", "ReleasedStructure", "combine", "mask_file"]
__all__ += ["failure", "planned_state", "read_case", "released_provenance", "voxel_hash", "without_folders"]
__all__ += ["write_case"]

CASE, CT, COMBINED, MASKS = "case.json", "ct.nii.gz", "combined_labels.nii.gz", "segmentations"
"""The files of a case, and the folder of its masks."""
_FORMAT = 1
_AGAIN = "run the command again."
_FOLDERS = re.compile(r"(?<![\w.])(/[\w.+-]+)+/")


@dataclass(frozen=True)
class ReleasedStructure:
    """One structure of a case.

    Attributes:
        number: in the combined label map.
        included: its mask is in the release; else it can be re-assembled from the source.
        source: ``"expert"``, ``"revised"`` or ``"pseudo"``.
        by: the dataset, the reviewer, or the models.
        round: of the atlas; 0 for what was there before.
        voxels: of the mask; 0 where the structure was looked for and is absent.
        slices: axial slices that it touches.
        voxels_sha256: of the mask, see :func:`voxel_hash`.
    """

    number: int
    included: bool
    source: str
    by: str
    round: int
    voxels: int
    slices: int
    voxels_sha256: str


@dataclass(frozen=True)
class ReleasedCase:
    """What is told about a case; the content of ``case.json``.

    Attributes:
        id: its name, that of its folder.
        patient: the first id of the same patient or scan, as far as known.
        dataset: where the scan comes from.
        source_case: its name there; ``None`` where that is private.
        variant: layout of the source that it was read from; ``None`` where that is private.
        licence: of the scan.
        shape: voxels (X, Y, Z), in RAS.
        affine: index -> RAS mm.
        ct_included: the CT is in the release; else it can be re-assembled from the source.
        ct_sha256: of its voxels, see :func:`voxel_hash`.
        combined_sha256: of the voxels of the combined label map; it is included where all masks are.
        annotated_slices: axial slices with any structure.
        unknown_voxels: voxels that the source leaves open; the masks have 0 there.
        structures: canonical name -> what is told about it; all others are unknown in this case.
        state: of the atlas from which the case was made.
    """

    id: str
    patient: str
    dataset: str
    source_case: str | None
    variant: str | None
    licence: str
    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    ct_included: bool
    ct_sha256: str
    combined_sha256: str
    annotated_slices: int
    unknown_voxels: int
    structures: Mapping[str, ReleasedStructure]
    state: str

    @property
    def complete(self) -> bool:
        """Nothing has to be re-assembled."""
        return self.ct_included and self.labels_complete

    @property
    def labels_complete(self) -> bool:
        """All masks are in the release, and so is the combined label map."""
        return all(entry.included for entry in self.structures.values())

    @property
    def files(self) -> tuple[str, ...]:
        """The images in its folder, relative to it."""
        masks = tuple(mask_file(name) for name, entry in self.structures.items() if entry.included)
        return ((CT,) if self.ct_included else ()) + ((COMBINED,) if self.labels_complete else ()) + masks


@dataclass(frozen=True)
class CaseJob:
    """All that is needed to write one case.

    Attributes:
        atlas: where it comes from.
        key: its name there.
        id: its name in the release.
        patient: see :class:`ReleasedCase`.
        terms: of its dataset.
        labels_only: the CT is left out whatever the terms say.
        numbers: number -> structure.
        people: reviewer -> what stands for them; ``None`` where they are named.
        folder: of the release.
    """

    atlas: Atlas
    key: str
    id: str
    patient: str
    terms: Terms
    labels_only: bool
    numbers: Mapping[int, str]
    people: Mapping[str, str] | None
    folder: Path


def mask_file(name: str) -> str:
    """Where the mask of a structure lies in the folder of its case, spelled as AbdomenAtlas does.

    Example:
        >>> mask_file("liver_tumor"), mask_file("my organ")
        ('segmentations/liver_tumor.nii.gz', 'segmentations/my_organ.nii.gz')
    """
    return f"{MASKS}/{label_space('abdomenatlas_1_1').file_name(name)}.nii.gz"


def voxel_hash(array: npt.NDArray[Any]) -> str:
    """SHA-256 of the voxels (X, Y, Z) with the last index fastest, little-endian, in the array's own dtype.

    Independent of the header and of how a file is compressed.

    Example:
        >>> voxel_hash(np.zeros((2, 2, 2), np.uint8)) == hashlib.sha256(bytes(8)).hexdigest()
        True
    """
    digest = hashlib.sha256()
    kind = array.dtype.newbyteorder("<")
    for plane in array:
        digest.update(np.ascontiguousarray(plane, dtype=kind).data)
    return digest.hexdigest()


def combine(
    masks: Iterator[tuple[int, npt.NDArray[np.bool_]]], shape: tuple[int, int, int], highest: int
) -> npt.NDArray[Any]:
    """One label map; where structures overlap, the higher number is left.

    Args:
        masks: Number and mask, in the order of the numbers; one is held at a time.
        shape: Voxels (X, Y, Z).
        highest: Largest number of the numbering, which decides between uint8 and uint16.
    """
    combined: npt.NDArray[Any] = np.zeros(shape, dtype=np.uint8 if highest <= 255 else np.uint16)
    for number, mask in masks:
        combined[mask] = number
    return combined


def released_provenance(job: CaseJob) -> dict[str, Provenance]:
    """Where the labels of a case come from, as it is told: with codes for people, without folders of a machine.

    Raises:
        ConfigurationError: somebody without a code has revised it since the release was begun.
    """
    told = {}
    for name, entry in job.atlas.provenance(job.key).items():
        by = without_folders(entry.by)
        if entry.source == "revised" and job.people is not None:
            if entry.by not in job.people:
                raise ConfigurationError(f"{name} of {job.key} was revised meanwhile; {_AGAIN}")
            by = job.people[entry.by]
        told[name] = Provenance(entry.source, by, entry.round)
    return told


def without_folders(text: str) -> str:
    """A text in which files are named without the way to them, which would tell about a machine and its user.

    Example:
        >>> without_folders("local-dir:/data/ann/runs/best, hf-hub:owner/model@v1")
        'local-dir:best, hf-hub:owner/model@v1'
    """
    return _FOLDERS.sub("", text)


def planned_state(job: CaseJob) -> str:
    """A digest of all that decides how a case looks: a finished one is made again only when it changes."""
    atlas, record = job.atlas, job.atlas.store.record(job.key)
    layers = [atlas.revision_folder(job.key, number) for number in atlas.revisions(job.key)]
    if atlas.round:
        layers.append(atlas.pseudo_folder(atlas.round, job.key))
    content = {
        "format": _FORMAT,
        "files": {name: file.sha256 for name, file in record.files.items()},
        "layers": [sha256_file(path) for folder in layers for path in sorted(folder.iterdir()) if path.is_file()],
        "provenance": {name: asdict(entry) for name, entry in released_provenance(job).items()},
        "case": [job.id, job.patient, job.terms.licence, job.terms.shared, job.terms.public, job.labels_only],
        "numbers": {str(number): name for number, name in job.numbers.items()},
        "affine": record.affine,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_case(job: CaseJob, state: str) -> ReleasedCase:
    """Writes the folder of a case; it appears when it is complete, in place of an older one.

    Raises:
        ConfigurationError: something in a header could identify a person, or the labels were changed meanwhile.
        OutputError: the disk is full, or the place cannot be written.
        VolumeError: files of the atlas are damaged.
    """
    record, labels = job.atlas.store.record(job.key), job.atlas.labels(job.key)
    with atomic_folder(job.folder / job.id, overwrite=True) as folder:
        ct = Volume(job.atlas.store.case(job.key).ct(), np.array(record.affine))
        ct_sha256, ct_included = voxel_hash(ct.array), job.terms.shared and not job.labels_only
        if ct_included:
            write_volume(ct, folder / CT)
        del ct
        structures, combined = _write_masks(job, labels, folder)
        if all(entry.included for entry in structures.values()):
            write_volume(Volume(combined, labels.affine), folder / COMBINED)
        case = ReleasedCase(
            id=job.id,
            patient=job.patient,
            dataset=record.dataset,
            source_case=record.case if job.terms.public else None,
            variant=record.variant if job.terms.public else None,
            licence=job.terms.licence,
            shape=record.shape,
            affine=record.affine,
            ct_included=ct_included,
            ct_sha256=ct_sha256,
            combined_sha256=voxel_hash(combined),
            annotated_slices=_slices(combined != 0),
            unknown_voxels=_unknown_voxels(record, structures),
            structures=structures,
            state=state,
        )
        text = json.dumps({"format": _FORMAT, **asdict(case)}, indent=1, ensure_ascii=False)
        (folder / CASE).write_text(text + "\n", encoding="utf-8")
        findings: list[Finding] = [found for path in folder.rglob("*.nii.gz") for found in header_findings(path)]
        check_free_of_identifiers(findings, "Report it: headers are written without texts.")
        if planned_state(job) != state:
            raise ConfigurationError(f"The labels of {job.key} were changed meanwhile; {_AGAIN}")
    return case


def _write_masks(job: CaseJob, labels: LabelSet, folder: Path) -> tuple[dict[str, ReleasedStructure], npt.NDArray[Any]]:
    """Writes the masks that may be passed on; returns what is told of all of them, and the combined label map."""
    told, structures = released_provenance(job), dict[str, ReleasedStructure]()

    def masks() -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
        for number, name in job.numbers.items():
            if name not in labels.provenance:
                continue
            mask, entry = labels.mask(name), told[name]
            # What the source itself has annotated is the source's, and goes with its terms.
            included = job.terms.shared or entry.source != "expert"
            if included:
                write_volume(Volume(mask, labels.affine), folder / mask_file(name))
            count, digest = int(np.count_nonzero(mask)), voxel_hash(mask.view(np.uint8))
            facts = (entry.source, entry.by, entry.round, count, _slices(mask), digest)
            structures[name] = ReleasedStructure(number, included, *facts)
            yield number, mask

    combined = combine(masks(), labels.shape, max(job.numbers))
    return structures, combined


def failure(result: object) -> str | None:
    """Why a case failed, where it is the case's fault.

    Raises:
        Exception: what would stop all other cases as well, such as a full disk, or is a bug.
    """
    if isinstance(result, SupremError) and not isinstance(result, OutputError):
        return str(result)
    if isinstance(result, Exception):
        raise result
    return None


def _slices(mask: npt.NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask.any(axis=(0, 1))))


def _unknown_voxels(record: CaseRecord, structures: Mapping[str, ReleasedStructure]) -> int:
    return record.ignored_voxels if any(entry.source == "expert" for entry in structures.values()) else 0


def read_case(folder: Path) -> ReleasedCase:
    """What is told about the case of a folder.

    Raises:
        ConfigurationError: ``case.json`` is missing or damaged.
    """
    path = folder / CASE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != _FORMAT:
            raise ValueError("another format")
        structures = {str(name): ReleasedStructure(**facts) for name, facts in content.pop("structures").items()}
        x, y, z = (int(n) for n in content.pop("shape"))
        affine = tuple(tuple(float(v) for v in row) for row in content.pop("affine"))
        if np.shape(affine) != (4, 4):
            raise ValueError("affine")
        return ReleasedCase(shape=(x, y, z), affine=affine, structures=structures, **content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{path} is damaged or missing: {brief(error)}; release the case again.") from error
