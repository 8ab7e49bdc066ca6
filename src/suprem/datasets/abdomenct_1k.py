"""AbdomenCT-1K: liver, kidneys, spleen and pancreas on 1,000 scans of other datasets, and a subset with 12 organs."""

from suprem.datasets._layout import CaseRule, Files, IdentityRule, Variant
from suprem.datasets._rules import LabelMap, copy, split
from suprem.datasets._spec import DATASETS, Counts, DatasetSpec, Fact
from suprem.datasets._templates import digits, one_of

__all__ = ["SPEC"]

# fmt: off
_WITHHELD = (
    10, 13, 16, 27, 28, 32, 33, 38, 43, 58, 218, 224, 228, 236, 241, 246, 274, 404, 408, 415, 416, 422, 424, 429, 439,
    444, 447, 456, 528, 534, 552, 553, 565, 588, 669, 676, 688, 691, 694, 698, 701, 703, 705, 707, 711, 725, 730, 731,
    733, 737, 745, 748, 750, 754, 755, 758, 760, 763, 781, 782, 925, 955,
)
_SKEWED = (
    11, 21, 49, 51, 57, 205, 213, 217, 219, 221, 232, 238, 240, 244, 249, 251, 401, 403, 405, 423, 432, 433, 438, 448,
    549, 681, 687, 702, 712, 756,
)
_UNSCALED = (78, *range(273, 279), *range(280, 287), 462, *range(574, 579))
# fmt: on
_LABELLED = {"n": one_of(*(n for n in range(1, 1063) if n not in _WITHHELD), width=5)}
_UNLABELLED = {"n": one_of(*_WITHHELD, width=5)}
_ORGAN12 = {"n": digits("0001")}
_PARTS = {"p": one_of(1, 2, 3)}
_PART_IMAGE = ("AbdomenCT-1K-ImagePart{p}/Case_{n}_0000.nii.gz",)

_OFFICIAL = {
    1: copy("liver"),
    2: split("kidney", "kidney", note="both kidneys in one value"),
    3: copy("spleen"),
    4: copy("pancreas"),
}


def _cases(*numbers: int) -> str:
    return f"Case_({'|'.join(f'{n:05d}' for n in numbers)})"


def _repacked(folder: str, image: str, label: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return (f"{folder}/{image}", image), (f"{folder}/{label}", label)


_MAIN_IMAGE, _MAIN_LABEL = _repacked("08_AbdomenCT-1K", "img/Case_{n}_0000.nii.gz", "label/Case_{n}.nii.gz")
_SUB_IMAGE, _SUB_LABEL = _repacked("13_AbdomenCT-12organ", "img/Organ12_{n}_0000.nii.gz", "label/Organ12_{n}.nii.gz")

SPEC = DATASETS.register("abdomenct_1k")(
    DatasetSpec(
        slug="abdomenct_1k",
        title="AbdomenCT-1K",
        homepage="https://github.com/JunMa11/AbdomenCT-1K",
        licence=(
            Fact("CC BY-NC-SA", "verified", "AbdomenAtlas-8K licence table"),
            Fact("CC BY 4.0", "verified", "AbdomenAtlas FAQ"),
            Fact("the parts inherit the terms of their own sources", "verified", "both of them"),
        ),
        access="open",
        obtain=(
            "Download the image parts from the Zenodo records 5903099, 5903846 and 5903769, and Mask.7z from the last.",
            "Unpack the three image parts and, with 7z x Mask.7z, the masks into one folder.",
        ),
        citation=(
            "Ma et al., AbdomenCT-1K: Is Abdominal Organ Segmentation A Solved Problem?, IEEE Transactions on Pattern "
            "Analysis and Machine Intelligence 44, 2022, doi:10.1109/TPAMI.2021.3100536",
            "Data: doi:10.5281/zenodo.5903099",
        ),
        region="abdomen",
        variants=(
            Variant(
                "challenge_package",
                (
                    Files(
                        ("imagesTr/Case_{n}_0000.nii.gz",),
                        {"n": digits("00001")},
                        "Case_{n}",
                        ("labels/Case_{n}.nii.gz",),
                        split="train",
                    ),
                    Files(("imagesTs/Case_{n}_0000.nii.gz",), {"n": digits("00010")}, "Case_{n}", split="test"),
                ),
                folder="AbdomenCT-1K",
                confidence="verified for the folders; that imagesTs holds the withheld cases is inferred",
                source="Awesome-Medical-Dataset",
            ),
            Variant(
                "zenodo_parts",
                (
                    Files(_PART_IMAGE, {**_PARTS, **_LABELLED}, "Case_{n}", ("Mask/Case_{n}.nii.gz",), split="train"),
                    Files(_PART_IMAGE, {**_PARTS, **_UNLABELLED}, "Case_{n}", split="test"),
                ),
                source="torch-em loader; SAT-DS; VISTA; repository issues",
            ),
            Variant(
                "organ12_subset",
                (
                    Files(
                        ("images/Organ12_{n}_0000.nii.gz", "Organ12_{n}_0000.nii.gz"),
                        _ORGAN12,
                        "Organ12_{n}",
                        ("labels/Organ12_{n}.nii.gz", "Organ12_{n}.nii.gz"),
                        label_map="organ12_subset",
                    ),
                ),
                folder="AbdomenCT-12organ",
                confidence="verified for the file names; the folders are from memory",
                source="case lists of the Universal Model and AbdomenAtlas",
            ),
            Variant(
                "upstream_repacked",
                (
                    Files(_MAIN_IMAGE, _LABELLED, "Case_{n}", _MAIN_LABEL, split="train"),
                    Files(_SUB_IMAGE, _ORGAN12, "Organ12_{n}", _SUB_LABEL, label_map="organ12_subset"),
                ),
                source="case lists of the Universal Model and AbdomenAtlas",
            ),
        ),
        label_maps=(
            LabelMap("official", _OFFICIAL, note="Lesions count as organ."),
            LabelMap(
                "organ12_subset",
                {
                    **_OFFICIAL,
                    5: copy("aorta"),
                    6: copy("inferior vena cava", "postcava"),
                    7: copy("stomach"),
                    8: copy("gallbladder", "gall_bladder"),
                    9: copy("esophagus"),
                    10: copy("right adrenal gland", "adrenal_gland_right"),
                    11: copy("left adrenal gland", "adrenal_gland_left"),
                    12: copy("celiac trunk", "celiac_trunk"),
                },
                note="Differs from FLARE22 in value 2 and from 5 on; duodenum is not annotated.",
            ),
        ),
        counts=Counts(1062, 1000, 1050, note="The paper counts the 50 cases of the 12-organ subset as well."),
        splits={"train": 1000, "test": 62},
        exclusions=(CaseRule("Case_00928", "the same scan as Case_00297", "verified", "repository issue 28"),),
        flags=(
            CaseRule(
                _cases(*_SKEWED),
                "its direction matrix is not orthonormal, which some readers refuse",
                "verified",
                "repository issues",
            ),
            CaseRule(
                _cases(*_UNSCALED),
                "3D-IRCADb scan whose spacing was reset to 1 mm: sizes in mm are wrong",
                "verified",
                "repository issue 27",
            ),
            CaseRule(_cases(219, 656), "the spleen is absent", "verified", "repository issues"),
        ),
        identity=(
            IdentityRule(
                "Case_00(?P<n>297|928)",
                "abdomenct_1k/Case_00297",
                "Case_00297 and Case_00928, liver_74 of LiTS by content",
                "verified",
                "repository issue 28",
            ),
        ),
        quirks=(
            Fact(
                "Holds LiTS (201), KiTS19 (300), MSD Spleen (61), MSD Pancreas (420) and Pancreas-CT (80) under new "
                "names; the table was not released, so only content tells which is which.",
                "verified",
                "repository issues 4, 11, 21",
            ),
            Fact(
                "The spleen is in 998 of 1,000 masks, the other organs in all.", "verified", "Awesome-Medical-Dataset"
            ),
            Fact(
                "One image is 512 x 79 pixels, and spacing in plane reaches 3 mm.",
                "verified",
                "Awesome-Medical-Dataset",
            ),
            Fact(
                "The tumour masks of Case_00001 to 00773 are made by networks: no reference.",
                "verified",
                "repository README; issues 13 and 26",
            ),
            Fact("One benchmark drops 12 cases (00047-00051, 00452, ...).", "verified", "SAT-DS"),
            Fact(
                "Zenodo 7860267, often named for the 12-organ subset, is FLARE22 with another numbering: go by the "
                "file names.",
                "verified",
                "Universal Model issue 76",
            ),
        ),
        to_verify=("Which cases imagesTs holds.", "The folder names of the 12-organ subset."),
    )
)
