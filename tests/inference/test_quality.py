"""Quality flags on the way from masks on the scanner's grid to files, run record and terminal."""

import csv
import io
import itertools
import json

import numpy as np
import pytest
from rich.console import Console

from suprem.cli._display import Display
from suprem.inference._quality import QualityCheck
from suprem.inference.grid import ModelGrid
from suprem.inference.results import CaseResult
from suprem.inference.segmentation import Segmentation
from suprem.inference.statistics import StructureStatistics, measure, to_csv, to_json
from suprem.inference.store import BitStore
from suprem.quality import check_masks
from suprem.volumes.geometry import Volume, to_ras

NAMES = ("liver", "spleen", "kidney_right", "pancreas")


def _scan(axes: tuple[int, int, int], signs: tuple[int, int, int]) -> Volume:
    """A body in air whose index axes point anywhere."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for index, (patient, sign, size) in enumerate(zip(axes, signs, (8.0, 9.0, 10.0), strict=True)):
        affine[patient, index] = sign * size
    array = np.full((24, 22, 20), -1000, dtype=np.int16)
    array[2:22, 2:20, 1:19] = np.random.default_rng(0).normal(50, 10, (20, 18, 18))
    return Volume(array, affine, "scan")


def _masks() -> dict[str, np.ndarray]:
    masks = {name: np.zeros((24, 22, 20), dtype=bool) for name in NAMES}
    masks["liver"][3:9, 3:9, 2:9] = True
    masks["liver"][15:17, 15:18, 3:6] = True
    masks["spleen"][15:20, 4:9, 14:20] = True
    masks["kidney_right"][10:12, 0:3, 5:9] = True
    return masks


def _judged(scan: Volume, masks: dict[str, np.ndarray]) -> list[StructureStatistics]:
    grid, undecided = ModelGrid.of(scan, None), [99.0, *[0.0] * (len(masks) - 1)]
    segmentation = Segmentation(tuple(masks), scan, grid, BitStore(len(masks), grid.shape), {}, undecided)
    check, rows = QualityCheck(segmentation), []
    for name, mask in masks.items():
        segmentation.set_grid_mask(name, grid.reorientation.apply(mask))
        rows.append(check.looked_at(measure(name, segmentation.mask(name), scan)))
    return check.judged(rows)


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_flags_are_those_of_the_arrays_in_ras(axes: tuple[int, int, int], signs: tuple[int, int, int]) -> None:
    scan, masks = _scan(axes, signs), _masks()
    rows = _judged(scan, masks)
    ras, step = to_ras(scan)
    turned = {name: step.apply(mask) for name, mask in masks.items()}
    expected = check_masks(
        turned, ras.spacing_mm, ras.array, {name: 99.0 if name == "liver" else 0.0 for name in masks}
    )
    assert tuple(finding for row in rows for finding in row.findings) == expected
    for row in rows:
        assert row.evidence is not None
        assert row.evidence.faces == row.touches_fov_border
        assert row.evidence.volume_ml == pytest.approx(row.volume_ml)


def test_files_hold_flags_and_what_they_rest_on() -> None:
    rows = _judged(_scan((0, 1, 2), (1, 1, 1)), _masks())
    liver, spleen, kidney, pancreas = csv.DictReader(io.StringIO(to_csv(rows)))
    assert liver["flags"] == "parts volume side undecided"
    assert float(liver["largest_part_share"]) == pytest.approx(252 / 270, abs=1e-4)
    assert float(liver["undecided_share"]) == pytest.approx(99 / (270 * 0.72), abs=1e-4)
    assert "cut" in spleen["flags"].split()
    assert float(spleen["border_share"]) > 0
    assert (spleen["undecided_share"], pancreas["flags"], pancreas["border_share"]) == ("0.0", "", "")
    content = json.loads(to_json(rows, "universal_32"))["structures"]
    assert [entry["flag"] for entry in content[0]["flags"]] == liver["flags"].split()
    assert "2 separate parts" in content[0]["flags"][0]["text"]
    assert content[3]["flags"] == []
    assert content[2]["border_share"] == float(kidney["border_share"])


def test_masks_are_looked_at_where_they_were_predicted() -> None:
    scan = Volume(np.full((40, 40, 12), 50, np.int16), np.diag([1.0, 1.0, 5.0, 1.0]), "scan")
    grid = ModelGrid.of(scan, (2.0, 2.0, 2.0))
    segmentation = Segmentation(("liver", "pancreas"), scan, grid, BitStore(2, grid.shape), {})
    liver, lost = np.zeros((2, *grid.shape), dtype=bool)
    liver[2:8, 2:8, 2:20], liver[14:16, 14:16, 11] = True, True
    lost[4, 4, 1] = True  # between two slices of the scan
    check, rows = QualityCheck(segmentation), []
    for name, mask in (("liver", liver), ("pancreas", lost)):
        segmentation.set_grid_mask(name, mask)
        rows.append(check.looked_at(measure(name, segmentation.mask(name), scan)))
    found, absent = (row.evidence for row in check.judged(rows))
    assert found is not None
    assert absent is not None
    assert (found.voxels, found.parts, found.volume_ml) == (6 * 6 * 18 + 4, 2, pytest.approx(0.008 * 652))
    assert rows[1].empty
    assert absent.empty


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"liver": ("cut", "parts"), "spleen": ("cut",)}, "2 structures found, 2 to look at (2 cut, 1 parts)"),
        ({}, "2 structures found, none to look at"),
    ],
)
def test_the_line_of_a_case(flags: dict[str, tuple[str, ...]], line: str) -> None:
    sink = io.StringIO()
    with Display(Console(file=sink, width=200, highlight=False, markup=False), 1) as display:
        display.ended(CaseResult("a", "a.nii.gz", "done", "out/a", 1.0, ("liver", "spleen"), flags))
    assert sink.getvalue().strip() == f"[1/1] a: done in 1.0 s, {line}"
