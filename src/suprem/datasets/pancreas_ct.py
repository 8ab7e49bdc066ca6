"""Pancreas-CT of the NIH (80 scans): pancreas, and for 42 scans seven more organs from Zenodo record 1169361."""

from suprem.datasets._layout import CaseRule, Files, Variant
from suprem.datasets._rules import LabelMap, copy
from suprem.datasets._spec import DATASETS, Counts, DatasetSpec, Fact
from suprem.datasets._templates import one_of

__all__ = ["SPEC"]

_N = {"n": one_of(range(1, 83), width=4)}
_SERIES = (
    "Pancreas-CT/PANCREAS_{n}/*/*",
    "manifest-*/Pancreas-CT/PANCREAS_{n}/*/*",
    "PANCREAS_{n}/*/*",
)
_MULTI_ORGAN = {
    1: copy("spleen"),
    3: copy("left kidney", "kidney_left"),
    4: copy("gallbladder", "gall_bladder"),
    5: copy("esophagus"),
    6: copy("liver"),
    7: copy("stomach"),
    11: copy("pancreas"),
    14: copy("duodenum"),
}

SPEC = DATASETS.register("pancreas_ct")(
    DatasetSpec(
        slug="pancreas_ct",
        title="Pancreas-CT (NIH)",
        homepage="https://www.cancerimagingarchive.net/collection/pancreas-ct/",
        licence=(Fact("CC BY 3.0", "verified", "AbdomenAtlas-8K licence table; a public re-host that cites TCIA"),),
        sharing="allowed",
        access="open",
        obtain=(
            "From the collection's page: the images with the NBIA Data Retriever, and the archive "
            "TCIA_pancreas_labels-02-05-2017.",
            "For the multi-organ labels also: curl -LO "
            "https://zenodo.org/records/1169361/files/label_tciapancreasct_multiorgan.tar.gz",
            "Unpack all of them into one folder.",
        ),
        citation=(
            "Roth et al., Data From Pancreas-CT, The Cancer Imaging Archive, 2016, doi:10.7937/K9/TCIA.2016.tNB1kqBU",
            "Multi-organ labels: Gibson et al., Automatic Multi-Organ Segmentation on Abdominal CT With Dense "
            "V-Networks, IEEE Transactions on Medical Imaging 37, 2018, doi:10.1109/TMI.2018.2806309",
        ),
        region="abdomen",
        variants=(
            Variant(
                "official",
                (Files(_SERIES, _N, "PANCREAS_{n}", ("TCIA_pancreas_labels-02-05-2017/label{n}.nii.gz",)),),
                image_format="dicom",
                source="MultiTalent Task062; VISTA data list; Awesome-Medical-Dataset",
            ),
            Variant(
                "zenodo_multiorgan_labels",
                (
                    Files(
                        _SERIES,
                        _N,
                        "PANCREAS_{n}",
                        (
                            "label_tcia_multiorgan/label{n}.nii.gz",
                            "label_tciapancreasct_multiorgan/label_tcia_multiorgan/label{n}.nii.gz",
                        ),
                        label_map="zenodo_multiorgan_labels",
                        partly_labelled=True,
                    ),
                ),
                image_format="dicom",
                source="torch-em multi-organ loader; MultiTalent Task046",
                note="Images from TCIA, labels from Zenodo record 1169361, which also holds cropping.csv.",
            ),
            Variant(
                "upstream_repacked",
                (
                    Files(
                        ("img/PANCREAS_{n}.nii.gz",),
                        _N,
                        "PANCREAS_{n}",
                        ("multiorgan_label/label{n}.nii.gz",),
                        label_map="zenodo_multiorgan_labels",
                        partly_labelled=True,
                    ),
                ),
                folder="02_TCIA_Pancreas-CT",
                source="case lists of the Universal Model and AbdomenAtlas",
            ),
        ),
        label_maps=(
            LabelMap("official", {1: copy("pancreas")}),
            LabelMap(
                "zenodo_multiorgan_labels",
                _MULTI_ORGAN,
                note="Numbered as BTCV, but right kidney, aorta, vena cava, portal vein and adrenal glands are not "
                "annotated. May be incomplete outside the box that cropping.csv gives for each case.",
            ),
        ),
        counts=Counts(80, 80, 42, note="82 in the first release. 42 have multi-organ labels as well."),
        exclusions=(
            CaseRule(
                "PANCREAS_00(25|70)",
                "withdrawn in version 2: a crop of the scan of PANCREAS_0002",
                "verified",
                "Awesome-Medical-Dataset; the published list of 80 cases",
            ),
        ),
        quirks=(
            Fact(
                "All series have ImageOrientationPatient [1, 0, 0, 0, -1, 0] and all official labels axis codes (L, A, "
                "I). Stacked by ascending z as (z, y, x), the image fits the label transposed to (z, y, x) with z "
                "reversed.",
                "verified",
                "torch-em NIH Pancreas loader, which asserts it for every case",
            ),
            Fact(
                "The origins of image and label differ: never resample one onto the other by affine alone. Readers "
                "that assume the usual orientation flip y.",
                "verified",
                "MultiTalent; deedsBCV issue 2; SAT-DS",
            ),
            Fact(
                "The Zenodo labels lie on the DICOM stack by position, transposed to (x, y, z), without any flip.",
                "verified",
                "torch-em multi-organ loader",
            ),
            Fact(
                "Files relabelled to 1..9 with an own right kidney are not the Zenodo originals.",
                "verified",
                "VISTA data list",
            ),
        ),
        to_verify=(
            "Axis codes, ImageOrientationPatient, equal shapes, and a mean of 0 to 150 HU under the mask.",
            "cropping.csv of Zenodo 1169361: what its columns mean, and whether they count from 0.",
        ),
    )
)
