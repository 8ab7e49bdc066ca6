"""LiTS: liver and liver tumour on 131 training scans of seven centres."""

from suprem.datasets._layout import CaseRule, Files, IdentityRule, Variant
from suprem.datasets._rules import LabelMap, copy
from suprem.datasets._spec import DATASETS, Counts, DatasetSpec, Fact
from suprem.datasets._templates import one_of

__all__ = ["SPEC"]

_TRAIN = {"n": one_of(range(131))}
_TEST = {"n": one_of(range(70))}

SPEC = DATASETS.register("lits")(
    DatasetSpec(
        slug="lits",
        title="LiTS (Liver Tumor Segmentation)",
        homepage="https://competitions.codalab.org/competitions/17094",
        licence=(
            Fact("CC BY-NC-ND 4.0", "verified", "two dataset lists"),
            Fact("CC BY-SA 4.0", "verified", "AbdomenAtlas-8K licence table"),
        ),
        sharing="forbidden",
        access="registration",
        obtain=(
            "Register at the challenge, download Training_Batch1.zip and Training_Batch2.zip and unpack both into one "
            "folder.",
        ),
        citation=(
            "Bilic et al., The Liver Tumor Segmentation Benchmark (LiTS), Medical Image Analysis 84, 2023, "
            "doi:10.1016/j.media.2022.102680",
        ),
        region="abdomen to whole trunk",
        variants=(
            Variant(
                "official",
                (
                    Files(
                        ("Training*Batch*/volume-{n}.nii", "*/volume-{n}.nii", "volume-{n}.nii"),
                        _TRAIN,
                        "volume-{n}",
                        ("*/segmentation-{n}.nii", "segmentation-{n}.nii"),
                        split="train",
                    ),
                    Files(("test-volume-{n}.nii", "*/test-volume-{n}.nii"), _TEST, "test-volume-{n}", split="test"),
                ),
                source="eva dataset page and code",
                note='"Training Batch 1" holds 0 to 27, "Training Batch 2" 28 to 130; mirrors rename or merge them.',
            ),
            Variant(
                "upstream_repacked",
                (Files(("img/liver_{n}.nii.gz",), _TRAIN, "volume-{n}", ("label/liver_{n}.nii.gz",), split="train"),),
                folder="04_LiTS",
                source="case lists of the Universal Model and AbdomenAtlas",
                note="The file names are those of MSD Task03.",
            ),
        ),
        label_maps=(
            LabelMap(
                "official",
                {1: copy("liver"), 2: copy("tumor", "liver_tumor", part_of="liver")},
                note="The liver is values 1 and 2 together.",
            ),
        ),
        counts=Counts(201, 131, 131, note="118 of the 131 have a tumour."),
        splits={"train": 131, "test": 70},
        flags=(
            CaseRule(
                r"volume-(2[89]|3\d|4[0-7])",
                "3D-IRCADb scan whose spacing was reset to 1 mm: sizes in mm are wrong",
                "inferred",
                "AbdomenCT-1K issue 27; CT-ORG list that repairs exactly 28-47",
            ),
        ),
        identity=(
            IdentityRule(
                r"volume-(?P<n>\d+)",
                "lits/{n}",
                "MSD Task03 liver_N and CT-ORG volume-N, N = 0 to 130",
                "inferred",
                "equal numbers; to be confirmed by hash",
            ),
        ),
        quirks=(
            Fact(
                "Orientation differs between volumes, left-right and head-feet; re-orient by the header.",
                "verified",
                "eva issue 658",
            ),
            Fact("Affines of image and segmentation are not always equal although the arrays match.", "memory"),
        ),
        to_verify=(
            "That volume-N, MSD liver_N and CT-ORG volume-N are the same scan, by hash for five N.",
            "Whether affines of image and segmentation disagree.",
        ),
    )
)
