"""Numberings of label maps, written out as ``{number: name}``, one module per family."""

from suprem.labels._numberings import challenges, dap_atlas, suprem, totalsegmentator_v1, totalsegmentator_v2

__all__ = ["NUMBERINGS"]

NUMBERINGS = {
    **suprem.NUMBERINGS,
    **totalsegmentator_v1.NUMBERINGS,
    **totalsegmentator_v2.NUMBERINGS,
    **dap_atlas.NUMBERINGS,
    **challenges.NUMBERINGS,
}
