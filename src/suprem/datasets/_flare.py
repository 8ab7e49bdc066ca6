"""The numbering of 13 organs that FLARE 2022 and 2023 share."""

from suprem.datasets._rules import copy

__all__ = ["THIRTEEN_ORGANS"]

THIRTEEN_ORGANS = {
    1: copy("liver"),
    2: copy("right kidney", "kidney_right"),
    3: copy("spleen"),
    4: copy("pancreas"),
    5: copy("aorta"),
    6: copy("inferior vena cava", "postcava"),
    7: copy("right adrenal gland", "adrenal_gland_right"),
    8: copy("left adrenal gland", "adrenal_gland_left"),
    9: copy("gallbladder", "gall_bladder"),
    10: copy("esophagus"),
    11: copy("stomach"),
    12: copy("duodenum"),
    13: copy("left kidney", "kidney_left"),
}
