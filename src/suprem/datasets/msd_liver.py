"""MSD Task03: liver and liver tumour; the training set of LiTS with cleaned headers."""

from suprem.datasets._layout import CaseRule, IdentityRule
from suprem.datasets._msd import msd_task
from suprem.datasets._rules import copy
from suprem.datasets._spec import DATASETS, Fact

__all__ = ["SPEC"]

SPEC = DATASETS.register("msd_liver")(
    msd_task(
        "Task03_Liver",
        {1: copy("liver"), 2: copy("cancer", "liver_tumor", part_of="liver")},
        title="liver and liver tumour",
        number="0",
        counts=(131, 70),
        region="abdomen",
        note="The liver is values 1 and 2 together.",
        flags=(
            CaseRule(
                r"liver_(2[89]|3\d|4[0-7])",
                "3D-IRCADb scan whose spacing was reset to 1 mm in LiTS: sizes in mm may be wrong",
                "inferred",
                "AbdomenCT-1K issue 27; CT-ORG list that repairs exactly 28-47",
            ),
        ),
        identity=(
            IdentityRule(
                r"liver_(?P<n>\d|\d\d|1[0-2]\d|130)",
                "lits/{n}",
                "LiTS volume-N and CT-ORG volume-N, N = 0 to 130",
                "inferred",
                "equal numbers; to be confirmed by hash",
            ),
        ),
        quirks=(
            Fact(
                "The training set of LiTS repackaged with cleaned meta-data: same numbers, other file names.",
                "verified",
                "author of AbdomenCT-1K in an issue thread; Universal Model lists",
            ),
        ),
        to_verify=(
            "That liver_N, LiTS volume-N and CT-ORG volume-N are the same scan, by hash for five N.",
            "Whether the headers of 28-47 were repaired.",
        ),
    )
)
