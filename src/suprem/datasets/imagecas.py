"""ImageCAS: coronary arteries on 1,000 CT angiographies."""

from suprem.datasets._layout import Files, Variant
from suprem.datasets._rules import LabelMap, copy
from suprem.datasets._spec import DATASETS, Counts, DatasetSpec, Fact
from suprem.datasets._templates import Field

__all__ = ["SPEC"]

_N = {"n": Field(r"[1-9]\d{0,3}", "1")}
_BDMAP = {
    "case": Field(r"BDMAP_000(1463[89]|146[4-9]\d|14[7-9]\d\d|15[0-5]\d\d|156[0-2]\d|1563[0-7])", "BDMAP_00014638")
}

SPEC = DATASETS.register("imagecas")(
    DatasetSpec(
        slug="imagecas",
        title="ImageCAS",
        homepage="https://github.com/XiaoweiXu/ImageCAS-A-Large-Scale-Dataset-and-Benchmark-for-Coronary-Artery-"
        "Segmentation-based-on-CT",
        licence=(Fact("stated on the Kaggle page; not checked", "unknown"),),
        access="Kaggle account",
        obtain=(
            "kaggle datasets download xiaoweixumedicalai/imagecas",
            'Unpack it; rename archives inside that end in ".change2zip" to ".zip" and unpack them too.',
        ),
        citation=(
            "Zeng et al., ImageCAS: A large-scale dataset and benchmark for coronary artery segmentation based on "
            "computed tomography angiography images, Computerized Medical Imaging and Graphics 109, 2023, "
            "arXiv:2211.01607",
        ),
        region="heart",
        variants=(
            Variant(
                "official",
                (
                    Files(
                        ("*/{n}.img.nii.gz", "{n}.img.nii.gz"),
                        _N,
                        "{n}",
                        ("*/{n}.label.nii.gz", "{n}.label.nii.gz"),
                    ),
                ),
                confidence="verified for the file names; folders such as 1-200 from a public converter",
                source="public loaders",
            ),
            Variant(
                "upstream_repacked",
                (Files(("{case}/ct.nii.gz",), _BDMAP, "{case}", ("{case}/segmentations/{structure}.nii.gz",)),),
                label_format="masks",
                source="SuPreM target code",
                note="BDMAP_00014638 to 00015637.",
            ),
        ),
        label_maps=(LabelMap("official", {1: copy("coronary_artery")}, binary=True),),
        counts=Counts(1000, 1000, confidence="verified", note="Five folds of about 667 and 167 in the paper's lists."),
        quirks=(
            Fact(
                'Copies whose name ends in "(1)" are duplicates of an early upload; they are not read.',
                "verified",
                "repository README",
            ),
            Fact(
                "The published validation list shares cases with training and test in all five folds: it leaks.",
                "verified",
                "SuPreM lists",
            ),
        ),
        to_verify=("The licence.", "The folders inside the archive.", "Which number each BDMAP id stands for."),
    )
)
