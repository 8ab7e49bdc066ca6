"""``suprem atlas release``, and what can be done with a release: reassemble, nnunet, datalist, push."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from suprem.cli._words import names_in
from suprem.errors import ConfigurationError

__all__ = ["datalist", "nnunet", "push", "reassemble", "release"]

_EXIT_FAILED = 1

_Release = Annotated[Path, typer.Argument(show_default=False, help="Folder of a release.")]
_Jobs = Annotated[int, typer.Option(min=1, help="Local processes; each holds one case in memory.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
_SkipPartial = Annotated[
    bool, typer.Option("--skip-partial", help="Leave out cases in which a structure is unknown, instead of refusing.")
]


def _pairs(entries: list[str] | None, option: str) -> dict[str, str]:
    """NAME=VALUE, several times."""
    found: dict[str, str] = {}
    for entry in entries or ():
        name, sign, value = entry.partition("=")
        if not (name.strip() and sign and value.strip()) or name.strip() in found:
            raise ConfigurationError(f"{option} {entry!r} is not understood; write {option} DATASET=VALUE, once each.")
        found[name.strip()] = value.strip()
    return found


def _show(case: str, done: int, total: int) -> None:
    from suprem.cli._display import stderr_console

    stderr_console().print(f"[{done}/{total}] {case}")


def release(
    atlas: Annotated[Path, typer.Argument(show_default=False, help="Folder of the atlas.")],
    out: Annotated[Path, typer.Option("--out", "-o", show_default=False, help="Folder to write.")],
    name: Annotated[str | None, typer.Option(help="Of the dataset. Default: that of the atlas' folder.")] = None,
    version: Annotated[str, typer.Option(help="Of the release.")] = "1.0",
    licence: Annotated[
        list[str] | None,
        typer.Option(
            "--licence", "--license", help="DATASET=SPDX identifier or sentence, for terms that are not known; repeat."
        ),
    ] = None,
    labels_only: Annotated[bool, typer.Option("--labels-only", help="Leave out all CTs.")] = False,
    prefix: Annotated[str, typer.Option(help="Of the names of new cases.")] = "BDMAP",
    first_id: Annotated[int, typer.Option(help="Smallest number of new cases.")] = 90_000_001,
    space: Annotated[
        str, typer.Option("--label-space", help="Numbers of the combined label maps, see the reference.")
    ] = "abdomenatlas_1_1",
    anonymise: Annotated[
        bool, typer.Option("--anonymise-reviewers/--name-reviewers", help="Codes or names in provenance.csv.")
    ] = True,
    accept: Annotated[
        list[str] | None, typer.Option(help="A text that looks as if it identified somebody, and does not; repeat.")
    ] = None,
    jobs: _Jobs = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Bring a finished release up to date.")] = False,
    as_json: _Json = False,
) -> None:
    """Write an atlas as a dataset in the layout of AbdomenAtlas; run it again to go on after a stop."""
    from suprem.atlas.release import ReleaseOptions, release_atlas
    from suprem.atlas.workspace import Atlas

    options = ReleaseOptions(
        name=name,
        version=version,
        licences=_pairs(licence, "--licence"),
        labels_only=labels_only,
        prefix=prefix,
        first_id=first_id,
        space=space,
        anonymise=anonymise,
        accept=tuple(accept or ()),
    )
    report = release_atlas(Atlas.open(atlas), out, options, jobs=jobs, overwrite=overwrite, progress=_show)
    if as_json:
        typer.echo(json.dumps(asdict(report), indent=2))
        return
    found = report.statistics
    for key, why in report.skipped.items():
        typer.echo(f"left out: {key}: {why}")
    for dataset, why in report.without_ct.items():
        typer.echo(f"without CTs: {dataset}: {why}")
    if report.card_kept:
        typer.echo("README.md was edited by hand, so it stays as it is; compare its numbers with statistics.csv.")
    typer.echo(
        f"{report.folder}: {found.volumes} cases ({report.written} written, {report.kept} there already), "
        f"{found.structures} structures, {found.masks_included} of {found.masks} masks, {found.cts} CTs"
    )


def reassemble(
    release: _Release,
    source: Annotated[
        list[str] | None, typer.Option(help="DATASET=FOLDER with your copy of the raw data; repeat.")
    ] = None,
    jobs: _Jobs = 1,
    as_json: _Json = False,
) -> None:
    """Add the CTs that a release must not hold, made from your own copies of the sources; run it again to go on."""
    from suprem.atlas.release.reassemble import reassemble as run

    report = run(release, _pairs(source, "--source"), jobs=jobs, progress=_show)
    if as_json:
        typer.echo(json.dumps(asdict(report), indent=2))
    else:
        for case, why in report.missing.items():
            typer.echo(f"not complete: {case}: {why}")
        counts = f"{len(report.done)} cases re-assembled, {len(report.there)} complete already"
        typer.echo(f"{release}: {counts}, {len(report.missing)} not complete")
    if report.missing:
        raise typer.Exit(_EXIT_FAILED)


def nnunet(
    release: _Release,
    out: Annotated[
        Path, typer.Option("--out", "-o", show_default=False, help="Folder to write, such as Dataset501_Atlas.")
    ],
    classes: Annotated[
        str | None,
        typer.Option(
            show_default=False, help="Structures, separated by commas, or `common`: those that all cases know."
        ),
    ] = None,
    skip_partial: _SkipPartial = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    as_json: _Json = False,
) -> None:
    """Write the complete cases of a release in nnU-Net's raw format."""
    from suprem.atlas.release.exports import release_to_nnunet
    from suprem.datasets._nnunet import COMMON

    names = classes if classes in (None, COMMON) else names_in(classes)
    report = release_to_nnunet(
        release, out, classes=names, skip_partial=skip_partial, overwrite=overwrite, progress=_show
    )
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2))
        return
    for case, why in report.skipped.items():
        typer.echo(f"left out: {case}: {why}")
    typer.echo(f"{report.folder}: {len(report.cases)} cases, {len(report.classes)} structures")


def datalist(
    release: _Release,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", show_default=False, help="File. Default: beside the folder.")
    ] = None,
    folds: Annotated[int, typer.Option(help="Parts for cross-validation, by patient.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the division.")] = 0,
    skip_partial: _SkipPartial = False,
) -> None:
    """Write the list of cases that MONAI reads, with folds by patient; its base folder is the release."""
    from suprem.atlas.release.exports import write_datalist

    path = out or release.resolve().with_name(f"{release.resolve().name}_datalist.json")
    content = write_datalist(release, path, folds=folds, seed=seed, skip_partial=skip_partial)
    typer.echo(f"{path}: {content['numTraining']} cases in {folds} folds")


def push(
    release: _Release,
    repo: Annotated[str, typer.Argument(help="owner/name on the Hub; made if it does not exist.")],
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="Of a new repository; default: as its owner has set.")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Name for this version, such as v1; tags are never moved.")] = None,
    message: Annotated[str | None, typer.Option(help="Of the commit.")] = None,
    as_json: _Json = False,
) -> None:
    """Check a release and publish it as a dataset on the Hugging Face Hub, as one commit."""
    from suprem.atlas.release.push import push_release

    pushed = push_release(release, repo, private=private, tag=tag, message=message, progress=not as_json)
    if as_json:
        typer.echo(json.dumps(asdict(pushed), indent=2))
        return
    sent = f"Uploaded {len(pushed.uploaded)} files." if pushed.uploaded else "Everything was there already."
    typer.echo(sent)
    if pushed.readme_kept:
        typer.echo("The repository has a README that somebody has written; it stays as it is.")
    typer.echo(pushed.url)
