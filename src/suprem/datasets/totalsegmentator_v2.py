"""TotalSegmentator v2: 1,228 subjects with 117 structures; the subjects of v1 labelled anew, and 24 more."""

from suprem.datasets._rules import LabelMap, rules_of
from suprem.datasets._spec import DATASETS, Counts, DatasetSpec, Fact
from suprem.datasets._totalsegmentator import IDENTITY, LOBES, variants

__all__ = ["SPEC"]

_CYSTS = {"kidney_cyst_left": "kidney_cyst", "kidney_cyst_right": "kidney_cyst"}

SPEC = DATASETS.register("totalsegmentator_v2")(
    DatasetSpec(
        slug="totalsegmentator_v2",
        title="TotalSegmentator v2",
        homepage="https://github.com/wasserth/TotalSegmentator",
        licence=(Fact("CC BY 4.0", "verified", "Zenodo record as quoted in the repository"),),
        sharing="allowed",
        access="open",
        obtain=(
            "curl -LO https://zenodo.org/records/10047292/files/Totalsegmentator_dataset_v201.zip",
            "unzip Totalsegmentator_dataset_v201.zip -d Totalsegmentator_dataset_v201",
        ),
        citation=(
            "Wasserthal et al., TotalSegmentator: Robust Segmentation of 104 Anatomic Structures in CT Images, "
            "Radiology: Artificial Intelligence 5(5), 2023, doi:10.1148/ryai.230024",
            "Data: doi:10.5281/zenodo.10047292",
        ),
        region="any body part",
        variants=variants(
            "Totalsegmentator_dataset_v201",
            "torch-em loader; SAT-DS",
            "117 masks per subject, a few of which overlap slightly. The archive has no top folder: unpack it into "
            "one.",
        ),
        label_maps=(
            LabelMap(
                "official",
                rules_of("totalsegmentator_v2", part_of={**LOBES, **_CYSTS}),
                note="Names and order differ from v1. The femurs are whole here; SuPreM's femur means its head.",
            ),
        ),
        counts=Counts(1228, 1228),
        splits={"train": 1082, "val": 57, "test": 89},
        identity=IDENTITY,
        quirks=(
            Fact(
                "The same number can have other labels than in v1: do not mix the masks.", "verified", "v2 change list"
            ),
            Fact(
                "v2.0 (Zenodo 8367088) has wrong intensities in s0184, s0224, s0830, s0864 and s0992 and bad masks in "
                "s0092, s0201, s0513 and s0605: use 2.0.1.",
                "verified",
                "repository issues",
            ),
            Fact("Faces are removed or blurred; v2 has no heart chambers.", "verified", "v2 change list"),
            Fact(
                "A version 3 is announced with other vertebrae and no val split; it is not read.",
                "verified",
                "torch-em loader",
            ),
        ),
        to_verify=(
            "Whether the colon includes the rectum.",
            "Whether the kidney masks include the cysts; they are taken as drawn.",
        ),
    )
)
