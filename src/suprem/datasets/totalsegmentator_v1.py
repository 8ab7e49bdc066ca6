"""TotalSegmentator v1: 1,204 subjects with 104 structures, resampled to 1.5 mm."""

from suprem.datasets._layout import CaseRule
from suprem.datasets._rules import LabelMap, rules_of
from suprem.datasets._spec import DATASETS, Counts, DatasetSpec, Fact
from suprem.datasets._totalsegmentator import IDENTITY, LOBES, variants

__all__ = ["SPEC"]

SPEC = DATASETS.register("totalsegmentator_v1")(
    DatasetSpec(
        slug="totalsegmentator_v1",
        title="TotalSegmentator v1",
        homepage="https://github.com/wasserth/TotalSegmentator",
        licence=(Fact("CC BY 4.0", "verified", "Zenodo record as quoted in the repository"),),
        sharing="allowed",
        access="open",
        obtain=("Download the archive of https://doi.org/10.5281/zenodo.6802614 and unpack it.",),
        citation=(
            "Wasserthal et al., TotalSegmentator: Robust Segmentation of 104 Anatomic Structures in CT Images, "
            "Radiology: Artificial Intelligence 5(5), 2023, doi:10.1148/ryai.230024",
            "Data: doi:10.5281/zenodo.6802614",
        ),
        region="any body part",
        variants=variants(
            "Totalsegmentator_dataset", "SuPreM lists; SAT-DS", "104 masks per subject; meta.csv has the splits."
        ),
        label_maps=(
            LabelMap(
                "official",
                rules_of("totalsegmentator_v1", part_of=LOBES),
                note="The femurs are whole here; SuPreM's femur means its head. An empty mask is a true absence.",
            ),
        ),
        counts=Counts(1204, 1204, note="SuPreM's lists hold 1,200: without s0650, s0864, s1024 and s1161."),
        splits={"train": 1082, "val": 57, "test": 65},
        exclusions=(CaseRule("s0864", "its CT is corrupted in the first release", "verified", "repository issue"),),
        identity=IDENTITY,
        quirks=(
            Fact(
                "Not annotated: hepatic vessels, celiac trunk, rectum, prostate and all tumours.",
                "verified",
                "class list",
            ),
            Fact(
                "96 subjects are in AbdomenAtlas 1.0: 86 of SuPreM's training list, 2 of val, 8 of test.",
                "verified",
                "RadGPT id pairs",
            ),
            Fact("Other sources count 1,202 or 1,228 subjects.", "verified", "SAT-DS; Zenodo announcement"),
        ),
        to_verify=("Whether the colon includes the rectum.",),
    )
)
