"""Writing one predicted case as a folder in the layout of AbdomenAtlas."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from suprem._files import atomic_folder, sha256_file
from suprem._workers import map_in_order
from suprem.errors import ConfigurationError
from suprem.inference._quality import QualityCheck
from suprem.inference.preview import Preview
from suprem.inference.statistics import StructureStatistics, measure, to_csv, to_json
from suprem.labels import LabelSpace
from suprem.volumes.io import write_volume

if TYPE_CHECKING:
    from suprem.inference.segmentation import Segmentation

__all__ = ["REPORT", "CasePage", "write_case"]

_log = logging.getLogger(__name__)

REPORT = "report.html"
_MANIFEST = "manifest.json"
_OWN_KEYS = ("label_space", "outputs")


class CasePage(Protocol):
    """A page about one case; :class:`suprem.report.PredictionReport` is one."""

    def add(self, name: str, mask: npt.NDArray[np.bool_]) -> None:
        """Takes one mask, bool (X, Y, Z) on the scan's grid, which it must not keep."""

    def write(self, path: Path, case: str, rows: Sequence[StructureStatistics], manifest: Mapping[str, Any]) -> None:
        """Writes the page once all masks have been taken."""


def write_case(
    segmentation: "Segmentation",
    folder: Path,
    *,
    label_space: LabelSpace,
    manifest: Mapping[str, Any],
    overwrite: bool = False,
    extra: Callable[[Path], None] | None = None,
    report: CasePage | None = None,
    threads: int = 1,
) -> tuple[StructureStatistics, ...]:
    """Writes the results of one scan: all of them, or nothing.

    The folder holds ``segmentations/<name>.nii.gz`` (uint8, 0 and 1) for every predicted structure, empty ones too,
    ``combined_labels.nii.gz`` in the numbering of ``label_space`` (named in its header), ``statistics.csv`` and
    ``statistics.json`` (both with quality flags), ``preview.png`` and ``manifest.json``. All images lie on the grid of
    the scanner. No more masks than ``threads`` are in memory at a time.

    Args:
        segmentation: What was predicted.
        folder: The folder to make; its name is the case's.
        label_space: Numbering of the combined label map, and spelling of the file names.
        manifest: What the caller knows (versions, model, device, input, ...), plain JSON values; the numbering and the
            written files with their SHA-256 are added as ``label_space`` and ``outputs``.
        overwrite: Replace an existing folder, once the new one is complete.
        extra: Called with the folder under construction, to add files of other formats.
        report: Is given every mask, and writes ``report.html``.
        threads: Masks that are made, measured and compressed side by side; files do not depend on it.

    Returns:
        The measurements, in the order of the predicted classes.

    Raises:
        ConfigurationError: two structures share a file name, or ``manifest`` is not JSON.
        OutputError: the folder exists already, the disk is full, or the place cannot be written.
    """
    folder = Path(folder)
    names, content = _file_names(segmentation.classes, label_space), _plain(manifest)
    with atomic_folder(folder, overwrite=overwrite) as target:
        preview = Preview(segmentation.scan, _write_combined(segmentation, target, label_space))
        check, rows = QualityCheck(segmentation), []
        write_one = partial(_write_mask, segmentation, target / "segmentations", names, label_space, check)
        with closing(map_in_order(write_one, names, threads)) as masks:
            for row, mask in masks:
                rows.append(row)
                preview.add(row.structure, mask)
                if report is not None:
                    report.add(row.structure, mask)
                del mask
        rows = check.judged(rows)
        _write_statistics(target, rows, label_space)
        preview.save(target / "preview.png", folder.name, _subtitle(content, label_space), rows)
        if extra is not None:
            extra(target)
        if report is not None:
            report.write(target / REPORT, folder.name, rows, content)
        _write_manifest(target, content, _numbering(label_space, segmentation.left_out(label_space)))
    _log.info("%s: %d of %d structures found", folder, sum(not row.empty for row in rows), len(rows))
    return tuple(rows)


def _file_names(classes: tuple[str, ...], label_space: LabelSpace) -> dict[str, str]:
    """Canonical name -> file name without ending; also unique where upper and lower case are the same."""
    names = {name: label_space.file_name(name) for name in classes}
    owners: dict[str, str] = {}
    for name, file_name in names.items():
        other = owners.setdefault(file_name.lower(), name)
        if other != name or not file_name:
            raise ConfigurationError(
                f"The classes {other!r} and {name!r} cannot both be written as {file_name!r}; rename one of them."
            )
    return names


def _plain(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the manifest through JSON, so that a value that cannot be written is refused before the long work."""
    clash = sorted(set(manifest) & set(_OWN_KEYS))
    if clash:
        raise ConfigurationError(
            f"The manifest already has {', '.join(clash)}; these keys are written here. Rename them."
        )
    try:
        content: dict[str, Any] = json.loads(json.dumps(dict(manifest), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"The manifest is not plain JSON: {error}; convert its values first.") from error
    return content


def _write_statistics(target: Path, rows: Sequence[StructureStatistics], label_space: LabelSpace) -> None:
    (target / "statistics.csv").write_text(to_csv(rows), encoding="utf-8")
    (target / "statistics.json").write_text(to_json(rows, label_space.name), encoding="utf-8")


def _write_manifest(target: Path, content: Mapping[str, Any], numbering: dict[str, Any]) -> None:
    """Writes it last, so that it lists every other file."""
    text = _to_json({**content, "label_space": numbering, "outputs": _written(target)})
    (target / _MANIFEST).write_text(text, encoding="utf-8")


def _to_json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _write_combined(segmentation: "Segmentation", target: Path, label_space: LabelSpace) -> tuple[int, int, int]:
    """Writes the combined label map; returns the voxel index at the centre of what it holds."""
    combined = segmentation.combined(label_space)
    volume = replace(segmentation.scan, array=combined)
    write_volume(volume, target / "combined_labels.nii.gz", description=f"label_space={label_space.name}")
    return _centre(combined)


def _write_mask(
    segmentation: "Segmentation",
    folder: Path,
    file_names: Mapping[str, str],
    label_space: LabelSpace,
    check: QualityCheck,
    name: str,
) -> tuple[StructureStatistics, npt.NDArray[np.bool_]]:
    """Makes, writes and measures the mask of one structure; threads do it with several at a time."""
    scan, mask = segmentation.scan, segmentation.mask(name)
    # Seen as bytes, not converted: a second copy of a whole volume would be made.
    volume = replace(scan, array=mask.view(np.uint8))
    write_volume(volume, folder / f"{file_names[name]}.nii.gz", description=f"suprem mask of {name}")
    number = label_space.number(name) if name in label_space.names else None
    return check.looked_at(measure(name, mask, scan, number)), mask


def _centre(labels: npt.NDArray[np.generic]) -> tuple[int, int, int]:
    """The voxel at the centre of mass of everything labelled; the middle of the grid when nothing is."""
    axis = int(np.argmax(np.abs(labels.strides)))
    profiles = [np.zeros(n) for n in labels.shape]
    others = [a for a in range(3) if a != axis]
    for index, plane in enumerate(np.moveaxis(labels, axis, 0)):
        found = plane != 0
        profiles[others[0]] += found.sum(axis=1)
        profiles[others[1]] += found.sum(axis=0)
        profiles[axis][index] = found.sum()
    total = profiles[0].sum()
    if not total:
        return labels.shape[0] // 2, labels.shape[1] // 2, labels.shape[2] // 2
    x, y, z = (round(float(profile @ np.arange(len(profile))) / float(total)) for profile in profiles)
    return x, y, z


def _numbering(label_space: LabelSpace, left_out: tuple[str, ...]) -> dict[str, Any]:
    # A list keeps the order of the numbers; sorted as text, 10 would come before 2.
    return {
        "name": label_space.name,
        "title": label_space.title,
        "source": label_space.source,
        "numbers": [{"number": number, "name": name} for number, name in label_space.numbers.items()],
        "on_overlap": "the higher number wins",
        "left_out": list(left_out),
    }


def _written(target: Path) -> list[dict[str, Any]]:
    """Path, size and hash of every file, sorted by path; called before the manifest itself is written."""
    files = sorted(path for path in target.rglob("*") if path.is_file())
    return [
        {"path": path.relative_to(target).as_posix(), "bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for path in files
    ]


def _subtitle(content: Mapping[str, Any], label_space: LabelSpace) -> str:
    model = content.get("model")
    name = model.get("name") if isinstance(model, dict) else model
    parts = [f"model {name}"] if name else []
    return "   ".join([*parts, f"combined labels numbered as {label_space.name}"])
