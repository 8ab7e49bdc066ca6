"""What AbdomenAtlas 1.0 and 1.1 share: one folder per case with the CT, its masks and a combined label map."""

from suprem.datasets._layout import Files, IdentityRule, Variant
from suprem.datasets._rules import LabelMap, rules_of
from suprem.datasets._templates import Field

__all__ = ["IDENTITY", "label_maps", "variants"]

_CASE = {"case": Field(r"BDMAP_\d{8}", "BDMAP_00000001")}

IDENTITY = (
    IdentityRule(
        r"BDMAP_(?P<n>\d{8})", "abdomenatlas/{n}", "AbdomenAtlas 1.0 and 1.1 share the numbers 1 to 5195", "verified"
    ),
)


def _anywhere(path: str) -> tuple[str, ...]:
    # Not all archives unpack to the same depth: some put the cases into a folder of the archive's name.
    return (path, f"*/{path}")


def _files(label: str) -> tuple[Files, ...]:
    return (Files(_anywhere("{case}/ct.nii.gz"), _CASE, "{case}", _anywhere(label), label_map="combined_labels"),)


def variants(folder: str, source: str) -> tuple[Variant, ...]:
    """One mask per structure, which may overlap, or else the combined map, in which the higher number wins."""
    return (
        Variant(
            "official",
            _files("{case}/segmentations/{structure}.nii.gz"),
            folder=folder,
            label_format="masks",
            source=source,
        ),
        Variant(
            "combined_labels",
            _files("{case}/combined_labels.nii.gz"),
            folder=folder,
            source=source,
            note="Where structures overlap, only the one with the higher number is left.",
        ),
    )


def label_maps(space: str, note: str) -> tuple[LabelMap, ...]:
    """The numbering of ``combined_labels.nii.gz``; the masks carry its names."""
    return (LabelMap("combined_labels", rules_of(space), note=note),)
