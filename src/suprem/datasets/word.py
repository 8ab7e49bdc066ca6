"""WORD: 150 planning CTs of the whole abdomen and pelvis with 16 organs."""

from suprem.datasets._layout import Files, Variant
from suprem.datasets._rules import LabelMap, copy, split
from suprem.datasets._spec import DATASETS, Counts, DatasetSpec, Fact
from suprem.datasets._templates import one_of

__all__ = ["SPEC"]

_VAL = (1, 7, 15, 25, 31, 35, 39, 45, 48, 66, 75, 80, 83, 85, 98, 112, 137, 139, 141, 149)
# fmt: off
_TEST = (
    14, 16, 17, 19, 21, 23, 24, 33, 34, 37, 43, 50, 52, 54, 57, 60, 69, 74, 76, 77, 88, 92, 97, 99, 103, 110, 120, 124,
    129, 131,
)
# fmt: on
_TRAIN = tuple(n for n in range(1, 151) if n not in _VAL + _TEST)


def _files(image: str, label: str, part: str, numbers: tuple[int, ...]) -> Files:
    name = "word_{n}"
    fields = {"n": one_of(*numbers, width=4)}
    return Files(
        (f"{image}/{name}.nii.gz",),
        fields,
        name,
        (f"{label}/{name}.nii.gz",),
        split=part,
        partly_labelled=part == "test",  # the test labels are an archive of their own
    )


SPEC = DATASETS.register("word")(
    DatasetSpec(
        slug="word",
        title="WORD",
        homepage="https://github.com/HiLab-git/WORD",
        licence=(Fact("GNU GPL v3, and a statement that allows academic use only", "verified", "WORD README"),),
        access="open, academic use only",
        obtain=(
            "Download the archive that the repository's README links, and WORD_V0.1.0_labelsTs.zip of the repository.",
            "7z x <archive>: it is encrypted with AES, and the password is printed in the README.",
        ),
        citation=(
            "Luo et al., WORD: A large scale dataset, benchmark and clinical applicable study for abdominal organ "
            "segmentation from CT image, Medical Image Analysis 82, 2022, doi:10.1016/j.media.2022.102642",
        ),
        region="whole abdomen and pelvis",
        variants=(
            Variant(
                "official",
                (
                    _files("imagesTr", "labelsTr", "train", _TRAIN),
                    _files("imagesVal", "labelsVal", "val", _VAL),
                    _files("imagesTs", "labelsTs", "test", _TEST),
                ),
                folder="WORD-V0.1.0",
                source="dataset.json re-published with VISTA; SAT-DS",
            ),
            Variant(
                "upstream_repacked",
                (_files("img", "label", "train", _TRAIN), _files("img", "label", "val", _VAL)),
                folder="07_WORD",
                source="case lists of the Universal Model and AbdomenAtlas",
            ),
        ),
        label_maps=(
            LabelMap(
                "official",
                {
                    1: copy("liver"),
                    2: copy("spleen"),
                    3: copy("left kidney", "kidney_left"),
                    4: copy("right kidney", "kidney_right"),
                    5: copy("stomach"),
                    6: copy("gallbladder", "gall_bladder"),
                    7: copy("esophagus"),
                    8: copy("pancreas"),
                    9: copy("duodenum"),
                    10: copy("colon"),
                    11: copy("intestine"),
                    12: split("adrenal", "adrenal_gland", part_of="adrenal_glands", note="both sides in one value"),
                    13: copy("rectum"),
                    14: copy("bladder"),
                    15: copy("left head of femur", "femur_left", note="the head alone"),
                    16: copy("right head of femur", "femur_right", note="the head alone"),
                },
                note="Left kidney is 3 and right kidney is 4: the reverse of BTCV and AMOS.",
            ),
        ),
        counts=Counts(150, 150, 120, note="The paper's 120 are train and val."),
        splits={"train": 100, "val": 20, "test": 30},
        quirks=(
            Fact(
                "The release also holds 20 LiTS volumes labelled anew (liver_<n>_word_image); they are not read.",
                "verified",
                "dataset.json, block addition_validation_from_LiTS",
            ),
            Fact(
                "Median spacing 0.98 x 0.98 x 3 mm, 151 to 343 slices; patients before radiotherapy.",
                "verified",
                "Awesome-Medical-Dataset; the kind of patients is from memory",
            ),
        ),
    )
)
