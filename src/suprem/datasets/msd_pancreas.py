"""MSD Task07: pancreas and pancreatic masses."""

from suprem.datasets._msd import msd_task
from suprem.datasets._rules import copy
from suprem.datasets._spec import DATASETS, Fact

__all__ = ["SPEC"]

SPEC = DATASETS.register("msd_pancreas")(
    msd_task(
        "Task07_Pancreas",
        {
            1: copy("pancreas"),
            2: copy("cancer", "pancreas_tumor", part_of="pancreas", note="a mass: tumour or cyst"),
        },
        title="pancreas and mass",
        number="001",
        counts=(281, 139),
        region="abdomen",
        note="The pancreas is values 1 and 2 together. Value 2 mixes IPMN, neuroendocrine tumours and adenocarcinoma.",
        quirks=(
            Fact("Value 2 occurs in all 281 training volumes.", "verified", "Awesome-Medical-Dataset"),
            Fact("Portal-venous phase, patients operated on for a pancreatic mass.", "memory", "MSD paper"),
        ),
    )
)
