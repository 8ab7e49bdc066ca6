"""CHAOS, CT part: the liver of 20 healthy donors, DICOM series with one PNG mask per slice."""

from suprem.datasets._layout import Files, Variant
from suprem.datasets._rules import LabelMap, copy
from suprem.datasets._spec import DATASETS, Counts, DatasetSpec, Fact
from suprem.datasets._templates import one_of

__all__ = ["SPEC"]

_TRAIN = (1, 2, 5, 6, 8, 10, 14, 16, 18, 19, *range(21, 31))
_TEST = tuple(n for n in range(1, 41) if n not in _TRAIN)

SPEC = DATASETS.register("chaos_ct")(
    DatasetSpec(
        slug="chaos_ct",
        title="CHAOS (CT part)",
        homepage="https://chaos.grand-challenge.org/",
        licence=(Fact("CC BY-SA 4.0", "verified", "AbdomenAtlas-8K licence table"),),
        sharing="allowed",
        access="open",
        obtain=("curl -LO https://zenodo.org/records/3431873/files/CHAOS_Train_Sets.zip", "unzip CHAOS_Train_Sets.zip"),
        citation=(
            "Kavur et al., CHAOS Challenge - combined (CT-MR) healthy abdominal organ segmentation, Medical Image "
            "Analysis 69, 2021, doi:10.1016/j.media.2020.101950",
            "Data: doi:10.5281/zenodo.3362844",
        ),
        region="upper abdomen",
        variants=(
            Variant(
                "official",
                (
                    Files(
                        ("Train_Sets/CT/{n}/DICOM_anon",),
                        {"n": one_of(*_TRAIN)},
                        "CT_{n}",
                        ("Train_Sets/CT/{n}/Ground",),
                        split="train",
                    ),
                    Files(("Test_Sets/CT/{n}/DICOM_anon",), {"n": one_of(*_TEST)}, "CT_{n}", split="test"),
                ),
                image_format="dicom",
                label_format="png",
                source="SAT-DS processor",
                note="Masks are Ground/liver_GT_%03d.png, one per slice. The folders of the test set are inferred.",
            ),
            Variant(
                "upstream_repacked",
                (
                    Files(
                        ("img/{n}_image.nii.gz",),
                        {"n": one_of(*_TRAIN)},
                        "CT_{n}",
                        ("liver_label/{n}_segmentation.nii.gz",),
                        split="train",
                    ),
                ),
                folder="03_CHAOS/ct",
                source="case lists of the Universal Model and AbdomenAtlas",
            ),
        ),
        label_maps=(
            LabelMap(
                "official",
                {255: copy("liver")},
                binary=True,
                note="Whatever is not 0 is liver: PNG viewers give 255 or 1.",
                confidence="verified for liver alone; the value 255 from memory",
            ),
        ),
        counts=Counts(40, 20, 20, note="The paper counts 4 organs; those are of the MR part, which is not read here."),
        splits={"train": 20, "test": 20},
        quirks=(
            Fact(
                "Pair slices by the natural order of DICOM_anon/* and Ground/*; a pair has the same pixel layout. Then "
                "order the pairs by ImagePositionPatient.",
                "verified",
                "torch-em CHAOS loader for the pairing; the order by position is a recommendation",
            ),
            Fact(
                "The PNG order need not follow increasing z. One known recipe reverses the slice axis and the last "
                "in-plane axis of the stacked masks relative to a dicom2nifti volume.",
                "verified",
                "SAT-DS processor",
            ),
            Fact(
                "File names differ between patients (i0000,0000b.dcm and IMG-xxxx); an unsorted listing scrambles "
                "slices.",
                "verified",
                "voxel2mesh issue 3 for the hazard; the two styles are from memory",
            ),
            Fact(
                "Slice distance is 3 to 3.2 mm according to the data page, 1 to 2 mm according to measured statistics.",
                "verified",
                "CHAOS data page against Awesome-Medical-Dataset",
            ),
        ),
        to_verify=(
            "Mask value 255, slice order and axis reversal: the mean under the mask lies between 60 and 160 HU.",
            "The folder names of the test set.",
        ),
    )
)
