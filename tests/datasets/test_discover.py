"""Case discovery on trees of empty files: what is found, what is missing, what is one too many."""

import logging
import pickle
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

import pytest

from suprem.datasets import dataset
from suprem.errors import ConfigurationError, UnknownNameError
from tests.datasets.trees import plant, plant_family, touch


def _touch_all(root: Path, *paths: str) -> None:
    for path in paths:
        touch(root / path)


def _reasons(name: str, root: Path, variant: str | None = None) -> dict[str, str]:
    return {problem.case: problem.reason for problem in dataset(name).discover(root, variant).problems}


def test_images_and_labels_are_paired_by_number_and_sorted_by_it(tmp_path: Path) -> None:
    for n in (10, 2, 31):
        _touch_all(tmp_path, f"imagesTr/spleen_{n}.nii.gz", f"labelsTr/spleen_{n}.nii.gz")
    touch(tmp_path / "imagesTs" / "spleen_1.nii.gz")
    found = dataset("msd_spleen").cases(tmp_path)
    assert [files.case for files in found] == ["spleen_1", "spleen_2", "spleen_10", "spleen_31"]
    first, second = found[:2]
    assert (first.split, first.labelled, first.label_map) == ("test", False, None)
    assert (second.split, second.label_map, second.image_format) == ("train", "official", "file")
    assert second.image == tmp_path / "imagesTr" / "spleen_2.nii.gz"
    assert second.label == tmp_path / "labelsTr" / "spleen_2.nii.gz"
    assert (second.dataset, second.variant, second.scan, second.subject) == (
        "msd_spleen",
        "official",
        "msd_spleen/spleen_2",
        "msd_spleen/spleen_2",
    )
    assert pickle.loads(pickle.dumps(second)) == second


@pytest.mark.parametrize("above", ["", "Task03_Liver", "10_Decathlon/Task03_Liver"])
def test_the_folder_may_lie_one_or_two_levels_below(tmp_path: Path, above: str) -> None:
    top = tmp_path / above
    _touch_all(top, "imagesTr/liver_0.nii.gz", "labelsTr/liver_0.nii.gz")
    (found,) = dataset("msd_liver").cases(tmp_path)
    assert found.label == top / "labelsTr" / "liver_0.nii.gz"


def test_three_levels_are_too_many(tmp_path: Path) -> None:
    _touch_all(tmp_path / "a/b/c", "imagesTr/liver_0.nii.gz", "labelsTr/liver_0.nii.gz")
    with pytest.raises(ConfigurationError, match=r"holds no case of MSD Task03 Liver.*imagesTr/liver_0\.nii\.gz"):
        dataset("msd_liver").cases(tmp_path)


def test_the_folder_may_be_a_part_of_the_layout(tmp_path: Path) -> None:
    spec = dataset("kits")
    top = tmp_path / "kits23"
    for n in ("00000", "00588"):
        plant_family(top, spec, spec.variant("kits23"), spec.variant("kits23").files[0], n=n)
    for root in (tmp_path, top, top / "dataset"):
        found = spec.cases(root)
        assert [(files.case, files.variant) for files in found] == [("case_00000", "kits23"), ("case_00588", "kits23")]


def test_a_part_that_cannot_hold_the_labels_is_not_left(tmp_path: Path) -> None:
    _touch_all(tmp_path, "imagesTr/amos_0001.nii.gz", "labelsTr/amos_0001.nii.gz")
    with pytest.raises(ConfigurationError, match="holds no case of AMOS22"):
        dataset("amos22").cases(tmp_path / "imagesTr")


def test_a_missing_label_is_said_and_the_others_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _touch_all(tmp_path, "imagesTr/amos_0001.nii.gz", "labelsTr/amos_0001.nii.gz", "imagesTr/amos_0004.nii.gz")
    _touch_all(tmp_path, "labelsTr/amos_0005.nii.gz")
    with caplog.at_level(logging.WARNING, "suprem"):
        found = dataset("amos22").cases(tmp_path)
    assert [files.case for files in found] == ["amos_0001"]
    assert _reasons("amos22", tmp_path) == {
        "amos_0004": "its label labelsTr/amos_0004.nii.gz is missing. Unpack the labels, or remove the image.",
        "amos_0005": "it has a label but no image; imagesTr/amos_0005.nii.gz is missing.",
    }
    assert "amos22: 2 cases cannot be used; the first is amos_0004: its label" in caplog.text


def test_labels_that_were_never_published_are_no_fault(tmp_path: Path) -> None:
    _touch_all(tmp_path, "imagesTr/amos_0001.nii.gz", "labelsTr/amos_0001.nii.gz", "imagesVa/amos_0008.nii.gz")
    _touch_all(tmp_path, "imagesTs/amos_0002.nii.gz", "labelsTr/amos_0003.nii.gz", "imagesTr/amos_0003.nii.gz")
    result = dataset("amos22").discover(tmp_path)
    assert [(files.case, files.split, files.labelled) for files in result.cases] == [
        ("amos_0001", "train", True),
        ("amos_0002", "test", False),
        ("amos_0003", "train", True),
        ("amos_0008", "val", False),
    ]
    assert result.problems == ()


def test_mr_volumes_of_amos_are_left_out_by_number(tmp_path: Path) -> None:
    numbers = ("0001", "0410", "0500", "0501", "0507", "0600", "1000")
    for n in numbers:
        _touch_all(tmp_path, f"imagesTr/amos_{n}.nii.gz", f"labelsTr/amos_{n}.nii.gz")
    result = dataset("amos22").discover(tmp_path)
    assert [files.case for files in result.cases] == ["amos_0001", "amos_0410", "amos_0500"]
    assert [left.case for left in result.excluded] == ["amos_0501", "amos_0507", "amos_0600", "amos_1000"]
    assert "MR" in result.excluded[0].reason
    assert result.problems == ()


def test_two_copies_of_an_image_are_refused(tmp_path: Path) -> None:
    for copy in ("a", "b"):
        _touch_all(tmp_path / copy, "imagesTr/liver_0.nii.gz", "labelsTr/liver_0.nii.gz")
    _touch_all(tmp_path / "b", "imagesTr/liver_1.nii.gz", "labelsTr/liver_1.nii.gz")
    assert [files.case for files in dataset("msd_liver").cases(tmp_path)] == ["liver_1"]
    assert _reasons("msd_liver", tmp_path) == {
        "liver_0": "there are 2 images: a/imagesTr/liver_0.nii.gz, b/imagesTr/liver_0.nii.gz. Keep one of them."
    }


def test_one_name_in_two_parts_is_refused(tmp_path: Path) -> None:
    _touch_all(tmp_path, "imagesTr/amos_0001.nii.gz", "labelsTr/amos_0001.nii.gz", "imagesTs/amos_0001.nii.gz")
    _touch_all(tmp_path, "imagesTr/amos_0002.nii.gz", "labelsTr/amos_0002.nii.gz")
    assert [files.case for files in dataset("amos22").cases(tmp_path)] == ["amos_0002"]
    assert "two images have this name" in _reasons("amos22", tmp_path)["amos_0001"]


def test_variants_whose_labels_mean_different_things_have_to_be_chosen(tmp_path: Path) -> None:
    spec = dataset("btcv")
    plant(tmp_path, spec, spec.variant("official"))
    _touch_all(tmp_path / "label_btcv_multiorgan", "label0001.nii.gz", "label0061.nii.gz")
    with pytest.raises(ConfigurationError, match=r"'official', 'zenodo_multiorgan'.*mean different things"):
        spec.cases(tmp_path)
    by_number = {files.case: files.label_map for files in spec.cases(tmp_path, "zenodo_multiorgan")}
    assert by_number == {"img0001": "zenodo_multiorgan_train", "img0061": "zenodo_multiorgan_test"}
    assert {files.case: files.label_map for files in spec.cases(tmp_path, "official")} == {
        "img0001": "official",
        "img0061": None,
    }
    with pytest.raises(UnknownNameError, match="Unknown variant of btcv 'offical'; did you mean 'official'"):
        spec.cases(tmp_path, "offical")


@pytest.mark.parametrize("root", ["", "RawData", "RawData/Training"])
def test_img_and_label_inside_the_official_folders_are_official(tmp_path: Path, root: str) -> None:
    # The repacked variant looks for img/ and label/ alone, which the official Training/ holds as well.
    _touch_all(tmp_path / "RawData/Training", "img/img0001.nii.gz", "label/label0001.nii.gz")
    (found,) = dataset("btcv").cases(tmp_path / root)
    assert (found.variant, found.label_map) == ("official", "official")
    _touch_all(tmp_path / "repacked", "img/img0001.nii.gz", "label/label0001.nii.gz")
    (found,) = dataset("btcv").cases(tmp_path / "repacked")
    assert (found.variant, found.label_map) == ("upstream_repacked", "zenodo_multiorgan_train")


def test_kits_releases_are_told_apart(tmp_path: Path) -> None:
    spec = dataset("kits")
    for name in ("kits19", "kits21", "kits23"):
        plant(tmp_path / name, spec, spec.variant(name), folder=False)
        assert {files.label_map for files in spec.cases(tmp_path / name) if files.labelled} == {name}
    with pytest.raises(ConfigurationError, match="'kits19', 'kits21', 'kits23'"):
        spec.cases(tmp_path)


def test_images_of_kits23_may_lie_where_the_hub_puts_them(tmp_path: Path) -> None:
    _touch_all(tmp_path, "dataset/case_00400/segmentation.nii.gz", "images/case_00400.nii.gz")
    (found,) = dataset("kits").cases(tmp_path)
    assert (found.case, found.image) == ("case_00400", tmp_path / "images" / "case_00400.nii.gz")
    assert _reasons("kits", tmp_path) == {}


def test_dicom_series_and_png_masks_are_folders(tmp_path: Path) -> None:
    spec = dataset("chaos_ct")
    plant(tmp_path, spec, spec.variant("official"))
    train, test = sorted(spec.cases(tmp_path), key=lambda files: files.split != "train")
    assert (train.case, train.image_format, train.label_format) == ("CT_1", "dicom", "png")
    assert train.image == tmp_path / "Train_Sets/CT/1/DICOM_anon"
    assert train.label == tmp_path / "Train_Sets/CT/1/Ground"
    assert (test.case, test.labelled) == ("CT_3", False)


def test_pancreas_ct_finds_the_one_series_below_two_folders_of_any_name(tmp_path: Path) -> None:
    series = "manifest-1599750808610/Pancreas-CT/PANCREAS_0001/11-24-2015-PANCREAS0001-Pancreas-18957/Pancreas-63502"
    _touch_all(tmp_path, f"{series}/1-001.dcm", "TCIA_pancreas_labels-02-05-2017/label0001.nii.gz")
    (found,) = dataset("pancreas_ct").cases(tmp_path)
    assert (found.case, found.image, found.image_format) == ("PANCREAS_0001", tmp_path / series, "dicom")
    touch(tmp_path / Path(series).parent / "second series" / "1-001.dcm")
    _touch_all(tmp_path, "manifest-1599750808610/Pancreas-CT/PANCREAS_0002/study/series/1-001.dcm")
    _touch_all(tmp_path, "TCIA_pancreas_labels-02-05-2017/label0002.nii.gz")
    assert [files.case for files in dataset("pancreas_ct").cases(tmp_path)] == ["PANCREAS_0002"]
    assert "there are 2 images" in _reasons("pancreas_ct", tmp_path)["PANCREAS_0001"]


def test_withdrawn_pancreas_scans_are_left_out(tmp_path: Path) -> None:
    spec = dataset("pancreas_ct")
    family = spec.variant("upstream_repacked").files[0]
    for n in ("0002", "0025", "0070"):
        plant_family(tmp_path, spec, spec.variant("upstream_repacked"), family, n=n)
    result = spec.discover(tmp_path)
    assert [files.case for files in result.cases] == ["PANCREAS_0002"]
    assert [left.case for left in result.excluded] == ["PANCREAS_0025", "PANCREAS_0070"]


def test_rsna_series_keep_their_patient_and_most_have_no_mask(tmp_path: Path) -> None:
    for series in ("10004/21057", "10004/51033", "10005/18667"):
        touch(tmp_path / "train_images" / series / "362.dcm")
    touch(tmp_path / "segmentations" / "51033.nii")
    found = dataset("rsna_abdominal_trauma").cases(tmp_path)
    assert [(files.case, files.subject, files.labelled) for files in found] == [
        ("10004_21057", "rsna_abdominal_trauma/10004", False),
        ("10004_51033", "rsna_abdominal_trauma/10004", True),
        ("10005_18667", "rsna_abdominal_trauma/10005", False),
    ]
    assert found[0].scan != found[1].scan


def test_corrected_labels_of_flare23_count_first(tmp_path: Path) -> None:
    for n in ("0001", "0002"):
        _touch_all(tmp_path, f"imagesTr2200/FLARE23_{n}_0000.nii.gz", f"labelsTr2200/FLARE23_{n}.nii.gz")
    _touch_all(tmp_path, "labelsTr2200/20230507-fix/FLARE23_0002.nii.gz", "unlabelTr1800/FLARE23_2201_0000.nii.gz")
    _touch_all(tmp_path, "imagesTr2200/0003-0100/FLARE23_0003_0000.nii.gz", "labelsTr2200/FLARE23_0003.nii.gz")
    found = {files.case: files for files in dataset("flare23").cases(tmp_path)}
    assert list(found) == ["FLARE23_0001", "FLARE23_0002", "FLARE23_0003", "FLARE23_2201"]
    assert found["FLARE23_0001"].label == tmp_path / "labelsTr2200" / "FLARE23_0001.nii.gz"
    assert found["FLARE23_0002"].label == tmp_path / "labelsTr2200" / "20230507-fix" / "FLARE23_0002.nii.gz"
    assert not found["FLARE23_2201"].labelled


def test_atlas_archives_unpack_to_different_depths_and_some_cts_are_elsewhere(tmp_path: Path) -> None:
    touch(tmp_path / "BDMAP_00000001/ct.nii.gz")
    touch(tmp_path / "BDMAP_00000001/combined_labels.nii.gz")
    for name in dataset("abdomenatlas_1_0").annotated:
        touch(tmp_path / f"BDMAP_00000001/segmentations/{name}.nii.gz")
        touch(tmp_path / f"AbdomenAtlas_part5/BDMAP_00005001/segmentations/{name}.nii.gz")
        touch(tmp_path / f"BDMAP_00005196/segmentations/{name}.nii.gz")
    touch(tmp_path / "AbdomenAtlas_part5/BDMAP_00005001/ct.nii.gz")
    result = dataset("abdomenatlas_1_0").discover(tmp_path)
    assert [(files.case, len(files.masks)) for files in result.cases] == [
        ("BDMAP_00000001", 9),
        ("BDMAP_00005001", 9),
    ]
    first = result.cases[0]
    assert first.masks["aorta"] == tmp_path / "BDMAP_00000001/segmentations/aorta.nii.gz"
    assert (first.variant, first.label_format, first.label, first.flags) == ("official", "masks", None, ())
    assert {p.case: p.reason for p in result.problems} == {
        "BDMAP_00005196": "it has a label but no image; BDMAP_00005196/ct.nii.gz is missing."
    }
    (combined,) = dataset("abdomenatlas_1_0").cases(tmp_path, "combined_labels")[:1]
    assert combined.label == tmp_path / "BDMAP_00000001/combined_labels.nii.gz"


def test_a_missing_mask_is_not_taken_for_absence(tmp_path: Path) -> None:
    spec = dataset("jhh_pancreas")
    case = tmp_path / "FELIX0001_VENOUS"
    _touch_all(case, "ct.nii.gz", *(f"segmentations/{name}.nii.gz" for name in ("pancreas", "pdac", "cyst", "veins")))
    (found,) = spec.cases(tmp_path)
    assert sorted(found.masks) == ["cyst", "pancreas", "pdac"]
    assert found.flags == ("no mask of pnet: taken as not annotated", "masks that are not read: veins")
    assert found.subject == "jhh_pancreas/FELIX0001"


def test_splits_of_totalsegmentator_come_from_its_table(tmp_path: Path) -> None:
    spec = dataset("totalsegmentator_v2")
    variant = spec.variant("official")
    for n in ("0011", "0004", "0864"):
        plant_family(tmp_path, spec, variant, variant.files[0], n=n)
    assert [files.split for files in spec.cases(tmp_path)] == [None, None, None]
    table = "\ufeffimage_id;age;split\ns0004;59;val\ns0011;70;train\ns0900;1;test\n"
    (tmp_path / "meta.csv").write_text(table, encoding="utf-8")
    assert {files.case: files.split for files in spec.cases(tmp_path)} == {
        "s0004": "val",
        "s0011": "train",
        "s0864": None,
    }
    assert len(spec.cases(tmp_path)[0].masks) == 117
    (tmp_path / "meta.csv").write_text("image_id,split\ns0004,val\n")
    with pytest.raises(ConfigurationError, match=r"meta\.csv has the columns image_id,split; it lacks image_id, split"):
        spec.cases(tmp_path)


def test_the_corrupted_subject_is_left_out_of_v1_only(tmp_path: Path) -> None:
    for name, left_out in (("totalsegmentator_v1", ["s0864"]), ("totalsegmentator_v2", [])):
        spec = dataset(name)
        plant_family(tmp_path / name, spec, spec.variants[0], spec.variants[0].files[0], n="0864")
        plant_family(tmp_path / name, spec, spec.variants[0], spec.variants[0].files[0], n="0863")
        assert [left.case for left in spec.discover(tmp_path / name).excluded] == left_out


def test_dap_atlas_joins_masks_to_studies_by_patient_and_last_digits(tmp_path: Path) -> None:
    studies = "FDG-PET-CT-Lesions/PETCT_0011f3deaf"
    for study in ("03-23-2003-NA-PET-CT Ganzkoerper-10445", "04-01-2004-NA-PET-CT-99999"):
        _touch_all(tmp_path, f"{studies}/{study}/CT.nii.gz", f"{studies}/{study}/CTres.nii.gz")
    touch(tmp_path / "Atlas_final_dataset_V1_533" / "AutoPET_0011f3deaf_10445.nii.gz")
    found = dataset("dap_atlas").cases(tmp_path)
    assert [(files.case, files.labelled) for files in found] == [
        ("AutoPET_0011f3deaf_10445", True),
        ("AutoPET_0011f3deaf_99999", False),
    ]
    assert found[0].subject == found[1].subject == "dap_atlas/PETCT_0011f3deaf"


def test_lits_batches_under_any_name(tmp_path: Path) -> None:
    for top, folder in (
        ("spaces", "Training Batch 1"),
        ("underscore", "Training_Batch1"),
        ("mirror", "train"),
        ("flat", ""),
    ):
        root = tmp_path / top
        _touch_all(root / folder, "volume-3.nii", "segmentation-3.nii")
        touch(root / "test" / "test-volume-3.nii")
        train = [files for files in dataset("lits").cases(root) if files.split == "train"]
        assert [(files.case, files.label) for files in train] == [("volume-3", root / folder / "segmentation-3.nii")]
    assert len(dataset("lits").cases(tmp_path / "spaces")) == 2


def test_imagecas_copies_are_not_read(tmp_path: Path) -> None:
    _touch_all(
        tmp_path, "1-200/1.img.nii.gz", "1-200/1.label.nii.gz", "1-200/1(1).img.nii.gz", "1-200/1(1).label.nii.gz"
    )
    assert [files.case for files in dataset("imagecas").cases(tmp_path)] == ["1"]


def test_withheld_masks_of_abdomenct_1k_are_expected_to_be_missing(tmp_path: Path) -> None:
    for n, part in ((1, 1), (10, 1), (955, 3), (1062, 3)):
        touch(tmp_path / f"AbdomenCT-1K-ImagePart{part}/Case_{n:05d}_0000.nii.gz")
    touch(tmp_path / "Mask/Case_00001.nii.gz")
    result = dataset("abdomenct_1k").discover(tmp_path)
    assert [(files.case, files.labelled) for files in result.cases] == [
        ("Case_00001", True),
        ("Case_00010", False),
        ("Case_00955", False),
    ]
    assert [problem.case for problem in result.problems] == ["Case_01062"]


def test_the_12_organ_subset_has_a_numbering_of_its_own(tmp_path: Path) -> None:
    _touch_all(tmp_path / "08_AbdomenCT-1K", "img/Case_00001_0000.nii.gz", "label/Case_00001.nii.gz")
    _touch_all(tmp_path / "13_AbdomenCT-12organ", "img/Organ12_0001_0000.nii.gz", "label/Organ12_0001.nii.gz")
    found = dataset("abdomenct_1k").cases(tmp_path)
    assert {files.case: files.label_map for files in found} == {
        "Case_00001": "official",
        "Organ12_0001": "organ12_subset",
    }


def test_scans_that_are_known_to_be_the_same_have_one_name() -> None:
    def scan(name: str, case: str) -> str:
        return dataset(name).scan_of(case)

    assert scan("lits", "volume-0") == scan("msd_liver", "liver_0") == scan("ct_org", "volume-0")
    assert scan("lits", "volume-130") == scan("msd_liver", "liver_130") == scan("ct_org", "volume-130")
    assert scan("ct_org", "volume-131") != scan("msd_liver", "liver_131")
    assert scan("msd_liver", "liver_131") == "msd_liver/liver_131"
    assert scan("totalsegmentator_v1", "s0011") == scan("totalsegmentator_v2", "s0011")
    assert scan("abdomenatlas_1_0", "BDMAP_00000007") == scan("abdomenatlas_1_1", "BDMAP_00000007")
    assert scan("abdomenct_1k", "Case_00297") == scan("abdomenct_1k", "Case_00928")
    assert scan("abdomenct_1k", "Case_00298") != scan("abdomenct_1k", "Case_00297")
    assert scan("abdomenct_1k", "Case_00001") != scan("amos22", "amos_0001")


def test_unscaled_scans_are_flagged_in_all_three_datasets_that_hold_them() -> None:
    def flagged(name: str, pattern: str, numbers: range) -> set[int]:
        rules = [rule for rule in dataset(name).flags if "3D-IRCADb" in rule.reason]
        return {n for n in numbers if any(rule.applies(pattern.format(n)) for rule in rules)}

    expected = set(range(28, 48))
    assert flagged("lits", "volume-{}", range(131)) == expected
    assert flagged("msd_liver", "liver_{}", range(131)) == expected
    assert flagged("ct_org", "volume-{}", range(140)) == expected


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="absent is not a folder; give the folder that holds WORD"):
        dataset("word").cases(tmp_path / "absent")


def _calls(action: Callable[[], object]) -> int:
    """Python functions called by ``action``: its work, whatever else the machine does."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        del frame, argument
        count += event == "call"

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


def test_the_work_grows_with_the_number_of_cases_and_no_faster(tmp_path: Path) -> None:
    spec, work = dataset("msd_spleen"), []
    for number in (250, 1000):
        root = tmp_path / str(number)
        for folder in ("imagesTr", "labelsTr"):
            (root / folder).mkdir(parents=True)
            for n in range(number):
                (root / folder / f"spleen_{n}.nii.gz").touch()
        work.append(_calls(partial(spec.cases, root)))
        assert len(spec.cases(root)) == number
    assert work[1] < 5 * work[0]
