"""What TotalSegmentator v1 and v2 share: one folder per subject, one mask per structure, splits in meta.csv."""

from dataclasses import replace
from pathlib import Path

from suprem._files import read_csv
from suprem.datasets._layout import CaseFiles, Files, IdentityRule, Variant
from suprem.datasets._templates import digits
from suprem.errors import ConfigurationError

__all__ = ["IDENTITY", "LOBES", "variants"]

LOBES = {
    "lung_upper_lobe_left": "lung_left",
    "lung_lower_lobe_left": "lung_left",
    "lung_upper_lobe_right": "lung_right",
    "lung_middle_lobe_right": "lung_right",
    "lung_lower_lobe_right": "lung_right",
}
"""The lungs are not annotated as such: they are the unions of their lobes."""

IDENTITY = (IdentityRule(r"s(?P<n>\d{4})", "totalsegmentator/{n}", "the same number in v1 and v2", "verified"),)


def _read_splits(table: Path) -> dict[str, str]:
    """The split of each subject: the table is separated by semicolons and may start with a byte-order mark."""
    columns, rows = read_csv(table, advice="Download it again.", delimiter=";")
    missing = {"image_id", "split"} - set(columns)
    if missing:
        raise ConfigurationError(
            f"{table} has the columns {', '.join(columns) or 'none'}; it lacks {', '.join(sorted(missing))}. "
            "Download it again."
        )
    return {row["image_id"]: row["split"] for row in rows if row["split"]}


def _with_splits(cases: list[CaseFiles]) -> list[CaseFiles]:
    """The official split of each case, from the table beside the subjects where it is there."""
    tables: dict[Path, dict[str, str]] = {}
    for folder in {files.image.parent.parent for files in cases}:
        table = folder / "meta.csv"
        if table.is_file():
            tables[folder] = _read_splits(table)
    return [replace(files, split=tables.get(files.image.parent.parent, {}).get(files.case)) for files in cases]


def variants(folder: str, source: str, note: str) -> tuple[Variant, ...]:
    """The one layout of both releases."""
    files = Files(("s{n}/ct.nii.gz",), {"n": digits("0011")}, "s{n}", ("s{n}/segmentations/{structure}.nii.gz",))
    return (
        Variant(
            "official", (files,), folder=folder, label_format="masks", refine=_with_splits, source=source, note=note
        ),
    )
