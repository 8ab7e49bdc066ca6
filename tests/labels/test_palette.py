"""Colours: fixed, distinct, and far enough apart to be told from each other."""

import itertools

import numpy as np

from suprem.labels import color, label_space, list_structures


def _lab(rgb: tuple[int, int, int]) -> np.ndarray:
    """CIE L*a*b* (D65) of an sRGB colour."""
    c = np.asarray(rgb) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    t = xyz / (0.9505, 1.0, 1.089)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_known_colours_do_not_change() -> None:
    assert color("liver") == (180, 83, 42)
    assert color("aorta") == (239, 43, 43)
    assert color("kidney_cyst") == (0, 165, 135)
    assert color("vertebrae_L1") == color("L1 vertebra")


def test_synonyms_share_a_colour() -> None:
    assert color("IVC") == color("postcava") == (47, 86, 224)


def test_all_structures_have_colours_of_their_own() -> None:
    colors = [color(name) for name in list_structures()]
    assert len(set(colors)) == len(colors)
    assert all(isinstance(v, int) and 0 <= v <= 255 for c in colors for v in c)


def test_colours_of_the_checkpoints_are_far_apart_and_not_grey() -> None:
    labs = {name: _lab(color(name)) for name in label_space("universal_32").names}
    # 2.3 is just noticeable side by side; pairs here are many times that.
    distance, pair = min((np.linalg.norm(labs[a] - labs[b]), (a, b)) for a, b in itertools.combinations(labs, 2))
    assert distance > 12, pair
    assert min(np.hypot(*lab[1:]) for lab in labs.values()) > 15


def test_foreign_names_get_a_stable_colour() -> None:
    assert color("my lesion") == color("my lesion")
    assert color("my lesion") in {color(name) for name in list_structures()}
