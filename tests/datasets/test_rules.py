"""Rules for label values, and what a numbering as a whole annotates."""

import pickle

import pytest

from suprem.datasets._rules import CaseGroup, LabelMap, LabelRule, ambiguous, copy, drop, merge, rules_of, split
from suprem.errors import ConfigurationError, LabelSpaceError, UnknownNameError


def test_a_copy_means_its_own_name_unless_told_otherwise() -> None:
    assert copy("left kidney").targets == ("kidney_left",)
    assert copy("arota", "aorta").targets == ("aorta",)
    with pytest.raises(UnknownNameError, match="livr"):
        copy("livr")


def test_a_lesion_of_a_paired_organ_goes_to_the_side_it_lies_on() -> None:
    rule = copy("tumor", "kidney_tumor", part_of=("kidney_right", "kidney_left"))
    assert rule.also_op == "split_left_right"
    assert rule.certain == {"kidney_tumor"}
    assert rule.pairs == (("kidney_right", "kidney_left"),)
    assert rule.structures == {"kidney_tumor", "kidney_right", "kidney_left"}
    masses = copy("pdac", "pancreas_pdac", part_of=("pancreas_tumor", "pancreas"))
    assert (masses.also_op, masses.pairs) == ("copy", ())
    assert masses.certain == {"pancreas_pdac", "pancreas_tumor", "pancreas"}


def test_what_is_ambiguous_or_dropped_is_a_positive_of_nothing_it_might_be() -> None:
    rule = ambiguous("prostate/uterus", ("prostate", "uterus"), part_of="prostate_or_uterus")
    assert rule.structures == {"prostate_or_uterus"}
    assert ambiguous("bowel", ("colon", "intestine")).structures == frozenset()
    assert drop("bone").structures == frozenset()
    assert merge("pancreas (merged into 1)", "pancreas").structures == {"pancreas"}


@pytest.mark.parametrize(
    "rule",
    [
        lambda: LabelRule("x", "split_left_right", ("kidney_left", "kidney_right")),
        lambda: LabelRule("x", "split_left_right", ("kidney_right",)),
        lambda: LabelRule("x", "split_left_right", ("liver", "spleen")),
        lambda: LabelRule("x", "split_left_right", ("thing_right", "thing_left")),
        lambda: LabelRule("x", "copy", ("kidney_tumor",), ("kidney_left",), "split_left_right"),
        lambda: LabelRule("x", "copy"),
        lambda: LabelRule("x", "drop", ("liver",)),
        lambda: LabelRule("x", "invent", ("liver",)),  # type: ignore[arg-type]
    ],
)
def test_rules_that_cannot_work_are_refused(rule: object) -> None:
    with pytest.raises(ConfigurationError, match="'x'"):
        rule()  # type: ignore[operator]


def test_a_map_annotates_what_its_values_can_be() -> None:
    table = LabelMap("t", {2: split("kidneys", "kidney"), 1: copy("liver"), 5: drop("bone")})
    assert list(table.values) == [1, 2, 5]
    assert table.annotated == {"liver", "kidney_right", "kidney_left"}
    assert table.pairs == (("kidney_right", "kidney_left"),)
    assert table.group_of(frozenset({1})) is None


def test_ignored_values_annotate_nothing() -> None:
    table = LabelMap("t", {1: copy("liver"), 9: copy("spleen")}, ignore=frozenset({9}))
    assert table.annotated == {"liver"}


def test_groups_decide_by_the_values_that_occur() -> None:
    liver = frozenset({"liver"})
    groups = (CaseGroup("with", liver, present=frozenset({1})), CaseGroup("other", frozenset(), absent=frozenset({1})))
    table = LabelMap("t", {1: copy("liver"), 2: copy("spleen")}, groups=groups)
    assert table.annotated == liver
    assert table.group_of(frozenset({1, 2})) is groups[0]
    assert table.group_of(frozenset()) is groups[1]
    only = LabelMap("t", {1: copy("liver"), 2: copy("spleen")}, groups=groups[:1])
    with pytest.raises(LabelSpaceError, match=r"values \[2\] fits no group of label map 't' \(with\)"):
        only.group_of(frozenset({2}))


def test_mask_files_are_found_by_the_datasets_own_name() -> None:
    table = LabelMap("t", rules_of("totalsegmentator_v2"))
    assert table.value_of("inferior_vena_cava") == 63
    with pytest.raises(LabelSpaceError, match="no structure called 'postcava'"):
        table.value_of("postcava")


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ({}, {}, "at least one"),
        ({0: "liver"}, {}, "from 1 to 65535"),
        ({70000: "liver"}, {}, "from 1 to 65535"),
        ({1: "liver", 2: "spleen"}, {"binary": True}, "binary"),
        ({1: "liver"}, {"ignore": frozenset({255})}, r"ignores \[255\]"),
    ],
)
def test_maps_that_cannot_work_are_refused(values: dict[int, str], options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        LabelMap("t", {value: copy(name) for value, name in values.items()}, **options)  # type: ignore[arg-type]


def test_maps_travel_to_worker_processes() -> None:
    table = LabelMap("t", {1: copy("liver")}, groups=(CaseGroup("all", frozenset({"liver"})),))
    again = pickle.loads(pickle.dumps(table))
    assert again == table
    assert hash(again) == hash(table)
    with pytest.raises(TypeError):
        table.values[2] = copy("spleen")  # type: ignore[index]
