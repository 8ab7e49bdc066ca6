"""BTCV: 50 abdominal scans; 13 organs of the challenge, or the labels of Zenodo record 1169361 on 47 of them."""

from suprem.datasets._layout import Files, Variant
from suprem.datasets._rules import LabelMap, copy
from suprem.datasets._spec import DATASETS, Counts, DatasetSpec, Fact
from suprem.datasets._templates import one_of

__all__ = ["SPEC"]

_TRAIN = {"n": one_of(range(1, 11), range(21, 41), width=4)}
_TEST = {"n": one_of(range(61, 81), width=4)}
_TEST_LABELLED = {"n": one_of(range(61, 71), range(74, 81), width=4)}
_TRAIN_IMAGES = ("Training/img/img{n}.nii.gz", "RawData/Training/img/img{n}.nii.gz")
_TEST_IMAGES = tuple(f"{top}{part}/img/img{{n}}.nii.gz" for top in ("", "RawData/") for part in ("Testing", "Test"))
_ZENODO = ("label_btcv_multiorgan/label{n}.nii.gz",)

_CHALLENGE = {
    1: copy("spleen"),
    2: copy("right kidney", "kidney_right"),
    3: copy("left kidney", "kidney_left"),
    4: copy("gallbladder", "gall_bladder"),
    5: copy("esophagus"),
    6: copy("liver"),
    7: copy("stomach"),
    8: copy("aorta"),
    9: copy("inferior vena cava", "postcava"),
    10: copy("portal vein and splenic vein", "portal_vein_and_splenic_vein"),
    11: copy("pancreas"),
    12: copy("right adrenal gland", "adrenal_gland_right"),
    13: copy("left adrenal gland", "adrenal_gland_left"),
}
_ZENODO_TRAIN = {**_CHALLENGE, 14: copy("duodenum")}
_ZENODO_TEST = {value: _ZENODO_TRAIN[value] for value in (1, 3, 4, 5, 6, 7, 11, 14)}


def _zenodo_families(train: tuple[str, ...], test: tuple[str, ...], label: tuple[str, ...]) -> tuple[Files, ...]:
    return (
        Files(train, _TRAIN, "img{n}", label, label_map="zenodo_multiorgan_train", split="train"),
        Files(test, _TEST_LABELLED, "img{n}", label, label_map="zenodo_multiorgan_test", split="test"),
    )


SPEC = DATASETS.register("btcv")(
    DatasetSpec(
        slug="btcv",
        title="BTCV (Multi-Atlas Labeling Beyond the Cranial Vault, abdomen)",
        homepage="https://www.synapse.org/#!Synapse:syn3193805/wiki/217789",
        licence=(
            Fact("CC BY 4.0", "verified", "AbdomenAtlas-8K licence table; eva dataset page: secondary sources"),
            Fact("the Synapse page has a data-use request form of its own", "verified", "MONAI data-licence note"),
        ),
        access="registration",
        obtain=(
            "Register at Synapse, accept the terms, download RawData.zip of syn3193805 and unpack it.",
            "For the labels of Zenodo record 1169361, which also cover 17 test scans, unpack label_btcv_multiorgan "
            "beside RawData.",
        ),
        citation=(
            "Landman et al., MICCAI Multi-Atlas Labeling Beyond the Cranial Vault - Workshop and Challenge, 2015, "
            "Synapse syn3193805",
            "Zenodo labels: Gibson et al., Automatic Multi-Organ Segmentation on Abdominal CT With Dense V-Networks, "
            "IEEE Transactions on Medical Imaging 37, 2018, doi:10.1109/TMI.2018.2806309",
        ),
        region="abdomen",
        variants=(
            Variant(
                "official",
                (
                    Files(
                        _TRAIN_IMAGES,
                        _TRAIN,
                        "img{n}",
                        ("Training/label/label{n}.nii.gz", "RawData/Training/label/label{n}.nii.gz"),
                        split="train",
                    ),
                    Files(_TEST_IMAGES, _TEST, "img{n}", split="test"),
                ),
                folder="RawData",
                confidence="verified for Training; the test folder is Testing from memory, Test in one converter",
                source="SAT-DS; VISTA; MultiTalent Task017",
            ),
            Variant(
                "zenodo_multiorgan",
                _zenodo_families(_TRAIN_IMAGES, _TEST_IMAGES, _ZENODO),
                source="torch-em multi-organ loader; MultiTalent Task046",
                note="Images from Synapse, labels from Zenodo record 1169361, which also holds cropping.csv.",
            ),
            Variant(
                "upstream_repacked",
                _zenodo_families(("img/img{n}.nii.gz",), ("img/img{n}.nii.gz",), ("label/label{n}.nii.gz",)),
                folder="01_Multi-Atlas_Labeling",
                confidence="verified; that its labels are the Zenodo ones follows from the 47 cases and upstream's "
                "templates",
                source="case lists of the Universal Model and AbdomenAtlas",
            ),
        ),
        label_maps=(
            LabelMap("official", _CHALLENGE, note="Duodenum is not annotated."),
            LabelMap("zenodo_multiorgan_train", _ZENODO_TRAIN, note="img0001-0010 and img0021-0040."),
            LabelMap(
                "zenodo_multiorgan_test",
                _ZENODO_TEST,
                note="img0061-0070 and img0074-0080: eight organs only. Right kidney, aorta, vena cava, portal vein "
                "and adrenal glands are not annotated.",
            ),
        ),
        counts=Counts(50, 47, 47, note="30 with challenge labels, 47 with Zenodo labels."),
        splits={"train": 30, "test": 20},
        quirks=(
            Fact(
                "Do not mix the label sources: duodenum is annotated in the Zenodo labels only, and lists that declare "
                "all 14 organs for all 47 scans are wrong for the 17 test scans.",
                "verified",
                "VISTA label dictionaries; SuPreM templates 01 and 01_2",
            ),
            Fact(
                "The Zenodo labels may be incomplete outside the box that cropping.csv gives for each case.",
                "verified",
                "torch-em multi-organ loader, quoting the record",
            ),
            Fact("Two of the 30 training scans have no gallbladder.", "verified", "Awesome-Medical-Dataset"),
            Fact("Image and label headers have been reported to disagree.", "memory"),
            Fact("The 24/6 split of many papers is not official.", "verified", "nnU-Net Task017; eva dataset page"),
        ),
        to_verify=(
            "Whether image and label headers ever disagree.",
            "That the Zenodo labels of img0061 and later hold no value 2, 8, 9, 10, 12 or 13.",
            "cropping.csv of Zenodo 1169361: what its columns mean, and whether they count from 0.",
            "Whether the test folder is called Testing or Test.",
        ),
    )
)
