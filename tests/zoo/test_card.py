"""Reading cards, and what the schema refuses."""

import json
from dataclasses import FrozenInstanceError
from importlib.resources import files
from typing import Any

import pytest
import yaml

from suprem.errors import ConfigurationError, UnknownNameError
from suprem.zoo import card, list_checkpoints
from suprem.zoo.card import parse_card
from suprem.zoo.config import ModelConfig, Preprocessing


def source_of(name: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((files("suprem.zoo.cards") / f"{name}.yaml").read_text("utf-8"))
    return values


def changed(path: str, value: Any, name: str = "unet.suprem_2100") -> str:
    """The YAML of a card with one value replaced; ``...`` removes the key."""
    values = source_of(name)
    *parents, last = path.split("/")
    place = values
    for key in parents:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return yaml.safe_dump(values)


def test_a_card_says_what_is_known() -> None:
    known = card("unet.suprem_2100")
    assert known.location.repo == "MrGiovanni/SuPreM"
    assert known.location.revision is None
    assert known.file.size_bytes == 233_188_229
    assert known.file.container == ("net",)
    assert known.preprocessing is not None
    assert known.preprocessing.values == Preprocessing((1.5, 1.5, 1.5), (-175.0, 250.0), (96, 96, 96), "RAS")
    assert known.class_names[0] == "spleen"
    assert len(known.class_names) == 32
    assert any("revision" in text for text in known.unknown)
    with pytest.raises(FrozenInstanceError):
        known.name = "other"  # type: ignore[misc]


def test_structures_may_be_named_one_by_one() -> None:
    order = {"structures": ["liver", "spleen"], "activation": "sigmoid", "confidence": "stated"}
    known = parse_card(changed("classes", order), "unet.suprem_2100.yaml")
    assert known.class_names == ("liver", "spleen")
    for wrong in ({**order, "label_space": "universal_32"}, {**order, "structures": []}):
        with pytest.raises(ConfigurationError, match="either label_space or structures"):
            parse_card(changed("classes", wrong), "unet.suprem_2100.yaml")
    with pytest.raises(UnknownNameError, match="liver"):
        parse_card(changed("classes", {**order, "structures": ["livr"]}), "unet.suprem_2100.yaml").class_names  # noqa: B018


def test_the_card_is_plain_json() -> None:
    values = json.loads(json.dumps(card("swinunetr.tang_5050").to_dict()))
    assert values["classes"]["activation"] == "softmax"
    assert len(values["class_names"]) == 13


def test_the_licence_notice_tells_weights_data_and_code() -> None:
    notice = card("segresnet.suprem_2100").licence_notice()
    for text in ("apache-2.0 (third party)", "non-commercial", "CC BY-NC-ND 4.0 (stated)", "Not for clinical use"):
        assert text in notice


def test_terms_that_are_only_reported_are_marked_so() -> None:
    genesis, dodnet = card("unet.genesis_620").licences, card("unet.dodnet_920").licences
    assert genesis.code.value == "research only, patent pending"
    assert dodnet.code.value == "GPL-3.0"
    assert {genesis.code.confidence, genesis.weights.confidence, dodnet.code.confidence} == {"unsure"}
    assert "research only, patent pending (unsure)" in card("unet.genesis_620").licence_notice()


def test_an_unknown_name_offers_close_ones() -> None:
    with pytest.raises(
        UnknownNameError, match=r"Unknown checkpoint 'unet\.supremm_2100'; did you mean 'unet\.suprem_2100'"
    ):
        card("unet.supremm_2100")


@pytest.mark.parametrize("name", ["../../etc/passwd", "unet.suprem_2100.yaml", "", "bundled"])
def test_a_name_is_never_a_path(name: str) -> None:
    with pytest.raises(UnknownNameError):
        card(name)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("colour", "red", r"unknown keys \['colour'\]; known are \[.*'title'"),
        ("file/md5", "x", r"file has unknown keys \['md5'\]"),
        ("title", ..., r"lacks the keys \['title'\]"),
        ("file/tensors/in_file", ..., r"file: tensors lacks the keys \['in_file'\]"),
        ("title", 3, r"title is 3 \(int\); it must be str"),
        ("file/size_bytes", "233 MB", r"size_bytes is '233 MB' \(str\); it must be int"),
        ("file/size_bytes", True, r"size_bytes is True \(bool\); it must be int"),
        ("architecture/built", "yes!", r"built is 'yes!' \(str\); it must be bool"),
        ("file/container", "net", r"container is 'net'; it must be a list"),
        ("unknown", [1], r"unknown\[0\] is 1"),
        ("classes", ["liver"], "classes must be a mapping"),
        ("classes/confidence", "certain", r"confidence is 'certain'; it must be one of \['stated'"),
        ("preprocessing/values/spacing_mm", [1.5, 1.5], "spacing_mm has 2 values; it must have 3"),
        ("preprocessing/values/hu_window", [250, -175], "hu_window is"),
        ("preprocessing/values/orientation", "LPS", "only 'RAS'"),
        ("file/sha256", "abc", "64 hexadecimal digits"),
        ("location/revision", "main", "whole commit hash"),
        ("location/filename", "../evil.pth", "plain file name"),
        ("location/filename", None, "does not name repo and filename"),
        ("name", "Unet.X", "architecture.tag in lower case"),
        ("name", "unet.other", "must be named after it"),
        ("architecture/built", False, "say why"),
        ("architecture/head", "none", "exactly when the file has a head"),
        ("format_version", 2, "format_version: 1"),
    ],
)
def test_the_schema_refuses(path: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        parse_card(changed(path, value), "unet.suprem_2100.yaml")
    assert "unet" in str(caught.value).lower()


@pytest.mark.parametrize("text", ["", "- a", "name: [", "!!python/object/apply:os.system ['true']", "a: b: c"])
def test_other_yaml_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"x\.y\.yaml"):
        parse_card(text, "x.y.yaml")


def test_all_cards_are_listed_sorted() -> None:
    names = list_checkpoints()
    assert list(names) == sorted(names)
    assert len(names) >= 13


# ------------------------------------------------------------------ config.json

CONFIG = {"name": "a.b", "backbone": "segresnet_tiny", "classes": ["liver"]}


def test_config_round_trip() -> None:
    config = ModelConfig(
        "a.b",
        "segresnet",
        ("liver", "spleen"),
        activation="softmax",
        backbone_kwargs={"init_filters": 32},
        preprocessing=Preprocessing(None, (-100, 200), (64, 64, 32)),
    )
    again = ModelConfig.from_json(config.to_json())
    assert again == config
    assert again.num_channels == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, r"unknown keys \['colour'\]"),
        ({"classes": "liver"}, "classes is 'liver'; it must be a list"),
        ({"classes": []}, "has no classes"),
        ({"classes": ["liver", "liver"]}, "lists a class twice"),
        ({"backbone": None}, "backbone is None"),
        ({"head": "mlp"}, "head is 'mlp'"),
        ({"activation": "relu"}, "activation is 'relu'"),
        ({"in_channels": 1.5}, "in_channels is 1.5"),
        ({"backbone_kwargs": [1]}, "backbone_kwargs must be a mapping"),
        ({"preprocessing": {"spacing": 1}}, r"preprocessing has unknown keys \['spacing'\]"),
        ({"preprocessing": {"spacing_mm": [0, 1, 1]}}, "spacing_mm is"),
        ({"preprocessing": {"spacing_mm": [float("nan"), 1, 1]}}, "spacing_mm is"),
        ({"preprocessing": {"patch_size": [0, 1, 1]}}, "patch_size is"),
        ({"format_version": 2}, "format_version 2"),
    ],
)
def test_config_refuses(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ModelConfig.from_json(json.dumps({**CONFIG, **change}), "folder/config.json")


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "[" * 100_000, '{"name": 1'])
def test_config_refuses_what_is_no_object(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"folder/config\.json"):
        ModelConfig.from_json(text, "folder/config.json")
