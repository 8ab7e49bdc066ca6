"""Folders of predictions against folders of references: layouts, numberings, grids, tables, and paired tests."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from suprem.cli import main
from suprem.errors import ConfigurationError, VolumeError
from suprem.evaluation.folders import evaluate_folders
from suprem.evaluation.masks import find_masks
from suprem.evaluation.metrics import compare_masks
from suprem.volumes import Volume, write_volume
from tests.evaluation.label_folders import LIVER, SHAPE, SPACING, SPLEEN, affine, same, shifted, write

Capture = pytest.CaptureFixture[str]


def test_structures_are_paired_by_name_whatever_the_layout_and_orientation(predictions: Path, references: Path) -> None:
    found = evaluate_folders(predictions, references, tolerance_mm=1.0)
    assert len(found.scores) == 8
    for score in found.scores:
        case = int(score.case[-1])
        truth = LIVER[case] if score.structure == "liver" else SPLEEN[case]
        predicted = shifted(truth, 1) if score.structure == "liver" else truth & ~shifted(LIVER[case], 1) | truth
        assert same(score.scores, compare_masks(predicted, truth, SPACING, 1.0))
        assert score.reference_ml == pytest.approx(truth.sum() * 4.5 / 1000)
    assert found.no_reference == ("pancreas",)
    assert (found.not_predicted, found.without_reference, found.without_prediction) == ((), (), ())


def test_a_numbering_can_be_named_and_is_needed(predictions: Path, references: Path) -> None:
    (predictions / "dataset.json").unlink()
    with pytest.raises(ConfigurationError, match="nothing says what its numbers mean"):
        evaluate_folders(predictions, references)
    # In this numbering 1 is the spleen and 5 the liver, so 2 is a kidney.
    found = evaluate_folders(predictions, references, prediction_numbering="totalsegmentator_v2")
    scores = {score.structure: score.scores.dsc for score in found.scores}
    assert scores["spleen"] == 1.0
    assert scores["liver"] == 0.0


def test_regions_of_several_numbers(predictions: Path, references: Path) -> None:
    described = {"labels": {"background": 0, "liver": [1, 2], "spleen": 1, "ignore": 9}}
    (predictions / "dataset.json").write_text(json.dumps(described))
    masks = find_masks(predictions)["case_0"]
    assert masks.structures == ("liver", "spleen")
    both = masks.read().mask("liver").array
    assert both.sum() == (shifted(LIVER[0], 1) | SPLEEN[0]).sum()
    assert {s.structure for s in evaluate_folders(predictions, references).scores} == {"liver", "spleen"}


def test_the_summary_has_means_and_bootstrap_intervals(predictions: Path, references: Path) -> None:
    found = evaluate_folders(predictions, references)
    rows = {(row.structure, row.metric): row for row in found.summary()}
    values = [score.scores.dsc for score in found.scores if score.structure == "liver"]
    liver = rows["liver", "dsc"]
    assert (liver.cases, liver.infinite) == (4, 0)
    assert liver.mean == pytest.approx(np.mean(values))
    assert liver.low is not None
    assert liver.high is not None
    assert min(values) <= liver.low <= liver.mean <= liver.high <= max(values)
    assert found.worst(3)[0].scores.dsc == min(values)


def test_an_empty_prediction_is_infinitely_far_and_counted(predictions: Path, references: Path) -> None:
    write(predictions / "case_1.nii.gz", np.zeros(SHAPE))
    rows = {(row.structure, row.metric): row for row in evaluate_folders(predictions, references).summary()}
    assert (rows["liver", "hd95_mm"].cases, rows["liver", "hd95_mm"].infinite) == (3, 1)
    assert (rows["liver", "dsc"].cases, rows["liver", "dsc"].infinite) == (4, 0)


def test_a_structure_that_nobody_has_counts_as_told(predictions: Path, references: Path) -> None:
    for case in LIVER:
        write(references / f"case_{case}" / "segmentations" / "pancreas.nii.gz", np.zeros(SHAPE), flip=True)
    absent = evaluate_folders(predictions, references)
    assert "pancreas" in absent.structures
    assert "pancreas" not in {row.structure for row in absent.summary()}
    one = {row.structure: row.mean for row in evaluate_folders(predictions, references, empty="one").summary()}
    assert one["pancreas"] == 0.0  # the distance, the last of its rows
    assert evaluate_folders(predictions, references, empty="one").values("pancreas", "dsc") == {
        f"case_{case}": 1.0 for case in LIVER
    }


def test_cases_and_structures_without_a_partner_are_named(predictions: Path, references: Path) -> None:
    (predictions / "case_3.nii.gz").unlink()
    write(predictions / "extra.nii.gz", np.zeros(SHAPE))
    write(references / "case_0" / "segmentations" / "left kidney.nii.gz", SPLEEN[0], flip=True)
    found = evaluate_folders(predictions, references)
    assert found.without_prediction == ("case_3",)
    assert found.without_reference == ("extra",)
    assert found.not_predicted == ("kidney_left",)
    with pytest.raises(ConfigurationError, match="No case has a prediction of kidney_left"):
        evaluate_folders(predictions, references, structures=["left kidney"])


def test_another_grid_is_refused_unless_told(predictions: Path, references: Path) -> None:
    coarse = LIVER[0][::2, ::2]
    volume = Volume(coarse.astype(np.uint8) * 2, affine() @ np.diag([2.0, 2.0, 1.0, 1.0]), "coarse")
    write_volume(volume, predictions / "case_0.nii.gz")
    with pytest.raises(VolumeError, match=r"different grids: \(10, 8, 12\) voxels"):
        evaluate_folders(predictions, references)
    found = evaluate_folders(predictions, references, resample=True)
    score = next(s.scores.dsc for s in found.scores if (s.case, s.structure) == ("case_0", "liver"))
    assert 0.75 < score < 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("no folder", "is not a folder"),
        ("nothing in it", "holds no masks"),
        ("other names", "no case in common"),
        ("no common structure", "No structure has both a prediction and a reference"),
        ("damaged description", "does not describe its labels as nnU-Net does"),
        ("halves", "values between whole numbers"),
        ("NaN", "holds NaN or infinite values"),
    ],
)
def test_what_cannot_be_compared(predictions: Path, references: Path, change: str, message: str) -> None:
    source = predictions
    if change == "no folder":
        source = predictions / "absent"
    elif change == "nothing in it":
        source = predictions / "empty"
        source.mkdir()
    elif change == "other names":
        for path in predictions.glob("*.nii.gz"):
            path.rename(path.with_name(f"x{path.name}"))
    elif change == "no common structure":
        (predictions / "dataset.json").write_text('{"labels": {"pancreas": 1}}')
    elif change == "damaged description":
        (predictions / "dataset.json").write_text('{"labels": {"pancreas": "first"}}')
    else:
        value = 0.5 if change == "halves" else np.nan
        volume = Volume(np.full(SHAPE, value, dtype=np.float32), affine(), "x")
        write_volume(volume, predictions / "case_0.nii.gz")
    with pytest.raises(ConfigurationError, match=message):
        evaluate_folders(source, references)


# ------------------------------------------------------------------ the command


def test_the_command_writes_tables_and_compares(
    predictions: Path, references: Path, tmp_path: Path, capsys: Capture
) -> None:
    out, truth = tmp_path / "out", references
    command = ["evaluate", str(predictions), str(references), "-o", str(out), "--against", str(truth)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "liver" in printed
    assert "DSC against" in printed
    with (out / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    expected = compare_masks(shifted(LIVER[0], 1), LIVER[0], SPACING, 1.0)
    first = next(row for row in rows if (row["case"], row["structure"]) == ("case_0", "liver"))
    assert float(first["dsc"]) == pytest.approx(expected.dsc, abs=1e-6)
    assert float(first["hd95_mm"]) == pytest.approx(expected.hd95_mm, abs=1e-6)
    document = json.loads((out / "evaluation.json").read_text())
    assert document["structures_without_reference"] == ["pancreas"]
    assert document["settings"]["tolerance_mm"] == 1.0
    assert document["worst"][0]["structure"] == "liver"
    with (out / "comparison.csv").open() as file:
        compared = {row["structure"]: row for row in csv.DictReader(file) if row["metric"] == "dsc"}
    assert float(compared["liver"]["difference"]) < 0
    assert compared["spleen"]["note"] == "the same difference in all cases"
    assert main(command) == 1  # the folder exists
    assert "choose another folder, or add --overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite", "--structures", "spleen"]) == 0
    assert {row["structure"] for row in csv.DictReader((out / "cases.csv").open())} == {"spleen"}


def test_an_empty_mask_of_one_side_is_infinity_in_json(predictions: Path, references: Path, tmp_path: Path) -> None:
    write(predictions / "case_1.nii.gz", np.zeros(SHAPE))
    assert main(["evaluate", str(predictions), str(references), "-o", str(tmp_path / "out")]) == 0
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    row = next(r for r in document["cases"] if (r["case"], r["structure"]) == ("case_1", "liver"))
    assert (row["hd95_mm"], row["dsc"]) == ("inf", 0.0)
