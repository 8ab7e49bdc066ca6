"""Names, synonyms, sides, parents and codes of structures."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from suprem.errors import UnknownNameError
from suprem.labels import canonical_name, list_structures, mirrored, ordered, structure
from suprem.labels._anatomy import PRIVATE

SPELLINGS = {
    "gall_bladder": ["gallbladder", "gall bladder", "Gall Bladder", "gall-bladder", "GALL_BLADDER"],
    "postcava": ["Postcava", "inferior_vena_cava", "inferior vena cava", "IVC", "vena cava inferior"],
    "intestine": ["small_bowel", "Small Bowel", "small intestine", "Intestine"],
    "bladder": ["urinary_bladder", "Urinary bladder"],
    "celiac_trunk": ["celiac_truck", "Celiac Truck", "celiac trunk", "coeliac trunk"],
    "aorta": ["Arota", "Aorta"],
    "portal_vein_and_splenic_vein": ["Portal Vein and Splenic Vein", "veins"],
    "kidney_left": ["Left Kidney", "kidney left", "left-kidney"],
    "adrenal_gland_right": ["Right Adrenal Gland", "adrenal_right"],
    "femur_left": ["Left Head of Femur", "head of femur, left", "femoral head left"],
    "liver_tumor": ["liver tumour", "Liver Tumor", "hepatic tumour"],
    "rib_left_1": ["costa 1 left", "left rib 1"],
    "vertebrae_T12": ["vertebrae T12", "vertebrae_t12", "T12 vertebra"],
    "clavicula_left": ["clavicle left", "left clavicle"],
    "bronchi": ["bronchie"],
}

# SNOMED CT codes outside DICOM PS3.16, each given by two independent public mappings of TotalSegmentator's classes.
BEYOND_PS3_16 = {
    "110765007": "Portal vein and splenic vein",
    "74281007": "Myocardium",
    "75297007": "Gluteus minimus muscle",
    "48535007": "First rib",
    "78247007": "Second rib",
    "25888004": "Third rib",
    "25523003": "Fourth rib",
    "15339008": "Fifth rib",
    "59558009": "Sixth rib",
    "24915002": "Seventh rib",
    "5953002": "Eighth rib",
    "22565002": "Ninth rib",
    "77644006": "Tenth rib",
    "58830002": "Eleventh rib",
    "43993008": "Twelfth rib",
}


@pytest.mark.parametrize(("name", "text"), [(k, v) for k, texts in SPELLINGS.items() for v in texts])
def test_spelling_variants_lead_to_the_canonical_name(name: str, text: str) -> None:
    assert canonical_name(text) == name


def test_every_canonical_name_and_synonym_is_its_own() -> None:
    for name in list_structures():
        assert canonical_name(name) == name
        assert {canonical_name(text) for text in structure(name).synonyms} <= {name}


def test_lookalikes_stay_apart() -> None:
    apart = ["kidney_cyst", "kidney_cyst_left", "kidney_cyst_right", "pancreas_cyst", "pancreas_tumor", "pancreas_pdac"]
    assert [canonical_name(name) for name in apart] == apart
    assert len({canonical_name(text) for text in ("adrenal", "left adrenal", "right adrenal")}) == 3
    assert len({canonical_name(text) for text in ("prostate", "uterus", "prostate/uterus")}) == 3
    assert len({canonical_name(text) for text in ("heart", "heart tissue", "heart myocardium")}) == 3


@pytest.mark.parametrize("text", ["kidney", "cyst", "femur", "", "lung", "tumor"])
def test_names_without_one_meaning_are_refused(text: str) -> None:
    with pytest.raises(UnknownNameError, match="Unknown structure"):
        canonical_name(text)


def test_unknown_name_offers_the_closest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'spleen'"):
        structure("spleeen")


def test_the_registry_gives_the_order_and_foreign_names_come_last() -> None:
    known = list_structures()
    assert ordered(["b of mine", "A of mine", *reversed(known)]) == (*known, "A of mine", "b of mine")


def test_categories_of_dicom() -> None:
    found = {name: structure(name).category.meaning for name in ("liver", "liver_tumor", "kidney_cyst", "fat")}
    assert found == {
        "liver": "Anatomical Structure",
        "liver_tumor": "Morphologically Abnormal Structure",
        "kidney_cyst": "Morphologically Abnormal Structure",
        "fat": "Tissue",
    }
    assert {structure(name).category.scheme for name in list_structures()} == {"SCT"}


def test_sides_follow_the_names() -> None:
    for name in list_structures():
        words = set(name.split("_"))
        expected = next((side for side in ("left", "right") if side in words), None)
        if structure(name).group == "cardiac structure":
            expected = None
        assert structure(name).side == expected, name


def test_mirroring_is_its_own_inverse_and_swaps_sides() -> None:
    without_counterpart = []
    for name in list_structures():
        other = mirrored(name)
        assert mirrored(other) == name
        if structure(name).side is None:
            assert other == name
        elif other == name:
            without_counterpart.append(name)
        else:
            assert {structure(name).side, structure(other).side} == {"left", "right"}
            assert name.replace("left", "*").replace("right", "*") == other.replace("left", "*").replace("right", "*")
    assert without_counterpart == ["lung_middle_lobe_right"]


def test_parents() -> None:
    expected = {
        "liver_tumor": {"liver"},
        "kidney_tumor": {"kidney_left", "kidney_right"},
        "kidney_cyst": {"kidney_left", "kidney_right"},
        "kidney_cyst_left": {"kidney_left"},
        "lung_tumor": {"lung_left", "lung_right"},
        "colon_tumor": {"colon"},
        "hepatic_vessel": {"liver"},
        "lung_upper_lobe_left": {"lung_left"},
        "lung_middle_lobe_right": {"lung_right"},
        "heart_atrium_left": {"heart"},
        "liver": set(),
    }
    assert {name: set(structure(name).parents) for name in expected} == expected


def test_parents_are_known_and_have_no_cycles_and_keep_the_side() -> None:
    for name in list_structures():
        seen, front = {name}, list(structure(name).parents)
        while front:
            parent = front.pop()
            assert canonical_name(parent) == parent
            assert parent not in seen
            seen.add(parent)
            front += structure(parent).parents
        sides = {structure(parent).side for parent in structure(name).parents}
        assert structure(name).side is None or sides <= {structure(name).side, None}


def test_groups_of_the_paper() -> None:
    first = list_structures()[:32]
    counts = {
        g: len(list(items)) for g, items in itertools.groupby(sorted(map(structure, first), key=_group), key=_group)
    }
    assert counts == {
        "abdominal organ": 16,
        "thorax organ": 2,
        "vascular structure": 5,
        "skeletal structure": 2,
        "tumour or cyst": 7,
    }


def _group(entry: object) -> str:
    return str(entry.group)  # type: ignore[attr-defined]


def test_codes_fit_dicom() -> None:
    seen: dict[tuple[str, ...], str] = {}
    for name in list_structures():
        entry = structure(name)
        assert entry.code.scheme in ("SCT", PRIVATE)
        assert 0 < len(entry.code.value) <= 16
        assert 0 < len(entry.code.meaning) <= 64
        assert entry.code.value.isdigit() == (entry.code.scheme == "SCT")
        # Code, side and, for lesions, the organ tell every structure from every other one.
        side = entry.laterality.value if entry.laterality else ""
        where = sorted(entry.parents) if entry.group == "tumour or cyst" else []
        key = (entry.code.scheme, entry.code.value, side, *where)
        if name not in ("hepatic_vessel_tumor", "thyroid_gland"):
            assert key not in seen, (name, seen.get(key))
        seen[key] = name


def test_codes_are_those_of_dicom_ps3_16() -> None:
    concepts = pytest.importorskip("pydicom.sr._concepts_dict").concepts["SCT"]
    official: dict[str, set[str]] = {}
    for entries in concepts.values():
        for value, (meaning, _) in entries.items():
            official.setdefault(value, set()).add(meaning)
    for name in list_structures():
        entry = structure(name)
        for code in filter(None, (entry.code, entry.laterality, entry.category)):
            if code.scheme == PRIVATE:
                continue
            if code.value in BEYOND_PS3_16:
                assert code.meaning == BEYOND_PS3_16[code.value]
            else:
                assert code.meaning in official.get(code.value, ()), (name, code, official.get(code.value))


def test_parents_and_spellings_of_the_facts(shared_folder: Path) -> None:
    facts = json.loads((shared_folder / "spec" / "class_maps.json").read_text())["universal_32"]
    for entry in facts["classes"]:
        name = entry["name"]
        assert canonical_name(entry["reference_display_name"]) == name
        assert canonical_name(entry["reference_file_stem"]) == name
        if "parent_organs" in entry and name != "hepatic_vessel_tumor":
            assert set(structure(name).parents) == set(entry["parent_organs"])
    # The facts have two parents for this one; ours is that of the table of larger organs.
    names = {entry["label"]: entry["name"] for entry in facts["classes"]}
    organs = {names[int(k)] for k, parts in facts["larger_organ_contains"].items() if 29 in parts}
    assert set(structure("hepatic_vessel_tumor").parents) == organs
    targets = json.loads((shared_folder / "spec" / "target_class_maps.json").read_text())
    for name, texts in targets["paper_spelling_variants"].items():
        for text in texts:
            assert canonical_name(text.split(" (")[0]) == name
    for group, names_of_group in targets["groups"].items():
        assert {structure(name).group for name in names_of_group} == {group}
    for left, right in targets["left_right_pairs"]:
        assert mirrored(left) == right


def test_import_is_light() -> None:
    heavy = ("numpy", "torch", "monai", "matplotlib", "SimpleITK", "pydicom")
    code = f"import sys, suprem.labels as l; l.color('liver'); print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
