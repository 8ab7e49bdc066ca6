"""The flags: which structures of a scan deserve a look, and why, in careful words."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from suprem.errors import ConfigurationError, UnknownNameError, VolumeError
from suprem.labels import known_name, mirrored, structure
from suprem.quality.evidence import Evidence, Spacing, body_midline_mm, gather
from suprem.quality.reference import UNSOURCED, Quantity, reference_ranges

__all__ = ["BETWEEN", "FLAGS", "Finding", "Flag", "by_structure", "check_masks", "find", "in_words"]

Flag = Literal["cut", "parts", "volume", "intensity", "spread", "side", "undecided", "missing"]
FLAGS: tuple[Flag, ...] = get_args(Flag)
"""All flags, in the order in which they are listed."""

_PARTS_SHARE = 0.98
"""Specks apart that make up less than 2 % of a structure are not worth a look."""
_UNDECIDED_SHARE = 0.5
"""Chosen on phantoms, see docs/explanation/quality-flags.md; how sure a network sounds differs between networks."""
_ACROSS_MM = 10.0
"""Centres are less exact than this in small or cut structures."""
_NEIGHBOUR_ML = 1.0

_USUAL_SIDES = {"liver": "right", "gall_bladder": "right", "spleen": "left"}
"""Of structures without a left and a right one; they differ in situs inversus."""

BETWEEN = {
    "liver": ("lung_right", "kidney_right"),
    "spleen": ("lung_left", "kidney_left"),
    "stomach": ("lung_left", "kidney_left"),
    "pancreas": ("lung_left", "kidney_left"),
    "gall_bladder": ("lung_right", "kidney_right"),
    "adrenal_gland_right": ("lung_right", "kidney_right"),
    "adrenal_gland_left": ("lung_left", "kidney_left"),
    "aorta": ("lung_left", "kidney_left"),
    "postcava": ("lung_right", "kidney_right"),
    "kidney_right": ("liver", "bladder"),
    "kidney_left": ("spleen", "bladder"),
}
"""Structure -> one above and one below it: where both are in view, it should be as well."""
_UNITS = {"volume_ml": "ml", "mean_hu": "HU", "std_hu": "HU"}
_MEASURED: tuple[tuple[Quantity, Flag, str], ...] = (
    ("volume_ml", "volume", "volume"),
    ("mean_hu", "intensity", "mean density"),
    ("std_hu", "spread", "spread of density"),
)


@dataclass(frozen=True)
class Finding:
    """One reason to look at a structure.

    Attributes:
        structure: its name.
        flag: ``"cut"`` (reaches the border of the field of view), ``"parts"`` (in several parts where one is usual),
            ``"volume"``, ``"intensity"``, ``"spread"`` (outside the range usual in adults), ``"side"`` (on the other
            side of the body), ``"undecided"`` (the network was close to its threshold), ``"missing"`` (not found though
            its neighbours are in view).
        text: a sentence for people.
    """

    structure: str
    flag: Flag
    text: str


def check_masks(
    masks: Mapping[str, npt.NDArray[Any]],
    spacing_mm: Spacing,
    ct: npt.NDArray[Any] | None = None,
    undecided_ml: Mapping[str, float] | None = None,
) -> tuple[Finding, ...]:
    """Flags of masks from anywhere: predictions, or labels whose quality is in question.

    Args:
        masks: Structure -> bool or 0/1 (X, Y, Z) in RAS (the first index grows to the right of the patient), all of one
            shape. Names that the label registry does not know get only the flags that need no knowledge.
        spacing_mm: Voxel size (x, y, z).
        ct: HU on the same grid; without it densities are not judged, and sides only against the other side.
        undecided_ml: Structure -> volume in which its probability was close to the threshold.

    Raises:
        VolumeError: shapes differ, or the spacing is not positive.

    Example:
        >>> liver = np.zeros((20, 20, 20), dtype=bool)
        >>> liver[12:18, 5:15, 0:10] = True
        >>> [finding.flag for finding in check_masks({"liver": liver}, (3.0, 3.0, 3.0))]
        ['cut']
    """
    evidence = []
    for name, values in masks.items():
        mask = values.astype(np.bool_, copy=False)
        for other in [ct] if ct is not None else list(masks.values())[:1]:
            if other.shape != mask.shape:
                raise VolumeError(
                    f"The mask of {name!r} has shape {mask.shape}, and {other.shape} lies beside it; give one grid."
                )
        inside = ct[mask].astype(np.float64) if ct is not None and mask.any() else None
        mean, std = (None, None) if inside is None else (float(inside.mean()), float(inside.std()))
        undecided = (undecided_ml or {}).get(name)
        evidence.append(gather(name, mask, spacing_mm, mean_hu=mean, std_hu=std, undecided_ml=undecided))
    return find(evidence, None if ct is None else body_midline_mm(ct, spacing_mm))


def find(evidence: Sequence[Evidence], midline_mm: float | None = None) -> tuple[Finding, ...]:
    """Judges what was measured of all structures of one scan.

    Args:
        evidence: Of each structure that was looked for, empty ones too.
        midline_mm: Middle of the body along the left-right axis, as :func:`~suprem.quality.body_midline_mm` gives it.

    Returns:
        Findings in the order of the structures, and of :data:`FLAGS`.

    Raises:
        ConfigurationError: a structure comes twice.
    """
    known = {known_name(one.structure): one for one in evidence}
    if len(known) < len(evidence):
        names = ", ".join(one.structure for one in evidence)
        raise ConfigurationError(f"A structure comes twice, perhaps in two spellings: {names}. Leave one of them out.")
    sides = dict(_sides(known, midline_mm))
    result: list[Finding] = []
    for name, one in known.items():
        flags = _missing(name, known) if one.empty else _of_one(name, one)
        texts = dict(flags) | ({"side": sides[name]} if name in sides else {})
        result += [Finding(one.structure, flag, texts[flag]) for flag in FLAGS if flag in texts]
    return tuple(result)


def _of_one(name: str, one: Evidence) -> Iterator[tuple[Flag, str]]:
    """What can be said of a structure without the others."""
    if one.faces and one.border_share is not None:
        yield (
            "cut",
            f"reaches the {_listed(one.faces)} border of the field of view with {_percent(one.border_share)} of its "
            "surface; it may be cut off there, and its volume is then that of a part",
        )
    if one.parts is not None and one.largest_share is not None and one.largest_share < _PARTS_SHARE:
        yield (
            "parts",
            f"lies in {one.parts} separate parts, {_percent(1 - one.largest_share)} of it apart from the largest; look "
            "at it",
        )
    for quantity, flag, word in _MEASURED:
        value, usual = getattr(one, quantity), reference_ranges().get((name, quantity))
        # A structure that is cut may well be small.
        if (
            value is None
            or usual is None
            or usual.holds(value)
            or (flag == "volume" and one.faces and value < usual.low)
        ):
            continue
        kind = "a wide range for" if usual.source == UNSOURCED else "the range usual in"
        yield (
            flag,
            f"{word} of {value:,.{_digits(usual.low)}f} {_UNITS[quantity]} is outside {kind} adults ({usual.low:,g} to "
            f"{usual.high:,g} {_UNITS[quantity]}); look at it",
        )
    share = one.undecided_share
    if share is not None and share > _UNDECIDED_SHARE:
        yield (
            "undecided",
            f"the network was undecided in a volume of {_percent(share)} of the mask; look at its outline",
        )


def _missing(name: str, known: Mapping[str, Evidence]) -> Iterator[tuple[Flag, str]]:
    neighbours = BETWEEN.get(name, ())
    if neighbours and all(other in known and known[other].volume_ml >= _NEIGHBOUR_ML for other in neighbours):
        yield "missing", f"was not found though {' and '.join(neighbours)} are in view; it was removed, or missed"


def _sides(known: Mapping[str, Evidence], midline_mm: float | None) -> Iterator[tuple[str, str]]:
    """Structures on the wrong side of their partner or of the body, each at most once, and why."""
    centres = {name: one.centre_x_mm for name, one in known.items() if one.centre_x_mm is not None}
    exchanged = "liver" in centres and "spleen" in centres and centres["spleen"] - centres["liver"] > _ACROSS_MM
    for name, centre in centres.items():
        side = _side(name)
        if side is None:
            continue
        partner = _partner(name)
        sign = 1 if side == "right" else -1
        if exchanged:
            yield (
                name,
                "liver and spleen lie on each other's side, so left and right are in doubt in the whole scan; look at "
                "its orientation",
            )
        elif partner in centres and sign * (centres[partner] - centre) > _ACROSS_MM:
            yield name, f"lies on the other side of {partner}; left and right may be exchanged"
        elif midline_mm is not None and sign * (midline_mm - centre) > _ACROSS_MM:
            yield (
                name,
                f"lies {abs(midline_mm - centre):.0f} mm across the middle of the body, where its {side} side is "
                "expected; look at it",
            )


def _side(name: str) -> str | None:
    try:
        return structure(name).side or _USUAL_SIDES.get(name)
    except UnknownNameError:  # a class of the user's own
        return None


def _partner(name: str) -> str:
    """The structure that lies on the other side."""
    return {"liver": "spleen", "spleen": "liver"}.get(name) or mirrored(name)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "less than 1 %"


def _digits(low: float) -> int:
    return 1 if 0 < low < 10 else 0


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def by_structure(findings: Iterable[Finding]) -> dict[str, list[str]]:
    """The sentences about each structure, for reports; structures without a finding are left out.

    Example:
        >>> by_structure([Finding("liver", "parts", "lies in 2 parts"), Finding("liver", "side", "lies left")])
        {'liver': ['lies in 2 parts', 'lies left']}
    """
    result: dict[str, list[str]] = {}
    for finding in findings:
        result.setdefault(finding.structure, []).append(finding.text)
    return result


def in_words(flags: Mapping[str, Iterable[str]]) -> str:
    """One short line on a scan: how many structures to look at, and how often each flag was raised.

    Args:
        flags: Structure -> its flags; structures without flags are left out.

    Example:
        >>> in_words({"liver": ["cut", "volume"], "femur_left": ["cut"]})
        '2 to look at (2 cut, 1 volume)'
        >>> in_words({})
        'none to look at'
    """
    counts = Counter(flag for listed in flags.values() for flag in listed)
    if not counts:
        return "none to look at"
    order = sorted(counts, key=lambda flag: FLAGS.index(flag) if flag in FLAGS else len(FLAGS))
    return f"{len(flags)} to look at ({', '.join(f'{counts[flag]} {flag}' for flag in order)})"
