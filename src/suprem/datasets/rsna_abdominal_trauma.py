"""RSNA 2023 abdominal trauma: 4,711 DICOM series, 206 of them with masks that a network made."""

from suprem.datasets._layout import Files, Variant
from suprem.datasets._rules import LabelMap, ambiguous, copy
from suprem.datasets._spec import DATASETS, Counts, DatasetSpec, Fact
from suprem.datasets._templates import Field

__all__ = ["SPEC"]

SPEC = DATASETS.register("rsna_abdominal_trauma")(
    DatasetSpec(
        slug="rsna_abdominal_trauma",
        title="RSNA 2023 Abdominal Trauma Detection",
        homepage="https://www.kaggle.com/competitions/rsna-2023-abdominal-trauma-detection",
        licence=(Fact("non-commercial research use with citation", "verified", "RSNA AI-Challenge-Data wiki"),),
        access="Kaggle account, accepted competition rules",
        obtain=(
            "kaggle competitions download -c rsna-2023-abdominal-trauma-detection",
            "unzip rsna-2023-abdominal-trauma-detection.zip -d rsna-2023-abdominal-trauma-detection",
        ),
        citation=(
            "Rudie et al., The RSNA Abdominal Traumatic Injury CT (RATIC) Dataset, Radiology: Artificial Intelligence, "
            "2024, arXiv:2405.19595",
        ),
        region="abdomen and pelvis",
        variants=(
            Variant(
                "official",
                (
                    Files(
                        ("train_images/{patient}/{series}",),
                        {"patient": Field(r"\d+", "10004"), "series": Field(r"\d+", "21057")},
                        "{patient}_{series}",
                        ("segmentations/{series}.nii",),
                        split="train",
                        subject="{patient}",
                        partly_labelled=True,
                    ),
                ),
                folder="rsna-2023-abdominal-trauma-detection",
                image_format="dicom",
                source="winner repositories; Kaggle data page",
                note="Tables: train.csv (corrected: train_2024.csv), train_series_meta.csv, image_level_labels.csv and "
                "train_dicom_tags.parquet.",
            ),
        ),
        label_maps=(
            LabelMap(
                "official",
                {
                    1: copy("liver"),
                    2: copy("spleen"),
                    3: copy("left kidney", "kidney_left"),
                    4: copy("right kidney", "kidney_right"),
                    5: ambiguous(
                        "bowel", ("colon", "duodenum", "intestine"), note="colon, duodenum and small bowel in one value"
                    ),
                },
                note="Predictions of a network: pseudo-labels, no reference.",
            ),
        ),
        counts=Counts(4711, 206, 4711, note="4,711 series of 3,147 patients. The paper counts no organ."),
        splits={"train": 4711},
        quirks=(
            Fact(
                "Masks and sorted DICOM volume differ in orientation. One winner reverses the last two axes of the "
                "mask and transposes it to (z, y, x).",
                "verified",
                "1st place solution",
            ),
            Fact(
                "Where PixelRepresentation is 1, shift the pixels by BitsAllocated - BitsStored before the rescale.",
                "verified",
                "winner repositories",
            ),
            Fact(
                "MONOCHROME1 slices occur (invert them); order slices by ImagePositionPatient, not by number.",
                "verified",
                "winner repositories",
            ),
            Fact(
                "RLE and lossless JPEG compression need a codec plug-in (pylibjpeg or GDCM).",
                "verified",
                "Kaggle notebooks; winner repositories",
            ),
            Fact(
                "4,067 series are AbdomenAtlas 1.1 BDMAP_00005196 to 00009262; a table of which is which was not seen.",
                "verified",
                "AbdomenAtlas 1.1 page as quoted by a loader",
            ),
        ),
        to_verify=(
            "Orientation between masks and DICOM, and the signed pixel repair.",
            "A table of BDMAP id to series.",
        ),
    )
)
