"""Writes a release: an atlas as a folder that others can use, in the layout of AbdomenAtlas.

::

    <out>/
      BDMAP_90000001/ct.nii.gz                    HU, int16; only where the source's terms allow it
      BDMAP_90000001/segmentations/<name>.nii.gz  0 or 1; empty where a structure is known to be absent
      BDMAP_90000001/combined_labels.nii.gz       numbered as in dataset.json; where all masks may be passed on
      BDMAP_90000001/case.json                    what is known about the case
      ids.csv licences.csv provenance.csv statistics.csv dataset.json
      README.md LICENSE.md CITATIONS.md           the data card and what belongs to it
      SHA256SUMS                                  over all but the data card
      release.json                                comes last: without it, the release is not finished
"""

import json
import logging
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from suprem._files import atomic_path, check_writable, make_folder, only_user, remove_leftovers, told_of
from suprem._version import __version__
from suprem._workers import map_unordered
from suprem.atlas.release.card import CITATIONS, LICENCES, write_card
from suprem.atlas.release.case import CASE, CaseJob, ReleasedCase, failure, read_case
from suprem.atlas.release.case import write_case as write_released_case
from suprem.atlas.release.plan import Plan, ReleaseOptions, plan_release
from suprem.atlas.release.tables import (
    DESCRIPTION,
    Statistics,
    checksums,
    statistics,
    write_description,
    write_tables,
)
from suprem.atlas.release.terms import Terms
from suprem.atlas.workspace import Atlas
from suprem.errors import ConfigurationError, SupremError

__all__ = ["RELEASE", "ReleaseReport", "read_release", "release_atlas"]

logger = logging.getLogger(__name__)

RELEASE = "release.json"
_UNFINISHED, _FORMAT = "UNFINISHED", 1
_CASE_FOLDER = re.compile(r"[A-Za-z][A-Za-z0-9-]*_\d{8}")
_NEEDED = ("name", "version", "state", "checksums_sha256", "label_space")
_TABLES = ("ids.csv", "licences.csv", "provenance.csv", "statistics.csv", DESCRIPTION, LICENCES, CITATIONS)


@dataclass(frozen=True)
class ReleaseReport:
    """What was written.

    Attributes:
        folder: where.
        version: of the release.
        written: cases that this run wrote.
        kept: cases that an earlier run had finished.
        skipped: key of a case that was left out -> why.
        without_ct: dataset -> why its CTs are not included.
        statistics: counts.
        card_kept: a person has edited the data card, so it was left as it is.
    """

    folder: str
    version: str
    written: int
    kept: int
    skipped: Mapping[str, str]
    without_ct: Mapping[str, str]
    statistics: Statistics
    card_kept: bool


def release_atlas(
    atlas: Atlas,
    out: str | Path,
    options: ReleaseOptions | None = None,
    *,
    jobs: int = 1,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> ReleaseReport:
    """Writes all cases of an atlas of which any structure is known; an interrupted run goes on where it stopped.

    Args:
        atlas: What to release.
        out: A new folder, or that of an interrupted run.
        options: How; ``None`` for the defaults.
        jobs: Local processes; each holds one case in memory.
        overwrite: Bring a finished release in ``out`` up to date instead of refusing; meanwhile it counts as
            unfinished.
        progress: Called with the id of a case, the number done and the number to do.

    Raises:
        ConfigurationError: nothing is annotated, terms are not known, a text could identify a person, or ``out`` holds
            something else.
        SupremError: cases cannot be read; all others are written, and the release stays unfinished.
        OutputError: the disk is full, or the place cannot be written.
    """
    options, folder = options or ReleaseOptions(), Path(out)
    check_writable(folder)
    books = atlas.root / "release"
    make_folder(books)
    with only_user(books):
        remove_leftovers(books)
        plan = plan_release(atlas, books, folder, options)
        finished = _begin(folder, plan, overwrite=overwrite)
        if finished is None:
            written = _write_cases(plan, folder, jobs, progress)
            finished = _finish(plan, folder, written, options)
        cases = [read_case(folder / job.id) for job in plan.jobs]
        with told_of(folder):
            (folder / _UNFINISHED).unlink(missing_ok=True)
        _tell(atlas, folder, finished)
    return ReleaseReport(
        folder=str(folder),
        version=options.version,
        written=finished.get("written", 0),
        kept=len(cases) - finished.get("written", 0),
        skipped=plan.skipped,
        without_ct={
            entry.dataset: _why_without(entry, options) for entry in plan.terms.values() if _kept(entry, options)
        },
        statistics=statistics(cases),
        card_kept=finished.get("card_kept", False),
    )


def _kept(terms: Terms, options: ReleaseOptions) -> bool:
    return options.labels_only or not terms.shared


def _why_without(terms: Terms, options: ReleaseOptions) -> str:
    return terms.reason if not terms.shared else "labels only"


def _begin(folder: Path, plan: Plan, *, overwrite: bool) -> dict[str, Any] | None:
    """Makes the folder one that is being written; returns the content of ``release.json`` if all is there already."""
    make_folder(folder)
    remove_leftovers(folder)
    if (folder / RELEASE).is_file():
        found = read_release(folder)
        same = found["state"] == plan.state
        if same and all(_is_there(job, state) for job, state in zip(plan.jobs, plan.states, strict=True)):
            return found
        if not (same or overwrite):
            raise ConfigurationError(
                f"{folder} holds version {found['version']}, made from another state of the atlas or with other "
                "options; choose another folder, or allow overwriting it."
            )
    elif not (folder / _UNFINISHED).is_file() and any(folder.iterdir()):
        raise ConfigurationError(f"{folder} is not empty and no unfinished release; choose another folder.")
    with atomic_path(folder / _UNFINISHED) as temporary:
        temporary.write_text("This release is being written. Run the same command again to finish it.\n", "utf-8")
    ids = {job.id for job in plan.jobs}
    with told_of(folder):
        (folder / RELEASE).unlink(missing_ok=True)
        for old in folder.iterdir():
            if _CASE_FOLDER.fullmatch(old.name) and old.name not in ids:
                shutil.rmtree(old)
    return None


def _write_cases(plan: Plan, folder: Path, jobs: int, progress: Callable[[str, int, int], None] | None) -> int:
    """Writes the cases that are not there as they should be; returns their number."""
    todo = [(job, state) for job, state in zip(plan.jobs, plan.states, strict=True) if not _is_there(job, state)]
    if jobs > 1:  # an open store does not travel
        todo = [(replace(job, atlas=replace(job.atlas)), state) for job, state in todo]
    problems = []
    for number, ((job, _), result) in enumerate(map_unordered(_write_one, todo, jobs=jobs), start=1):
        reason = failure(result)
        if reason is not None:
            problems.append(f"{job.key}: {reason}")
            logger.error("%s: %s", job.key, reason)
        if progress is not None:
            progress(job.id, number, len(todo))
    if problems:
        raise SupremError(
            f"{len(problems)} of {len(plan.jobs)} cases could not be written, so the release in {folder} is not "
            f"finished. {problems[0]} Repair or remove them and run the command again."
        )
    return len(todo)


def _is_there(job: CaseJob, state: str) -> bool:
    place = job.folder / job.id
    if not (place / CASE).is_file():
        return False
    found = read_case(place)
    return found.state == state and all((place / name).is_file() for name in found.files)


def _write_one(item: tuple[CaseJob, str]) -> None:
    write_released_case(*item)


def _finish(plan: Plan, folder: Path, written: int, options: ReleaseOptions) -> dict[str, Any]:
    """Writes all that stands beside the cases; ``release.json`` comes last."""
    cases: list[ReleasedCase] = [read_case(folder / job.id) for job in plan.jobs]
    found, facts = statistics(cases), plan.facts
    write_tables(folder, cases, plan.terms, found)
    content = {
        "name": facts.name,
        "version": facts.version,
        "label_space": facts.space,
        "orientation": "RAS",
        "spacing_mm": facts.spacing_mm,
        "hu_range": facts.hu_range,
    }
    write_description(folder, content, plan.numbers)
    generated = write_card(folder, facts, cases, found, plan.terms)
    release = {
        "format": _FORMAT,
        **content,
        "made_with": f"suprem {__version__}",
        "cases": len(cases),
        "highest_number": max(plan.numbers),
        "labels_only": options.labels_only,
        "state": plan.state,
        "checksums_sha256": checksums(folder, cases, _TABLES),
    }
    with atomic_path(folder / RELEASE) as temporary:
        temporary.write_text(json.dumps(release, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return {**release, "written": written, "card_kept": not generated}


def read_release(folder: str | Path) -> dict[str, Any]:
    """The content of ``release.json``.

    Raises:
        ConfigurationError: the folder is no finished release, or the file is damaged.
    """
    path = Path(folder) / RELEASE
    if not path.is_file():
        unfinished = (Path(folder) / _UNFINISHED).is_file()
        state = "an unfinished release; run `suprem atlas release` again" if unfinished else "no release"
        raise ConfigurationError(f"{folder} is {state}.")
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT or not all(isinstance(content[n], str) for n in _NEEDED):
            raise ValueError("another format")
        return content
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} is damaged: {error}; release again.") from error


def _tell(atlas: Atlas, folder: Path, release: Mapping[str, Any]) -> None:
    """Notes the release in the journal, once."""
    facts = {"folder": str(folder.resolve()), "version": release["version"], "state": release["state"]}
    with atlas.journal.locked() as journal:
        if not any(all(event.facts.get(k) == v for k, v in facts.items()) for event in journal.events("release")):
            journal.append("release", **facts, cases=release["cases"], checksums_sha256=release["checksums_sha256"])
