"""Makes what a release must not hold from a person's own download of the source: the very same voxels, or an error."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suprem._files import only_user, remove_leftovers
from suprem._workers import map_unordered
from suprem.atlas.release.build import read_release
from suprem.atlas.release.case import (
    CASE,
    COMBINED,
    CT,
    MASKS,
    ReleasedCase,
    combine,
    failure,
    mask_file,
    read_case,
    voxel_hash,
)
from suprem.datasets import CaseFiles, dataset, list_datasets
from suprem.datasets._harmonise import harmonise
from suprem.datasets._labels import HarmonisedLabels
from suprem.datasets._reading import read_case as read_source
from suprem.errors import ConfigurationError, IntegrityError, UnknownNameError, did_you_mean
from suprem.volumes.geometry import Volume
from suprem.volumes.io import read_volume, write_volume
from suprem.volumes.store import StoreSettings

__all__ = ["ReassembleReport", "reassemble"]


@dataclass(frozen=True)
class ReassembleReport:
    """What was done.

    Attributes:
        done: ids that are complete now.
        there: ids that were complete before.
        missing: id -> what it needs and why it is not there.
    """

    done: tuple[str, ...]
    there: tuple[str, ...]
    missing: Mapping[str, str]


@dataclass(frozen=True)
class _Job:
    """One case and the files of its source."""

    folder: Path
    case: ReleasedCase
    files: CaseFiles
    root: Path
    settings: StoreSettings
    highest: int


def reassemble(
    release: str | Path,
    sources: Mapping[str, str | Path],
    *,
    jobs: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> ReassembleReport:
    """Adds CTs and the sources' own masks to a release, read from the user's copies of the datasets.

    Nothing that is there is changed, and ``SHA256SUMS`` stays true. What was made is compared with the release voxel by
    voxel, through hashes. A run that was interrupted goes on where it stopped.

    Args:
        release: Folder of the release.
        sources: Dataset -> folder of its raw data, as ``suprem data prepare`` takes it.
        jobs: Local processes; each holds one case in memory.
        progress: Called with the id of a case, the number done and the number to do.

    Raises:
        ConfigurationError: no release, a source that it does not need, or a folder without the dataset.
        UnknownNameError: no dataset is called that.
        OutputError: the disk is full, or the place cannot be written.
    """
    folder = Path(release)
    content = read_release(folder)
    settings = StoreSettings.from_json({**content, "format": 1}, folder)
    cases = read_cases(folder)
    there = tuple(case.id for case in cases if not _lacking(folder, case))
    wanted = [case for case in cases if case.id not in set(there)]
    for name in sources:
        if name not in list_datasets():
            raise UnknownNameError(did_you_mean("dataset", name, list_datasets()))
        if name not in {case.dataset for case in cases if not case.complete}:
            raise ConfigurationError(f"No case of {folder} needs {name}; leave it out.")
    with only_user(folder):
        work, missing = _work(folder, wanted, sources, settings, int(content["highest_number"]))
        for number, (job, result) in enumerate(map_unordered(_add, work, jobs=jobs), start=1):
            reason = failure(result)
            if reason is not None:
                missing[job.case.id] = reason
            if progress is not None:
                progress(job.case.id, number, len(work))
    done = tuple(case.id for case in wanted if case.id not in missing)
    return ReassembleReport(done, there, dict(sorted(missing.items())))


def read_cases(folder: Path) -> list[ReleasedCase]:
    """The cases of a release, sorted by id.

    Raises:
        ConfigurationError: one is damaged.
    """
    cases = []
    for path in sorted(folder.glob(f"*/{CASE}")):
        case = read_case(path.parent)
        if case.id != path.parent.name:
            raise ConfigurationError(f"{path} is that of {case.id!r}; restore the name of the folder.")
        cases.append(case)
    return cases


def _lacking(folder: Path, case: ReleasedCase) -> list[str]:
    """Images that the folder of a case lacks."""
    wanted = [CT, COMBINED, *(mask_file(name) for name in case.structures)]
    return [name for name in wanted if not (folder / case.id / name).is_file()]


def _work(
    folder: Path,
    wanted: Sequence[ReleasedCase],
    sources: Mapping[str, str | Path],
    settings: StoreSettings,
    highest: int,
) -> tuple[list[_Job], dict[str, str]]:
    """What can be done, and why the rest cannot."""
    found: dict[tuple[str, str], dict[str, CaseFiles]] = {}
    work, missing = [], {}
    for case in wanted:
        if case.source_case is None:
            missing[case.id] = f"its source, {case.dataset}, is not public"
        elif case.dataset not in sources:
            missing[case.id] = f"needs --source {case.dataset}=FOLDER"
        else:
            root, variant = Path(sources[case.dataset]).resolve(), case.variant or ""
            if (case.dataset, variant) not in found:
                files = dataset(case.dataset).discover(root, variant or None).cases
                found[case.dataset, variant] = {entry.case: entry for entry in files}
            entry = found[case.dataset, variant].get(case.source_case)
            if entry is None:
                missing[case.id] = f"{root} has no case {case.source_case!r} of {case.dataset}"
            else:
                work.append(_Job(folder, case, entry, root, settings, highest))
    return work, missing


def _add(job: _Job) -> None:
    """Adds what one case lacks."""
    case, place = job.case, job.folder / job.case.id
    for folder in (place, place / MASKS):
        remove_leftovers(folder)
    source = read_source(dataset(case.dataset).at(job.root), job.files, trust_grid=True)
    stored = harmonise(source, job.settings)
    affine = np.array(case.affine)
    _check(voxel_hash(stored.ct.array), case.ct_sha256, "CT", job)
    if stored.ct.shape != case.shape or not np.allclose(stored.ct.affine, affine, rtol=0, atol=1e-4):
        raise IntegrityError(
            f"{job.files.image} lies elsewhere than {case.id}: its header is another one. Get the original release."
        )
    if not (place / CT).is_file():
        write_volume(Volume(stored.ct.array, affine), place / CT)
    for name, entry in case.structures.items():
        if entry.source == "expert" and not (place / mask_file(name)).is_file():
            mask = _expert_mask(stored.labels, name, job)
            _check(voxel_hash(mask.view(np.uint8)), entry.voxels_sha256, f"mask of {name}", job)
            write_volume(Volume(mask, affine), place / mask_file(name))
    if not (place / COMBINED).is_file():
        combined = combine(_masks(place, case), case.shape, job.highest)
        _check(voxel_hash(combined), case.combined_sha256, "combined label map", job)
        write_volume(Volume(combined, affine), place / COMBINED)


def _expert_mask(labels: HarmonisedLabels | None, name: str, job: _Job) -> npt.NDArray[np.bool_]:
    if labels is None:
        raise IntegrityError(f"{job.files.image} has no labels; the release was made from a copy that has {name}.")
    return labels.mask(name)


def _masks(place: Path, case: ReleasedCase) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
    for name, entry in sorted(case.structures.items(), key=lambda item: item[1].number):
        mask: npt.NDArray[Any] = read_volume(place / mask_file(name)).array
        if mask.shape != case.shape:
            raise IntegrityError(f"{place / mask_file(name)} has shape {mask.shape}, not {case.shape}; get it again.")
        yield entry.number, mask != 0


def _check(found: str, wanted: str, what: str, job: _Job) -> None:
    if found != wanted:
        raise IntegrityError(
            f"The {what} made from {job.files.image} has other voxels than that of {job.case.id}; the source is "
            "another version, or was changed. Get the one that the data card names."
        )
