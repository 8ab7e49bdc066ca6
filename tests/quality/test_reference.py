"""The table of ranges."""

import csv
from importlib.resources import files

import pytest

from suprem.labels import list_structures
from suprem.quality import reference_ranges
from suprem.quality.reference import QUANTITIES, UNSOURCED, ReferenceRange


def test_rows_are_of_the_registry_and_have_a_source() -> None:
    ranges = reference_ranges()
    assert len(ranges) > 30
    for (name, quantity), entry in ranges.items():
        assert (entry.structure, entry.quantity) == (name, quantity)
        assert name in list_structures()
        assert quantity in QUANTITIES
        assert entry.low < entry.high
        assert entry.source == UNSOURCED or any(year in entry.source for year in ("200", "201", "202"))


def test_names_in_the_file_are_canonical() -> None:
    text = files("suprem.quality").joinpath("reference_ranges.csv").read_text(encoding="utf-8")
    assert {row["structure"] for row in csv.DictReader(text.splitlines())} <= set(list_structures())


def test_published_figures() -> None:
    ranges = reference_ranges()
    assert (ranges["liver", "volume_ml"].low, ranges["liver", "volume_ml"].high) == (594, 2250)
    spleen = ranges["spleen", "volume_ml"]
    assert (spleen.low, spleen.high) == (198 - 2 * 88, 198 + 2 * 88)
    pancreas = ranges["pancreas", "volume_ml"]
    assert (pancreas.low, pancreas.high) == pytest.approx((72.4 - 2 * 25.8, 72.4 + 2 * 25.8), abs=0.5)
    for side in ("right", "left"):
        kidney = ranges[f"kidney_{side}", "volume_ml"]  # type: ignore[index]
        assert (kidney.low, kidney.high) == (154 - 2 * 33, 202 + 2 * 36)


def test_ends_are_included() -> None:
    entry = ReferenceRange("liver", "volume_ml", 1.0, 2.0, UNSOURCED)
    assert [entry.holds(value) for value in (0.99, 1.0, 1.5, 2.0, 2.01)] == [False, True, True, True, False]
