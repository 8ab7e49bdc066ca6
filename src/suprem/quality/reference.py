"""Ranges of volume and density that are usual in adults, each with its source."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal, cast, get_args

from suprem.errors import ConfigurationError
from suprem.labels import canonical_name

__all__ = ["QUANTITIES", "UNSOURCED", "Quantity", "ReferenceRange", "reference_ranges"]

Quantity = Literal["volume_ml", "mean_hu", "std_hu"]
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)
UNSOURCED = "wide, unsourced bound"
"""The source of a range that is no measurement, but wide enough that only gross errors leave it."""


@dataclass(frozen=True)
class ReferenceRange:
    """What one quantity of one structure usually is in adults of any age, sex and size.

    Attributes:
        structure: canonical name.
        quantity: ``"volume_ml"``, ``"mean_hu"`` or ``"std_hu"`` (population standard deviation in HU).
        low: lower end, included.
        high: upper end, included.
        source: publication, or :data:`UNSOURCED`.
    """

    structure: str
    quantity: Quantity
    low: float
    high: float
    source: str

    def holds(self, value: float) -> bool:
        """Whether a value lies in the range."""
        return self.low <= value <= self.high


@cache
def reference_ranges() -> Mapping[tuple[str, Quantity], ReferenceRange]:
    """All ranges by structure and quantity; what is not among them is never flagged.

    Raises:
        UnknownNameError: a row names a structure that the label registry does not know.
        ConfigurationError: a row names no known quantity, has its ends exchanged, or comes twice.

    Example:
        >>> reference_ranges()["spleen", "volume_ml"].high
        374.0
    """
    text = files("suprem.quality").joinpath("reference_ranges.csv").read_text(encoding="utf-8")
    ranges: dict[tuple[str, Quantity], ReferenceRange] = {}
    for row in csv.DictReader(text.splitlines()):
        name, low, high = canonical_name(row["structure"]), float(row["low"]), float(row["high"])
        quantity = cast(Quantity, row["quantity"])
        if quantity not in QUANTITIES or not low < high or (name, quantity) in ranges:
            raise ConfigurationError(
                f"reference_ranges.csv: the row {name}, {quantity}, {low:g}, {high:g} is no new range of "
                f"{' or '.join(QUANTITIES)} with its lower end first; correct it."
            )
        ranges[name, quantity] = ReferenceRange(name, quantity, low, high, row["source"])
    return MappingProxyType(ranges)
