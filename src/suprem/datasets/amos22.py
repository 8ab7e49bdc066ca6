"""AMOS22, CT part: 500 scans, 300 of them with 15 organs in public."""

from suprem.datasets._layout import CaseRule, Files, Variant
from suprem.datasets._rules import LabelMap, ambiguous, copy
from suprem.datasets._spec import DATASETS, Counts, DatasetSpec, Fact
from suprem.datasets._templates import digits

__all__ = ["SPEC"]

_TRAIN, _VAL, _TEST = ({"n": digits(example)} for example in ("0001", "0008", "0002"))

SPEC = DATASETS.register("amos22")(
    DatasetSpec(
        slug="amos22",
        title="AMOS22 (CT part)",
        homepage="https://amos22.grand-challenge.org/",
        licence=(
            Fact("CC BY 4.0", "verified", "Zenodo re-hosts; AbdomenAtlas FAQ"),
            Fact("CC BY-NC-SA", "verified", "AbdomenAtlas-8K licence table; OpenReview page"),
            Fact("CC BY-SA 4.0", "verified", "the dataset.json inside the release"),
        ),
        sharing="allowed",
        access="open",
        obtain=("curl -LO https://zenodo.org/records/7155725/files/amos22.zip", "unzip amos22.zip"),
        citation=(
            "Ji et al., AMOS: A Large-Scale Abdominal Multi-Organ Benchmark for Versatile Medical Image Segmentation, "
            "NeurIPS Datasets and Benchmarks, 2022",
            "Data: doi:10.5281/zenodo.7262581",
        ),
        region="abdomen and pelvis",
        variants=(
            Variant(
                "official",
                (
                    Files(
                        ("imagesTr/amos_{n}.nii.gz",), _TRAIN, "amos_{n}", ("labelsTr/amos_{n}.nii.gz",), split="train"
                    ),
                    Files(
                        ("imagesVa/amos_{n}.nii.gz", "imagesVal/amos_{n}.nii.gz"),
                        _VAL,
                        "amos_{n}",
                        ("labelsVa/amos_{n}.nii.gz", "labelsVal/amos_{n}.nii.gz"),
                        split="val",
                        partly_labelled=True,
                    ),
                    Files(("imagesTs/amos_{n}.nii.gz",), _TEST, "amos_{n}", split="test"),
                ),
                folder="amos22",
                source="AMOS readme; nnU-Net Dataset218 and 223; SAT-DS; torch-em",
                note="labelsVa is not in the earliest download; one copy calls the folder imagesVal.",
            ),
            Variant(
                "upstream_repacked",
                (Files(("img/amos_{n}.nii.gz",), _TRAIN, "amos_{n}", ("label/amos_{n}.nii.gz",), split="train"),),
                folder="09_AMOS",
                source="case lists of the Universal Model and AbdomenAtlas",
            ),
        ),
        label_maps=(
            LabelMap(
                "official",
                {
                    1: copy("spleen"),
                    2: copy("right kidney", "kidney_right"),
                    3: copy("left kidney", "kidney_left"),
                    4: copy("gall bladder", "gall_bladder"),
                    5: copy("esophagus"),
                    6: copy("liver"),
                    7: copy("stomach"),
                    8: copy("arota", "aorta", note="spelt so in dataset.json"),
                    9: copy("postcava"),
                    10: copy("pancreas"),
                    11: copy("right adrenal gland", "adrenal_gland_right"),
                    12: copy("left adrenal gland", "adrenal_gland_left"),
                    13: copy("duodenum"),
                    14: copy("bladder"),
                    15: ambiguous(
                        "prostate/uterus",
                        ("prostate", "uterus"),
                        part_of="prostate_or_uterus",
                        note="one value for two organs; upstream takes it for the prostate of every patient",
                    ),
                },
                note="The portal vein is not annotated, so numbers from 10 on are one lower than in BTCV.",
            ),
        ),
        counts=Counts(
            500, 300, 200, note="The paper's 200 are the CTs of imagesTr. 100 MR volumes lie in the same folders."
        ),
        splits={"train": 200, "val": 100, "test": 200},
        exclusions=(
            CaseRule(
                r"amos_(050[1-9]|05[1-9]\d|0[6-9]\d\d|[1-9]\d{3})",
                "an MR volume: numbers above 500 have no Hounsfield scale",
                "verified",
                "AMOS readme; nnU-Net Dataset218; VISTA and STU-Net lists",
            ),
        ),
        quirks=(
            Fact(
                "Of the 200 training CTs 195 have a bladder, 192 a prostate or uterus, 189 a gallbladder; elsewhere it "
                "was removed or is out of view.",
                "verified",
                "Awesome-Medical-Dataset",
            ),
            Fact(
                'The labels of dataset.json are in the order of text ("1", "10", "11", ...): never rely on it.',
                "verified",
                "dataset.json as re-published",
            ),
        ),
        to_verify=("That all files numbered up to 500 are CT.",),
    )
)
