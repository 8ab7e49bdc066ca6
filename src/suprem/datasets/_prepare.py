"""Fills a store with the cases of a dataset; what is finished stays, and a bad case does not stop the others."""

import csv
import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from suprem._files import atomic_path, check_writable, make_folder, only_user
from suprem._workers import map_unordered
from suprem.datasets._discover import Discovery, Problem
from suprem.datasets._harmonise import harmonise
from suprem.datasets._hashes import scan_hash
from suprem.datasets._layout import CaseFiles
from suprem.datasets._reading import read_case
from suprem.datasets._spec import dataset as find_dataset
from suprem.datasets._templates import natural_key
from suprem.errors import ConfigurationError, SupremError
from suprem.volumes.store import StoreSettings, create_store, finished_case, write_case, write_index

__all__ = ["PROBLEMS", "PrepareReport", "Step", "prepare"]

logger = logging.getLogger(__name__)

PROBLEMS = "problems.csv"
"""The file of a store that lists the cases which could not be used: dataset, case, reason."""

_BEGINNING = 65536


@dataclass(frozen=True)
class Step:
    """A case has ended.

    Attributes:
        case: its name.
        reason: why it failed, ``None`` when it is in the store.
        done: cases that have ended, in this run.
        total: cases that this run has to do.
    """

    case: str
    reason: str | None
    done: int
    total: int


@dataclass(frozen=True)
class PrepareReport:
    """What a run has done.

    Attributes:
        dataset: the dataset's name.
        variant: the layout that was found.
        done: cases that this run added.
        skipped: cases that an earlier run had finished.
        problems: cases that could not be used, in natural order.
        excluded: cases that the dataset's specification leaves out.
    """

    dataset: str
    variant: str
    done: tuple[str, ...]
    skipped: tuple[str, ...]
    problems: tuple[Problem, ...]
    excluded: tuple[Problem, ...]


@dataclass(frozen=True)
class _Job:
    """All that a worker needs; it looks the specification up itself."""

    files: CaseFiles
    source: Path
    store: Path
    settings: StoreSettings
    trust_grid: bool


def prepare(
    dataset: str,
    root: str | Path,
    out: str | Path,
    *,
    spacing_mm: tuple[float, float, float] | None = (1.5, 1.5, 1.5),
    jobs: int = 1,
    scheduler: str | None = None,
    variant: str | None = None,
    trust_grid: bool = False,
    progress: Callable[[Step], None] | None = None,
) -> PrepareReport:
    """Reads every case of a dataset and adds it to a store, which may hold other datasets already.

    Cases that the store has are left alone, so an interrupted run goes on where it stopped; a name that the store gives
    to another image is a problem of that case. Cases that cannot be used are listed in ``problems.csv`` of the store.

    Args:
        dataset: A name of :func:`suprem.datasets.list_datasets`.
        root: The folder of the raw data.
        out: The store; made when it does not exist.
        spacing_mm: (x, y, z) of the stored grid; ``None`` keeps each scan's own.
        jobs: Local processes; each holds one case in memory.
        scheduler: Address of a Dask scheduler to use instead; its workers must see both folders under these paths.
        variant: Layout of the raw data; ``None`` takes the only one that fits.
        trust_grid: Where only the affines of CT and labels disagree, take voxels of equal index to belong together.
        progress: Called after each case.

    Raises:
        ConfigurationError: no such folder, no cases in it, a store with other settings or in use, or bad arguments.
        UnknownNameError: no such dataset or variant.
        OutputError: the store cannot be written at all.
    """
    source, store = Path(root).resolve(), Path(out).resolve()
    found = find_dataset(dataset).discover(source, variant)
    settings = StoreSettings(spacing_mm)
    check_writable(store)
    make_folder(store)
    with only_user(store):  # whoever writes the index removes what others seem to have left half-written
        create_store(store, settings)
        todo, failed = _divided(store, found.cases)
        work = [_Job(files, source, store, settings, trust_grid) for files in todo]
        for number, (job, result) in enumerate(map_unordered(_add, work, jobs=jobs, scheduler=scheduler), start=1):
            reason = _reason(job, result)
            if reason is not None:
                failed[job.files.case] = reason
            if progress is not None:
                progress(Step(job.files.case, reason, number, len(work)))
        write_index(store)
        report = _report(dataset, found, {files.case for files in todo}, failed)
        _write_problems(store / PROBLEMS, dataset, report.problems)
    return report


def _divided(store: Path, cases: Sequence[CaseFiles]) -> tuple[list[CaseFiles], dict[str, str]]:
    """The cases that the store lacks, and those whose name it gives to something else, with the reason."""
    todo: list[CaseFiles] = []
    clashes: dict[str, str] = {}
    for files in cases:
        known = finished_case(store, f"{files.dataset}/{files.case}")
        if known is None:
            todo.append(files)
        elif known.variant != files.variant:
            clashes[files.case] = (
                f"the store has it from the layout {known.variant!r}, not {files.variant!r}; use a store for each."
            )
        elif known.source != _fingerprint(files.image):
            clashes[files.case] = (
                "the store has a case of this name from another image; rename one of them, or use another store."
            )
    return todo, clashes


def _fingerprint(image: Path) -> str:
    """Tells images apart without reading them as a whole: sizes of the files, and how the first one begins."""
    files = sorted(p for p in image.rglob("*") if p.is_file()) if image.is_dir() else [image]
    digest = hashlib.sha256(",".join(str(p.stat().st_size) for p in files).encode())
    with files[0].open("rb") as file:
        digest.update(file.read(_BEGINNING))
    return digest.hexdigest()[:32]


def _add(job: _Job) -> str | None:
    """Adds one case; returns why it could not be, in words for the user."""
    try:
        _store_case(job)
    except (SupremError, OSError, MemoryError) as error:
        return _relative(_words(error), job.source)
    return None


def _relative(text: str, source: Path) -> str:
    # Where the raw data lay is of no use to others, and would make equal stores differ.
    return text.replace(f"{source}{os.sep}", "")


def _store_case(job: _Job) -> None:
    files = job.files
    spec = find_dataset(files.dataset).at(job.source)
    case = read_case(spec, files, trust_grid=job.trust_grid)
    stored = harmonise(case, job.settings)
    labels = stored.labels
    flags = (*files.flags, *(labels.flags if labels else ()), *case.ct.warnings)
    facts = {} if labels is None else {"labels": labels.volume, "table": labels.table, "ignore": labels.ignore}
    write_case(
        job.store,
        dataset=files.dataset,
        case=files.case,
        scan=files.scan,
        subject=files.subject,
        split=files.split,
        variant=files.variant,
        source=_fingerprint(files.image),
        ct=replace(stored.ct, warnings=()),
        original_shape=case.ct.shape,
        original_affine=case.ct.affine,
        annotated=labels.annotated if labels else frozenset(),
        flags=tuple(_relative(text, job.source) for text in flags),
        scan_hash=scan_hash(case.ct),
        **facts,  # type: ignore[arg-type]
    )


def _words(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "It does not fit into memory; use fewer jobs or a larger machine."
    return str(error) or type(error).__name__


def _reason(job: _Job, result: str | Exception | None) -> str | None:
    if isinstance(result, SupremError):
        return _words(result)
    if isinstance(result, Exception):
        logger.error("%s: unexpected error", job.files.case, exc_info=result)
        return f"{type(result).__name__}: {result}"
    return result


def _report(name: str, found: Discovery, todo: set[str], failed: dict[str, str]) -> PrepareReport:
    problems = {**{problem.case: problem.reason for problem in found.problems}, **failed}
    cases = [files.case for files in found.cases]
    return PrepareReport(
        dataset=name,
        variant=found.variant,
        done=tuple(case for case in cases if case in todo and case not in failed),
        skipped=tuple(case for case in cases if case not in todo and case not in failed),
        problems=tuple(Problem(case, problems[case]) for case in sorted(problems, key=natural_key)),
        excluded=found.excluded,
    )


def _write_problems(path: Path, name: str, problems: tuple[Problem, ...]) -> None:
    """Replaces the rows of one dataset and keeps those of the others."""
    header = ["dataset", "case", "reason"]
    rows: list[list[str]] = [row for row in _rows(path) if row[0] != name]
    rows += [[name, problem.case, problem.reason] for problem in problems]
    rows.sort(key=lambda row: (row[0], natural_key(row[1])))
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)


def _rows(path: Path) -> list[list[str]]:
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))[1:]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}. Remove it; the next run writes it again.") from error
    return [row for row in rows if len(row) == 3]
