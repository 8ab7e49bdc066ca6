"""Downloads from the Hugging Face Hub through its own client, checked against the card and what the Hub announces.

The client decides where files are cached (``HF_HUB_CACHE``), which server is asked (``HF_ENDPOINT``) and whether the
network may be used (``HF_HUB_OFFLINE``); it is imported on first use, because it reads these at import.
"""

import hashlib
import logging
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suprem._files import sha256_file
from suprem.errors import HubError, IntegrityError
from suprem.zoo._hub_errors import explained, is_temporary
from suprem.zoo.card import Card

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

__all__ = [
    "Fetched",
    "HubFile",
    "cached_card",
    "cached_folder",
    "fetch_card",
    "fetch_dataset",
    "fetch_file",
    "fetch_folder",
    "folder_notice",
    "git_hash",
    "progress_bars",
]

logger = logging.getLogger(__name__)

RETRY_WAITS_S = (1.0, 3.0)
"""Seconds before each further attempt when the Hub is busy or the network stutters."""

_MAX_CONFIG_BYTES = 2**20
_SHA1, _SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class HubFile:
    """A file on the Hub and what is known about it beforehand.

    Attributes:
        repo: owner/name.
        filename: path in the repository.
        revision: commit, tag or branch; ``None`` for the main branch.
        size_bytes: expected size.
        sha256: expected digest.
        otherwise: what else can be done when it cannot be had.
    """

    repo: str
    filename: str
    revision: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    otherwise: str = ", or use the bundled 'segresnet_tiny.phantom'"

    def __str__(self) -> str:
        return f"{self.filename} of {self.repo}" + (f" at {self.revision}" if self.revision else "")


@dataclass(frozen=True)
class Fetched:
    """A file in the cache, already checked.

    Attributes:
        path: where it is.
        sha256: its digest.
        commit: commit it belongs to.
    """

    path: Path
    sha256: str
    commit: str


def fetch_card(known: Card, *, cache_dir: str | Path | None = None, progress: bool = True) -> Fetched:
    """The weights of a card, from the cache or the Hub; the licences are logged before a download.

    Raises:
        OfflineError: neither cached nor reachable.
        IntegrityError: size or digest differ from the card or from what the Hub announces.
        HubError: the Hub refuses.
    """
    return fetch_file(_hub_file(known), notice=known.licence_notice(), cache_dir=cache_dir, progress=progress)


def cached_card(known: Card, *, cache_dir: str | Path | None = None) -> Path | None:
    """The cached weights of a card, if they are there with the right size; asks nobody."""
    path = _cached(_hub_file(known), cache_dir)
    if path is None or known.file.size_bytes not in (None, path.stat().st_size):
        return None
    return path


def _hub_file(known: Card) -> HubFile:
    place = known.location
    if place.repo is None or place.filename is None:
        raise HubError(f"{known.name} does not lie on the Hub; load it by its name.")
    return HubFile(place.repo, place.filename, place.revision, known.file.size_bytes, known.file.sha256)


def folder_notice(repo: str) -> str:
    """What a person should know before downloading a repository of weights."""
    return f"{repo}: the licence stands on the repository's page. Not for clinical use."


def cached_folder(repo: str, revision: str | None, *, cache_dir: str | Path | None = None) -> Path | None:
    """The published folder of a repository in the cache, if its weights are there; asks nobody."""
    path = _cached(HubFile(repo, "model.safetensors", revision), cache_dir)
    return path.parent if path else None


def fetch_folder(
    repo: str, revision: str | None, *, cache_dir: str | Path | None = None, progress: bool = True
) -> Path:
    """The published folder of a repository: its configuration, weights and golden outputs, all of one commit.

    Args:
        repo: owner/name.
        revision: commit, tag or branch; ``None`` for the main branch.
        cache_dir: where downloads are kept.
        progress: show a progress bar.

    Returns:
        The folder in the cache.
    """
    if revision is None:
        logger.warning("hf-hub:%s names no revision; add @COMMIT to get the same weights again.", repo)
    notice = folder_notice(repo)
    options: dict[str, Any] = {"cache_dir": cache_dir, "progress": progress}
    config = fetch_file(HubFile(repo, "config.json", revision), max_bytes=_MAX_CONFIG_BYTES, notice=notice, **options)
    fetch_file(HubFile(repo, "model.safetensors", config.commit), **options)
    try:
        fetch_file(HubFile(repo, "golden.safetensors", config.commit), max_bytes=_MAX_CONFIG_BYTES, **options)
    except IntegrityError:
        raise
    except HubError as error:  # they are for `suprem zoo verify` alone
        logger.warning("%s: no golden outputs, so the computation cannot be verified: %s", repo, error)
    return config.path.parent


def fetch_dataset(
    repo: str, folder: str | Path, *, revision: str | None = None, only: Sequence[str] = (), progress: bool = True
) -> Path:
    """The files of a dataset repository, in a folder of the user's; what is there already is not fetched again.

    Args:
        repo: owner/name.
        folder: where the files go, in the layout of the repository.
        revision: commit, tag or branch; ``None`` for the main branch.
        only: patterns such as ``"*_00000*.tar.gz"``; empty for all files.
        progress: show a progress bar.

    Raises:
        OfflineError: the Hub cannot be reached.
        HubError: the Hub refuses, for instance because its terms were not accepted.
    """
    from huggingface_hub import snapshot_download

    wanted = HubFile(f"datasets/{repo}", ", ".join(only) or "all files", revision, otherwise="")
    with explained(wanted), progress_bars(progress):
        place = snapshot_download(
            repo, repo_type="dataset", revision=revision, local_dir=folder, allow_patterns=list(only) or None
        )
    return Path(place)


def fetch_file(
    wanted: HubFile,
    *,
    notice: str = "",
    max_bytes: int | None = None,
    cache_dir: str | Path | None = None,
    progress: bool = True,
) -> Fetched:
    """One file, from the cache when it is there and sound, else from the Hub.

    Args:
        wanted: the file and what is known about it.
        notice: logged before a download.
        max_bytes: refuse anything larger.
        cache_dir: where downloads are kept.
        progress: show a progress bar.

    Raises:
        OfflineError: neither cached nor reachable.
        IntegrityError: size or digest are not those expected; nothing is kept.
        HubError: the Hub refuses.
    """
    with explained(wanted):
        cached = _sound_cached(wanted, cache_dir)
        if cached is not None and (wanted.sha256 is not None or _SHA1.fullmatch(wanted.revision or "")):
            return cached
        try:
            announced = _announced(wanted)
        except Exception as error:
            if cached is None or not is_temporary(error):
                raise
            logger.warning("%s: the Hub cannot be asked for news; using the cached copy.", wanted)
            return cached
        _check_announced(wanted, announced, max_bytes)
        if cached is None and notice:
            logger.warning("%s", notice)
        return _download(wanted, announced, cache_dir, progress)


def _announced(wanted: HubFile) -> "HfFileMetadata":
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(wanted.repo, wanted.filename, revision=wanted.revision)
    for wait in RETRY_WAITS_S:
        try:
            return get_hf_file_metadata(url)
        except Exception as error:
            if not is_temporary(error, worth_a_retry=True):
                raise
            logger.info("%s: %s; trying again in %g s.", wanted, type(error).__name__, wait)
            time.sleep(wait)
    return get_hf_file_metadata(url)


def _check_announced(wanted: HubFile, announced: "HfFileMetadata", max_bytes: int | None) -> None:
    if announced.etag is None or announced.commit_hash is None or announced.size is None:
        raise HubError(f"{wanted}: the server does not behave like a Hub; check HF_ENDPOINT and your proxy.")
    if max_bytes is not None and announced.size > max_bytes:
        raise HubError(f"{wanted} has {announced.size} bytes, more than the {max_bytes} expected; not downloaded.")
    if wanted.size_bytes not in (None, announced.size):
        raise IntegrityError(
            f"{wanted}: the Hub announces {announced.size} bytes, the card {wanted.size_bytes}. Nothing was "
            "downloaded; the file was replaced since the card was written."
        )
    if wanted.sha256 is not None and _SHA256.fullmatch(announced.etag) and announced.etag != wanted.sha256:
        raise IntegrityError(
            f"{wanted}: the Hub announces SHA-256 {announced.etag}, the card {wanted.sha256}. Nothing was downloaded; "
            "the file was replaced since the card was written."
        )


def _download(wanted: HubFile, announced: "HfFileMetadata", cache_dir: str | Path | None, progress: bool) -> Fetched:
    from huggingface_hub import hf_hub_download

    with progress_bars(progress):
        path = Path(hf_hub_download(wanted.repo, wanted.filename, revision=wanted.revision, cache_dir=cache_dir))
    digest, size = sha256_file(path), path.stat().st_size
    etag = announced.etag or ""
    if size != announced.size or wanted.sha256 not in (None, digest) or not _is_content_of(path, digest, etag):
        _remove(path)
        raise IntegrityError(
            f"{wanted}: what arrived has {size} bytes and SHA-256 {digest}, announced were {announced.size} bytes and "
            f"{wanted.sha256 or etag}. It was removed; download it again, and distrust the connection if it recurs."
        )
    return Fetched(path, digest, _commit_of(path, wanted.filename))


@contextmanager
def progress_bars(shown: bool) -> Iterator[None]:
    """Hides the client's progress bars inside the block, unless they are wanted."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if shown or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _cached(wanted: HubFile, cache_dir: str | Path | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(wanted.repo, wanted.filename, cache_dir=cache_dir, revision=wanted.revision)
    return Path(found) if isinstance(found, str) else None


def _sound_cached(wanted: HubFile, cache_dir: str | Path | None) -> Fetched | None:
    """The cached file if its content is right; a damaged one is removed."""
    path = _cached(wanted, cache_dir)
    if path is None:
        return None
    digest = sha256_file(path)
    if not _is_content_of(path, digest, path.resolve().name):
        _remove(path)
        logger.warning("%s: the cached copy was damaged and has been removed.", wanted)
        return None
    # Sound but not the file of the card: another program may want it, so it stays.
    return Fetched(path, digest, _commit_of(path, wanted.filename)) if wanted.sha256 in (None, digest) else None


def _is_content_of(path: Path, digest: str, etag: str) -> bool:
    """Whether the file is what the Hub's tag stands for: a SHA-256, or the hash git gives a small file."""
    if _SHA256.fullmatch(etag):
        return digest == etag
    if _SHA1.fullmatch(etag):
        return git_hash(path.read_bytes()) == etag
    return True  # a cache without links, or a tag that is no digest: nothing to compare with


def git_hash(content: bytes) -> str:
    """The name that git, and so the Hub, gives to a small file: SHA-1 over its length and content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _remove(path: Path) -> None:
    content = path.resolve()
    path.unlink(missing_ok=True)
    content.unlink(missing_ok=True)


def _commit_of(path: Path, filename: str) -> str:
    return path.parents[filename.count("/")].name
