"""Pictures of the worst: which slice, which colours, which CT, and what is said where there is none."""

import io
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.image import imread

from suprem.cli import main
from suprem.evaluation.folders import evaluate_folders
from suprem.evaluation.pictures import PREDICTION_RGB, REFERENCE_RGB, Picture, draw_worst, worst_slice
from suprem.volumes import Volume, write_volume
from tests.evaluation.label_folders import LIVER, SHAPE, affine, shifted, write

Capture = pytest.CaptureFixture[str]
Image = npt.NDArray[np.float32]


def pixels(picture: Picture) -> Image:
    """Red, green and blue (rows, columns, 3) below the text."""
    image = np.asarray(imread(io.BytesIO(picture.png)))[..., :3]
    return image[110:]


def near(image: Image, rgb: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    return np.asarray((abs(image * 255 - rgb) < 12).all(-1))


def write_ct(path: Path, value: float = 240.0, grid: npt.NDArray[np.float64] | None = None) -> None:
    x, y, z = np.indices(SHAPE)
    array = np.where((x // 3 + y // 3 + z // 3) % 2, value, -150).astype(np.int16)
    write_volume(Volume(array, affine() if grid is None else grid, "ct"), path)


def test_the_slice_with_the_largest_wrong_area_in_mm2() -> None:
    theirs = np.zeros((6, 7, 8), bool)
    theirs[2:5, 2:5, 2:5] = True
    ours = theirs.copy()
    ours[2, :, 3] = True  # 4 voxels too many, in the planes x = 2 and z = 3
    assert worst_slice(ours, theirs, (1.0, 1.0, 1.0)) == (2, 3)
    assert worst_slice(ours, theirs, (1.0, 1.0, 3.0)) == (0, 2)
    assert worst_slice(theirs, theirs, (1.0, 1.0, 1.0)) == (2, 2)
    empty = np.zeros_like(theirs)
    assert worst_slice(empty, theirs, (1.0, 1.0, 9.0)) == (1, 2)
    assert worst_slice(empty, empty, (1.0, 1.0, 1.0)) is None


def test_worst_first_with_both_contours(predictions: Path, references: Path) -> None:
    found = evaluate_folders(predictions, references)
    pictures = draw_worst(found, predictions, references, count=3)
    assert [picture.score for picture in pictures] == list(found.worst(3))
    assert [picture.file[:3] for picture in pictures] == ["01_", "02_", "03_"]
    assert pictures[0].file == f"01_{pictures[0].score.case}_liver.png"
    assert {picture.note for picture in pictures} == {"no CT was found"}
    for picture in pictures:
        assert near(pixels(picture), REFERENCE_RGB).sum() > 300
        assert near(pixels(picture), PREDICTION_RGB).sum() > 100
    again = draw_worst(found, predictions, references, count=3)
    assert [picture.png for picture in again] == [picture.png for picture in pictures]


def test_left_and_right_are_those_of_radiology(predictions: Path, references: Path) -> None:
    # The prediction lies further to the patient's right, which is left in an axial picture.
    for case in LIVER:
        write(predictions / f"case_{case}.nii.gz", np.where(shifted(LIVER[case], 4), 2, 0))
    found = evaluate_folders(predictions, references, structures=["liver"])
    image = pixels(draw_worst(found, predictions, references, count=1)[0])
    columns = [np.flatnonzero(near(image, rgb).any(0)).mean() for rgb in (PREDICTION_RGB, REFERENCE_RGB)]
    assert columns[0] < columns[1] - 30


def test_the_ct_beside_the_masks_or_where_told(predictions: Path, references: Path, tmp_path: Path) -> None:
    found = evaluate_folders(predictions, references)
    case = found.worst(1)[0].case
    write_ct(references / case / "ct.nii.gz")
    beside = draw_worst(found, predictions, references, count=1)[0]
    assert beside.note == ""
    assert near(pixels(beside), (255, 255, 255)).sum() > 1000
    for layout in (f"{case}/ct.nii.gz", f"{case}.nii.gz", f"{case}_0000.nii.gz"):
        images = tmp_path / layout.replace("/", "_")
        write_ct(images / layout, 40.0)
        told = draw_worst(found, predictions, references, count=1, images=images)[0]
        assert told.note == ""
        assert near(pixels(told), (127, 127, 127)).sum() > 1000


def test_a_ct_that_cannot_be_shown_is_said(predictions: Path, references: Path, tmp_path: Path) -> None:
    found = evaluate_folders(predictions, references)
    case = found.worst(1)[0].case
    write_ct(tmp_path / "coarse" / f"{case}.nii.gz", grid=affine() @ np.diag([2.0, 2.0, 1.0, 1.0]))
    picture = draw_worst(found, predictions, references, count=1, images=tmp_path / "coarse")[0]
    assert picture.note.startswith("the CT cannot be shown: ")
    assert "different grids" in picture.note
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / f"{case}.nii.gz").write_bytes(b"no")
    picture = draw_worst(found, predictions, references, count=1, images=tmp_path / "broken")[0]
    assert f"{case}.nii.gz" in picture.note
    assert near(pixels(picture), REFERENCE_RGB).sum() > 300


def test_empty_masks(predictions: Path, references: Path) -> None:
    write(predictions / "case_1.nii.gz", np.zeros(SHAPE))
    write(references / "case_1" / "segmentations" / "spleen.nii.gz", np.zeros(SHAPE), flip=True)
    found = evaluate_folders(predictions, references, empty="zero")
    assert {(score.case, score.structure) for score in found.worst(2)} == {("case_1", "liver"), ("case_1", "spleen")}
    pictures = draw_worst(found, predictions, references, count=2)
    assert [picture.file for picture in pictures] == ["01_case_1_liver.png"]  # of nothing there is no picture
    assert near(pixels(pictures[0]), REFERENCE_RGB).any()
    assert not near(pixels(pictures[0]), PREDICTION_RGB).any()


def test_the_command_writes_them_and_names_them(
    predictions: Path, references: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out"
    command = ["evaluate", str(predictions), str(references), "-o", str(out), "--worst", "2"]
    assert main(command) == 0
    files = sorted(path.name for path in (out / "worst").iterdir())
    assert len(files) == 2
    printed = capsys.readouterr().out
    assert files[0] in printed
    assert "no CT was found" in printed
    worst = json.loads((out / "evaluation.json").read_text())["worst"]
    assert [row.get("picture") for row in worst[:3]] == [f"worst/{files[0]}", f"worst/{files[1]}", None]
    assert f"](worst/{files[0]})" in (out / "summary.md").read_text()
    assert main([*command, "--overwrite", "--worst", "0"]) == 0
    assert not (out / "worst").exists()
    assert main([*command, "--overwrite", "--images", str(tmp_path / "nowhere")]) == 2
    assert "nowhere does not exist" in capsys.readouterr().err
