"""FLARE 2023: 2,200 partly labelled scans of many sources; what was annotated differs from case to case."""

from suprem.datasets._flare import THIRTEEN_ORGANS
from suprem.datasets._layout import Files, Variant
from suprem.datasets._rules import CaseGroup, LabelMap, ambiguous
from suprem.datasets._spec import DATASETS, Counts, DatasetSpec, Fact
from suprem.datasets._templates import one_of

__all__ = ["SPEC"]

_LABELLED = {"n": one_of(range(1, 2201), width=4)}
_UNLABELLED = {"n": one_of(range(2201, 4001), width=4)}
_IMAGE = "FLARE23_{n}_0000.nii.gz"
_LABEL = "FLARE23_{n}.nii.gz"
_ALL = frozenset(rule.targets[0] for rule in THIRTEEN_ORGANS.values())
_FIVE = frozenset({"liver", "kidney_right", "kidney_left", "spleen", "pancreas"})

SPEC = DATASETS.register("flare23")(
    DatasetSpec(
        slug="flare23",
        title="FLARE'23",
        homepage="https://codalab.lisn.upsaclay.fr/competitions/12239",
        licence=(Fact("CC BY-NC-ND 4.0", "verified", "AbdomenAtlas-8K licence table"),),
        sharing="forbidden",
        access="registration",
        obtain=("Register at the challenge; its page links the archives. Unpack them into one folder.",),
        citation=(
            "Ma et al., Automatic Organ and Pan-cancer Segmentation in Abdomen CT: the FLARE 2023 Challenge, 2024, "
            "arXiv:2408.12534",
        ),
        region="abdomen, some whole body",
        variants=(
            Variant(
                "official",
                (
                    Files(
                        (f"imagesTr2200/{_IMAGE}", f"imagesTr2200/*/{_IMAGE}"),
                        _LABELLED,
                        "FLARE23_{n}",
                        (f"labelsTr2200/20230507-fix/{_LABEL}", f"labelsTr2200/{_LABEL}"),
                        split="train",
                    ),
                    Files(
                        tuple(f"{top}{_IMAGE}" for top in ("unlabeledTr1800/", "unlabelTr1800/")),
                        _UNLABELLED,
                        "FLARE23_{n}",
                        split="train",
                    ),
                ),
                folder="FLARE23",
                source="two FLARE23 solution repositories; SAT-DS",
                note="Corrected labels in 20230507-fix count first. The validation set is not read: its names are not "
                "known.",
            ),
        ),
        label_maps=(
            LabelMap(
                "official",
                {
                    **THIRTEEN_ORGANS,
                    14: ambiguous(
                        "tumour (any organ)", note="site not stated, only the main lesion drawn; may lie on an organ"
                    ),
                },
                ignore=frozenset({14}),
                groups=(
                    CaseGroup("thirteen_organs", _ALL, present=frozenset({5}), count=250),
                    CaseGroup("five_organs", _FIVE, present=frozenset({1}), absent=frozenset({5}), count=1062),
                    CaseGroup("tumour_only", frozenset(), absent=frozenset({1, 5}), count=888),
                ),
                note="What was annotated is told by the aorta (13 organs) and the liver (5 organs).",
            ),
        ),
        counts=Counts(
            4100, 2200, 4100, "verified", "4,000 training images, 2,200 of them labelled, and 100 for validation."
        ),
        splits={"train": 4000},
        quirks=(
            Fact(
                "No file says what was annotated in a case. Gallbladder, kidneys or spleen may be truly absent in the "
                "first two groups, so the group decides, not the single value.",
                "inferred",
                "presence table of Awesome-Medical-Dataset",
            ),
            Fact(
                "1,497 of 2,200 have value 14. Only part of the tumours is drawn: its absence does not mean healthy.",
                "verified",
                "Awesome-Medical-Dataset",
            ),
            Fact(
                "Holds AbdomenCT-1K (1,062) and FLARE22, and scans of MSD, TCIA, autoPET and TotalSegmentator; column "
                "public_name of FLARE23-DataInfoTraining.xlsx names the source scan.",
                "verified",
                "author's statement; the table",
            ),
            Fact("Some affines are not diagonal; 24 to 2,471 slices.", "verified", "solution notes"),
        ),
        to_verify=(
            "The group of a case by values 5 and 1.",
            "Which tumour-only cases come from which source (spreadsheet).",
            "Whether labels of 50 of the 100 validation images are public, and their names.",
        ),
    )
)
