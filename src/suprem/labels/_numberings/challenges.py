"""Class numbers of public abdominal challenges, one integer per structure."""

from typing import Final

from suprem.labels._numberings._table import Numbering

__all__ = ["NUMBERINGS"]

# fmt: off
_BTCV: Final = {
    1: "spleen", 2: "right kidney", 3: "left kidney", 4: "gallbladder", 5: "esophagus", 6: "liver", 7: "stomach",
    8: "aorta", 9: "inferior vena cava", 10: "portal vein and splenic vein", 11: "pancreas",
    12: "right adrenal gland", 13: "left adrenal gland",
}
_WORD: Final = {
    1: "liver", 2: "spleen", 3: "left kidney", 4: "right kidney", 5: "stomach", 6: "gallbladder", 7: "esophagus",
    8: "pancreas", 9: "duodenum", 10: "colon", 11: "intestine", 12: "adrenal", 13: "rectum", 14: "bladder",
    15: "left head of femur", 16: "right head of femur",
}
_AMOS: Final = {
    1: "spleen", 2: "right kidney", 3: "left kidney", 4: "gall bladder", 5: "esophagus", 6: "liver", 7: "stomach",
    8: "arota", 9: "postcava", 10: "pancreas", 11: "right adrenal gland", 12: "left adrenal gland", 13: "duodenum",
    14: "bladder", 15: "prostate/uterus",
}
_FLARE22: Final = {
    1: "liver", 2: "right kidney", 3: "spleen", 4: "pancreas", 5: "aorta", 6: "inferior vena cava",
    7: "right adrenal gland", 8: "left adrenal gland", 9: "gallbladder", 10: "esophagus", 11: "stomach",
    12: "duodenum", 13: "left kidney",
}
# fmt: on

NUMBERINGS = {
    "btcv": Numbering("BTCV, 13 organs", _BTCV, "Multi-Atlas Labeling Beyond the Cranial Vault"),
    # One value holds both adrenal glands, so it is neither of them.
    "word": Numbering("WORD", _WORD, "WORD, dataset.json"),
    # One value holds the prostate or the uterus, so it is neither of them.
    "amos22": Numbering("AMOS 22", _AMOS, "AMOS 22, dataset.json"),
    "flare22": Numbering("FLARE 22", _FLARE22, "FLARE 22, labelled cases"),
}
