"""CT-ORG: 140 scans with liver, bladder, lungs and kidneys; most images are those of LiTS."""

from suprem.datasets._layout import CaseRule, Files, IdentityRule, Variant
from suprem.datasets._rules import LabelMap, copy, drop, split
from suprem.datasets._spec import DATASETS, Counts, DatasetSpec, Fact
from suprem.datasets._templates import one_of

__all__ = ["SPEC"]

_REPAIRED = (20, *range(28, 48), 131, 133, *range(135, 140))


def _files(images: str, labels: str) -> tuple[Files, ...]:
    """The official parts: test is volume 0 to 20, train the rest."""
    return tuple(
        Files(
            (f"{images}volume-{{n}}.nii.gz",),
            {"n": one_of(numbers)},
            "volume-{n}",
            (f"{labels}labels-{{n}}.nii.gz",),
            split=part,
        )
        for part, numbers in (("test", range(21)), ("train", range(21, 140)))
    )


SPEC = DATASETS.register("ct_org")(
    DatasetSpec(
        slug="ct_org",
        title="CT-ORG",
        homepage="https://www.cancerimagingarchive.net/collection/ct-org/",
        licence=(Fact("CC BY 3.0", "verified", "AbdomenAtlas-8K licence table"),),
        sharing="allowed",
        access="open",
        obtain=("From the collection's page, with IBM Aspera; a mirror is the Hub dataset MedOtter/ct-org.",),
        citation=(
            "Rister et al., CT-ORG, a new dataset for multiple organ segmentation in computed tomography, Scientific "
            "Data 7:381, 2020, doi:10.1038/s41597-020-00715-8",
            "Data: doi:10.7937/tcia.2019.tt7f4v7o",
        ),
        region="abdomen to whole body",
        variants=(
            Variant(
                "official",
                _files("", ""),
                folder="OrganSegmentations",
                source="VISTA data list",
                note="The folder's name is that of a public data list.",
            ),
            Variant("public_mirror", _files("volumes/", "labels/"), source="torch-em CT-ORG loader"),
            Variant(
                "upstream_repacked",
                _files("img/", "label/"),
                folder="12_CT-ORG",
                source="case lists of the Universal Model and AbdomenAtlas",
                note="Only with the original masks: those that upstream split left and right reuse values 5 and 6.",
            ),
        ),
        label_maps=(
            LabelMap(
                "official",
                {
                    1: copy("liver", note="lesions included [memory]"),
                    2: copy("bladder"),
                    3: split("lungs (merged)", "lung"),
                    4: split("kidneys (merged)", "kidney"),
                    5: drop("bone", note="all bones in one value"),
                    6: copy("brain", note="in 9 scans"),
                },
                note="Bladder is in 114 of 140 scans; elsewhere it is out of the field of view.",
            ),
        ),
        counts=Counts(140, 140, 140, note="The paper counts 5 organs; there are 6 values."),
        splits={"train": 119, "test": 21},
        flags=(
            CaseRule(
                rf"volume-({'|'.join(map(str, _REPAIRED))})",
                "its header is unreliable: a public data list replaced the affine",
                "verified",
                'VISTA data list, "fixed_affine"',
            ),
            CaseRule(
                r"volume-(2[89]|3\d|4[0-7])",
                "3D-IRCADb scan whose spacing was reset to 1 mm: sizes in mm are wrong",
                "inferred",
                "AbdomenCT-1K issue 27; VISTA data list",
            ),
        ),
        identity=(
            IdentityRule(
                r"volume-(?P<n>\d|\d\d|1[0-2]\d|130)",
                "lits/{n}",
                "LiTS volume-N and MSD Task03 liver_N, N = 0 to 130",
                "inferred",
                "equal numbers; to be confirmed by hash",
            ),
        ),
        quirks=(
            Fact(
                "Lungs and bones of the 119 training scans were segmented automatically: no reference for boundaries.",
                "verified",
                "TCIA description",
            ),
            Fact(
                "One public list leaves out volumes 19, 70, 74 and 76 without a reason.", "verified", "VISTA data list"
            ),
            Fact(
                "Dedicated and PET-CT scans are 130 + 10 according to TCIA, 131 + 9 according to two other sources.",
                "verified",
                "TCIA; Awesome-Medical-Dataset; torch-em",
            ),
        ),
        to_verify=(
            "Whether 130 or 131 scans are those of LiTS, by hash.",
            "The headers of volumes 20, 28-47, 131, 133 and 135-139.",
            "Why 19, 70, 74 and 76 are left out of one public list.",
        ),
    )
)
