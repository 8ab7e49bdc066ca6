"""MSD Task09: spleen."""

from suprem.datasets._msd import msd_task
from suprem.datasets._rules import copy
from suprem.datasets._spec import DATASETS, Fact

__all__ = ["SPEC"]

SPEC = DATASETS.register("msd_spleen")(
    msd_task(
        "Task09_Spleen",
        {1: copy("spleen")},
        title="spleen",
        number="2",
        counts=(41, 20),
        region="abdomen",
        quirks=(
            Fact("File numbers have no leading zeros and gaps.", "verified", "published case list"),
            Fact(
                "Portal-venous phase; patients under chemotherapy for liver metastases.",
                "verified",
                "Awesome-Medical-Dataset",
            ),
        ),
    )
)
