"""MSD Task10: primary colon cancer; the colon itself is not annotated."""

from suprem.datasets._msd import msd_task
from suprem.datasets._rules import copy
from suprem.datasets._spec import DATASETS, Fact

__all__ = ["SPEC"]

SPEC = DATASETS.register("msd_colon")(
    msd_task(
        "Task10_Colon",
        {1: copy("colon cancer primaries", "colon_tumor")},
        title="colon cancer primaries",
        number="001",
        counts=(126, 64),
        region="abdomen and pelvis",
        note="The colon is not annotated: only the tumour may be supervised.",
        quirks=(
            Fact(
                "Venous phase, patients operated on for primary colon cancer; value 1 occurs in all 126 training "
                "volumes.",
                "verified",
                "Awesome-Medical-Dataset",
            ),
        ),
    )
)
