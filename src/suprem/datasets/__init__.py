"""Source datasets: where they come from, how they lie on disk, and what their masks really annotate."""

from suprem.datasets._layout import CaseFiles, CaseRule, Files, IdentityRule, Variant
from suprem.datasets._rules import CaseGroup, LabelMap, LabelRule
from suprem.datasets._spec import Counts, DatasetSpec, Fact, dataset, list_datasets

__all__ = [
    "CaseFiles",
    "CaseGroup",
    "CaseRule",
    "Counts",
    "DatasetSpec",
    "Fact",
    "Files",
    "IdentityRule",
    "LabelMap",
    "LabelRule",
    "Variant",
    "dataset",
    "list_datasets",
]
