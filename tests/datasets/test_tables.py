"""Single facts of numberings that are easily mixed up, written down apart from the specifications."""

import pytest

from suprem.datasets import dataset

# (dataset, numbering): value -> every structure that a voxel of the value can belong to.
# fmt: off
MEANINGS = {
    ("btcv", "official"): {
        2: {"kidney_right"}, 3: {"kidney_left"}, 9: {"postcava"}, 10: {"portal_vein_and_splenic_vein"},
        11: {"pancreas"}, 12: {"adrenal_gland_right"}, 13: {"adrenal_gland_left"},
    },
    ("btcv", "zenodo_multiorgan_train"): {13: {"adrenal_gland_left"}, 14: {"duodenum"}},
    ("btcv", "zenodo_multiorgan_test"): {1: {"spleen"}, 3: {"kidney_left"}, 14: {"duodenum"}},
    ("amos22", "official"): {
        2: {"kidney_right"}, 3: {"kidney_left"}, 8: {"aorta"}, 10: {"pancreas"}, 13: {"duodenum"}, 14: {"bladder"},
        15: {"prostate_or_uterus"},
    },
    ("word", "official"): {
        1: {"liver"}, 2: {"spleen"}, 3: {"kidney_left"}, 4: {"kidney_right"}, 10: {"colon"}, 11: {"intestine"},
        12: {"adrenal_gland_left", "adrenal_gland_right", "adrenal_glands"}, 15: {"femur_left"}, 16: {"femur_right"},
    },
    ("ct_org", "official"): {
        2: {"bladder"}, 3: {"lung_left", "lung_right"}, 4: {"kidney_left", "kidney_right"}, 5: set(), 6: {"brain"},
    },
    ("abdomenct_1k", "official"): {2: {"kidney_left", "kidney_right"}, 3: {"spleen"}, 4: {"pancreas"}},
    ("abdomenct_1k", "organ12_subset"): {
        2: {"kidney_left", "kidney_right"}, 7: {"stomach"}, 8: {"gall_bladder"}, 12: {"celiac_trunk"},
    },
    ("flare22_labelled", "official"): {2: {"kidney_right"}, 9: {"gall_bladder"}, 12: {"duodenum"}, 13: {"kidney_left"}},
    ("flare23", "official"): {5: {"aorta"}, 13: {"kidney_left"}, 14: set()},
    ("rsna_abdominal_trauma", "official"): {3: {"kidney_left"}, 4: {"kidney_right"}, 5: set()},
    ("lits", "official"): {1: {"liver"}, 2: {"liver_tumor", "liver"}},
    ("msd_liver", "official"): {1: {"liver"}, 2: {"liver_tumor", "liver"}},
    ("msd_lung", "official"): {1: {"lung_tumor"}},
    ("msd_pancreas", "official"): {1: {"pancreas"}, 2: {"pancreas_tumor", "pancreas"}},
    ("msd_hepaticvessel", "official"): {1: {"hepatic_vessel"}, 2: {"hepatic_vessel_tumor"}},
    ("msd_colon", "official"): {1: {"colon_tumor"}},
    ("kits", "kits19"): {1: {"kidney_left", "kidney_right"}, 2: {"kidney_tumor", "kidney_left", "kidney_right"}},
    ("kits", "kits23"): {3: {"kidney_cyst", "kidney_left", "kidney_right"}},
    ("abdomenatlas_1_1", "combined_labels"): {
        1: {"aorta"}, 3: {"kidney_left"}, 4: {"kidney_right"}, 17: {"femur_left"}, 21: {"lung_left"}, 25: {"rectum"},
    },
    ("totalsegmentator_v1", "official"): {
        7: {"aorta"}, 13: {"lung_upper_lobe_left", "lung_left"}, 55: {"intestine"}, 88: {"femur_left"},
        104: {"bladder"},
    },
    ("totalsegmentator_v2", "official"): {
        7: {"pancreas"}, 14: {"lung_lower_lobe_right", "lung_right"}, 24: {"kidney_cyst_right", "kidney_cyst"},
        52: {"aorta"},
    },
    ("dap_atlas", "official"): {
        1: set(), 11: set(), 13: {"liver"}, 15: {"kidney_left"}, 121: {"lung_upper_lobe_left", "lung_left"},
    },
    ("jhh_pancreas", "tumour_on_disk"): {
        2: {"pancreas"}, 3: {"pancreas_pdac", "pancreas_tumor", "pancreas"},
        5: {"pancreas_pnet", "pancreas_tumor", "pancreas"},
    },
    ("jhh_pancreas", "tumour_finetune"): {2: {"pancreas_pdac", "pancreas_tumor", "pancreas"}},
    ("jhh_pancreas", "organ_assembly"): {10: {"kidney_left"}, 11: {"kidney_right"}, 16: set()},
    ("imagecas", "official"): {1: {"coronary_artery"}},
    ("chaos_ct", "official"): {255: {"liver"}},
}
SIZES = {
    ("btcv", "official"): 13, ("btcv", "zenodo_multiorgan_train"): 14, ("btcv", "zenodo_multiorgan_test"): 8,
    ("pancreas_ct", "official"): 1, ("pancreas_ct", "zenodo_multiorgan_labels"): 8, ("chaos_ct", "official"): 1,
    ("amos22", "official"): 15, ("word", "official"): 16, ("ct_org", "official"): 6, ("kits", "kits19"): 2,
    ("kits", "kits21"): 3, ("kits", "kits23"): 3, ("abdomenct_1k", "official"): 4,
    ("abdomenct_1k", "organ12_subset"): 12, ("flare22_labelled", "official"): 13, ("flare23", "official"): 14,
    ("rsna_abdominal_trauma", "official"): 5, ("abdomenatlas_1_0", "combined_labels"): 9,
    ("abdomenatlas_1_1", "combined_labels"): 25, ("totalsegmentator_v1", "official"): 104,
    ("totalsegmentator_v2", "official"): 117, ("dap_atlas", "official"): 144,
}
NOT_ANNOTATED = {
    ("msd_lung", "official"): {"lung_left", "lung_right"},
    ("msd_colon", "official"): {"colon"},
    ("msd_hepaticvessel", "official"): {"liver", "liver_tumor"},
    ("kits", "kits19"): {"kidney_cyst"},
    ("btcv", "official"): {"duodenum"},
    ("btcv", "zenodo_multiorgan_test"): {"kidney_right", "aorta", "postcava", "adrenal_gland_left"},
    ("pancreas_ct", "zenodo_multiorgan_labels"): {"kidney_right", "aorta", "postcava", "adrenal_gland_left"},
    ("abdomenct_1k", "organ12_subset"): {"duodenum"},
    ("amos22", "official"): {"prostate", "uterus", "portal_vein_and_splenic_vein"},
    ("rsna_abdominal_trauma", "official"): {"colon", "duodenum", "intestine"},
    ("totalsegmentator_v1", "official"): {"rectum", "prostate", "hepatic_vessel", "celiac_trunk"},
    ("dap_atlas", "official"): {"rectum"},
}
# fmt: on


@pytest.mark.parametrize("key", MEANINGS, ids=":".join)
def test_values_mean_what_the_datasets_say(key: tuple[str, str]) -> None:
    table = dataset(key[0]).label_map(key[1])
    for value, expected in MEANINGS[key].items():
        assert table.values[value].structures == expected, value


@pytest.mark.parametrize("key", SIZES, ids=":".join)
def test_numberings_have_the_size_they_should(key: tuple[str, str]) -> None:
    assert len(dataset(key[0]).label_map(key[1]).values) == SIZES[key]


@pytest.mark.parametrize("key", NOT_ANNOTATED, ids=":".join)
def test_what_was_not_annotated_is_not_claimed(key: tuple[str, str]) -> None:
    assert not NOT_ANNOTATED[key] & dataset(key[0]).label_map(key[1]).annotated


def test_official_parts_have_the_sizes_that_were_published() -> None:
    word = dataset("word").variant("official").files
    assert [(family.split, family.fields["n"].pattern.count("|") + 1) for family in word] == [
        ("train", 100),
        ("val", 20),
        ("test", 30),
    ]
    kits = dataset("kits").variant("kits23").files[0]
    assert kits.fields["n"].pattern.count("|") + 1 == 489
    labelled, withheld = dataset("abdomenct_1k").variant("zenodo_parts").files
    assert labelled.fields["n"].pattern.count("|") + 1 == 1000
    assert withheld.fields["n"].pattern.count("|") + 1 == 62
    assert sum(f.fields["n"].pattern.count("|") + 1 for f in dataset("btcv").variant("zenodo_multiorgan").files) == 47


def test_the_upstream_range_of_imagecas_is_1000_numbers() -> None:
    import re

    pattern = dataset("imagecas").variant("upstream_repacked").files[0].fields["case"].pattern
    found = [n for n in range(14000, 16500) if re.fullmatch(pattern, f"BDMAP_{n:08d}")]
    assert (found[0], found[-1], len(found)) == (14638, 15637, 1000)
