"""From what a user asks for to a file on this machine and everything known about it."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from suprem._files import sha256_file
from suprem.errors import CheckpointError, ConfigurationError, IntegrityError
from suprem.zoo.card import Card, bundled_folder, card, list_checkpoints
from suprem.zoo.config import ModelConfig

__all__ = ["REVISION", "Origin", "is_available_offline", "pull", "resolve", "terms_before"]

_FILE_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors", ".ckpt")
# The client keeps a revision as a path below the cache; git allows neither a leading slash nor two dots.
REVISION = r"\w(?:(?!\.\.)[\w./-])*"
_HUB = re.compile(rf"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>{REVISION}))?")


@dataclass(frozen=True)
class Origin:
    """A file of weights and what is known about it.

    Attributes:
        source: what was asked for.
        path: the file.
        sha256: its digest.
        card: its card, if it has one.
        config: its configuration, if it lies in a published folder.
    """

    source: str
    path: Path
    sha256: str
    card: Card | None = None
    config: ModelConfig | None = None

    @property
    def headless(self) -> bool:
        """A card or a configuration says that the file holds no output layer of use."""
        if self.config is not None:
            return self.config.head == "none"
        return self.card is not None and self.card.architecture.head == "none"

    @property
    def described(self) -> bool:
        """A card or a configuration says what the file is."""
        return self.card is not None or self.config is not None


def resolve(source: str, *, cache_dir: str | Path | None = None, progress: bool = True) -> Origin:
    """Finds, and downloads when needed, what ``source`` names.

    Args:
        source: card name, ``hf-hub:owner/repo@revision``, ``local-dir:PATH`` or ``local-file:PATH``.
        cache_dir: where downloads are kept; the Hub's own cache by default.
        progress: show a progress bar while downloading.

    Raises:
        ConfigurationError: ``source`` is none of these.
        UnknownNameError: no card of that name.
        CheckpointError: missing files, or an architecture that is not built.
        HubError: the download failed.
    """
    source = str(source)  # a Path is told how to write it
    scheme, separator, rest = source.partition(":")
    if separator and scheme == "local-file":
        return _local_file(source, Path(rest).expanduser())
    if separator and scheme == "local-dir":
        return _folder(source, Path(rest).expanduser())
    if separator and scheme == "hf-hub":
        return _hub_folder(source, rest, cache_dir, progress)
    if _is_bare(source):
        raise ConfigurationError(_bare_message(source))
    return _published(card(source), cache_dir, progress)


def _is_bare(source: str) -> bool:
    if source in list_checkpoints():  # a folder of that name in the working directory must not get in the way
        return False
    return any(c in source for c in "/\\:@~") or source.lower().endswith(_FILE_SUFFIXES) or os.path.exists(source)


def _bare_message(source: str) -> str:
    path = Path(source).expanduser()
    kind = "local-dir" if os.path.isdir(path) else "local-file"
    return (
        f"{source!r} is no checkpoint name, and whether a path or a Hub repository is meant must be said: write "
        f"'{kind}:{source}' for the path, or 'hf-hub:owner/repo@revision' for a repository. "
        "`suprem zoo list` shows the names."
    )


def _local_file(source: str, path: Path) -> Origin:
    if os.path.isdir(path):  # unlike Path.is_dir, no error for a name that is too long
        raise CheckpointError(f"{path} is a folder; load it as 'local-dir:{path}', or name the file in it.")
    if not os.path.isfile(path):
        raise CheckpointError(f"{path} does not exist; check the path behind 'local-file:'.")
    return Origin(source, path, _digest(path))


def _digest(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}; check its permissions.") from error


def _folder(source: str, path: Path, known: Card | None = None) -> Origin:
    from suprem.zoo.folder import read_folder

    content = read_folder(path)
    return Origin(source, content.weights, _digest(content.weights), known, content.config)


def _hub_folder(source: str, rest: str, cache_dir: str | Path | None, progress: bool) -> Origin:
    from suprem.zoo.hub import fetch_folder

    found = _HUB.fullmatch(rest)
    if found is None:
        raise ConfigurationError(f"{source!r} must be written hf-hub:owner/repo@revision.")
    folder = fetch_folder(found["repo"], found["revision"], cache_dir=cache_dir, progress=progress)
    return _folder(source, folder)


def _published(known: Card, cache_dir: str | Path | None, progress: bool) -> Origin:
    if not known.architecture.built:
        raise CheckpointError(
            f"{known.name} cannot be loaded: {known.architecture.reason}. `suprem zoo show {known.name}` tells what is "
            "known about it; `suprem zoo list` marks those that load."
        )
    return _fetched(known, cache_dir, progress)


def _fetched(known: Card, cache_dir: str | Path | None, progress: bool) -> Origin:
    if known.location.kind == "hub":
        from suprem.zoo.hub import fetch_card

        fetched = fetch_card(known, cache_dir=cache_dir, progress=progress)
        return Origin(known.name, fetched.path, fetched.sha256, known)
    folder = bundled_folder(known.name)
    if folder is None:
        raise CheckpointError(f"The bundled checkpoint {known.name!r} is missing here; reinstall suprem.")
    origin = _folder(known.name, folder, known)
    if known.file.sha256 is not None and origin.sha256 != known.file.sha256:
        raise IntegrityError(f"{origin.path} differs from the bundled checkpoint {known.name!r}; reinstall suprem.")
    return origin


def pull(source: str, *, cache_dir: str | Path | None = None, progress: bool = True) -> Origin:
    """Downloads a checkpoint without loading it, also one whose network this version cannot build.

    Args:
        source: card name or ``hf-hub:owner/repo@revision``.
        cache_dir: where downloads are kept; the Hub's own cache by default.
        progress: show a progress bar.

    Raises:
        ConfigurationError: ``source`` is neither.
        UnknownNameError: no card of that name.
        HubError: the download failed.
    """
    if source.startswith(("local-file:", "local-dir:")):
        raise ConfigurationError(f"{source!r} is on this machine already; give a checkpoint name or hf-hub:owner/repo.")
    if source in list_checkpoints():
        return _fetched(card(source), cache_dir, progress)
    return resolve(source, cache_dir=cache_dir, progress=progress)


def terms_before(source: str, *, cache_dir: str | Path | None = None) -> str:
    """What a person has to know before :func:`pull` downloads; empty when nothing has to be downloaded.

    Args:
        source: card name or ``hf-hub:owner/repo@revision``.
        cache_dir: where downloads are kept; the Hub's own cache by default.
    """
    from suprem.zoo.hub import cached_card, cached_folder, folder_notice

    if source in list_checkpoints():
        known = card(source)
        here = known.location.kind == "bundled" or cached_card(known, cache_dir=cache_dir) is not None
        return "" if here else known.licence_notice()
    found = _HUB.fullmatch(source.removeprefix("hf-hub:")) if source.startswith("hf-hub:") else None
    if found is None or cached_folder(found["repo"], found["revision"], cache_dir=cache_dir) is not None:
        return ""
    return folder_notice(found["repo"])


def is_available_offline(name: str, *, cache_dir: str | Path | None = None) -> bool:
    """Whether the checkpoint of a card can be loaded without a network: bundled, or in the cache.

    Args:
        name: a name of :func:`list_checkpoints`.
        cache_dir: where downloads are kept; the Hub's own cache by default.

    Raises:
        UnknownNameError: no card has that name.
    """
    known = card(name)
    if not known.architecture.built:
        return False
    if known.location.kind == "bundled":
        return bundled_folder(name) is not None
    from suprem.zoo.hub import cached_card

    return cached_card(known, cache_dir=cache_dir) is not None
