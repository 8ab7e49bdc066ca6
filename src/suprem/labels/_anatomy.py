"""The table behind :mod:`suprem.labels.structures`: one row per structure, or per left/right pair.

Codes are those of DICOM PS3.16, which names a side by a modifier instead of a code of its own. SNOMED CT codes outside
PS3.16 (ribs by number, myocardium, ...) are given only where two public mappings agree; all else has a private code.
Append new rows at the end of ``ROWS``: the position decides the colour.
"""

from typing import NamedTuple

__all__ = ["PRIVATE", "ROWS", "Row"]

PRIVATE = "99SUPREM"

_ABDOMEN, _THORAX, _VESSEL, _BONE = "abdominal organ", "thorax organ", "vascular structure", "skeletal structure"
_LESION, _HEART, _MUSCLE = "tumour or cyst", "cardiac structure", "muscle"
_HEAD, _TISSUE = "head and neck", "soft tissue"


class Row(NamedTuple):
    """A structure, or with ``{side}`` in its name a right and a left one.

    Attributes:
        name: canonical name; ``{side}`` stands for ``right`` and ``left``.
        group: what kind of structure it is.
        code: code value; 16 characters at most, the limit of DICOM.
        meaning: code meaning.
        parents: canonical names of what it lies inside.
        synonyms: other spellings; case, spaces, hyphens and underscores do not matter.
        scheme: coding scheme designator.
        side: the side of a structure that exists on one side only.
    """

    name: str
    group: str
    code: str
    meaning: str
    parents: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()
    scheme: str = "SCT"
    side: str | None = None


_KIDNEYS = ("kidney_right", "kidney_left")
_LUNGS = ("lung_right", "lung_left")
_FEMUR = ("head_of_femur_{side}", "{side}_head_of_femur", "femoral_head_{side}", "{side}_femoral_head")

# The 32 structures of the published checkpoints, in their order.
_UNIVERSAL = (
    Row("spleen", _ABDOMEN, "78961009", "Spleen"),
    Row("kidney_{side}", _ABDOMEN, "64033007", "Kidney"),
    Row("gall_bladder", _ABDOMEN, "28231008", "Gallbladder", (), ("gallbladder",)),
    Row("esophagus", _ABDOMEN, "32849002", "Esophagus", (), ("oesophagus",)),
    Row("liver", _ABDOMEN, "10200004", "Liver"),
    Row("stomach", _ABDOMEN, "69695003", "Stomach"),
    Row("aorta", _VESSEL, "15825003", "Aorta", (), ("arota",)),
    Row("postcava", _VESSEL, "64131007", "Inferior vena cava", (), ("inferior_vena_cava", "ivc", "vena_cava_inferior")),
    Row(
        "portal_vein_and_splenic_vein",
        _VESSEL,
        "110765007",
        "Portal vein and splenic vein",
        (),
        ("portal_and_splenic_vein", "portal_vein_splenic_vein", "veins"),
    ),
    Row("pancreas", _ABDOMEN, "15776009", "Pancreas"),
    Row("adrenal_gland_{side}", _ABDOMEN, "23451007", "Adrenal gland", (), ("adrenal_{side}", "{side}_adrenal")),
    Row("duodenum", _ABDOMEN, "38848004", "Duodenum"),
    Row(
        "hepatic_vessel", _VESSEL, "hepatic_vessel", "Hepatic vessel", ("liver",), ("hepatic_vessels",), scheme=PRIVATE
    ),
    Row("lung_{side}", _THORAX, "39607008", "Lung"),
    Row("colon", _ABDOMEN, "71854001", "Colon"),
    Row("intestine", _ABDOMEN, "30315005", "Small intestine", (), ("small_bowel", "small_intestine")),
    Row("rectum", _ABDOMEN, "34402009", "Rectum"),
    Row("bladder", _ABDOMEN, "89837001", "Bladder", (), ("urinary_bladder",)),
    Row("prostate", _ABDOMEN, "41216001", "Prostate"),
    Row("femur_{side}", _BONE, "71341001", "Femur", (), _FEMUR),
    Row(
        "celiac_trunk",
        _VESSEL,
        "57850000",
        "Truncus coeliacus",
        (),
        ("celiac_truck", "coeliac_trunk", "celiac_artery", "celiac_axis", "truncus_coeliacus"),
    ),
    Row("kidney_tumor", _LESION, "108369006", "Neoplasm", _KIDNEYS, ("renal_tumor", "kidneys_tumor")),
    Row("liver_tumor", _LESION, "108369006", "Neoplasm", ("liver",), ("hepatic_tumor",)),
    Row("pancreas_tumor", _LESION, "108369006", "Neoplasm", ("pancreas",), ("pancreatic_tumor",)),
    # It lies beside the hepatic vessels, not inside them: what it is a part of is the liver.
    Row("hepatic_vessel_tumor", _LESION, "108369006", "Neoplasm", ("liver",), ("hepatic_vessels_tumor",)),
    Row("lung_tumor", _LESION, "108369006", "Neoplasm", _LUNGS, ("pulmonary_tumor",)),
    Row("colon_tumor", _LESION, "108369006", "Neoplasm", ("colon",), ("colonic_tumor",)),
    Row("kidney_cyst", _LESION, "367643001", "Cyst", _KIDNEYS, ("renal_cyst",)),
)

_CHEST = (
    Row("lung_upper_lobe_{side}", _THORAX, "45653009", "Upper lobe of lung", ("lung_{side}",)),
    Row("lung_middle_lobe_right", _THORAX, "72481006", "Middle lobe of right lung", ("lung_right",), side="right"),
    Row("lung_lower_lobe_{side}", _THORAX, "90572001", "Lower lobe of lung", ("lung_{side}",)),
    Row("trachea", _THORAX, "44567001", "Trachea"),
    Row("thyroid_gland", _HEAD, "69748006", "Thyroid", (), ("thyroid",)),
    Row("kidney_cyst_{side}", _LESION, "367643001", "Cyst", ("kidney_{side}",)),
    Row("heart", _HEART, "80891009", "Heart"),
    Row("heart_myocardium", _HEART, "74281007", "Myocardium", ("heart",), ("myocardium",)),
    # "left" and "right" tell the chambers apart; a mirrored patient still has the left atrium as the left atrium.
    Row("heart_atrium_left", _HEART, "82471001", "Left atrium", ("heart",), ("left_atrium",)),
    Row("heart_ventricle_left", _HEART, "87878005", "Left ventricle", ("heart",), ("left_ventricle",)),
    Row("heart_atrium_right", _HEART, "73829009", "Right atrium", ("heart",), ("right_atrium",)),
    Row("heart_ventricle_right", _HEART, "53085002", "Right ventricle", ("heart",), ("right_ventricle",)),
    Row(
        "atrial_appendage_left", _HEART, "33626005", "Left auricular appendage", ("heart",), ("left_atrial_appendage",)
    ),
    Row("pulmonary_artery", _VESSEL, "81040000", "Pulmonary artery"),
    Row("pulmonary_vein", _VESSEL, "122972007", "Pulmonary vein"),
    Row("coronary_artery", _VESSEL, "41801008", "Coronary artery", (), ("coronary_arteries",)),
)

_VESSELS = (
    Row("iliac_artery_{side}", _VESSEL, "10293006", "Iliac artery"),
    Row("iliac_vena_{side}", _VESSEL, "244411005", "Iliac vein", (), ("iliac_vein_{side}", "{side}_iliac_vein")),
    Row(
        "brachiocephalic_trunk",
        _VESSEL,
        "12691009",
        "Innominate artery",
        (),
        ("brachiocephalic_artery", "innominate_artery"),
    ),
    Row("subclavian_artery_{side}", _VESSEL, "36765005", "Subclavian artery"),
    Row("common_carotid_artery_{side}", _VESSEL, "32062004", "Common carotid artery"),
    Row("brachiocephalic_vein_{side}", _VESSEL, "8887007", "Innominate vein"),
    Row("superior_vena_cava", _VESSEL, "48345005", "Superior vena cava", (), ("svc", "vena_cava_superior")),
    Row("internal_carotid_artery_{side}", _VESSEL, "86117002", "Internal carotid artery"),
    Row("internal_jugular_vein_{side}", _VESSEL, "12123001", "Internal jugular vein"),
)

_BONES = (
    Row("humerus_{side}", _BONE, "85050009", "Humerus"),
    Row("scapula_{side}", _BONE, "79601000", "Scapula"),
    Row("clavicula_{side}", _BONE, "51299004", "Clavicle", (), ("clavicle_{side}", "{side}_clavicle")),
    Row("hip_{side}", _BONE, "29836001", "Hip", (), ("hip_bone_{side}", "{side}_hip_bone")),
    Row("sacrum", _BONE, "54735007", "Sacrum"),
    Row("skull", _BONE, "89546000", "Skull"),
    Row("sternum", _BONE, "56873002", "Sternum"),
    Row("manubrium_of_sternum", _BONE, "37285002", "Manubrium of sternum", ("sternum",), ("manubrium",)),
    Row("costal_cartilages", _BONE, "50016007", "Costal Cartilage", (), ("rib_cartilage", "costal_cartilage")),
    Row("vertebrae_S1", _BONE, "vertebrae_S1", "S1 vertebra", ("sacrum",), ("vertebra_S1", "S1_vertebra"), PRIVATE),
)

# fmt: off
_VERTEBRA_CODES = {
    "L5": "49668003", "L4": "11994002", "L3": "36470004", "L2": "14293000", "L1": "66794005",
    "T12": "23215003", "T11": "12989004", "T10": "7610001", "T9": "82687006", "T8": "11068009", "T7": "62487009",
    "T6": "45296009", "T5": "56401006", "T4": "73071006", "T3": "1626008", "T2": "53733008", "T1": "64864005",
    "C7": "87391001", "C6": "36054005", "C5": "36978003", "C4": "5329002", "C3": "113205007", "C2": "39976000",
    "C1": "14806007",
}
_RIB_CODES = {
    1: ("48535007", "First rib"), 2: ("78247007", "Second rib"), 3: ("25888004", "Third rib"),
    4: ("25523003", "Fourth rib"), 5: ("15339008", "Fifth rib"), 6: ("59558009", "Sixth rib"),
    7: ("24915002", "Seventh rib"), 8: ("5953002", "Eighth rib"), 9: ("22565002", "Ninth rib"),
    10: ("77644006", "Tenth rib"), 11: ("58830002", "Eleventh rib"), 12: ("43993008", "Twelfth rib"),
}
# fmt: on

_SPINE = tuple(
    Row(f"vertebrae_{level}", _BONE, code, f"{level} vertebra", (), (f"vertebra_{level}", f"{level}_vertebra"))
    for level, code in _VERTEBRA_CODES.items()
)
_RIBS = tuple(
    Row(
        f"rib_{{side}}_{n}", _BONE, code, meaning, (), (f"{{side}}_rib_{n}", f"rib_{n}_{{side}}", f"costa_{n}_{{side}}")
    )
    for n, (code, meaning) in _RIB_CODES.items()
)

_MUSCLES = (
    Row("gluteus_maximus_{side}", _MUSCLE, "gluteus_maximus", "Gluteus maximus muscle", scheme=PRIVATE),
    Row("gluteus_medius_{side}", _MUSCLE, "gluteus_medius", "Gluteus medius muscle", scheme=PRIVATE),
    Row("gluteus_minimus_{side}", _MUSCLE, "75297007", "Gluteus minimus muscle"),
    Row("autochthon_{side}", _MUSCLE, "autochthon", "Autochthonous back muscle", scheme=PRIVATE),
    Row("iliopsoas_{side}", _MUSCLE, "iliopsoas", "Iliopsoas muscle", scheme=PRIVATE),
    Row("muscles", _MUSCLE, "91727004", "Muscle", (), ("muscle",)),
)

_REST = (
    Row("brain", _HEAD, "12738006", "Brain"),
    Row("spinal_cord", _HEAD, "2748008", "Spinal cord"),
    Row("spinal_canal", _BONE, "61853006", "Vertebral canal"),
    Row("face", _HEAD, "89545001", "Face"),
    Row("cheek_{side}", _HEAD, "60819002", "Cheek"),
    Row("eyeball_{side}", _HEAD, "79652003", "Eyeball"),
    Row("nasal_cavity", _HEAD, "nasal_cavity", "Nasal cavity", scheme=PRIVATE),
    Row("thyroid_{side}", _HEAD, "69748006", "Thyroid", ("thyroid_gland",)),
    Row("bronchi", _THORAX, "955009", "Bronchus", (), ("bronchie", "bronchus")),
    Row("thymus", _THORAX, "9875009", "Thymus"),
    Row("breast_{side}", _THORAX, "76752008", "Breast"),
    Row("heart_tissue", _HEART, "heart_tissue", "Heart tissue", ("heart",), scheme=PRIVATE),
    Row("uterus", _ABDOMEN, "35039007", "Uterus", ("uterocervix",)),
    Row("uterocervix", _ABDOMEN, "uterocervix", "Uterus and cervix", scheme=PRIVATE),
    Row("gonads", _ABDOMEN, "gonads", "Gonads", scheme=PRIVATE),
    Row("fat", _TISSUE, "55603005", "Fat"),
    Row("skin", _TISSUE, "39937001", "Skin"),
    Row("abdominal_tissue", _TISSUE, "abdominal_tissue", "Abdominal tissue", scheme=PRIVATE),
    Row("mediastinal_tissue", _TISSUE, "mediastin_tissue", "Mediastinal tissue", scheme=PRIVATE),
    # Labels that do not tell two structures apart are structures of their own: they equal neither.
    Row("adrenal_glands", _ABDOMEN, "adrenal_glands", "Adrenal glands", (), ("adrenal_gland", "adrenal"), PRIVATE),
    Row("prostate_or_uterus", _ABDOMEN, "prostate_uterus", "Prostate or uterus", (), ("prostate/uterus",), PRIVATE),
    Row("pancreas_pdac", _LESION, "pdac", "Pancreatic ductal adenocarcinoma", ("pancreas",), ("pdac",), PRIVATE),
    Row("pancreas_cyst", _LESION, "367643001", "Cyst", ("pancreas",), ("pancreatic_cyst",)),
    Row(
        "pancreas_pnet", _LESION, "pnet", "Pancreatic neuroendocrine tumor", ("pancreas",), ("pnet", "pannet"), PRIVATE
    ),
)

ROWS: tuple[Row, ...] = _UNIVERSAL + _CHEST + _VESSELS + _BONES + _SPINE + _RIBS + _MUSCLES + _REST
