"""Each flag on a case that deserves it and on one that does not."""

import re

import numpy as np
import pytest

from suprem.errors import ConfigurationError, VolumeError
from suprem.labels import label_space
from suprem.phantom import PhantomCase, generate
from suprem.quality import Evidence, Finding, by_structure, check_masks, find, gather, in_words

SHAPE = (40, 30, 30)
SPACING = (10.0, 10.0, 10.0)


def _box(*spans: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[tuple(slice(*span) for span in spans)] = True
    return mask


def _flags(findings: tuple[Finding, ...]) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for finding in findings:
        result.setdefault(finding.structure, []).append(finding.flag)
    return result


def _evidence(name: str, **changes: object) -> Evidence:
    """A structure without fault."""
    plain = {"voxels": 1000, "volume_ml": 1500.0, "faces": (), "border_share": 0.0, "surface_mm2": 9000.0}
    return Evidence(name, **{**plain, "parts": 1, "largest_share": 1.0, **changes})  # type: ignore[arg-type]


def test_nothing_to_say_about_a_plain_liver() -> None:
    liver = _box((25, 36), (5, 17), (8, 19))  # 1.45 l
    ct = np.full(SHAPE, -1000.0)
    ct[3:37, 3:27] = 50.0
    assert check_masks({"liver": liver}, SPACING, ct, {"liver": 100.0}) == ()


def test_cut_by_the_field_of_view() -> None:
    (finding,) = find([_evidence("liver", faces=("left", "inferior"), border_share=0.234)])
    assert (finding.structure, finding.flag) == ("liver", "cut")
    assert "left and inferior border of the field of view with 23 %" in finding.text
    assert "less than 1 %" in find([_evidence("liver", faces=("left",), border_share=0.001)])[0].text


def test_parts() -> None:
    (finding,) = find([_evidence("liver", parts=3, largest_share=0.9)])
    assert finding.flag == "parts"
    assert "3 separate parts, 10 %" in finding.text
    assert find([_evidence("liver", parts=3, largest_share=0.99)]) == ()  # specks
    assert find([_evidence("liver_tumor", parts=None, largest_share=None)]) == ()


@pytest.mark.parametrize(("volume", "flags"), [(593, ["volume"]), (594, []), (2250, []), (2251, ["volume"])])
def test_volume(volume: float, flags: list[str]) -> None:
    assert [f.flag for f in find([_evidence("liver", volume_ml=float(volume))])] == flags


def test_what_is_cut_may_be_small_but_not_large() -> None:
    small = _evidence("liver", volume_ml=100.0, faces=("superior",), border_share=0.1)
    large = _evidence("liver", volume_ml=3000.0, faces=("superior",), border_share=0.1)
    assert [f.flag for f in find([small])] == ["cut"]
    assert [f.flag for f in find([large])] == ["cut", "volume"]


def test_density_and_its_spread() -> None:
    assert find([_evidence("liver", mean_hu=60.0, std_hu=20.0)]) == ()
    found = find([_evidence("liver", mean_hu=-400.0, std_hu=200.0)])
    assert [f.flag for f in found] == ["intensity", "spread"]
    assert "-400 HU is outside a wide range for adults (-20 to 280 HU); look at it" in found[0].text
    assert find([_evidence("colon", mean_hu=-400.0, std_hu=200.0)]) == ()  # nothing is known of it


def test_undecided() -> None:
    (finding,) = find([_evidence("liver", undecided_ml=1000.0)])
    assert finding.flag == "undecided"
    assert "67 %" in finding.text
    assert find([_evidence("liver", undecided_ml=100.0)]) == ()
    assert find([_evidence("liver", undecided_ml=None)]) == ()


def test_missing_between_its_neighbours() -> None:
    lung, kidney = _evidence("lung_left", volume_ml=2000.0), _evidence("kidney_left", volume_ml=150.0)
    nothing = Evidence("spleen", 0, 0.0)
    (finding,) = find([lung, nothing, kidney])
    assert (finding.structure, finding.flag) == ("spleen", "missing")
    assert "removed, or missed" in finding.text
    assert find([lung, nothing, Evidence("kidney_left", 0, 0.0)]) == ()  # its region may not be in view
    assert find([lung, nothing]) == ()  # nobody looked for the kidney
    assert find([Evidence("liver_tumor", 0, 0.0), lung, kidney]) == ()  # the healthy have none


def _sided(**centres: float) -> list[Evidence]:
    return [_evidence(name, volume_ml=150.0, centre_x_mm=centre) for name, centre in centres.items()]


def test_side_against_the_partner() -> None:
    assert find(_sided(kidney_right=260.0, kidney_left=140.0)) == ()
    assert find(_sided(kidney_right=200.0, kidney_left=209.0)) == ()  # too close to say
    assert _flags(find(_sided(kidney_right=140.0, kidney_left=260.0))) == {
        "kidney_right": ["side"],
        "kidney_left": ["side"],
    }


def test_side_against_the_midline() -> None:
    assert find(_sided(kidney_right=260.0), 200.0) == ()
    assert find(_sided(kidney_right=195.0), 200.0) == ()
    (finding,) = find(_sided(kidney_right=140.0), 200.0)
    assert finding.flag == "side"
    assert "60 mm across the middle" in finding.text
    assert _flags(find(_sided(gall_bladder=140.0), 200.0)) == {"gall_bladder": ["side"]}
    assert find(_sided(colon=140.0, heart_atrium_right=140.0), 200.0) == ()  # have no side
    assert find(_sided(kidney_right=140.0), None) == ()


def test_exchanged_liver_and_spleen_put_all_sides_in_doubt() -> None:
    found = find(_sided(liver=140.0, spleen=260.0, kidney_right=260.0, kidney_left=140.0, pancreas=200.0))
    sides = {finding.structure for finding in found if finding.flag == "side"}
    assert sides == {"liver", "spleen", "kidney_right", "kidney_left"}


def test_words_never_say_wrong() -> None:
    doubtful = {"faces": ("left",), "border_share": 0.5, "parts": 9, "largest_share": 0.2, "volume_ml": 9999.0}
    everything = [
        _evidence("liver", **doubtful, mean_hu=-900.0, std_hu=900.0, undecided_ml=99999.0, centre_x_mm=1.0),
        _evidence("spleen", centre_x_mm=99.0),
        _evidence("kidney_left", volume_ml=150.0, centre_x_mm=50.0),
        _evidence("lung_left", volume_ml=2000.0),
        Evidence("pancreas", 0, 0.0),
    ]
    found = find(everything, 50.0)
    assert {finding.flag for finding in found} >= {"cut", "parts", "volume", "intensity", "spread", "undecided"}
    assert {finding.flag for finding in found} >= {"side", "missing"}
    assert not re.search(r"wrong|error|fail|incorrect", " ".join(finding.text for finding in found))


def test_unknown_names_and_synonyms() -> None:
    strange = _box((0, 3), (5, 9), (5, 9)) | _box((20, 22), (5, 9), (5, 9))
    assert _flags(check_masks({"flux capacitor": strange}, SPACING)) == {"flux capacitor": ["cut"]}
    tiny = _box((20, 21), (5, 6), (5, 6))
    (finding,) = check_masks({"Left kidney": tiny}, SPACING)
    assert (finding.structure, finding.flag) == ("Left kidney", "volume")
    with pytest.raises(ConfigurationError, match="comes twice"):
        check_masks({"Left kidney": tiny, "kidney_left": tiny}, SPACING)


def test_empty_masks_and_single_slices() -> None:
    assert check_masks({"liver": np.zeros(SHAPE, dtype=np.uint8)}, SPACING, np.zeros(SHAPE)) == ()
    assert check_masks({}, SPACING) == ()
    ct = np.full((30, 20, 1), 50.0)
    liver = np.zeros(ct.shape, dtype=np.uint8)
    liver[18:24, 4:9] = 1
    assert _flags(check_masks({"liver": liver}, (3.0, 3.0, 5.0), ct)) == {"liver": ["cut"]}


def test_shapes_must_agree() -> None:
    with pytest.raises(VolumeError, match="give one grid"):
        check_masks({"liver": np.ones((3, 3, 3))}, SPACING, np.zeros((3, 3, 4)))
    with pytest.raises(VolumeError, match="give one grid"):
        check_masks({"liver": np.ones((3, 3, 3)), "spleen": np.ones((3, 3, 4))}, SPACING)


def test_findings_for_reports() -> None:
    found = find([_evidence("liver", parts=3, largest_share=0.9), *_sided(kidney_right=140.0)], 200.0)
    texts = by_structure(found)
    assert list(texts) == ["liver", "kidney_right"]
    assert all(isinstance(text, str) for listed in texts.values() for text in listed)
    assert in_words(_flags(found)) == "2 to look at (1 parts, 1 side)"


@pytest.fixture(scope="module")
def phantom() -> PhantomCase:
    return generate(7, spacing_mm=(8.0, 8.0, 8.0))


def _checked(case: PhantomCase, take: tuple[slice, slice, slice]) -> dict[str, list[str]]:
    names = label_space("universal_32").names
    masks = {name: case.mask(name)[take] for name in names}
    return _flags(check_masks(masks, case.ct.spacing_mm, case.ct.array[take]))


WHOLE = (slice(None), slice(None), slice(None))


def test_the_truth_of_a_phantom_is_hardly_flagged(phantom: PhantomCase) -> None:
    flags = _checked(phantom, WHOLE)
    assert "liver" not in flags
    assert not any("side" in listed or "missing" in listed for listed in flags.values())
    assert "cut" in flags["femur_left"]
    assert "cut" in flags["lung_right"]


def test_a_mirrored_phantom_has_its_sides_flagged(phantom: PhantomCase) -> None:
    flags = _checked(phantom, (slice(None, None, -1), *WHOLE[1:]))
    for name in ("liver", "spleen", "kidney_left", "kidney_right", "lung_left", "lung_right", "gall_bladder"):
        assert "side" in flags[name]
    assert "side" not in flags.get("pancreas", [])


def test_a_cropped_phantom_has_the_cut_flagged(phantom: PhantomCase) -> None:
    middle = int(np.flatnonzero(phantom.mask("liver").any(axis=(0, 1))).mean())
    flags = _checked(phantom, (*WHOLE[:2], slice(middle, None)))
    assert flags["liver"][0] == "cut"
    assert "missing" not in {flag for listed in flags.values() for flag in listed}


def test_evidence_of_masks_and_of_rows_agree(phantom: PhantomCase) -> None:
    mask = phantom.mask("spleen")
    inside = phantom.ct.array[mask].astype(float)
    one = gather("spleen", mask, phantom.ct.spacing_mm, mean_hu=inside.mean(), std_hu=inside.std())
    assert find([one]) == check_masks({"spleen": mask}, phantom.ct.spacing_mm, phantom.ct.array)
