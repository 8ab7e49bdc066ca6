"""AbdomenAtlas 1.0 (Mini): 5,195 scans of other datasets with nine structures each."""

from suprem.datasets._atlas import IDENTITY, label_maps, variants
from suprem.datasets._spec import DATASETS, Counts, DatasetSpec, Fact

__all__ = ["SPEC"]

SPEC = DATASETS.register("abdomenatlas_1_0")(
    DatasetSpec(
        slug="abdomenatlas_1_0",
        title="AbdomenAtlas 1.0 (Mini)",
        homepage="https://huggingface.co/datasets/AbdomenAtlas/AbdomenAtlas1.0Mini",
        licence=(
            Fact("CC BY-NC-SA 4.0 for the data", "verified", "dataset page"),
            Fact("CC BY-NC-ND 4.0 for the code", "verified", "repository"),
        ),
        sharing="unsure",  # a mixture: some of its sources forbid changed copies
        access="accepted terms",
        obtain=(
            "hf download AbdomenAtlas/AbdomenAtlas1.0Mini --repo-type dataset --local-dir AbdomenAtlas1.0Mini",
            "Unpack all tar.gz archives inside that folder.",
        ),
        citation=(
            "Qu et al., AbdomenAtlas-8K: Annotating 8,000 CT Volumes for Multi-Organ Segmentation in Three Weeks, "
            "NeurIPS Datasets and Benchmarks, 2023",
            "Li et al., How Well Do Supervised Models Transfer to 3D Image Segmentation?, ICLR 2024",
        ),
        region="abdomen",
        variants=variants("AbdomenAtlas1.0Mini", "Hugging Face page; RadGPT and Touchstone code"),
        label_maps=label_maps(
            "abdomenatlas_1_0", "All nine structures are annotated in every volume, semi-automatically."
        ),
        counts=Counts(5195, 5195, 5195),
        identity=IDENTITY,
        quirks=(
            Fact("Axis order differs between files: re-orient by the header.", "verified", "public downloader reports"),
            Fact(
                "5,195 is the plain sum of its sources, duplicates included: at most 3,138 distinct scans.",
                "inferred",
                "published contribution table",
            ),
            Fact(
                "The CTs were cropped without moving the affine: world coordinates differ from the originals'.",
                "verified",
                "code of the authors",
            ),
            Fact("Which source a BDMAP id comes from is not public.", "verified", "RadGPT notes"),
            Fact(
                "At least 96 scans are TotalSegmentator's, 86 of them in SuPreM's fine-tuning training list.",
                "verified",
                "RadGPT id pairs",
            ),
        ),
        to_verify=("Whether masks of one case overlap, and whether their affines agree with the CT's.",),
        hub="AbdomenAtlas/AbdomenAtlas1.0Mini",
    )
)
