"""AbdomenAtlas 1.1 (Mini): 9,262 scans with 25 structures each; 4,067 of the CTs have to come from RSNA."""

from suprem.datasets._atlas import IDENTITY, label_maps, variants
from suprem.datasets._spec import DATASETS, Counts, DatasetSpec, Fact

__all__ = ["SPEC"]

SPEC = DATASETS.register("abdomenatlas_1_1")(
    DatasetSpec(
        slug="abdomenatlas_1_1",
        title="AbdomenAtlas 1.1 (Mini)",
        homepage="https://huggingface.co/datasets/AbdomenAtlas/_AbdomenAtlas1.1Mini",
        licence=(Fact("CC BY-NC-SA 4.0", "verified", "dataset page"),),
        sharing="unsure",  # a mixture: some of its sources forbid changed copies
        access="Hugging Face account, accepted terms and token",
        obtain=(
            "hf auth login",
            "hf download AbdomenAtlas/_AbdomenAtlas1.1Mini --repo-type dataset --local-dir AbdomenAtlas1.1Mini",
            "Unpack all tar.gz archives (about 300 GB) inside that folder. The CTs of BDMAP_00005196 to 00009262 are "
            "series of rsna_abdominal_trauma; the dataset page explains how to fetch them.",
        ),
        citation=("Li et al., How Well Do Supervised Models Transfer to 3D Image Segmentation?, ICLR 2024",),
        region="abdomen, some chest and pelvis",
        variants=variants("AbdomenAtlas1.1Mini", "Hugging Face page; torch-em, Touchstone and SuPreM code"),
        label_maps=label_maps(
            "abdomenatlas_1_1", "The tumour masks of the paper are not published with 1.1 (some came with 3.0)."
        ),
        counts=Counts(9262, 9262, 9262, note="5,195 with ct.nii.gz, 4,067 with masks alone."),
        identity=IDENTITY,
        quirks=(
            Fact(
                "Numbered differently from the universal 32: the aorta is 1 here and 8 there.", "verified", "class maps"
            ),
            Fact("combined_labels.nii.gz may be missing for a case.", "verified", "torch-em loader"),
            Fact(
                "Most archives unpack to BDMAP folders, the last two to a folder of their own name.",
                "verified",
                "torch-em loader",
            ),
            Fact(
                "AbdomenAtlas3.0Mini has ct.nii.gz for all 9,262 ids and 44 structures; masks beyond the 25 are not "
                "read.",
                "verified",
                "torch-em AbdomenAtlas 3 loader",
            ),
        ),
        to_verify=(
            "Whether masks of one case overlap, and whether their affines agree with the CT's.",
            "A table of BDMAP id to RSNA series.",
        ),
        hub="AbdomenAtlas/_AbdomenAtlas1.1Mini",
    )
)
