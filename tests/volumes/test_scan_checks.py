"""Checks of scans: on one phantom every planted defect of experiments/quality is found, and nothing if clean."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from experiments.quality.scan_defects import DEFECTS, check_defect, clean, phantom_of
from suprem.phantom import PhantomCase
from suprem.volumes.geometry import Reorientation, Volume
from suprem.volumes.io import read_ct, write_volume
from suprem.volumes.scan_checks import SCAN_CHECKS, check_scan, check_scan_file
from suprem.volumes.symptoms import SEVERITIES, Symptom, worst

SEED = 6901


@pytest.fixture(scope="module")
def phantom() -> PhantomCase:
    return phantom_of(SEED)


@pytest.fixture(scope="module")
def scan(phantom: PhantomCase) -> Volume:
    return clean(phantom.ct, SEED)[0]


def codes(symptoms: tuple[Symptom, ...]) -> list[str]:
    return [symptom.code for symptom in symptoms]


def test_a_clean_scan_has_nothing_but_information(scan: Volume) -> None:
    assert [str(symptom) for symptom in check_scan(scan) if symptom.severity != "info"] == []


@pytest.mark.parametrize("name", DEFECTS)
def test_planted_defects_are_found(name: str, scan: Volume, tmp_path: Path) -> None:
    symptoms = check_defect(name, scan, SEED, tmp_path)
    assert DEFECTS[name][0] in codes(symptoms)
    assert all(symptom.severity == SCAN_CHECKS[symptom.code].severity for symptom in symptoms)


def test_a_label_map_is_no_scan(phantom: PhantomCase) -> None:
    assert codes(check_scan(phantom.labels))[-1] == "label-map"


def test_the_phase_is_guessed_and_only_information(scan: Volume, phantom: PhantomCase) -> None:
    assert phantom.info["phase"] == "unenhanced"
    said = [symptom for symptom in check_scan(scan) if symptom.code == "phase"]
    assert [symptom.severity for symptom in said] == ["info"]
    assert "without contrast medium" in said[0].text
    lifted = replace(scan, array=np.where(scan.array > 0, scan.array + 40, scan.array).astype(np.int16))
    assert any("probably with contrast medium" in symptom.text for symptom in check_scan(lifted))


def test_every_kind_of_symptom_is_planted() -> None:
    assert {code for code, _ in DEFECTS.values()} | {"label-map", "phase"} == set(SCAN_CHECKS)


def test_the_reason_why_a_file_cannot_be_read_is_a_symptom(tmp_path: Path) -> None:
    volume, symptoms = check_scan_file(tmp_path / "absent.nii.gz")
    assert volume is None
    assert codes(symptoms) == ["unreadable"]
    assert "does not exist" in symptoms[0].text


def test_a_file_that_can_be_read_comes_with_its_symptoms(scan: Volume, tmp_path: Path) -> None:
    write_volume(scan, tmp_path / "scan.nii")
    volume, symptoms = check_scan_file(tmp_path / "scan.nii")
    assert volume is not None
    assert volume.shape == scan.shape
    assert codes(symptoms) == codes(check_scan(scan))


def test_the_real_ct(real_ct: Path) -> None:
    """It has a hip implant, was taken without contrast medium, and its left flank reaches the border."""
    symptoms = check_scan(read_ct(real_ct))
    assert codes(symptoms) == ["truncated", "metal", "phase"]
    assert "left side" in symptoms[0].text
    assert "without contrast" in symptoms[2].text


def test_the_real_slab_is_short(real_ct: Path) -> None:
    assert codes(check_scan(read_ct(real_ct.with_name("example_ct_sm.nii.gz")))) == ["short", "phase"]


def _arrays() -> st.SearchStrategy[npt.NDArray[np.generic]]:
    shapes = hnp.array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=12)
    kinds = st.sampled_from([np.int16, np.uint8, np.float32])
    limits = {np.int16: (-3024, 3071), np.uint8: (0, 255), np.float32: (-2000.0, 4000.0)}

    def of(kind: type) -> st.SearchStrategy[npt.NDArray[np.generic]]:
        low, high = limits[kind]
        values = st.floats(low, high, width=32) if kind is np.float32 else st.integers(int(low), int(high))
        return hnp.arrays(kind, shapes, elements=values)

    return kinds.flatmap(of)


@settings(max_examples=60, deadline=None)
@given(array=_arrays(), spacing=st.tuples(*[st.floats(0.01, 300.0)] * 3))
def test_whatever_the_voxels_are_there_is_an_answer(
    array: npt.NDArray[np.generic], spacing: tuple[float, float, float]
) -> None:
    symptoms = check_scan(Volume(array, np.diag([*spacing, 1.0])))
    order = [list(SCAN_CHECKS).index(symptom.code) for symptom in symptoms]
    assert order == sorted(order)
    assert worst(symptoms) in (None, *SEVERITIES)


def test_a_nearly_empty_scan_has_an_answer() -> None:
    array = np.zeros((30, 30, 30), dtype=np.int16)
    array[3, 4, 5], array[20, 10, 5] = 2000, -300
    assert worst(check_scan(Volume(array, np.diag([3.0, 3.0, 3.0, 1.0])))) == "error"


def _reoriented(scan: Volume, axes: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> Volume:
    affine = np.eye(4)
    affine[:3, 3] = scan.affine[:3, 3]
    for out, (source, flip) in enumerate(zip(axes, flips, strict=True)):
        column = scan.affine[:3, source]
        affine[:3, out] = -column if flip else column
        affine[:3, 3] += column * (scan.shape[source] - 1) if flip else 0
    return Volume(Reorientation(axes, flips).apply(scan.array), affine)


@settings(max_examples=8, deadline=None)
@given(axes=st.permutations(range(3)), flips=st.tuples(*[st.booleans()] * 3))
def test_the_order_of_the_axes_in_memory_does_not_matter(
    axes: list[int], flips: tuple[bool, bool, bool], scan: Volume
) -> None:
    turned = _reoriented(scan, (axes[0], axes[1], axes[2]), flips)
    assert [s for s in check_scan(turned) if s.code != "left-handed"] == [
        s for s in check_scan(scan) if s.code != "left-handed"
    ]


@settings(max_examples=8, deadline=None)
@given(amount=st.integers(400, 1500))
def test_any_large_shift_of_the_scale_is_found(amount: int, scan: Volume) -> None:
    shifted = replace(scan, array=(scan.array + np.int16(amount)).astype(np.int16))
    found = [symptom for symptom in check_scan(shifted) if symptom.code == "hu-offset"]
    assert len(found) == 1
    told = int(found[0].text.split("about ")[1].split()[0])
    assert abs(told - amount) < 60


def test_severities_rise() -> None:
    def symptom(severity: str) -> Symptom:
        return Symptom("code", severity, "Text.", "Advice.")  # type: ignore[arg-type]

    assert worst([]) is None
    assert worst([symptom("info"), symptom("error"), symptom("warning")]) == "error"
    assert str(symptom("error")) == "error: Text. Advice. [code]"


def test_a_symptom_of_no_table_is_refused() -> None:
    with pytest.raises(KeyError):
        Symptom.of(SCAN_CHECKS, "nonsense", "Text.")
