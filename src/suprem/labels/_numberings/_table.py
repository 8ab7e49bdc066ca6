"""What a file of numberings holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Numbering"]


@dataclass(frozen=True)
class Numbering:
    """Numbers and names as the source writes them.

    Attributes:
        title: for people.
        files: number -> name in the source's own spelling; background 0 left out.
        source: where the numbers come from.
        overlapping: structures may overlap, so a single label map cannot hold all of them.
        ignored: numbers that mean "not annotated" and are no structure.
        canonical: canonical names of spellings that mean something else, or nothing, outside this source.
    """

    title: str
    files: Mapping[int, str]
    source: str
    overlapping: bool = False
    ignored: tuple[int, ...] = ()
    canonical: Mapping[str, str] = field(default_factory=dict)
