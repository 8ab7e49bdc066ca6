"""JHH (FELIX): a private cohort with pancreas and three kinds of pancreatic tumour; a template for data like it."""

from suprem.datasets._layout import Files, Variant
from suprem.datasets._rules import LabelMap, ambiguous, copy, merge, split
from suprem.datasets._spec import DATASETS, Counts, DatasetSpec, Fact
from suprem.datasets._templates import Field

__all__ = ["SPEC"]

_MASS = ("pancreas_tumor", "pancreas")
_UNKNOWN = {value: ambiguous("unknown") for value in (3, 4, 5, 15, 16, 17)}
_TUMOURS = (
    copy("pdac", "pancreas_pdac", part_of=_MASS),
    copy("cyst", "pancreas_cyst", part_of=_MASS),
    copy("pnet", "pancreas_pnet", part_of=_MASS),
)
_FIELDS = {"patient": Field(r"[A-Za-z0-9-]+", "FELIX0001"), "phase": Field("ARTERIAL|VENOUS", "VENOUS")}
_CASE = "{patient}_{phase}"
_CT = (f"{_CASE}/ct.nii.gz",)


SPEC = DATASETS.register("jhh_pancreas")(
    DatasetSpec(
        slug="jhh_pancreas",
        title="JHH proprietary pancreatic-tumour cohort (FELIX)",
        homepage="",
        licence=(Fact("proprietary; not redistributable", "verified", "paper"),),
        sharing="forbidden",
        access="none",
        obtain=(
            "Not available. Data of one's own in the same folders can be read: <patient>_<phase>/ct.nii.gz and "
            "<patient>_<phase>/segmentations/{pancreas,pdac,cyst,pnet}.nii.gz.",
        ),
        citation=("Li et al., How Well Do Supervised Models Transfer to 3D Image Segmentation?, ICLR 2024",),
        region="abdomen",
        variants=(
            Variant(
                "tumour",
                (
                    Files(
                        _CT,
                        _FIELDS,
                        _CASE,
                        (f"{_CASE}/segmentations/{{structure}}.nii.gz",),
                        label_map="tumour_finetune",
                        subject="{patient}",
                    ),
                ),
                folder="JHH_ROI_0.5mm",
                label_format="masks",
                source="SuPreM target code",
                note="Cropped to the pancreas, 0.5 mm. pancreas.nii.gz includes the lesions.",
            ),
            Variant(
                "combined_labels",
                (
                    Files(
                        _CT,
                        _FIELDS,
                        _CASE,
                        (f"{_CASE}/combined_labels.nii.gz",),
                        label_map="tumour_on_disk",
                        subject="{patient}",
                    ),
                ),
                folder="JHH_ROI_0.5mm",
                source="SuPreM target code",
            ),
        ),
        label_maps=(
            LabelMap(
                "tumour_finetune",
                {1: copy("pancreas"), **dict(enumerate(_TUMOURS, start=2))},
                note="The numbers of SuPreM's fine-tuning; the masks carry its names.",
            ),
            LabelMap(
                "tumour_on_disk",
                {
                    1: copy("pancreas"),
                    2: merge("pancreas (merged into 1)", "pancreas"),
                    **dict(enumerate(_TUMOURS, start=3)),
                },
                note="The numbers of the combined masks.",
            ),
            LabelMap(
                "organ_assembly",
                {
                    1: copy("aorta"),
                    2: split("adrenal", "adrenal_gland", part_of="adrenal_glands", note="both sides in one value"),
                    6: copy("colon"),
                    7: copy("duodenum"),
                    8: copy("gallbladder", "gall_bladder"),
                    9: copy("postcava"),
                    10: copy("left kidney", "kidney_left"),
                    11: copy("right kidney", "kidney_right"),
                    12: copy("liver"),
                    13: copy("pancreas"),
                    14: copy("pancreas tumour", "pancreas_tumor", part_of="pancreas"),
                    18: copy("spleen"),
                    19: copy("stomach"),
                    20: copy("portal and splenic vein", "portal_vein_and_splenic_vein"),
                    **_UNKNOWN,
                },
                note="The numbers of the organ masks, as far as upstream's assembly step tells.",
                confidence="verified where named; the values called unknown are unknown",
            ),
        ),
        counts=Counts(0, None, note="5,119 scans in SuPreM's lists: 3,159 train and 1,960 test."),
        splits={"train": 3159, "test": 1960},
        quirks=(
            Fact("Two phases per patient: split by patient, never by scan.", "verified", "file names"),
            Fact(
                "The published five-fold lists split by scan: 804 to 833 of about 925 test patients are in training.",
                "verified",
                "SuPreM lists",
            ),
            Fact("The crop was made with the reference masks, test cases included.", "verified", "SuPreM target code"),
        ),
        to_verify=("The names of values 3-5 and 15-17 of the organ masks.",),
    )
)
