"""Publishes a folder of weights on the Hugging Face Hub: verified before, in one commit, safe to repeat."""

import json
import logging
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from suprem._files import atomic_path
from suprem.errors import CheckpointError
from suprem.zoo._hub_errors import explained
from suprem.zoo._upload import Repository, check_tag
from suprem.zoo.folder import CONFIG, GOLDEN, README, WEIGHTS, read_folder, save_folder
from suprem.zoo.hub import HubFile, progress_bars
from suprem.zoo.model_card import check_licence, is_generated, signed

if TYPE_CHECKING:
    from suprem.backbones._base import SegmentationNetwork

__all__ = ["RECORD", "Pushed", "push_to_hub"]

logger = logging.getLogger(__name__)

RECORD = "pushed.json"
"""Where the folder on this machine keeps what was published; it is not uploaded itself."""

_MODEL = "model"  # where a training run keeps its folder
_PLACEHOLDER = "local-dir:PATH"


@dataclass(frozen=True)
class Pushed:
    """What is on the Hub now.

    Attributes:
        repo: owner/name.
        commit: the commit that holds the files.
        tag: the tag that points to it.
        url: page of that commit.
        uploaded: the files that the commit changed; empty when everything was there already.
        readme_kept: the repository has a README that somebody has written, so the generated one was left out.
    """

    repo: str
    commit: str
    tag: str | None
    url: str
    uploaded: tuple[str, ...]
    readme_kept: bool

    @property
    def source(self) -> str:
        """What :func:`suprem.load_pretrained` takes to load exactly this."""
        return f"hf-hub:{self.repo}@{self.commit}"


def push_to_hub(
    model: "str | Path | SegmentationNetwork",
    repo: str,
    *,
    private: bool | None = None,
    tag: str | None = None,
    licence: str | None = None,
    message: str | None = None,
    progress: bool = True,
) -> Pushed:
    """Uploads a published folder as one commit; a repetition uploads only what is missing.

    The folder is verified first. A README that somebody has written on the Hub stays, and a tag is never moved. What
    was published is noted in ``pushed.json`` in the folder.

    Args:
        model: a folder of :func:`suprem.zoo.save_folder`, a folder of a training run, or a network with its ``config``.
        repo: owner/name; made if it does not exist.
        private: whether a new repository is hidden; ``None`` takes the owner's default. An existing one stays as it is.
        tag: name for this version, such as ``"v1"``.
        licence: identifier of the weights' licence for the model card, such as ``"apache-2.0"``.
        message: of the commit.
        progress: show progress bars.

    Raises:
        CheckpointError: no published folder, or one that fails the verification.
        ConfigurationError: ``licence`` is no identifier, or ``tag`` no name of a tag.
        HubError: the Hub refuses, the tag points elsewhere, or somebody has changed the repository meanwhile.
        OfflineError: the Hub cannot be reached.

    Example:
        >>> push_to_hub("runs/liver/model", "owner/liver", tag="v1").source  # doctest: +SKIP
        'hf-hub:owner/liver@...'
    """
    check_licence(licence)
    check_tag(tag)
    if not isinstance(model, str | Path):
        with tempfile.TemporaryDirectory() as place:
            saved = save_folder(model, Path(place) / _MODEL)
            return _push(saved, repo, private, tag, licence, message, progress)
    folder = _folder_of(Path(model))
    pushed = _push(folder, repo, private, tag, licence, message, progress)
    record = json.dumps({**asdict(pushed), "source": pushed.source}, indent=1)
    with atomic_path(folder / RECORD) as temporary:
        temporary.write_text(record + "\n", "utf-8")
    return pushed


def _folder_of(path: Path) -> Path:
    """The folder itself, or that of a training run."""
    run = path / _MODEL
    folder = run if not (path / CONFIG).is_file() and (run / CONFIG).is_file() else path
    # Without an output layer there is no output to record.
    needed = (README,) if read_folder(folder).config.head == "none" else (GOLDEN, README)
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(f"{folder} lacks {' and '.join(missing)}; write it anew with save_folder().")
    return folder


def _push(
    folder: Path,
    repo: str,
    private: bool | None,
    tag: str | None,
    licence: str | None,
    message: str | None,
    progress: bool,
) -> Pushed:
    _verify(folder)
    contents = {name: folder / name for name in (WEIGHTS, CONFIG, GOLDEN) if (folder / name).is_file()}
    place = HubFile(repo, f"the model in {folder.name}", otherwise="")
    with explained(place, uploading=True), progress_bars(progress):
        there = Repository.made(repo, private=private)
        parent = there.head
        readme = _readme(there, parent, (folder / README).read_text("utf-8"), tag, licence)
        wanted: dict[str, Path | bytes] = {**contents, **({} if readme is None else {README: readme.encode()})}
        message = message or f"Upload {read_folder(folder).config.name}"
        commit, changed = there.publish(wanted, parent, tag=tag, message=message)
    return Pushed(repo, commit, tag, there.url(commit), changed, readme is None)


def _verify(folder: Path) -> None:
    from suprem.zoo.verification import verify

    report = verify(f"local-dir:{folder}", progress=False)
    failed = [f"{check.name} ({check.detail})" for check in report.checks if check.outcome == "failed"]
    if failed:
        raise CheckpointError(f"{folder} is not what it claims to be and is not published: {'; '.join(failed)}.")


def _readme(there: Repository, parent: str | None, text: str, tag: str | None, licence: str | None) -> str | None:
    """The README to upload; ``None`` to leave the one that is there, which somebody has written."""
    found = there.text(README, parent)
    if found is not None and not is_generated(found):
        logger.warning("%s has a README that was not generated; it stays as it is.", there.name)
        return None
    own = is_generated(text)
    text = text.replace(_PLACEHOLDER, f"hf-hub:{there.name}@{tag or 'COMMIT'}")
    if licence is not None:
        from huggingface_hub import ModelCard

        card = ModelCard(text)
        card.data["license"] = licence
        text = str(card)
    return signed(text) if own else text
