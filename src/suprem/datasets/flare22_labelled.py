"""The 50 labelled cases of FLARE 2022: MSD Pancreas images with 13 organs."""

from suprem.datasets._flare import THIRTEEN_ORGANS
from suprem.datasets._layout import Files, Variant
from suprem.datasets._rules import LabelMap
from suprem.datasets._spec import DATASETS, Counts, DatasetSpec, Fact
from suprem.datasets._templates import one_of

__all__ = ["SPEC"]

SPEC = DATASETS.register("flare22_labelled")(
    DatasetSpec(
        slug="flare22_labelled",
        title="FLARE22 labelled set (13 organs)",
        homepage="https://flare22.grand-challenge.org/",
        licence=(
            Fact("CC BY-NC-SA 4.0", "verified", "Zenodo record as quoted by a loader"),
            Fact("CC BY 4.0", "verified", "Zenodo record as quoted by another loader"),
        ),
        sharing="allowed",
        access="open",
        obtain=("curl -LO https://zenodo.org/records/7860267/files/FLARE22Train.zip", "unzip FLARE22Train.zip"),
        citation=(
            "Ma et al., Unleashing the strengths of unlabelled data in deep learning-assisted pan-cancer abdominal "
            "organ quantification: the FLARE22 challenge, Lancet Digital Health 6, 2024",
            "Data: doi:10.5281/zenodo.7860267",
        ),
        region="abdomen",
        variants=(
            Variant(
                "official",
                (
                    Files(
                        ("images/FLARE22_Tr_{n}_0000.nii.gz",),
                        {"n": one_of(range(1, 51), width=4)},
                        "FLARE22_Tr_{n}",
                        ("labels/FLARE22_Tr_{n}.nii.gz",),
                        split="train",
                    ),
                ),
                folder="FLARE22Train",
                source="nnU-Net converter; SAT-DS; VISTA",
            ),
        ),
        label_maps=(
            LabelMap(
                "official",
                THIRTEEN_ORGANS,
                note="Left kidney is 13, right kidney is 2. Not the order of the 12-organ subset of AbdomenCT-1K.",
            ),
        ),
        counts=Counts(50, 50, note="Not a row of the paper's Table 1."),
        splits={"train": 50},
        quirks=(
            Fact("All are images of MSD Pancreas.", "verified", "FLARE repository; SAT-DS"),
            Fact("All 13 values occur in each volume.", "verified", "torch-em loader"),
        ),
    )
)
