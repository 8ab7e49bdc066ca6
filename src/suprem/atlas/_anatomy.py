"""What :mod:`suprem.atlas.rules` takes for granted in every adult, with the reasons.

Limits are wide on purpose: they catch labels that went astray, not variants.
"""

__all__ = ["ABOVE", "CLOSED", "DISTINCT", "MAY_OVERLAP", "NEAR", "ROUNDED"]

# structure, what it lies close to, largest gap between them in mm, why
NEAR: tuple[tuple[str, str, float, str], ...] = (
    ("gall_bladder", "liver", 20, "the gall bladder lies in a fossa of the liver"),
    ("adrenal_gland_right", "kidney_right", 40, "the adrenal gland sits above the kidney of its side"),
    ("adrenal_gland_left", "kidney_left", 40, "the adrenal gland sits above the kidney of its side"),
    ("pancreas", "duodenum", 30, "the head of the pancreas lies in the loop of the duodenum"),
    ("duodenum", "stomach", 50, "the duodenum begins at the pylorus"),
    ("esophagus", "stomach", 40, "the esophagus ends in the stomach"),
    ("portal_vein_and_splenic_vein", "liver", 20, "the portal vein enters the liver"),
    ("celiac_trunk", "aorta", 15, "the celiac trunk leaves the aorta"),
    ("prostate", "bladder", 25, "the prostate lies below the bladder"),
    ("heart", "lung_left", 30, "the heart lies between the lungs"),
)

# what lies higher, what lies lower (by their centres, which holds in scans that cut them too), why
ABOVE: tuple[tuple[str, str, str], ...] = (
    ("lung_right", "kidney_right", "lungs lie above the diaphragm and kidneys below it"),
    ("lung_left", "kidney_left", "lungs lie above the diaphragm and kidneys below it"),
    ("heart", "kidney_left", "the heart lies above the diaphragm and kidneys below it"),
    ("liver", "bladder", "the bladder lies in the pelvis"),
    ("spleen", "bladder", "the bladder lies in the pelvis"),
    ("stomach", "bladder", "the bladder lies in the pelvis"),
    ("esophagus", "rectum", "the esophagus lies in the chest and the rectum in the pelvis"),
    ("bladder", "prostate", "the prostate lies below the bladder"),
    ("liver", "femur_right", "femurs lie below the pelvis"),
    ("kidney_left", "femur_left", "femurs lie below the pelvis"),
    ("kidney_right", "femur_right", "femurs lie below the pelvis"),
)

DISTINCT = frozenset(
    {"abdominal organ", "thorax organ", "skeletal structure", "cardiac structure", "muscle", "aorta", "postcava"}
)
"""Groups and structures of which no two may hold the same voxel, unless one is a part of the other."""

_EITHER = (
    *(("adrenal_glands", f"adrenal_gland_{side}") for side in ("left", "right")),
    *(("prostate_or_uterus", name) for name in ("prostate", "uterus", "uterocervix")),
    *(("bronchi", f"lung_{side}") for side in ("left", "right")),
    *(("bronchi", f"lung_{part}_lobe_{side}") for part in ("upper", "middle", "lower") for side in ("left", "right")),
    ("bronchi", "trachea"),
    ("postcava", "liver"),  # some annotators count the retrohepatic part to both
    ("muscles", "iliopsoas_left"),
    ("muscles", "iliopsoas_right"),
    *(
        ("muscles", f"{name}_{side}")
        for name in ("gluteus_maximus", "gluteus_medius", "gluteus_minimus", "autochthon")
        for side in ("left", "right")
    ),
)
MAY_OVERLAP = frozenset(frozenset(pair) for pair in _EITHER)
"""Exceptions: one name stands for a union of others, or conventions differ."""

ROUNDED = frozenset(
    {"liver", "spleen", "kidney_left", "kidney_right", "lung_left", "lung_right", "gall_bladder", "bladder", "prostate"}
)
"""Organs whose cross-section along z grows from nothing, changes slowly, and shrinks to nothing."""

CLOSED = frozenset({"liver", "spleen", "pancreas", "bladder", "prostate", "gall_bladder", "aorta", "postcava"})
"""Without anything inside that would not be counted to them. Not kidneys: some leave the renal pelvis out."""
