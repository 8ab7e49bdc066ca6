"""MSD Task06: lung tumours; the lungs themselves are not annotated."""

from suprem.datasets._msd import msd_task
from suprem.datasets._rules import copy
from suprem.datasets._spec import DATASETS, Fact

__all__ = ["SPEC"]

SPEC = DATASETS.register("msd_lung")(
    msd_task(
        "Task06_Lung",
        {1: copy("cancer", "lung_tumor")},
        title="lung tumour",
        number="001",
        counts=(63, 32),
        region="chest",
        note="The lungs are not annotated: only the tumour may be supervised.",
        quirks=(
            Fact(
                "The documentation says 64 training volumes; the download has 63.",
                "verified",
                "Awesome-Medical-Dataset; VISTA list",
            ),
            Fact("Thin-section scans of non-small-cell lung cancer.", "verified", "Awesome-Medical-Dataset"),
            Fact("The images come from a TCIA collection of non-small-cell lung cancer.", "memory"),
        ),
    )
)
