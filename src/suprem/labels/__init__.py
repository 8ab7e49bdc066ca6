"""Structures, numberings and colours: the one place that knows what a label means."""

from suprem.labels.palette import color
from suprem.labels.spaces import LabelSpace, convert, label_space, list_label_spaces
from suprem.labels.structures import (
    Code,
    Structure,
    canonical_name,
    known_name,
    list_structures,
    mirrored,
    ordered,
    structure,
)

__all__ = [
    "Code",
    "LabelSpace",
    "Structure",
    "canonical_name",
    "color",
    "convert",
    "known_name",
    "label_space",
    "list_label_spaces",
    "list_structures",
    "mirrored",
    "ordered",
    "structure",
]
