"""MSD Task08: hepatic vessels and liver tumours; the liver itself is not annotated."""

from suprem.datasets._msd import msd_task
from suprem.datasets._rules import copy
from suprem.datasets._spec import DATASETS, Fact

__all__ = ["SPEC"]

SPEC = DATASETS.register("msd_hepaticvessel")(
    msd_task(
        "Task08_HepaticVessel",
        {
            1: copy("Vessel", "hepatic_vessel"),
            2: copy("Tumour", "hepatic_vessel_tumor", note="a liver tumour by anatomy, a class of its own in SuPreM"),
        },
        title="hepatic vessels and tumour",
        number="001",
        counts=(303, 140),
        region="abdomen",
        note="The liver is not annotated, and the tumour is no part of the vessel. Value 2 is never liver_tumor.",
        quirks=(
            Fact(
                "Weak reference: a later study estimates 65.5 % of vessel voxels unlabelled and 8.5 % mislabelled. Not "
                "for boundary metrics.",
                "verified",
                "Awesome-Medical-Dataset, citing Xu et al., MICCAI 2021",
            ),
            Fact("Vessel and tumour occur in all 303 training volumes.", "verified", "Awesome-Medical-Dataset"),
            Fact("Portal-venous phase; primary or metastatic liver tumours.", "memory"),
        ),
    )
)
