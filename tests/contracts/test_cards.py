"""Every card against facts that were recorded elsewhere: the golden folder, the class maps, and the registries."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from suprem.backbones import list_backbones
from suprem.labels import label_space, list_label_spaces
from suprem.zoo import card, list_checkpoints
from suprem.zoo.card import bundled_folder

NAMES = list_checkpoints()
PUBLISHED = {  # the files of the paper and those it compares with
    "unet.suprem_2100": "supervised_suprem_unet_2100.pth",
    "swinunetr.suprem_2100": "supervised_suprem_swinunetr_2100.pth",
    "segresnet.suprem_2100": "supervised_suprem_segresnet_2100.pth",
    "unet.universal_2100": "supervised_clip_driven_universal_unet_2100.pth",
    "swinunetr.universal_2100": "supervised_clip_driven_universal_swin_unetr_2100.pth",
    "swinunetr.tang_5050": "self_supervised_nv_swin_unetr_5050.pt",
    "swinunetr.valanarasu_50000": "self_supervised_nv_swin_unetr_50000.pth",
    "unet.genesis_620": "self_supervised_models_genesis_unet_620.pt",
    "resunet.med3d_1623": "supervised_med3D_residual_unet_1623.pth",
    "unet.dodnet_920": "supervised_dodnet_unet_920.pth",
    "mit.unimiss_tiny_5022": "self_supervised_unimiss_nnunet_tiny_5022.pth",
    "mit.unimiss_small_5022": "self_supervised_unimiss_nnunet_small_5022.pth",
}
GOLDEN = {  # card -> folder with the recorded keys of its file
    "unet.suprem_2100": "unet",
    "swinunetr.suprem_2100": "swinunetr",
    "segresnet.suprem_2100": "segresnet",
    "unet.genesis_620": "models_genesis",
    "resunet.med3d_1623": "med3d_resnet101",
    "mit.unimiss_tiny_5022": "unimiss_tiny",
    "mit.unimiss_small_5022": "unimiss_small",
}


def test_the_published_files_have_cards() -> None:
    assert {name: card(name).location.filename for name in PUBLISHED} == PUBLISHED
    assert all(card(name).location.kind == "hub" for name in PUBLISHED)


@pytest.mark.parametrize("name", NAMES)
def test_a_card_is_complete_and_honest(name: str) -> None:
    known = card(name)
    assert known.name == name
    assert known.licences.weights.value
    assert known.paper.title
    if known.location.kind == "hub":
        assert known.file.sha256 is not None or any("SHA-256" in text for text in known.unknown)
        assert known.location.revision is not None or any("commit" in text for text in known.unknown)
        assert (known.file.size_bytes is None) == (known.file.sha256 is None)


@pytest.mark.parametrize("name", NAMES)
def test_built_means_that_the_backbone_is_registered(name: str) -> None:
    network = card(name).architecture
    assert network.built == (network.backbone in list_backbones())


@pytest.mark.parametrize("name", [n for n in NAMES if card(n).classes is not None])
def test_classes_have_a_channel_order(name: str) -> None:
    order = card(name).classes
    assert order is not None
    assert order.names == tuple(dict.fromkeys(order.names))
    if order.label_space is None:
        assert order.names == order.structures, "write canonical names"
    else:
        assert order.label_space in list_label_spaces()
        assert list(label_space(order.label_space).numbers) == list(range(1, len(card(name).class_names) + 1))


@pytest.mark.parametrize("name", [n for n in NAMES if card(n).location.kind == "bundled"])
def test_a_bundled_folder_is_the_one_its_card_describes(name: str) -> None:
    from suprem._files import sha256_file

    folder, known = bundled_folder(name), card(name)
    if folder is None:
        pytest.skip(f"the weights of {name} have not been trained in this tree")
    weights = folder / "model.safetensors"
    assert known.file.size_bytes == weights.stat().st_size, "write the size and SHA-256 of the weights into the card"
    assert known.file.sha256 == sha256_file(weights)
    config = known.bundled_config()
    assert config is not None
    assert config.backbone == known.architecture.backbone
    assert {path.name for path in folder.iterdir()} >= {"config.json", "golden.safetensors", "README.md"}


# ------------------------------------------------------------------ against the recorded facts


@pytest.fixture(scope="module")
def golden_readme(shared_folder: Path) -> str:
    return (shared_folder / "golden" / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def class_maps(shared_folder: Path) -> dict[str, Any]:
    maps: dict[str, Any] = json.loads((shared_folder / "spec" / "class_maps.json").read_text("utf-8"))
    return maps


def test_sizes_digests_and_counts_are_those_recorded(golden_readme: str) -> None:
    rows = re.findall(r"^\| (\S+\.pth) \| ([\d,]+) \| ([0-9a-f]{64}) \| (\d+) \|$", golden_readme, re.MULTILINE)
    assert len(rows) == 3
    recorded = {file: (int(size.replace(",", "")), digest, int(count)) for file, size, digest, count in rows}
    for name in PUBLISHED:
        known = card(name)
        if known.location.filename in recorded:
            assert known.file.tensors is not None
            found = (known.file.size_bytes, known.file.sha256, known.file.tensors.in_file)
            assert found == recorded.pop(known.location.filename)
        else:
            assert known.file.sha256 is None
    assert not recorded


@pytest.mark.parametrize("name", GOLDEN)
def test_layout_is_that_of_the_recorded_keys(name: str, shared_folder: Path, golden_readme: str) -> None:
    recorded = json.loads((shared_folder / "golden" / GOLDEN[name] / "checkpoint_keys.json").read_text("utf-8"))
    known = card(name)
    assert known.file.tensors is not None
    assert known.location.filename == recorded["file"]
    assert known.file.container == (recorded["weights_at"],)
    assert recorded["prefix"].startswith(known.file.prefix)
    assert all(key.startswith(known.file.prefix) for key in recorded["loaded_for_finetuning"])
    counts = recorded["counts"]
    in_backbone = counts["in_plain_backbone"]
    assert (known.file.tensors.in_file, known.file.tensors.in_backbone) == (counts["in_checkpoint"], in_backbone)
    assert known.file.tensors.transferred == counts["loaded"]
    assert f"{known.architecture.parameters:,}" in golden_readme or name == "unet.genesis_620"


@pytest.mark.parametrize("name", [n for n in PUBLISHED if card(n).classes is not None])
def test_the_class_order_is_the_recorded_one(name: str, class_maps: dict[str, Any]) -> None:
    known = card(name)
    assert known.classes is not None
    table = {"universal_32": "universal_32", "btcv": "btcv_14"}[known.classes.label_space]
    assert known.location.filename in " ".join(class_maps[table]["used_by"])
    classes = [entry for entry in class_maps[table]["classes"] if entry["label"] > 0]
    assert known.class_names == tuple(entry["name"] for entry in sorted(classes, key=lambda entry: entry["label"]))
    assert class_maps[table]["activation"].startswith(known.classes.activation)
