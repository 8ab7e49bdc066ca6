"""Quality flags: what speaks against trusting a segmented structure in a scan. Hints to look, never a verdict."""

from suprem.quality.evidence import Evidence, body_midline_mm, gather
from suprem.quality.findings import Finding, by_structure, check_masks, find, in_words
from suprem.quality.reference import ReferenceRange, reference_ranges

__all__ = [
    "Evidence",
    "Finding",
    "ReferenceRange",
    "body_midline_mm",
    "by_structure",
    "check_masks",
    "find",
    "gather",
    "in_words",
    "reference_ranges",
]
