"""Every foreign layout is loaded, and the table in the documentation says what happens to it."""

from pathlib import Path

import pytest

from tests.zoo.layouts import Layout, Row, layouts, load, recorded

ALL = list(layouts())
# What the facts say about the published files: tensors that reach the network, and tensors that start anew.
PUBLISHED = {
    ("SuPreM U-Net", "as it is"): (117, 0),
    ("SuPreM U-Net", "new classes"): (104, 2),
    ("SuPreM Swin UNETR", "as it is"): (170, 0),
    ("SuPreM Swin UNETR", "new classes"): (157, 2),
    ("SuPreM SegResNet", "new classes"): (81, 2),
    ("Models Genesis", "new classes"): (104, 2),
    ("Med3D ResNet-101", "new classes"): (624, 14),
    ("UniMiSS tiny", "new classes"): (146, 15),
    ("UniMiSS small", "new classes"): (394, 15),
}


@pytest.mark.slow
@pytest.mark.parametrize("layout", ALL, ids=lambda layout: f"{layout.name}, {layout.use}")
def test_a_layout_does_what_the_table_says(layout: Layout, tmp_path: Path) -> None:
    expected = {(row.layout, row.use): row for row in recorded()}
    assert load(layout, tmp_path) == expected[layout.name, layout.use]


def test_the_table_has_a_row_for_each_layout_and_no_other() -> None:
    assert [(row.layout, row.use) for row in recorded()] == [(layout.name, layout.use) for layout in ALL]


@pytest.mark.parametrize("name", PUBLISHED, ids=", ".join)
def test_the_counts_are_those_of_the_facts(name: tuple[str, str]) -> None:
    row = {(row.layout, row.use): row for row in recorded()}[name]
    assert (row.loaded, row.initialised) == PUBLISHED[name]


@pytest.mark.parametrize(
    "name", ["MONAI DynUNet", "nnU-Net, version 2", "nnU-Net, version 1", "STU-Net", "anything else"]
)
def test_what_is_not_read_is_said(name: str, tmp_path: Path) -> None:
    layout = next(layout for layout in ALL if layout.name == name)
    expected: Row = next(row for row in recorded() if row.layout == name)
    assert load(layout, tmp_path) == expected
