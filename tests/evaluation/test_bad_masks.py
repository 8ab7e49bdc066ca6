"""What people hand in by mistake: every one is reported or refused, with the value and what to do."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from suprem.cli import main
from suprem.errors import ConfigurationError, LabelSpaceError, VolumeError
from suprem.evaluation.folders import evaluate_folders
from suprem.evaluation.masks import find_masks
from suprem.labels import label_space
from suprem.volumes import Volume, write_volume
from tests.evaluation.label_folders import LIVER, SHAPE, SPLEEN, affine, ball, shifted, write

Capture = pytest.CaptureFixture[str]


def numbered(root: Path, numbering: str, masks: dict[int, dict[str, np.ndarray]]) -> Path:
    """Label maps without a description."""
    for case, named in masks.items():
        labels = np.zeros(SHAPE, np.uint8)
        for name, mask in named.items():
            labels[mask] = label_space(numbering).number(name)
        write(root / f"case_{case}.nii.gz", labels)
    return root


def organs(by: int = 0) -> dict[int, dict[str, np.ndarray]]:
    kidney = ball((15, 12, 9), 4.0)
    return {
        case: {
            "liver": shifted(LIVER[case], by),
            "spleen": shifted(SPLEEN[case], by),
            "kidney_left": shifted(kidney, by),
        }
        for case in range(3)
    }


# ------------------------------------------------------------------ partners


def test_strict_refuses_cases_without_a_partner(predictions: Path, references: Path) -> None:
    assert evaluate_folders(predictions, references, strict=True).without_prediction == ()
    (predictions / "case_3.nii.gz").rename(predictions / "extra.nii.gz")
    assert evaluate_folders(predictions, references).without_prediction == ("case_3",)
    with pytest.raises(ConfigurationError, match=r"not in .*predictions: case_3; not in .*references: extra"):
        evaluate_folders(predictions, references, strict=True)


def test_a_mask_that_one_case_lacks_is_reported_or_refused(predictions: Path, references: Path) -> None:
    (references / "case_1" / "segmentations" / "liver.nii.gz").unlink()
    found = evaluate_folders(predictions, references)
    assert found.missing == (("case_1", "liver"),)
    assert len(found.values("liver", "dsc")) == 3
    with pytest.raises(ConfigurationError, match="masks of one side only: case_1/liver"):
        evaluate_folders(predictions, references, strict=True)


@pytest.mark.parametrize("second", ["case_0.nii", "case_0.mha", "case_0"])
def test_a_case_that_is_there_twice(predictions: Path, second: str) -> None:
    write(predictions / second if "." in second else predictions / second / "liver.nii.gz", LIVER[0])
    with pytest.raises(ConfigurationError, match="holds the case case_0 twice, as case_0"):
        find_masks(predictions)


def test_a_structure_that_is_there_twice(references: Path) -> None:
    write(references / "case_0" / "segmentations" / "Liver.nii", LIVER[0])
    with pytest.raises(ConfigurationError, match=r"holds liver twice, as Liver\.nii and as liver\.nii\.gz"):
        find_masks(references)


def test_an_empty_folder(references: Path, tmp_path: Path) -> None:
    (tmp_path / "empty" / "case_0").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="holds no masks"):
        evaluate_folders(tmp_path / "empty", references)


# ------------------------------------------------------------------ values


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "NaN or infinite values"), (0.4, r"between whole numbers, such as 0\.4")]
)
def test_masks_of_probabilities_and_of_nothing(predictions: Path, references: Path, value: float, message: str) -> None:
    array = LIVER[0].astype(np.float32)
    array[0, 0, 0] = value
    write_volume(Volume(array, affine(), "x"), references / "case_0" / "segmentations" / "liver.nii.gz")
    with pytest.raises(ConfigurationError, match=rf"^Case case_0: .*liver\.nii\.gz holds (values )?{message}"):
        evaluate_folders(predictions, references)
    array = np.where(LIVER[0], 2, 0).astype(np.float32)
    array[0, 0, 0] = value
    write_volume(Volume(array, affine(), "x"), predictions / "case_0.nii.gz")
    with pytest.raises(ConfigurationError, match=rf"^Case case_0: .*case_0\.nii\.gz holds (values )?{message}"):
        evaluate_folders(predictions, references)


def test_whole_numbers_stored_as_floats_are_labels(predictions: Path, references: Path) -> None:
    labels = np.where(LIVER[0], 2.0, 0.0).astype(np.float32)
    write_volume(Volume(labels, affine(), "x"), predictions / "case_0.nii.gz")
    assert evaluate_folders(predictions, references).values("liver", "dsc")["case_0"] == 1.0


def test_a_series_of_volumes(predictions: Path, references: Path) -> None:
    image = sitk.JoinSeries([sitk.GetImageFromArray(np.zeros((4, 5, 6), np.uint8))] * 2)
    sitk.WriteImage(image, str(predictions / "case_1.nii.gz"))
    with pytest.raises(VolumeError, match=r"^Case case_1: .*case_1\.nii\.gz"):
        evaluate_folders(predictions, references)


def test_numbers_that_the_description_does_not_know(predictions: Path, references: Path) -> None:
    (predictions / "dataset.json").write_text('{"labels": {"background": 0, "liver": 2}}')
    with pytest.raises(LabelSpaceError, match=r"case_0\.nii\.gz holds 1, which the numbering .*dataset\.json does not"):
        evaluate_folders(predictions, references)


def test_numbers_that_the_named_numbering_does_not_know(tmp_path: Path) -> None:
    reference = numbered(tmp_path / "ref", "abdomenatlas_1_1", {0: {"liver": LIVER[0], "duodenum": SPLEEN[0]}})
    prediction = numbered(tmp_path / "pred", "abdomenatlas_1_0", {0: {"liver": LIVER[0]}})
    with pytest.raises(LabelSpaceError, match=r"does not know; name the numbering.* known to .*abdomenatlas_1_1"):
        evaluate_folders(
            prediction, reference, prediction_numbering="abdomenatlas_1_0", reference_numbering="abdomenatlas_1_0"
        )


@pytest.mark.parametrize("value", [-1, 70000])
def test_a_scan_is_no_label_map(predictions: Path, references: Path, value: int) -> None:
    array = np.full(SHAPE, value, np.int32)
    write_volume(Volume(array, affine(), "x"), predictions / "case_0.nii.gz")
    with pytest.raises(LabelSpaceError, match=r"labels lie between 0 and 65535\. Is it a CT"):
        evaluate_folders(predictions, references)


# ------------------------------------------------------------------ numberings


def test_a_wrong_numbering_of_predictions_is_refused_by_name(tmp_path: Path) -> None:
    # 1 is the spleen in BTCV and the liver in WORD, and so on.
    prediction = numbered(tmp_path / "pred", "word", organs(1))
    reference = numbered(tmp_path / "ref", "btcv", organs())
    right = evaluate_folders(prediction, reference, prediction_numbering="word", reference_numbering="btcv")
    assert min(right.values("liver", "dsc").values()) > 0.7
    assert right.notes == ()
    wrong = {"prediction_numbering": "btcv", "reference_numbering": "btcv"}
    message = "is called .* The numbers of the predictions fit word, not btcv; name that numbering"
    with pytest.raises(LabelSpaceError, match=message):
        evaluate_folders(prediction, reference, **wrong)
    trusted = evaluate_folders(prediction, reference, **wrong, trust_numbering=True)
    assert "are names, sides or numbers mixed up?" in trusted.notes[0]
    assert max(trusted.values("liver", "dsc").values()) < 0.1


def test_a_wrong_numbering_of_references_is_refused_by_name(tmp_path: Path) -> None:
    prediction = tmp_path / "pred"
    for case, named in organs(1).items():
        for name, mask in named.items():
            write(prediction / f"case_{case}" / f"{name}.nii.gz", mask)
    reference = numbered(tmp_path / "ref", "word", organs())
    with pytest.raises(LabelSpaceError, match="The numbers of the references fit word, not btcv"):
        evaluate_folders(prediction, reference, reference_numbering="btcv")


def test_swapped_sides_are_noted_where_no_numbering_explains_them(predictions: Path, references: Path) -> None:
    (predictions / "dataset.json").write_text('{"labels": {"spleen": 2, "liver": 1}}')
    for case in LIVER:
        labels = np.where(SPLEEN[case], 1, 0) + np.where(LIVER[case] & ~SPLEEN[case], 2, 0)
        write(predictions / f"case_{case}.nii.gz", labels)
    notes = evaluate_folders(predictions, references).notes
    assert len(notes) == 1
    assert "iver of the references is called spleen in the predictions" in notes[0]
    assert "spleen of the references is called liver in the predictions" in notes[0]


def test_a_bad_prediction_alone_is_no_mixed_up_numbering(predictions: Path, references: Path) -> None:
    for case in LIVER:
        labels = np.where(SPLEEN[case], 1, 0)
        labels[-2:] = 2  # the liver is somewhere else
        write(predictions / f"case_{case}.nii.gz", labels)
    found = evaluate_folders(predictions, references)
    assert max(found.values("liver", "dsc").values()) < 0.1
    assert found.notes == ()


def test_one_case_of_four_is_no_rule(predictions: Path, references: Path) -> None:
    labels = np.where(SPLEEN[0], 2, 0) + np.where(LIVER[0] & ~SPLEEN[0], 1, 0)
    write(predictions / "case_0.nii.gz", labels)
    assert evaluate_folders(predictions, references).notes == ()


# ------------------------------------------------------------------ the command


def test_resampling_is_noted(predictions: Path, references: Path) -> None:
    grid = affine() @ np.diag([2.0, 2.0, 1.0, 1.0])
    write_volume(Volume(LIVER[0][::2, ::2].astype(np.uint8) * 2, grid, "coarse"), predictions / "case_0.nii.gz")
    found = evaluate_folders(predictions, references, resample=True)
    assert found.notes == ("Resampled to the grid of the reference: case_0.",)


def test_one_case_is_not_tested_and_it_says_why(
    predictions: Path, references: Path, tmp_path: Path, capsys: Capture
) -> None:
    for case in (1, 2, 3):
        (predictions / f"case_{case}.nii.gz").unlink()
    command = ["evaluate", str(predictions), str(references), "-o", str(tmp_path / "out")]
    assert main([*command, "--against", str(references)]) == 0
    printed = capsys.readouterr().out
    assert "one case" in printed  # instead of an interval
    assert "over 1 cases; no test: 1 case: nothing to test" in printed
    assert "p =" not in printed
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert document["comparisons"][0]["p_t"] is None
    assert document["comparisons"][0]["note"] == "1 case: nothing to test"
    assert document["summary"][0]["low"] is None


def test_structures_that_no_case_has(predictions: Path, references: Path, tmp_path: Path, capsys: Capture) -> None:
    for case in LIVER:
        write(references / f"case_{case}" / "segmentations" / "pancreas.nii.gz", np.zeros(SHAPE), flip=True)
    command = ["evaluate", str(predictions), str(references), "-o", str(tmp_path / "out"), "--structures", "pancreas"]
    assert main([*command, "--against", str(references)]) == 0
    printed = capsys.readouterr().out
    assert "absent everywhere" in printed
    assert "over 0 cases; no test: no case: nothing to test" in printed
    assert (tmp_path / "out" / "summary.csv").read_text().startswith("structure,metric,cases")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--against", "nowhere"], "nowhere does not exist"),
        (["--against", "PRED"], "is given twice"),
        (["--strict"], "not in .*: case_3"),
    ],
)
def test_the_command_refuses(
    predictions: Path, references: Path, tmp_path: Path, capsys: Capture, change: list[str], message: str
) -> None:
    (predictions / "case_3.nii.gz").unlink()
    change = [str(predictions) if word == "PRED" else word for word in change]
    assert main(["evaluate", str(predictions), str(references), "-o", str(tmp_path / "out"), *change]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert not (tmp_path / "out").exists()


def test_masks_need_references(predictions: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["evaluate", str(predictions), "-o", str(tmp_path / "out")]) == 2
    assert "holds masks, and no references are given" in capsys.readouterr().err
