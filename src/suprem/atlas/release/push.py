"""Publishes a release as a dataset on the Hugging Face Hub: checked before, in one commit, safe to repeat."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from suprem._files import sha256_file
from suprem.atlas.release.build import RELEASE, read_release
from suprem.atlas.release.card import CARD, unfilled
from suprem.atlas.release.case import ReleasedCase
from suprem.atlas.release.identifiers import check_free_of_identifiers, header_findings
from suprem.atlas.release.reassemble import read_cases
from suprem.atlas.release.tables import CHECKSUMS, read_checksums
from suprem.errors import ConfigurationError, IntegrityError
from suprem.zoo._hub_errors import explained
from suprem.zoo._upload import Repository, check_tag
from suprem.zoo.hub import HubFile, progress_bars
from suprem.zoo.model_card import is_generated

__all__ = ["PushedRelease", "check_release", "push_release"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PushedRelease:
    """What is on the Hub now.

    Attributes:
        repo: owner/name.
        commit: the commit that holds the files.
        tag: the tag that points to it.
        url: page of that commit.
        uploaded: the files that the commit changed; empty when everything was there already.
        readme_kept: the repository has a README that somebody has written, so that of the release was left out.
    """

    repo: str
    commit: str
    tag: str | None
    url: str
    uploaded: tuple[str, ...]
    readme_kept: bool


def check_release(folder: str | Path) -> list[str]:
    """Makes sure that a folder is what was released, and nothing else; returns its files.

    Raises:
        ConfigurationError: no finished release, or it holds files that do not belong to it, such as re-assembled CTs,
            or headers with texts.
        IntegrityError: files are missing or were changed.
    """
    top = Path(folder)
    release, sums = read_release(top), read_checksums(top)
    if sha256_file(top / CHECKSUMS) != release["checksums_sha256"]:
        raise IntegrityError(f"{top / CHECKSUMS} is not that of the release; release again.")
    files = [*sums, CHECKSUMS, RELEASE, CARD]
    found = {path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file()}
    missing, foreign = sorted(set(files) - found), sorted(found - set(files))
    if missing:
        raise IntegrityError(f"{top} lacks {_some(missing)}; release again.")
    cases = read_cases(top)
    if foreign:
        raise ConfigurationError(_foreign(top, foreign, cases))
    _check_terms(top, cases)
    for name, digest in sums.items():
        if sha256_file(top / name) != digest:
            raise IntegrityError(f"{top / name} was changed since the release; release again.")
    images = (top / name for name in sums if name.endswith(".nii.gz"))
    check_free_of_identifiers((f for path in images for f in header_findings(path)), "Release again.")
    return files


def _foreign(folder: Path, names: list[str], cases: list[ReleasedCase]) -> str:
    withheld = {f"{case.id}/" for case in cases if not case.complete}
    made = [name for name in names if any(name.startswith(start) for start in withheld)]
    if made:
        return (
            f"{folder} holds {_some(made)}, re-assembled from a source whose terms do not allow passing it on. Publish "
            "a folder in which nothing was re-assembled."
        )
    return f"{folder} holds {_some(names)}, which is no part of the release; remove it."


def _check_terms(folder: Path, cases: list[ReleasedCase]) -> None:
    """The tables could have been edited: what the terms forbid must not be there whatever they say."""
    from suprem.datasets import dataset, list_datasets

    for case in cases:
        known = dataset(case.dataset) if case.dataset in list_datasets() else None
        stated = known is None or all(fact.confidence == "unknown" for fact in known.licence)
        held = case.ct_included or any(e.included for e in case.structures.values() if e.source == "expert")
        if held and not stated and known is not None and known.sharing != "allowed":
            raise ConfigurationError(
                f"{folder / case.id} holds images or annotations of {known.title}, whose terms do not allow passing "
                f"them on ({' / '.join(fact.text for fact in known.licence)}); release again."
            )


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")


def push_release(
    release: str | Path,
    repo: str,
    *,
    private: bool | None = None,
    tag: str | None = None,
    message: str | None = None,
    progress: bool = True,
) -> PushedRelease:
    """Uploads a release as one commit of a dataset repository; a repetition uploads only what is missing.

    Files of the release are checked first, and the data card has to be filled in. Files of an earlier version that this
    one lacks stay on the Hub; remove them there if they must go. A README that somebody has written on the Hub stays if
    that of the release is as generated; tags are never moved.

    Args:
        release: Folder of the release.
        repo: owner/name; made if it does not exist.
        private: Whether a new repository is hidden; ``None`` takes the owner's default.
        tag: Name for this version, such as ``"v1"``.
        message: Of the commit.
        progress: Show progress bars.

    Raises:
        ConfigurationError: what :func:`check_release` refuses, an unfilled data card, or a bad name of a tag.
        IntegrityError: files are missing or were changed, or did not arrive.
        HubError: the Hub refuses, the tag points elsewhere, or somebody has changed the repository meanwhile.
        OfflineError: the Hub cannot be reached.
    """
    folder = Path(release)
    check_tag(tag)
    contents: dict[str, Path | bytes] = {name: folder / name for name in check_release(folder)}
    facts, card = read_release(folder), (folder / CARD).read_text("utf-8")
    questions = unfilled(card)
    if questions:
        raise ConfigurationError(
            f"{folder / CARD} has {len(questions)} places to be filled in, the first: {questions[0]!r} Write "
            "what holds in place of each mark, then push again."
        )
    place = HubFile(f"datasets/{repo}", f"the release in {folder.name}", otherwise="")
    with explained(place, uploading=True), progress_bars(progress):
        there = Repository.made(repo, "dataset", private=private)
        parent = there.head
        kept = _keeps_readme(there, parent, card)
        if kept:
            del contents[CARD]
        message = message or f"{facts['name']}, version {facts['version']}"
        commit, changed = there.publish(contents, parent, tag=tag, message=message)
    return PushedRelease(repo, commit, tag, there.url(commit), changed, kept)


def _keeps_readme(there: Repository, parent: str | None, own: str) -> bool:
    """Whether the Hub's README is somebody's work, and that of the release nobody's."""
    found = there.text(CARD, parent)
    if found is None or is_generated(found) or not is_generated(own):
        return False
    logger.warning("%s has a README that was not generated; it stays as it is.", there.name)
    return True
