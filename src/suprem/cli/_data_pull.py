"""``suprem data pull``: a dataset that the Hub hosts, once its licence was shown."""

import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suprem.cli._terms import accept_terms
from suprem.errors import ConfigurationError, OutputError, UnsafeFileError

if TYPE_CHECKING:
    from suprem.datasets import DatasetSpec

__all__ = ["pull"]

_MARK = ".unpacked"


def pull(
    dataset: Annotated[str, typer.Argument(show_default=False, help="A name from `suprem data list`.")],
    out: Annotated[Path, typer.Option("--out", "-o", show_default=False, help="Folder for the raw data.")],
    revision: Annotated[
        str | None, typer.Option(show_default=False, help="Commit, tag or branch; default: the newest.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(show_default=False, help="Only files like this one, such as '*_0001.tar.gz'.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Accept licence and terms without being asked.")] = False,
    unpack: Annotated[bool, typer.Option(help="Unpack the archives.")] = True,
) -> None:
    """Download a dataset that the Hugging Face Hub hosts, after showing its licence; run it again to go on."""
    from suprem.cli._display import stderr_console
    from suprem.datasets import dataset as find_dataset
    from suprem.zoo.hub import fetch_dataset

    spec = find_dataset(dataset)
    if spec.hub is None:
        steps = "; ".join(spec.obtain) or "its page tells how"
        raise ConfigurationError(f"{spec.slug} is not on the Hub. How to get it: {steps}. See {spec.homepage}.")
    accept_terms(_terms(spec), yes=yes)
    fetch_dataset(spec.hub, out, revision=revision, only=only or ())
    console = stderr_console()
    if unpack:
        for archive in sorted(out.rglob("*.tar.gz")):
            done = _unpack(archive)
            console.print(f"{archive.name}: {'unpacked' if done else 'unpacked before'}")
    typer.echo(f"{spec.slug} is in {out}; go on with `suprem data prepare {spec.slug} --root {out} --out STORE`.")


def _terms(spec: "DatasetSpec") -> list[str]:
    return [
        f"{spec.title}: licence {' / '.join(fact.text for fact in spec.licence)}; the dataset's page counts.",
        f"page: https://huggingface.co/datasets/{spec.hub}",
        f"access: {spec.access}",
        *(f"cite: {text}" for text in spec.citation),
    ]


def _unpack(archive: Path) -> bool:
    """Unpacks beside the archive, unless that was done; what was begun is begun again."""
    mark = archive.with_name(f".{archive.name}{_MARK}")
    if mark.exists() and mark.stat().st_mtime_ns >= archive.stat().st_mtime_ns:
        return False
    try:
        with tarfile.open(archive, "r:gz") as members:
            for member in members:
                if member.size > shutil.disk_usage(archive.parent).free:
                    raise OutputError(f"No space is left for {member.name} of {archive}; free some, then run again.")
                # Refuses what would lie outside the folder, links that lead there, and devices.
                members.extract(member, archive.parent, filter="data")
    except tarfile.FilterError as error:
        raise UnsafeFileError(f"{archive} is not unpacked: {error}. Do not trust it.") from error
    except (tarfile.TarError, EOFError) as error:
        raise OutputError(f"{archive} is damaged: {error}. Remove it and pull again.") from error
    mark.touch()
    return True
