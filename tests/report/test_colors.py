"""Colours of structures that touch, as people with any kind of colour vision see them."""

import numpy as np
import pytest

from suprem.labels import color
from suprem.phantom import PhantomCase
from suprem.report import ViewerBuilder
from suprem.report._colors import ENOUGH, difference, safe_colors


def rgb(text: str) -> tuple[int, int, int]:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def test_the_fixed_colours_alone_would_not_do() -> None:
    assert difference(color("liver"), color("colon")) < 0.02


def test_neighbours_in_a_phantom_can_be_told_apart(phantom_case: PhantomCase) -> None:
    builder = ViewerBuilder(phantom_case.ct)
    masks = {name: phantom_case.mask(name) for name in phantom_case.structures}
    for name, mask in masks.items():
        builder.add(name, mask)
    colors = {item.name: rgb(item.color) for item in builder.build().structures}
    grown = {name: _with_faces(mask) for name, mask in masks.items()}
    pairs = [(a, b) for a in masks for b in masks if a < b and (grown[a] & masks[b]).any()]
    assert len(pairs) > 30
    assert min((difference(colors[a], colors[b]), a, b) for a, b in pairs)[0] >= ENOUGH
    kept = [name for name in colors if colors[name] == color(name)]
    assert len(kept) > len(colors) / 3
    assert "liver" in kept  # the large ones keep theirs


def _with_faces(mask: np.ndarray) -> np.ndarray:
    grown = mask.copy()
    for axis in range(3):
        low, high = np.moveaxis(grown, axis, 0), np.moveaxis(mask, axis, 0)
        low[1:] |= high[:-1]
        low[:-1] |= high[1:]
    return grown


@pytest.mark.parametrize(
    ("a", "b", "most"),
    [
        ((255, 0, 0), (255, 0, 0), 1e-9),
        ((213, 94, 0), (120, 120, 0), 0.1),  # vermilion and olive, red-green
        ((0, 158, 115), (0, 140, 190), 0.1),  # green and blue, blue-yellow
    ],
)
def test_confusions_are_seen(a: tuple[int, int, int], b: tuple[int, int, int], most: float) -> None:
    assert difference(a, b) <= most
    assert difference(a, b) == pytest.approx(difference(b, a))


def test_where_nothing_is_safe_the_best_is_taken() -> None:
    names = [f"structure {n}" for n in range(60)]
    everything = {name: set(names) - {name} for name in names}
    assert set(safe_colors(names, everything)) == set(names)
    assert safe_colors(names, everything) == safe_colors(names, everything)
