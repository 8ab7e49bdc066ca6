"""Every published layout ends up under the right names."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from monai.networks.nets.swin_unetr import filter_swinunetr

from suprem.backbones import create_model
from suprem.backbones._base import SegmentationNetwork

TEXT_HEAD = [
    "organ_embedding",
    *(
        f"{layer}.{kind}"
        for layer in ("precls_conv.0", "precls_conv.2", "GAP.0", "GAP.3")
        for kind in ("weight", "bias")
    ),
    *(f"{layer}.{kind}" for layer in ("controller", "text_to_vision") for kind in ("weight", "bias")),
]
SMALL: dict[str, dict[str, Any]] = {"unet": {"base_channels": 8}, "swinunetr": {"feature_size": 48, "window_size": 2}}
COMPARATORS: dict[str, dict[str, Any]] = {
    "mit": {"embed_dims": (8, 8, 16, 16)},
    "resunet": {"base_channels": 4, "head_channels": 8},
}


@pytest.fixture(scope="module")
def networks() -> dict[tuple[str, str], SegmentationNetwork]:
    return {
        (backbone, head): create_model(backbone, num_classes=3, head=head, **options)
        for backbone, options in SMALL.items()
        for head in ("conv", "universal")
    } | {
        (backbone, "conv"): create_model(backbone, num_classes=3, **options)
        for backbone, options in ({"segresnet": {}} | COMPARATORS).items()
    }


def body(network: SegmentationNetwork) -> list[str]:
    return [key for key in network.state_dict() if key not in network.head_keys]


@pytest.mark.parametrize(
    ("folder", "backbone", "head", "loaded"),
    [
        ("unet", "unet", "conv", 104),
        ("swinunetr", "swinunetr", "conv", 157),
        ("segresnet", "segresnet", "conv", 81),
        ("universal_unet", "unet", "universal", 117),
        ("universal_swinunetr", "swinunetr", "universal", 170),
        ("models_genesis", "unet", "conv", 104),
        ("med3d_resnet101", "resunet", "conv", 624),
        ("unimiss_small", "mit", "conv", 394),
    ],
)
def test_published_files(
    folder: str,
    backbone: str,
    head: str,
    loaded: int,
    shared_folder: Path,
    networks: dict[tuple[str, str], SegmentationNetwork],
) -> None:
    """Against the record of which tensor the reference program copies where."""
    record = json.loads((shared_folder / "golden" / folder / "checkpoint_keys.json").read_text())
    network = networks[backbone, head]
    translated = network.translate_keys(key for key, _, _ in record["net"])
    copied = {k: own for k, own in translated.items() if own is not None}
    if head == "conv":  # the reference never copies an output convolution; here the loader decides, by class name
        copied = {k: own for k, own in copied.items() if own not in network.head_keys}
    assert copied == record["loaded_for_finetuning"]
    assert len(copied) == loaded
    assert set(network.state_dict()) - set(copied.values()) == set(record["left_at_initialisation"])


@pytest.mark.parametrize("backbone", ["unet", "swinunetr"])
@pytest.mark.parametrize("prefix", ["", "module.", "module.module."])
@pytest.mark.parametrize("level", ["backbone.", ""], ids=["wrapped", "legacy-flat"])
def test_universal_layouts(
    backbone: str, prefix: str, level: str, networks: dict[tuple[str, str], SegmentationNetwork]
) -> None:
    plain, universal = networks[backbone, "conv"], networks[backbone, "universal"]
    assert set(TEXT_HEAD) | {f"backbone.{key}" for key in body(plain)} == set(universal.state_dict())
    keys = {f"{prefix}{level}{key}": key for key in body(plain)}
    head = {f"{prefix}{key}": key for key in TEXT_HEAD}
    assert plain.translate_keys([*head, *keys]) == keys | dict.fromkeys(head)
    assert universal.translate_keys([*head, *keys]) == head | {k: f"backbone.{own}" for k, own in keys.items()}


@pytest.mark.parametrize("backbone", ["unet", "swinunetr"])
def test_universal_network_has_no_use_for_an_output_convolution(
    backbone: str, networks: dict[tuple[str, str], SegmentationNetwork]
) -> None:
    plain, universal = networks[backbone, "conv"], networks[backbone, "universal"]
    translated = universal.translate_keys(plain.state_dict())
    assert {key for key, own in translated.items() if own is None} == set(plain.head_keys)
    assert {own for own in translated.values() if own} == set(universal.state_dict()) - set(TEXT_HEAD)


def test_segresnet_behind_other_wrappers(networks: dict[tuple[str, str], SegmentationNetwork]) -> None:
    network = networks["segresnet", "conv"]
    for prefix in ("module.features.", "backbone.", "module.backbone.model."):
        keys = {prefix + key: key for key in network.state_dict()}
        assert network.translate_keys(keys) == keys


def autoencoder_names(network: SegmentationNetwork) -> dict[str, str]:
    """Own name -> name in the 50,000-volume file, by the rule of the facts read backwards."""
    names = {}
    for own in body(network):
        name = re.sub(r"^swinViT\.(layers\d\.0)\.", r"encoder.\1.0.", own)
        names[own] = re.sub(r"^swinViT\.patch_embed", "encoder.patch_embed", name)
    return names


def test_denoising_autoencoder_layout(networks: dict[tuple[str, str], SegmentationNetwork]) -> None:
    network = networks["swinunetr", "conv"]
    names = autoencoder_names(network)
    unused = [
        "encoder.mask_token",
        "encoder.norm.weight",
        "encoder.norm.bias",
        "out.conv.conv.weight",
        "out.conv.conv.bias",
    ]
    translated = network.translate_keys([*names.values(), *unused])
    assert translated == {foreign: own for own, foreign in names.items()} | dict.fromkeys(unused)
    assert network.absent_by_design(translated) == frozenset()
    # MONAI's own filter for that file knows the encoder part.
    for foreign in [*names.values(), *unused]:
        if foreign.startswith("encoder.") or foreign in unused:
            theirs = filter_swinunetr(foreign, None)
            assert translated[foreign] == (theirs and theirs[0])


def test_raw_encoder_layout(networks: dict[tuple[str, str], SegmentationNetwork]) -> None:
    network = networks["swinunetr", "conv"]
    keys = {}
    for own in body(network):
        if own.startswith("swinViT."):
            name = own.removeprefix("swinViT.").replace("mlp.linear", "mlp.fc")
            keys[f"module.{name}"] = own
    assert sum("mlp.fc" in key for key in keys) == 32
    heads = ["module.rotation_head.weight", "module.contrastive_head.bias", "module.norm.weight", "module.mask_token"]
    assert network.translate_keys([*keys, *heads]) == keys | dict.fromkeys(heads)
    absent = network.absent_by_design([*keys, *heads])
    assert absent == {own for own in network.state_dict() if not own.startswith("swinViT.")}
    universal = networks["swinunetr", "universal"]
    assert universal.translate_keys(keys) == {key: f"backbone.{own}" for key, own in keys.items()}
    assert "backbone.encoder1.layer.conv1.conv.weight" in universal.absent_by_design(keys)
    assert "organ_embedding" not in universal.absent_by_design(keys)


def test_another_architecture_is_not_understood(networks: dict[tuple[str, str], SegmentationNetwork]) -> None:
    unet, segresnet = networks["unet", "conv"], networks["segresnet", "conv"]
    translated = unet.translate_keys(segresnet.state_dict())
    assert not set(translated.values()) & set(unet.state_dict())
