"""Class numbers of the published SuPreM checkpoints, of AbdomenAtlas and of the targets of the paper's fine-tuning."""

from typing import Final

from suprem.labels._numberings._table import Numbering

__all__ = ["NUMBERINGS"]

# fmt: off
_UNIVERSAL_32: Final = {
    1: "spleen", 2: "kidney_right", 3: "kidney_left", 4: "gall_bladder", 5: "esophagus", 6: "liver", 7: "stomach",
    8: "aorta", 9: "postcava", 10: "portal_vein_and_splenic_vein", 11: "pancreas", 12: "adrenal_gland_right",
    13: "adrenal_gland_left", 14: "duodenum", 15: "hepatic_vessel", 16: "lung_right", 17: "lung_left", 18: "colon",
    19: "intestine", 20: "rectum", 21: "bladder", 22: "prostate", 23: "femur_left", 24: "femur_right",
    25: "celiac_trunk", 26: "kidney_tumor", 27: "liver_tumor", 28: "pancreas_tumor", 29: "hepatic_vessel_tumor",
    30: "lung_tumor", 31: "colon_tumor", 32: "kidney_cyst",
}
_ABDOMENATLAS_1_1: Final = {
    1: "aorta", 2: "gall_bladder", 3: "kidney_left", 4: "kidney_right", 5: "liver", 6: "pancreas", 7: "postcava",
    8: "spleen", 9: "stomach", 10: "adrenal_gland_left", 11: "adrenal_gland_right", 12: "bladder", 13: "celiac_trunk",
    14: "colon", 15: "duodenum", 16: "esophagus", 17: "femur_left", 18: "femur_right", 19: "hepatic_vessel",
    20: "intestine", 21: "lung_left", 22: "lung_right", 23: "portal_vein_and_splenic_vein", 24: "prostate",
    25: "rectum",
}
# fmt: on
_ABDOMENATLAS_1_0: Final = {number: name for number, name in _ABDOMENATLAS_1_1.items() if number <= 9}

_CYST: Final = {"cyst": "pancreas_cyst"}

NUMBERINGS = {
    "universal_32": Numbering(
        "Universal Model, 32 structures", _UNIVERSAL_32, "SuPreM, published checkpoints", overlapping=True
    ),
    "abdomenatlas_1_0": Numbering("AbdomenAtlas 1.0", _ABDOMENATLAS_1_0, "AbdomenAtlas 1.0, combined_labels.nii.gz"),
    "abdomenatlas_1_1": Numbering("AbdomenAtlas 1.1", _ABDOMENATLAS_1_1, "AbdomenAtlas 1.1, combined_labels.nii.gz"),
    # Value 2 of the original masks is merged into 1 on disk.
    "jhh_pancreas": Numbering(
        "JHH pancreas, files", {1: "pancreas", 3: "pdac", 4: "cyst", 5: "pnet"}, "SuPreM, JHH files", canonical=_CYST
    ),
    "jhh_pancreas_training": Numbering(
        "JHH pancreas, training", {1: "pancreas", 2: "pdac", 3: "cyst", 4: "pnet"}, "SuPreM, JHH", canonical=_CYST
    ),
    "imagecas": Numbering("ImageCAS", {1: "coronary_artery"}, "ImageCAS"),
}
