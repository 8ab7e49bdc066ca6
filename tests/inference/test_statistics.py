"""Measurements against hand-computed boxes, NumPy and SciPy."""

import csv
import io
import itertools
import json

import numpy as np
import pytest
from scipy import ndimage

from suprem.errors import VolumeError
from suprem.inference.statistics import StructureStatistics, measure, to_csv, to_json
from suprem.volumes.geometry import Volume


def _scan(shape: tuple[int, int, int] = (12, 10, 8), spacing: tuple[float, ...] = (2.0, 3.0, 5.0)) -> Volume:
    array = np.random.default_rng(0).integers(-1000, 1500, shape, dtype=np.int16)
    return Volume(array, np.diag([*spacing, 1.0]))


def test_box_by_hand() -> None:
    scan = _scan()
    mask = np.zeros(scan.shape, dtype=bool)
    mask[2:6, 3:8, 1:7] = True
    scan.array[mask] = 40
    scan.array[2, 3, 1] = 160
    result = measure("liver", mask, scan, number=6)
    # 4 * 5 * 6 voxels of 2 * 3 * 5 = 30 mm3; one voxel of 120 lies 120 HU higher than the rest.
    assert (result.structure, result.number, result.voxels) == ("liver", 6, 120)
    assert result.volume_ml == pytest.approx(3.6)
    assert result.mean_hu == pytest.approx(41.0)
    assert result.std_hu == pytest.approx(np.sqrt(119.0))
    assert (result.start, result.stop) == ((2, 3, 1), (6, 8, 7))
    assert result.touches_fov_border == ()
    assert not result.empty


@pytest.mark.parametrize("layout", ["C", "F", "view"])
@pytest.mark.parametrize("seed", range(3))
def test_random_masks_against_numpy_and_scipy(layout: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scan = Volume(rng.normal(50, 300, (9, 11, 13)).astype(np.float32), np.diag([0.7, 0.8, 2.5, 1.0]))
    mask = np.zeros(scan.shape, dtype=bool)
    mask[1:8, 2:9, 3:12] = rng.random((7, 7, 9)) < 0.05
    laid = {"C": np.ascontiguousarray(mask), "F": np.asfortranarray(mask), "view": mask[::-1, :, ::-1][::-1, :, ::-1]}
    result = measure("x", laid[layout], scan)
    values = scan.array[mask].astype(np.float64)
    box = ndimage.find_objects(mask.astype(int))[0]
    assert result.voxels == mask.sum()
    assert result.volume_ml == pytest.approx(mask.sum() * 0.7 * 0.8 * 2.5 / 1000)
    assert result.mean_hu == pytest.approx(values.mean(), rel=1e-9)
    assert result.std_hu == pytest.approx(values.std(), rel=1e-9)
    assert result.start == tuple(s.start for s in box)
    assert result.stop == tuple(s.stop for s in box)


def test_empty_mask_is_a_result() -> None:
    scan = _scan()
    result = measure("spleen", np.zeros(scan.shape, dtype=bool), scan, number=1)
    assert result == StructureStatistics("spleen", 1, 0, 0.0)
    assert result.empty


def test_single_voxel_in_a_corner() -> None:
    scan = _scan()
    mask = np.zeros(scan.shape, dtype=bool)
    mask[11, 0, 0] = True
    result = measure("x", mask, scan)
    assert result.std_hu == 0.0
    assert result.mean_hu == scan.array[11, 0, 0]
    assert result.touches_fov_border == ("right", "posterior", "inferior")


def test_oblique_and_left_handed_grids_keep_their_volume() -> None:
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, -1]])
    affine = np.eye(4)
    affine[:3, :3] = turn * (2.0, 3.0, 5.0)
    scan = Volume(np.zeros((5, 5, 5), np.int16), affine)
    assert measure("x", np.ones((5, 5, 5), dtype=bool), scan).volume_ml == pytest.approx(125 * 30 / 1000)


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_faces_are_those_of_the_patient_in_every_orientation(
    axes: tuple[int, int, int], signs: tuple[int, int, int]
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = 0
    for index, (patient, sign) in enumerate(zip(axes, signs, strict=True)):
        affine[patient, index] = sign * 2.0
    scan = Volume(np.zeros((6, 6, 6), np.int16), affine)
    for patient, faces in enumerate((("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))):
        for high, face in enumerate(faces):
            # The middle of the grid, then along one axis of the patient until the grid ends.
            index = axes.index(patient)
            at = [3, 3, 3]
            at[index] = 5 if high == (signs[index] > 0) else 0
            mask = np.zeros(scan.shape, dtype=bool)
            mask[tuple(at)] = True
            assert measure("x", mask, scan).touches_fov_border == (face,)
    assert measure("x", ~np.zeros_like(mask), scan).touches_fov_border == (
        *("left", "right"),
        *("posterior", "anterior"),
        *("inferior", "superior"),
    )


def test_shapes_must_agree() -> None:
    with pytest.raises(VolumeError, match=r"'liver' has shape \(2, 2, 2\)"):
        measure("liver", np.zeros((2, 2, 2), dtype=bool), _scan())


def _rows() -> list[StructureStatistics]:
    scan = _scan()
    mask = np.zeros(scan.shape, dtype=bool)
    mask[2:6, 3:8, 0:8] = True
    scan.array[mask] = -7
    return [measure("liver", mask, scan, 6), measure("my, lesion", ~mask & mask, scan)]


def test_csv_can_be_read_back() -> None:
    liver, lesion = csv.DictReader(io.StringIO(to_csv(_rows())))
    assert liver == {
        "structure": "liver",
        "number": "6",
        "empty": "false",
        "voxels": "160",
        "volume_ml": "4.8",
        "mean_hu": "-7.0",
        "std_hu": "0.0",
        "bbox_x_start": "2",
        "bbox_x_stop": "6",
        "bbox_y_start": "3",
        "bbox_y_stop": "8",
        "bbox_z_start": "0",
        "bbox_z_stop": "8",
        "touches_fov_border": "inferior superior",
        "border_share": "",
        "largest_part_share": "",
        "undecided_share": "",
        "flags": "",
    }
    assert lesion["structure"] == "my, lesion"
    assert (lesion["number"], lesion["empty"], lesion["voxels"], lesion["mean_hu"]) == ("", "true", "0", "")
    assert lesion["bbox_x_start"] == lesion["touches_fov_border"] == ""


def test_json_holds_the_same_numbers() -> None:
    content = json.loads(to_json(_rows(), "universal_32"))
    liver, lesion = content["structures"]
    assert content["label_space"] == "universal_32"
    assert liver["bounding_box"] == {"start": [2, 3, 0], "stop": [6, 8, 8]}
    assert (liver["voxels"], liver["volume_ml"], liver["mean_hu"]) == (160, 4.8, -7.0)
    assert liver["touches_fov_border"] == ["inferior", "superior"]
    assert lesion["empty"] is True
    assert lesion["bounding_box"] is lesion["mean_hu"] is lesion["number"] is None
    assert set(content["meaning"]) < set(liver)
