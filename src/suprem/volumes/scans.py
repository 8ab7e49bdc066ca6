"""Which scans a user means by the files and folders on a command line."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from suprem.errors import ConfigurationError
from suprem.volumes.dicom import is_dicom_folder
from suprem.volumes.io import IMAGE_SUFFIXES, image_suffix

__all__ = ["ScanInput", "find_scans"]

_CASE_FILE = "ct"  # AbdomenAtlas and TotalSegmentator: <case>/ct.nii.gz


@dataclass(frozen=True)
class ScanInput:
    """One scan to be read.

    Attributes:
        case_id: the name of its output folder, unique among the scans of a run.
        path: an image file, or a folder that holds a DICOM series.
        kind: ``"file"`` or ``"dicom"``.
    """

    case_id: str
    path: Path
    kind: Literal["file", "dicom"]


def find_scans(inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[ScanInput]:
    """Expands files, DICOM folders, folders of scans, and trees ``<root>/<case>/ct.nii.gz``.

    A folder is, in this order: one case if it holds ``ct.nii.gz`` (or another image called ``ct``); one DICOM scan if
    it holds DICOM files; else every image in it is a case. Sub-folders are searched for the first two, so that masks
    lying in sub-folders are never taken for scans. Hidden files and folders are skipped.

    Args:
        inputs: One path or several.

    Returns:
        In the order of the inputs, within a folder by name.

    Raises:
        ConfigurationError: a path does not exist, holds nothing that can be read, or two scans share a name.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for case in ("case_1", "case_2"):
        ...         (Path(root) / case).mkdir()
        ...         _ = (Path(root) / case / "ct.nii.gz").write_bytes(b"")
        ...     [scan.case_id for scan in find_scans(root)]
        ['case_1', 'case_2']
    """
    paths = [Path(inputs)] if isinstance(inputs, str | os.PathLike) else [Path(p) for p in inputs]
    if not paths:
        raise ConfigurationError("No input is given; name scans, DICOM folders, or folders that hold them.")
    scans: dict[str, ScanInput] = {}
    for path in paths:
        for scan in _expand(path):
            twin = scans.setdefault(scan.case_id, scan)
            if twin.path.resolve() != scan.path.resolve():
                raise ConfigurationError(
                    f"{twin.path} and {scan.path} would both be called {scan.case_id!r}; rename one, or give each its "
                    "own run and output folder."
                )
    return list(scans.values())


def _expand(path: Path) -> list[ScanInput]:
    if not path.exists():
        raise ConfigurationError(f"{path} does not exist; check the path.")
    if path.is_file():
        if image_suffix(path) is None:
            hint = "; give the folder of its DICOM series" if path.suffix.lower() in (".dcm", ".ima") else ""
            raise ConfigurationError(f"{path} is not an image that is read ({', '.join(IMAGE_SUFFIXES)}){hint}.")
        return [_from_file(path)]
    found = list(_in_folder(path, path, set()))
    if not found:
        raise ConfigurationError(
            f"{path} holds no scan: no {', '.join(IMAGE_SUFFIXES)} file, no DICOM series, no <case>/ct.nii.gz; "
            "check the path."
        )
    return found


def _stem(path: Path) -> str:
    suffix = image_suffix(path) or ""
    return path.name[: len(path.name) - len(suffix)]


def _from_file(path: Path) -> ScanInput:
    stem = _stem(path)
    folder = path.resolve().parent.name
    return ScanInput(folder if stem.lower() == _CASE_FILE and folder else stem, path, "file")


def _in_folder(folder: Path, root: Path, seen: set[Path]) -> Iterator[ScanInput]:
    seen.add(folder.resolve())  # linked folders are followed, circles are not
    children = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    images = [p for p in children if p.is_file() and image_suffix(p)]
    name = "_".join(folder.relative_to(root).parts) or folder.resolve().name
    case = [p for p in images if _stem(p).lower() == _CASE_FILE]
    if case:
        yield ScanInput(name, case[0], "file")
    elif is_dicom_folder(folder):
        yield ScanInput(name, folder, "dicom")
    else:
        if folder == root:
            yield from (_from_file(p) for p in images)
        for child in children:
            if child.is_dir() and child.resolve() not in seen:
                yield from _in_folder(child, root, seen)
