"""What uploads of weights and of datasets share: what a repository lacks becomes one commit on a stated parent."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from suprem._files import sha256_file
from suprem.errors import ConfigurationError, HubError, IntegrityError
from suprem.zoo.hub import git_hash
from suprem.zoo.source import REVISION

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["Contents", "Repository", "check_tag"]

Contents = Mapping[str, Path | bytes]
_PATHS = 500
"""Files that are asked about at once."""


def check_tag(tag: str | None) -> None:
    """Makes sure that a tag can be the name of a version.

    Raises:
        ConfigurationError: it cannot.
    """
    if tag is not None and not re.fullmatch(REVISION, tag):
        raise ConfigurationError(f"tag is {tag!r}; it must consist of letters, digits, dots, dashes and underscores.")


@dataclass(frozen=True)
class Repository:
    """A repository on the Hub that this process writes to.

    Attributes:
        api: the Hub's client.
        name: owner/name.
        kind: what it holds.
    """

    api: "HfApi"
    name: str
    kind: Literal["model", "dataset"] = "model"

    @classmethod
    def made(cls, name: str, kind: Literal["model", "dataset"] = "model", *, private: bool | None) -> "Repository":
        """The repository, made if it does not exist.

        Args:
            name: owner/name.
            kind: What it holds.
            private: Whether a new one is hidden; ``None`` takes the owner's default.

        Raises:
            HubError: the name has no owner.
        """
        from huggingface_hub import HfApi
        from huggingface_hub.utils._validators import validate_repo_id

        validate_repo_id(name)
        if "/" not in name:
            raise HubError(f"{name!r} names no owner; write it as owner/name.")
        api = HfApi()
        api.create_repo(name, repo_type=kind, private=private, exist_ok=True)
        return cls(api, name, kind)

    @property
    def head(self) -> str | None:
        """The latest commit."""
        return self.api.repo_info(self.name, repo_type=self.kind).sha

    def url(self, commit: str) -> str:
        """The page of a commit."""
        return f"{self.api.endpoint}/{'datasets/' if self.kind == 'dataset' else ''}{self.name}/tree/{commit}"

    def text(self, path: str, revision: str | None) -> str | None:
        """A text file of a commit; ``None`` if there is none."""
        if revision is None or not self.api.file_exists(self.name, path, revision=revision, repo_type=self.kind):
            return None
        fetched = self.api.hf_hub_download(self.name, path, revision=revision, repo_type=self.kind)
        return Path(fetched).read_text("utf-8", errors="replace")

    def changed(self, wanted: Contents, parent: str | None) -> dict[str, Path | bytes]:
        """What the repository lacks or has otherwise at a commit."""
        there = self._known(list(wanted), parent) if parent else {}
        return {name: content for name, content in wanted.items() if not _is_same(there.get(name), content)}

    def tagged(self, tag: str | None, parent: str | None, changed: Contents) -> str | None:
        """The commit that a tag points to; ``None`` if there is no such tag.

        Raises:
            HubError: the tag points to other content.
        """
        if tag is None:
            return None
        tags = {ref.name: ref.target_commit for ref in self.api.list_repo_refs(self.name, repo_type=self.kind).tags}
        found = tags.get(tag)
        if found is not None and (changed or found != parent):
            raise HubError(
                f"{self.name} has the tag {tag!r} already, at {found}; tags are not moved. Choose another name."
            )
        return found

    def commit(self, changed: Contents, parent: str | None, message: str) -> str:
        """One commit on top of ``parent``; returns its name, that of ``parent`` if nothing changed.

        Raises:
            IntegrityError: files did not arrive.
        """
        from huggingface_hub import CommitOperationAdd

        if not changed and parent is not None:
            return parent
        operations = [
            CommitOperationAdd(path_in_repo=n, path_or_fileobj=content if isinstance(content, bytes) else str(content))
            for n, content in changed.items()
        ]
        done = self.api.create_commit(
            self.name, operations, commit_message=message, parent_commit=parent, repo_type=self.kind
        )
        arrived = set(self._known(list(changed), str(done.oid)))
        if arrived != set(changed):
            lost = ", ".join(sorted(set(changed) - arrived)[:5])
            raise IntegrityError(
                f"{self.name}: commit {done.oid} does not hold {lost}; the upload is incomplete. Repeat it."
            )
        return str(done.oid)

    def publish(
        self, wanted: Contents, parent: str | None, *, tag: str | None, message: str
    ) -> tuple[str, tuple[str, ...]]:
        """Brings the repository to hold the files, in one commit on top of ``parent``, and makes the tag.

        Args:
            wanted: Path in the repository -> content.
            parent: The latest commit; ``None`` in an empty repository.
            tag: For the commit, of :func:`check_tag`.
            message: Of the commit.

        Returns:
            The commit that holds the files, and the files that it changed.

        Raises:
            HubError: the tag points to other content.
            IntegrityError: files did not arrive.
        """
        changed = self.changed(wanted, parent)
        tagged = self.tagged(tag, parent, changed)
        commit = self.commit(changed, parent, message)
        if tag is not None and tagged is None:
            self.api.create_tag(self.name, tag=tag, revision=commit, repo_type=self.kind)
        return commit, tuple(changed)

    def _known(self, names: list[str], revision: str) -> dict[str, Any]:
        """The files among ``names`` that the repository has at a commit."""
        found: dict[str, Any] = {}
        for start in range(0, len(names), _PATHS):
            some = names[start : start + _PATHS]
            infos = self.api.get_paths_info(self.name, some, revision=revision, repo_type=self.kind)
            found |= {info.path: info for info in infos}
        return found


def _is_same(file: Any, content: Path | bytes) -> bool:
    if file is None:
        return False
    if getattr(file, "lfs", None) is not None and isinstance(content, Path):
        return bool(file.lfs.sha256 == sha256_file(content))
    return bool(file.blob_id == git_hash(content if isinstance(content, bytes) else content.read_bytes()))
