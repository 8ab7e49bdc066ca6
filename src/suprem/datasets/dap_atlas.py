"""DAP Atlas: 533 whole-body CTs of autoPET with 142 structures."""

from suprem.datasets._layout import Files, Variant
from suprem.datasets._rules import LabelMap, ambiguous, drop, rules_of
from suprem.datasets._spec import DATASETS, Counts, DatasetSpec, Fact
from suprem.datasets._templates import Field
from suprem.datasets._totalsegmentator import LOBES

__all__ = ["SPEC"]

_THYROID = {"thyroid_left": "thyroid_gland", "thyroid_right": "thyroid_gland"}

SPEC = DATASETS.register("dap_atlas")(
    DatasetSpec(
        slug="dap_atlas",
        title="DAP Atlas",
        homepage="https://github.com/alexanderjaus/AtlasDataset",
        licence=(
            Fact("Apache-2.0 for the repository", "verified", "repository"),
            Fact("the terms of the TCIA collection FDG-PET-CT-Lesions for the images", "memory"),
        ),
        access="masks open, images by the terms of TCIA",
        obtain=(
            "Masks: the repository links them (Google Drive, or Synapse syn52287632).",
            "Images: the NIfTI release of autoPET, TCIA collection FDG-PET-CT-Lesions; CT.nii.gz, not CTres.nii.gz.",
            "Put Atlas_final_dataset_V1_533 and FDG-PET-CT-Lesions into one folder.",
        ),
        citation=(
            "Jaus et al., Towards Unifying Anatomy Segmentation: Automated Generation of a Full-body CT Dataset via "
            "Knowledge Aggregation and Anatomical Guidelines, 2023, arXiv:2307.13375",
            "Images: Gatidis et al., A whole-body FDG-PET/CT Dataset with manually annotated Tumor Lesions, Scientific "
            "Data 9:601, 2022, doi:10.1038/s41597-022-01718-3",
        ),
        region="whole body",
        variants=(
            Variant(
                "official",
                (
                    Files(
                        ("FDG-PET-CT-Lesions/PETCT_{hex}/*-{tail}/CT.nii.gz",),
                        {"hex": Field("[0-9a-f]{10}", "0011f3deaf"), "tail": Field(r"\d{5}", "10445")},
                        "AutoPET_{hex}_{tail}",
                        ("Atlas_final_dataset_V1_533/AutoPET_{hex}_{tail}.nii.gz",),
                        subject="PETCT_{hex}",
                        partly_labelled=True,
                    ),
                ),
                source="repository readme; SAT-DS",
                note="A mask belongs to the study whose folder ends in the last five digits of its UID.",
            ),
        ),
        label_maps=(
            LabelMap(
                "official",
                {
                    **rules_of("dap_atlas", part_of={**LOBES, **_THYROID}),
                    1: ambiguous("left to annotate", note="unknown tissue: never background"),
                    11: drop("rectum", note="listed, but not in the data"),
                },
                ignore=frozenset({1}),
                note="142 structures: 2 to 144 without 11. The femurs are whole here; SuPreM's femur means its head.",
            ),
        ),
        counts=Counts(533, 533),
        quirks=(
            Fact(
                "One public reader shifts all numbers by one; the repository's numbers are used here.",
                "verified",
                "SAT-DS against the repository's csv and torch-em",
            ),
            Fact("Masks are made automatically and corrected by anatomical rules.", "verified", "torch-em loader note"),
            Fact("Prostate is absent in women, uterus in men.", "inferred", "class list"),
            Fact("autoPET is a source of FLARE'23, so overlap is possible.", "inferred", "FLARE23 source list"),
        ),
        to_verify=("That value 13 is the liver: its size and HU.",),
    )
)
