"""Data of one's own: images with label maps or masks, described by a small YAML, or in nnU-Net's raw format."""

from suprem.datasets._layout import Files, Variant
from suprem.datasets._own import EXAMPLE, describe
from suprem.datasets._rules import LabelMap, copy
from suprem.datasets._spec import DATASETS, Counts, DatasetSpec, Fact
from suprem.datasets._templates import Field

__all__ = ["SPEC"]

SPEC = DATASETS.register("folder")(
    DatasetSpec(
        slug="folder",
        title="a folder of one's own",
        homepage="",
        licence=(Fact("that of the data", "unknown"),),
        access="none",
        obtain=(
            f"Write dataset.yaml into the folder, for example:\n{EXAMPLE}",
            "For one mask per structure write label: masks/{case}/{structure}.nii.gz, and under labels the names of "
            "the files instead of numbers.",
            "A folder in nnU-Net's raw format is read by its dataset.json as it is.",
        ),
        citation=(),
        region="any body part",
        variants=(
            Variant(
                "own",
                (
                    Files(
                        ("images/{case}.nii.gz",),
                        {"case": Field(r"[^/]+?", "patient_1")},
                        "{case}",
                        ("labels/{case}.nii.gz",),
                        label_map="own",
                    ),
                ),
                confidence="stated by the user",
                note="As in the example; dataset.yaml decides.",
            ),
        ),
        label_maps=(LabelMap("own", {1: copy("liver")}, note="As in the example; dataset.yaml decides."),),
        counts=Counts(None, None, confidence="unknown"),
        describe=describe,
    )
)
