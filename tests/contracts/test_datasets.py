"""Every registered dataset keeps the promises of its specification, and says what the collected facts say."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest

from suprem.datasets import DatasetSpec, LabelMap, LabelRule, dataset, list_datasets
from suprem.datasets._spec import Confidence
from suprem.labels import label_space, list_label_spaces, list_structures, mirrored, structure
from tests.datasets.trees import plant

NAMES = list_datasets()
UNIVERSAL = frozenset(label_space("universal_32").names)
# fmt: off
EXPECTED = {
    "pancreas_ct", "chaos_ct", "ct_org", "btcv", "amos22", "word", "msd_liver", "msd_lung", "msd_pancreas",
    "msd_hepaticvessel", "msd_spleen", "msd_colon", "lits", "abdomenct_1k", "kits", "flare23", "rsna_abdominal_trauma",
    "flare22_labelled", "abdomenatlas_1_0", "abdomenatlas_1_1", "totalsegmentator_v1", "totalsegmentator_v2",
    "dap_atlas", "imagecas", "jhh_pancreas", "folder",
}
# fmt: on
ONE_SIDED = {("btcv", "zenodo_multiorgan_test"), ("pancreas_ct", "zenodo_multiorgan_labels")}
MAPS = [(name, table.name) for name in NAMES for table in dataset(name).label_maps]
VARIANTS = [(name, variant.name) for name in NAMES for variant in dataset(name).variants]


def test_all_datasets_are_there() -> None:
    assert set(NAMES) == EXPECTED


@pytest.mark.parametrize("name", NAMES)
def test_a_dataset_is_complete(name: str) -> None:
    spec = dataset(name)
    assert spec.slug == name
    assert spec.title
    assert spec.licence
    assert spec.obtain
    assert spec.region
    assert spec.access
    assert spec.citation or name == "folder"
    assert spec.homepage.startswith("http") or name in ("folder", "jhh_pancreas")
    assert len({variant.name for variant in spec.variants}) == len(spec.variants)
    assert len({table.name for table in spec.label_maps}) == len(spec.label_maps)


@pytest.mark.parametrize("name", NAMES)
def test_whatever_is_not_verified_is_said(name: str) -> None:
    spec = dataset(name)
    words = get_args(Confidence)
    facts = [*spec.licence, *spec.quirks, *spec.exclusions, *spec.flags, *spec.identity, spec.counts]
    for fact in facts:
        assert fact.confidence in words
        assert fact.confidence != "verified" or getattr(fact, "source", "-") or fact in spec.identity
    for entry in (*spec.variants, *spec.label_maps):
        assert any(word in entry.confidence for word in words) or name == "folder"


@pytest.mark.parametrize("name", NAMES)
def test_sharing_is_what_every_stated_licence_says(name: str) -> None:
    spec = dataset(name)
    texts = [fact.text for fact in spec.licence]
    if any(("NC-ND" in text and "for the code" not in text) or "not redistributable" in text for text in texts):
        assert spec.sharing == "forbidden"
    elif spec.sharing == "allowed":  # Creative Commons without ND, and nothing else is said
        assert all(re.match(r"CC BY(-NC)?(-SA)?( \d\.\d|$)", text) for text in texts)
    else:
        assert spec.sharing == "unsure"


@pytest.mark.parametrize("name", NAMES)
def test_parts_add_up_to_no_more_than_the_whole(name: str) -> None:
    spec = dataset(name)
    if spec.splits and spec.counts.public:
        assert sum(spec.splits.values()) <= spec.counts.public
    if spec.counts.public and spec.counts.labelled:
        assert spec.counts.labelled <= spec.counts.public


@pytest.mark.parametrize(("name", "map_name"), MAPS)
def test_label_maps_name_known_structures(name: str, map_name: str) -> None:
    table = dataset(name).label_map(map_name)
    known = set(list_structures())
    for value, rule in table.values.items():
        named = {*rule.targets, *rule.also_part_of}
        assert named <= known, f"value {value}"
        assert rule.name, f"value {value}"
    assert table.annotated <= table.structures
    assert table.ignore <= table.values.keys()


@pytest.mark.parametrize(("name", "map_name"), MAPS)
def test_sides_come_in_pairs(name: str, map_name: str) -> None:
    table = dataset(name).label_map(map_name)
    missing = {
        s for s in table.annotated if structure(s).side and mirrored(s) not in table.annotated and mirrored(s) != s
    }
    assert missing == ({"kidney_left"} if (name, map_name) in ONE_SIDED else set())


@pytest.mark.parametrize(("name", "map_name"), MAPS)
def test_a_value_called_left_or_right_means_that_side(name: str, map_name: str) -> None:
    for value, rule in dataset(name).label_map(map_name).values.items():
        words = set(re.split(r"[^a-z]+", rule.name.lower()))
        for side, other in (("left", "right"), ("right", "left")):
            if side in words and rule.op == "copy":
                sides = {structure(target).side for target in (*rule.targets, *rule.also_part_of)}
                assert other not in sides, f"value {value}: {rule}"
                # Chambers of the heart are told apart by these words, but have no side.
                assert side in sides or structure(rule.targets[0]).group == "cardiac structure", f"value {value}"


@pytest.mark.parametrize(("name", "map_name"), MAPS)
def test_ambiguous_candidates_are_never_annotated(name: str, map_name: str) -> None:
    table = dataset(name).label_map(map_name)
    for rule in table.values.values():
        if rule.op == "ambiguous":
            sure = {target for other in table.values.values() if other.op != "ambiguous" for target in other.structures}
            assert not (set(rule.targets) - sure) & table.annotated


@pytest.mark.parametrize(("name", "map_name"), MAPS)
def test_lesions_belong_to_their_organ_where_it_is_annotated_by_the_same_hand(name: str, map_name: str) -> None:
    table = dataset(name).label_map(map_name)
    for value, rule in table.values.items():
        for target in rule.targets if rule.op == "copy" else ():
            entry = structure(target)
            organs = set(entry.parents) & table.annotated
            if entry.group == "tumour or cyst" and organs and name != "totalsegmentator_v2":
                assert organs <= rule.structures, f"value {value} {target} is not part of {organs}"


@pytest.mark.parametrize("name", [n for n in NAMES if n in list_label_spaces() or n == "flare22_labelled"])
def test_numbers_agree_with_the_registry_of_label_spaces(name: str) -> None:
    space = label_space("flare22" if name == "flare22_labelled" else name)
    tables = dataset(name).label_maps
    table = next((t for t in tables if t.name == "tumour_on_disk"), tables[0])
    for number, meaning in space.numbers.items():
        assert meaning in table.values[number].certain, number
    for extra in table.values.keys() - space.numbers.keys():
        assert table.values[extra].op in ("drop", "ambiguous", "merge"), extra


@pytest.mark.parametrize(("name", "variant_name"), [pair for pair in VARIANTS if pair[0] != "folder"])
def test_a_tree_made_from_the_templates_is_found_again(name: str, variant_name: str, tmp_path: Path) -> None:
    spec = dataset(name)
    variant = spec.variant(variant_name)
    cases = plant(tmp_path / "raw", spec, variant)
    result = spec.discover(tmp_path / "raw", variant_name)
    assert sorted(files.case for files in result.cases) == sorted(cases)
    assert result.problems == ()
    for files in result.cases:
        assert files.image.exists()
        assert files.labelled == (files.label_map is not None)
        assert (files.dataset, files.variant) == (name, variant_name)
        assert re.fullmatch(r"[\w.-]+", files.case)
        assert files.label_map is None or files.label_map in variant.label_maps
    assert any(files.labelled for files in result.cases)
    # Without naming the variant, what is found must mean the same.
    meant = {files.case: files.label_map for files in spec.cases(tmp_path / "raw")}
    assert meant == {files.case: files.label_map for files in result.cases}


# The collected facts about the datasets, where the folder that holds them is at hand.


@cache
def _facts(shared: Path) -> dict[str, dict[str, Any]]:
    path = shared / "spec" / "datasets.json"
    if not path.is_file():
        pytest.skip(f"the collected facts are absent: {path}")
    return {entry["slug"]: entry for entry in json.loads(path.read_text(encoding="utf-8"))}


def _fact(shared: Path, name: str) -> dict[str, Any]:
    facts = _facts(shared)
    if name not in facts:
        pytest.skip(f"the collected facts have no entry {name}")
    return facts[name]


def test_every_collected_dataset_is_registered(shared_folder: Path) -> None:
    assert set(_facts(shared_folder)) <= set(NAMES)
    assert set(NAMES) - set(_facts(shared_folder)) == {"folder", "imagecas"}


def _check_rule(rule: LabelRule, fact: dict[str, Any]) -> None:
    targets, besides = set(fact["suprem"]), set(fact.get("also_part_of", ()))
    if fact["op"] == "ambiguous":
        assert rule.op == "ambiguous"
        assert targets <= set(rule.targets)
        assert not rule.structures & UNIVERSAL
        return
    assert rule.structures & UNIVERSAL == targets | besides
    assert (rule.op == "split_left_right") == (fact["op"] == "split_left_right")
    assert (rule.also_op == "split_left_right") == (fact.get("also_op") == "split_left_right")
    if rule.op == "split_left_right":
        assert list(rule.targets) == fact["suprem"]
    else:
        sided = besides if rule.also_op == "split_left_right" else set()
        assert rule.certain & UNIVERSAL == (targets | besides) - sided


@pytest.mark.parametrize("name", NAMES)
def test_labels_mean_what_the_facts_say(name: str, shared_folder: Path) -> None:
    fact = _fact(shared_folder, name)
    spec = dataset(name)
    assert {entry["variant"] for entry in fact["labels"]} == {table.name for table in spec.label_maps}
    for entry in fact["labels"]:
        table = spec.label_map(entry["variant"])
        values = {int(value): rule for value, rule in entry["values"].items() if value != "0"}
        assert set(table.values) == set(values)
        for value, rule in values.items():
            _check_rule(table.values[value], rule)
        assert table.annotated & UNIVERSAL == set(entry["annotated"])
        assert table.ignore == set(entry["voxel_ignore_values"])


def test_case_groups_are_those_of_the_facts(shared_folder: Path) -> None:
    groups = {group.name: group for group in dataset("flare23").label_map("official").groups}
    facts = _fact(shared_folder, "flare23")["case_groups"]
    assert list(groups) == [entry.get("group", entry.get("name")) for entry in facts]
    for entry, group in zip(facts, groups.values(), strict=True):
        assert group.annotated == set(entry["annotated"])
        assert group.count == entry["n"]


@pytest.mark.parametrize("name", NAMES)
def test_layouts_are_those_of_the_facts(name: str, shared_folder: Path) -> None:
    fact = _fact(shared_folder, name)
    spec = dataset(name)
    merged = {"zenodo_multiorgan_train / zenodo_multiorgan_test": "zenodo_multiorgan"}
    for entry in fact["layout"]:
        variant = spec.variant(merged.get(entry["variant"], entry["variant"]))
        stated = f"{entry['root']} {entry['image']} {entry['label']} {entry.get('note', '')}"
        for family in variant.files[:1]:
            if "(images" not in entry["image"]:
                _check_path(family.image[0], stated)
            if family.label:
                _check_path(family.label[-1], stated)


def _check_path(template: str, stated: str) -> None:
    """The fixed parts of folder and file names all occur in what the facts state."""
    for part in re.split(r"/|\{\w+\}|\*", template):
        word = part.strip("_-.") if part.strip("_-.") not in ("nii.gz", "nii") else ""
        assert word in stated, f"{part!r} of {template!r} is not in {stated!r}"


@pytest.mark.parametrize("name", NAMES)
def test_counts_and_origin_are_those_of_the_facts(name: str, shared_folder: Path) -> None:
    fact = _fact(shared_folder, name)
    spec = dataset(name)
    counts, paper = fact["counts"], fact["counts"]["paper"]
    assert spec.counts.public == counts["n_public"]
    assert spec.counts.labelled == counts["n_labelled"]
    assert spec.counts.paper == (paper["volumes"] or paper.get("share_of_msd_row"))
    assert spec.homepage == (fact["home"]["url"] or "")
    if fact["home"].get("doi_confidence") == "verified":
        number = re.split(r"(?i)arxiv\.", fact["home"]["doi"])[-1]
        assert number in " ".join((*spec.citation, *spec.obtain)), number
    _check_licence(spec, fact["licence"]["text"])


def _check_licence(spec: DatasetSpec, stated: str) -> None:
    """Every Creative Commons licence that is stated is shown, and no other."""

    def licences(text: str) -> set[str]:
        return set(re.findall(r"CC BY(?:-[A-Z]{2})*(?: \d\.\d)?", text.replace("CC-BY", "CC BY")))

    assert licences(" ".join(fact.text for fact in spec.licence)) == licences(stated)


def _numbers(text: str) -> set[int]:
    """The numbers of a list such as ``1, 2, 21-30``."""
    found: set[int] = set()
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", text):
        found |= set(range(int(first), int(last or first) + 1))
    return found


def _discovered_numbers(spec: DatasetSpec, variant: str, split: str) -> set[int]:
    family = next(f for f in spec.variant(variant).files if f.split == split)
    return {
        n
        for n in range(2000)
        for text in (str(n), f"{n:04d}", f"{n:05d}")
        if re.fullmatch(family.fields["n"].pattern, text)
    }


def test_case_numbers_are_those_of_the_facts(shared_folder: Path) -> None:
    word = _fact(shared_folder, "word")["case_ids"]
    _, _, rest = word.partition("validation = ")
    val, _, rest = rest.partition("; test = ")
    assert _discovered_numbers(dataset("word"), "official", "val") == _numbers(val)
    assert _discovered_numbers(dataset("word"), "official", "test") == _numbers(rest.partition(";")[0])
    chaos = _fact(shared_folder, "chaos_ct")["case_ids"].partition(":")[2].partition("(")[0]
    assert _discovered_numbers(dataset("chaos_ct"), "official", "train") == _numbers(chaos)
    withheld = _fact(shared_folder, "abdomenct_1k")["withheld_label_ids"]
    found = _discovered_numbers(dataset("abdomenct_1k"), "zenodo_parts", "test")
    assert found == {int(str(entry).removeprefix("Case_")) for entry in withheld}


# What the reference implementation supervises per dataset, recorded independently of the facts above.
UPSTREAM = {
    "01": ("btcv", "zenodo_multiorgan_train"),
    "01_2": ("btcv", "zenodo_multiorgan_test"),
    "02": ("pancreas_ct", "zenodo_multiorgan_labels"),
    "03": ("chaos_ct", "official"),
    "04": ("lits", "official"),
    "05": ("kits", "kits21"),
    "07": ("word", "official"),
    "08": ("abdomenct_1k", "official"),
    "09": ("amos22", "official"),
    "10_03": ("msd_liver", "official"),
    "10_06": ("msd_lung", "official"),
    "10_07": ("msd_pancreas", "official"),
    "10_08": ("msd_hepaticvessel", "official"),
    "10_09": ("msd_spleen", "official"),
    "10_10": ("msd_colon", "official"),
    "12": ("ct_org", "official"),
    "13": ("abdomenct_1k", "organ12_subset"),
    "18": ("flare23", "official"),
}


@pytest.mark.parametrize("code", UPSTREAM)
def test_the_reference_supervises_the_same_structures(code: str, shared_folder: Path) -> None:
    path = shared_folder / "spec" / "class_maps.json"
    if not path.is_file():
        pytest.skip(f"the class maps of the reference are absent: {path}")
    entry = json.loads(path.read_text(encoding="utf-8"))["source_datasets"]["datasets"][code]
    name, map_name = UPSTREAM[code]
    table: LabelMap = dataset(name).label_map(map_name)
    numbers = label_space("universal_32").numbers
    expected = {numbers[n] for n in entry["annotated_universal_labels"]}
    # Value 15 of AMOS is prostate or uterus; the reference takes it for the prostate, we do not.
    assert table.annotated & UNIVERSAL == expected - ({"prostate"} if name == "amos22" else set())
    for universal, value in entry["universal_to_dataset_label_merged"] or ():
        if name != "chaos_ct" and numbers[universal] != "prostate":
            assert numbers[universal] in table.values[value].structures
