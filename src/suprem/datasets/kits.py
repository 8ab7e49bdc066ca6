"""KiTS (2019, 2021, 2023): kidneys, kidney tumours and, from 2021 on, cysts; one list of patients in three releases."""

from suprem.datasets._layout import Files, IdentityRule, Variant
from suprem.datasets._rules import LabelMap, copy, split
from suprem.datasets._spec import DATASETS, Counts, DatasetSpec, Fact
from suprem.datasets._templates import one_of

__all__ = ["SPEC"]

_SIDES = ("kidney_right", "kidney_left")
_KITS21 = {
    1: split("kidney", "kidney"),
    2: copy("tumor", "kidney_tumor", part_of=_SIDES),
    3: copy("cyst", "kidney_cyst", part_of=_SIDES),
}
_NOTE = "The kidneys are values 1, 2 and 3 together, then split into left and right."


SPEC = DATASETS.register("kits")(
    DatasetSpec(
        slug="kits",
        title="KiTS (2019, 2021, 2023)",
        homepage="https://kits-challenge.org/kits23/",
        licence=(
            Fact("CC BY-NC-SA 4.0", "verified", "repositories kits19, kits21 and kits23"),
            Fact("CC BY 3.0 for the TCIA copy of 2019", "memory"),
        ),
        sharing="allowed",
        access="open",
        obtain=(
            "git clone https://github.com/neheller/kits23",
            "Run the repository's download script; it puts imaging.nii.gz into each folder of dataset/.",
        ),
        citation=(
            "Heller et al., The state of the art in kidney and kidney tumor segmentation in contrast-enhanced CT "
            "imaging: Results of the KiTS19 challenge, Medical Image Analysis 67, 2021, "
            "doi:10.1016/j.media.2020.101821",
            "Heller et al., The KiTS21 Challenge, 2023, arXiv:2307.01984",
        ),
        region="abdomen",
        variants=(
            Variant(
                "kits19",
                (
                    Files(
                        ("data/case_{n}/imaging.nii.gz",),
                        {"n": one_of(range(210), width=5)},
                        "case_{n}",
                        ("data/case_{n}/segmentation.nii.gz",),
                        label_map="kits19",
                        split="train",
                    ),
                    Files(
                        ("data/case_{n}/imaging.nii.gz",),
                        {"n": one_of(range(210, 300), width=5)},
                        "case_{n}",
                        split="test",
                    ),
                ),
                folder="kits19",
                source="kits19 repository",
            ),
            Variant(
                "kits21",
                (
                    Files(
                        ("data/case_{n}/imaging.nii.gz",),
                        {"n": one_of(range(300), width=5)},
                        "case_{n}",
                        ("data/case_{n}/aggregated_MAJ_seg.nii.gz",),
                        label_map="kits21",
                        split="train",
                    ),
                ),
                folder="kits21/kits21",
                source="nnU-Net and MultiTalent converters",
                note="The majority vote of the annotators; aggregated_AND_seg and aggregated_OR_seg lie beside it.",
            ),
            Variant(
                "kits23",
                (
                    Files(
                        ("dataset/case_{n}/imaging.nii.gz", "images/case_{n}.nii.gz"),
                        {"n": one_of(range(300), range(400, 589), width=5)},
                        "case_{n}",
                        ("dataset/case_{n}/segmentation.nii.gz",),
                        label_map="kits23",
                        split="train",
                    ),
                ),
                folder="kits23",
                source="kits23 repository",
                note="Images come from the Hub dataset neheller/KiTS-Challenge-Imaging, as images/case_<n>.nii.gz.",
            ),
            Variant(
                "upstream_repacked",
                (
                    Files(
                        ("img/img{n}.nii.gz",),
                        {"n": one_of(range(300), width=4)},
                        "case_0{n}",
                        ("label/label{n}.nii.gz",),
                        label_map="kits21",
                        split="train",
                    ),
                ),
                folder="05_KiTS",
                confidence="verified for the files; that they are of KiTS21 follows from upstream's values 1 to 3",
                source="case lists of the Universal Model and AbdomenAtlas",
            ),
        ),
        label_maps=(
            LabelMap(
                "kits19",
                {
                    1: split("kidney", "kidney", note="cysts included"),
                    2: copy("tumor", "kidney_tumor", part_of=_SIDES),
                },
                note="Cysts were not told apart: kidney_cyst is unknown, not absent.",
            ),
            LabelMap("kits21", _KITS21, note=f"{_NOTE} A cyst is in 148 of 300."),
            LabelMap("kits23", _KITS21, note=f"{_NOTE} A cyst is in 248 of 489."),
        ),
        counts=Counts(489, 489, 489, note="KiTS23; KiTS21 has 300, KiTS19 210 labelled and 90 without."),
        splits={"train": 489},
        identity=(
            IdentityRule(
                r"case_(?P<n>\d+)",
                "kits/{n}",
                "the same number in KiTS19, KiTS21 and KiTS23; images of corrected cases differ between them",
                "verified",
                "release notes",
            ),
        ),
        quirks=(
            Fact("Axis 0 of the arrays runs through the slices, towards the feet.", "verified", "kits19 README"),
            Fact("At least one scan is 796 pixels wide.", "verified", "Awesome-Medical-Dataset"),
            Fact(
                "KiTS19 replaced cases 15, 60, 102 and 174, cropped 22, 61 and 117, and corrected labels of 15, 23, 37 "
                "and 125 in 2019: note the commit of the download.",
                "verified",
                "kits19 changelog",
            ),
            Fact(
                "Official scores: kidney and masses = 1, 2, 3; masses = 2, 3; tumour = 2.", "verified", "KiTS23 README"
            ),
            Fact("Painted kidney first, then cyst, then tumour.", "verified", "kits23 label configuration"),
            Fact("The paper's training lists use only the 300 of KiTS21.", "verified", "Universal Model lists"),
        ),
    )
)
