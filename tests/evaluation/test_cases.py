"""One case in one pass: the same scores as mask by mask, whatever the layout, the overlaps and the processes."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suprem.cli import main
from suprem.errors import VolumeError
from suprem.evaluation import cases as module
from suprem.evaluation.cases import CaseTask, read_layers, score_case
from suprem.evaluation.folders import evaluate_folders
from suprem.evaluation.masks import CaseMasks, find_masks
from suprem.evaluation.metrics import compare_masks
from suprem.volumes import Volume, write_volume
from tests.evaluation.label_folders import LIVER, SHAPE, SPACING, SPLEEN, Mask, affine, ball, same, shifted, write

NAMES = ("liver", "spleen", "liver_tumor")
TUMOUR = ball((9, 8, 6), 3.0)  # inside the liver


def mask_files(root: Path, masks: dict[str, Mask], flip: bool = False) -> CaseMasks:
    for name, mask in masks.items():
        write(root / "case" / f"{name}.nii.gz", mask, flip)
    return find_masks(root)["case"]


def label_map(root: Path, masks: dict[str, Mask], flip: bool = False) -> CaseMasks:
    labels = np.zeros(SHAPE, np.uint8)
    for number, mask in enumerate(masks.values(), start=5):
        labels[mask] = number
    write(root / "case.nii.gz", labels, flip)
    (root / "dataset.json").write_text(json.dumps({"labels": {n: i for i, n in enumerate(masks, start=5)}}))
    return find_masks(root)["case"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many structures each pass compared."""
    counts: list[int] = []
    compare = module.compare_labels

    def counting(*args: Any, **options: Any) -> Any:
        counts.append(len(args[3]))
        return compare(*args, **options)

    monkeypatch.setattr(module, "compare_labels", counting)
    return counts


@pytest.mark.parametrize("theirs_flipped", [False, True])
@pytest.mark.parametrize(
    ("ours", "theirs"), [(label_map, label_map), (mask_files, mask_files), (label_map, mask_files)]
)
def test_one_pass_gives_what_mask_by_mask_gives(
    tmp_path: Path, calls: list[int], ours: Any, theirs: Any, theirs_flipped: bool
) -> None:
    wanted = {"liver": LIVER[0] & ~SPLEEN[0], "spleen": SPLEEN[0], "pancreas": np.zeros(SHAPE, bool)}
    found = {"spleen": shifted(SPLEEN[0], 1), "pancreas": TUMOUR & ~shifted(SPLEEN[0], 1)}
    found["liver"] = shifted(LIVER[0], 2) & ~found["spleen"] & ~found["pancreas"]
    task = CaseTask(ours(tmp_path / "a", found), theirs(tmp_path / "b", wanted, theirs_flipped), tuple(wanted), 2.0)
    result = score_case(task)
    assert calls == [3]
    assert [score.structure for score in result.scores] == list(wanted)
    for score in result.scores:
        name = score.structure
        assert same(score.scores, compare_masks(found[name], wanted[name], SPACING, 2.0))
        assert score.reference_ml == pytest.approx(wanted[name].sum() * 4.5 / 1000)


@pytest.mark.parametrize("inside", ["references", "predictions"])
def test_what_overlaps_on_either_side_takes_a_second_pass(tmp_path: Path, calls: list[int], inside: str) -> None:
    apart = {"liver": LIVER[0] & ~TUMOUR & ~SPLEEN[0], "spleen": SPLEEN[0], "liver_tumor": TUMOUR}
    nested = {"liver": LIVER[0], "spleen": SPLEEN[0] & ~LIVER[0], "liver_tumor": TUMOUR}
    found, wanted = (apart, nested) if inside == "references" else (nested, apart)
    task = CaseTask(mask_files(tmp_path / "a", found), mask_files(tmp_path / "b", wanted, True), NAMES)
    result = score_case(task)
    assert calls == [2, 1]
    for score in result.scores:
        assert same(score.scores, compare_masks(found[score.structure], wanted[score.structure], SPACING, 1.0))


def test_a_label_map_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from suprem.evaluation import masks

    read, paths = masks.read_volume, []

    def counting(path: Path) -> Volume:
        paths.append(path)
        return read(path)

    monkeypatch.setattr(masks, "read_volume", counting)
    pair = {"liver": LIVER[0] & ~SPLEEN[0], "spleen": SPLEEN[0]}
    score_case(CaseTask(label_map(tmp_path / "a", pair), mask_files(tmp_path / "b", pair), ("liver", "spleen")))
    assert len(paths) == 3
    paths.clear()
    score_case(CaseTask(label_map(tmp_path / "a", pair), label_map(tmp_path / "c", pair), ("liver", "spleen")))
    assert len(paths) == 2


def test_masks_on_grids_of_their_own_are_compared_on_these(tmp_path: Path) -> None:
    for side, by in (("a", 1), ("b", 0)):
        write(tmp_path / side / "case" / "liver.nii.gz", shifted(LIVER[0], by))
        spleen = shifted(SPLEEN[0], by)[:, :, 1:].astype(np.uint8)
        write_volume(Volume(spleen, affine(), "spleen"), tmp_path / side / "case" / "spleen.nii.gz")
    task = CaseTask(find_masks(tmp_path / "a")["case"], find_masks(tmp_path / "b")["case"], ("liver", "spleen"))
    assert [layer.names for layer in read_layers(task)[0]] == [("liver",), ("spleen",)]
    scores = score_case(task).scores
    assert same(scores[0].scores, compare_masks(shifted(LIVER[0], 1), LIVER[0], SPACING, 1.0))
    cut = (shifted(SPLEEN[0], 1)[:, :, 1:], SPLEEN[0][:, :, 1:])
    assert same(scores[1].scores, compare_masks(*cut, SPACING, 1.0))


def test_what_nobody_annotated_counts_neither_way(tmp_path: Path) -> None:
    labels = np.where(LIVER[0], 1, 0)
    labels[:8] = 2  # ignored
    write(tmp_path / "b" / "case.nii.gz", labels)
    (tmp_path / "b" / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1, "ignore": 2}}))
    found = ball((8, 8, 6), 9.0)
    prediction = mask_files(tmp_path / "a", {"liver": found})
    score = score_case(CaseTask(prediction, find_masks(tmp_path / "b")["case"], ("liver",))).scores[0]
    inside, truth = found.copy(), LIVER[0].copy()
    inside[:8] = truth[:8] = False
    assert same(score.scores, compare_masks(inside, truth, SPACING, 1.0))


def test_a_label_map_is_resampled_like_its_masks(tmp_path: Path) -> None:
    wanted = {"liver": LIVER[0] & ~SPLEEN[0], "spleen": SPLEEN[0]}
    grid = affine() @ np.diag([2.0, 2.0, 1.0, 1.0])
    labels = np.zeros((10, 8, 12), np.uint8)
    for number, (name, mask) in enumerate(wanted.items(), start=1):
        coarse = mask[::2, ::2]
        labels[coarse] = number
        write_volume(Volume(coarse.astype(np.uint8), grid, name), tmp_path / "masks" / "case" / f"{name}.nii.gz")
    write_volume(Volume(labels, grid, "labels"), tmp_path / "labels" / "case.nii.gz")
    (tmp_path / "labels" / "dataset.json").write_text('{"labels": {"liver": 1, "spleen": 2}}')
    reference = label_map(tmp_path / "ref", wanted)
    one, two = (
        score_case(CaseTask(find_masks(tmp_path / side)["case"], reference, ("liver", "spleen"), resample=True))
        for side in ("masks", "labels")
    )
    assert one.resampled
    assert two.resampled
    assert all(same(a.scores, b.scores) for a, b in zip(one.scores, two.scores, strict=True))
    assert 0.6 < one.scores[0].scores.dsc < 1


def test_the_scores_do_not_depend_on_the_processes(predictions: Path, references: Path) -> None:
    ended: list[tuple[str, int]] = []
    one = evaluate_folders(predictions, references)
    two = evaluate_folders(predictions, references, jobs=2, progress=lambda case, count: ended.append((case, count)))
    assert one == two
    assert sorted(ended) == [(f"case_{case}", 4) for case in LIVER]


def test_every_case_that_fails_is_named(predictions: Path, references: Path) -> None:
    path = predictions / "case_2.nii.gz"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(VolumeError, match=r"^Case case_2: .*case_2\.nii\.gz"):
        evaluate_folders(predictions, references)
    (references / "case_0" / "segmentations" / "liver.nii.gz").write_bytes(b"")
    with pytest.raises(VolumeError, match=r"^2 of 4 cases cannot be compared:\ncase_0: .*liver.*\ncase_2: "):
        evaluate_folders(predictions, references)


def test_a_fault_of_the_program_says_in_which_case(
    predictions: Path, references: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("no")

    monkeypatch.setattr(module, "compare_labels", broken)
    with pytest.raises(ZeroDivisionError) as caught:
        evaluate_folders(predictions, references)
    assert caught.value.__notes__ == ["It happened in case case_0."]


def test_lesions_are_counted_one_by_one_and_organs_are_not(tmp_path: Path) -> None:
    wanted, found = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    wanted[2:4, 2:4, 2:4] = wanted[10:12, 2:4, 2:4] = wanted[2:4, 10:12, 8:10] = True  # three
    found[3:5, 2:4, 2:4] = found[10:12, 3:5, 2:4] = True  # two of them
    found[15:17, 12:14, 6:8] = True  # and a false one
    ours = mask_files(tmp_path / "a", {"liver": LIVER[0], "liver_tumor": found, "kidney_cyst": np.zeros(SHAPE, bool)})
    theirs = mask_files(
        tmp_path / "b", {"liver": LIVER[0], "liver_tumor": wanted, "kidney_cyst": np.zeros(SHAPE, bool)}
    )
    result = score_case(CaseTask(ours, theirs, ("kidney_cyst", "liver", "liver_tumor")))
    assert [row.structure for row in result.detections] == ["kidney_cyst", "liver_tumor"]
    nothing, tumours = (row.counts for row in result.detections)
    assert (tumours.reference, tumours.predicted, tumours.found, tumours.false) == (3, 3, 2, 1)
    assert (nothing.reference, nothing.predicted) == (0, 0)


def test_lesions_of_all_cases_are_in_a_table_of_their_own(tmp_path: Path) -> None:
    for case, hit in enumerate((True, False, True)):
        lesion = ball((8, 8, 6), 4.0)
        write(tmp_path / "ref" / f"c{case}" / "liver_tumor.nii.gz", lesion)
        write(tmp_path / "pred" / f"c{case}" / "liver_tumor.nii.gz", lesion if hit else lesion & False)
    command = ["evaluate", str(tmp_path / "pred"), str(tmp_path / "ref"), "-o", str(tmp_path / "out"), "--worst", "0"]
    assert main(command) == 0
    row = next(csv.DictReader((tmp_path / "out" / "lesions.csv").open()))
    assert (row["structure"], row["cases"], row["reference"], row["found"]) == ("liver_tumor", "3", "3", "2")
    assert float(row["sensitivity"]) == pytest.approx(2 / 3)
    assert float(row["sensitivity_low"]) < 2 / 3 < float(row["sensitivity_high"])
    assert float(row["precision"]) == 1.0
