"""The published comparators: stand-ins in their layouts arrive through their cards, with exact counts.

The layouts come from the golden folder beside the repository; where it is absent, from our own networks, whose names
and shapes other tests compare with recorded digests.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.ndimage import zoom

from suprem.backbones import create_model
from suprem.backbones._base import SegmentationNetwork
from suprem.errors import CheckpointError
from suprem.zoo import card, load_pretrained
from suprem.zoo.hub import Fetched
from tests.zoo.standins import (
    UNIMISS_FRESH,
    UNIMISS_TOKENS,
    filled,
    filling,
    load_check,
    published,
    unimiss,
    wrong_values,
)

SHARED = Path(__file__).resolve().parents[3] / "shared"
CLASSES = ("liver", "spleen", "aorta")
Offer = Callable[[Mapping[str, Any]], None]


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Puts a file in the place of a download; everything behind it is real."""

    def put(content: Mapping[str, Any]) -> None:
        torch.save(dict(content), tmp_path / "x.pth")
        monkeypatch.setattr("suprem.zoo.hub.fetch_card", lambda *_, **__: Fetched(tmp_path / "x.pth", "0" * 64, None))

    return put


def load(source: str, **options: Any) -> SegmentationNetwork:
    network = load_pretrained(source, classes=CLASSES, **options)
    report = network.load_report
    assert report is not None
    assert network.config is not None
    assert network.config.classes == CLASSES
    assert set(report.loaded) | set(report.initialised) == set(network.state_dict())
    assert not set(report.loaded) & set(report.initialised)
    return network


# ------------------------------------------------------------------ Med3D

SMALL = {"base_channels": 4, "head_channels": 8}


def med3d(**options: Any) -> dict[str, torch.Tensor]:
    return filled(create_model("resunet", num_classes=5, **options).state_dict())


def encoder(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value for key, value in state.items() if not key.startswith("conv_seg.")}


@pytest.fixture
def small_med3d(monkeypatch: pytest.MonkeyPatch) -> None:
    """The card with a narrow network: the same names, a 250th of the weights."""
    known = card("resunet.med3d_1623")
    narrow = dataclasses.replace(known, architecture=dataclasses.replace(known.architecture, kwargs=SMALL))
    monkeypatch.setattr("suprem.zoo.source.card", lambda _: narrow)


@pytest.mark.usefixtures("small_med3d")
def test_med3d_encoder(offer: Offer) -> None:
    state = encoder(med3d(**SMALL))
    offer(published(state, "state_dict"))
    network = load("resunet.med3d_1623")
    report = network.load_report
    assert report is not None
    assert (len(report.loaded), len(report.initialised), report.dropped) == (624, 14, ())
    assert set(report.loaded) == set(state)
    assert wrong_values(network, report.loaded) == []
    assert any("13 tensors beside the output layer" in note for note in report.notes)
    assert not any("card" in note for note in report.notes)


@pytest.mark.usefixtures("small_med3d")
def test_med3d_with_its_head_or_without_counters(offer: Offer) -> None:
    """What the recorded facts leave open: the file may hold more or less than the encoder."""
    state = med3d(**SMALL)
    offer(published(state, "state_dict"))
    report = load("resunet.med3d_1623").load_report
    assert report is not None
    assert (len(report.loaded), report.initialised) == (637, ("conv_seg.6.weight",))
    assert report.dropped == ("module.conv_seg.6.weight",)
    assert any("638 tensors, of which 637 fill the backbone; the card says 624 and 624" in n for n in report.notes)

    offer(published({k: v for k, v in encoder(state).items() if "num_batches" not in k}, "state_dict"))
    network = load("resunet.med3d_1623")
    report = network.load_report
    assert report is not None
    assert (len(report.loaded), len(report.initialised)) == (624 - 104, 14 + 104)
    assert int(network.get_buffer("bn1.num_batches_tracked")) == 0


@pytest.mark.usefixtures("small_med3d")
def test_med3d_with_a_tensor_missing(offer: Offer) -> None:
    state = encoder(med3d(**SMALL))
    del state["layer3.22.bn2.running_var"]
    offer(published(state, "state_dict"))
    with pytest.raises(CheckpointError, match=r"1 missing \(layer3\.22\.bn2\.running_var\)"):
        load("resunet.med3d_1623")


# ------------------------------------------------------------------ UniMiSS

HEADS = (*(f"ds{level}_cls_conv" for level in range(4)), "cls_conv")
# Tensors in the file, those that it fills, and all of the network.
FORMS = {"tiny": (207, 146, 161), "small": (481, 394, 409)}


def content_of(form: str) -> dict[str, Any]:
    """From the recorded keys, else from our own network in the published layout."""
    if SHARED.is_dir():
        content: dict[str, Any] = load_check(SHARED).standin(f"unimiss_{form}", 0)[0]
    else:
        content = published(unimiss(form), "student")
    return {**content, "teacher": {"backbone.norm.weight": torch.zeros(48)}}


@pytest.mark.parametrize("form", sorted(FORMS))
def test_unimiss(form: str, offer: Offer) -> None:
    content = content_of(form)
    in_file, in_network = FORMS[form][0], FORMS[form][2]
    offer(content)
    network = load(f"mit.unimiss_{form}_5022")
    report = network.load_report
    assert report is not None
    assert report.container == "student"
    assert (len(report.loaded), len(network.state_dict())) == (FORMS[form][1], in_network)
    assert report.initialised == (*UNIMISS_FRESH, *(f"{head}.{kind}" for head in HEADS for kind in ("weight", "bias")))
    if SHARED.is_dir():
        assert len(report.dropped) == in_file - FORMS[form][1]
        assert not any("card" in note for note in report.notes)
    assert all("2D" in name or "cls_tokens" in name or ".head." in name for name in report.dropped)
    assert set(report.adapted) == set(UNIMISS_TOKENS)
    assert wrong_values(network, set(report.loaded) - set(UNIMISS_TOKENS)) == []
    assert any("5 tensors beside the output layer" in note for note in report.notes)
    for key, tokens in UNIMISS_TOKENS.items():
        own = network.get_parameter(key)
        table = filling(key, (1, tokens, own.shape[2])).numpy()[0]
        if key.startswith("Dec") or key.endswith("4"):
            table = table[1:]
        expected = zoom(table, (own.shape[1] / len(table), 1), order=1)
        torch.testing.assert_close(own[0].detach(), torch.from_numpy(expected), rtol=0, atol=1e-5)


def test_unimiss_for_another_patch(offer: Offer, tmp_path: Path) -> None:
    offer(content_of("tiny"))
    tiny = {"depths": (1, 1, 1, 1), "decoder_depths": (1, 1, 1)}
    source = f"local-file:{tmp_path / 'x.pth'}"
    network = load(source, backbone="mit", backbone_kwargs={**tiny, "patch_size": (96, 64, 64)})
    assert network.get_parameter("DecPosEmbed0").shape == (1, 12 * 4 * 4, 256)
    assert network.load_report is not None
    assert len(network.load_report.loaded) == 146
    found = load(source)  # by its names: the default form of this backbone is the small one
    assert found.config is not None
    assert {key: tuple(found.config.backbone_kwargs[key]) for key in tiny} == tiny


def test_an_own_file_for_another_patch_keeps_its_classes(tmp_path: Path) -> None:
    narrow: dict[str, Any] = {
        "depths": (1, 1, 1, 1), "decoder_depths": (1, 1, 1), "embed_dims": (8, 8, 16, 16), "stem_channels": 4,
    }  # fmt: skip
    state = filled(create_model("mit", num_classes=2, **narrow).state_dict())
    torch.save({"net": state}, tmp_path / "x.pth")
    network = load_pretrained(
        f"local-file:{tmp_path / 'x.pth'}",
        backbone="mit",
        backbone_kwargs={**narrow, "patch_size": (64, 32, 96)},
        source_classes=["liver", "spleen"],
        activation="sigmoid",
        classes=["spleen", "liver"],
    )
    report = network.load_report
    assert report is not None
    assert (report.initialised, report.dropped, set(report.adapted)) == ((), (), set(UNIMISS_TOKENS))
    for head in HEADS:
        assert torch.equal(network.get_parameter(f"{head}.weight"), state[f"{head}.weight"][[1, 0]])


def test_a_table_of_another_width_is_refused(offer: Offer) -> None:
    content = content_of("tiny")
    name = "module.backbone.DecPosEmbed3D1"
    content["student"][name] = content["student"][name][:, :, :64]
    offer(content)
    with pytest.raises(CheckpointError, match=r"DecPosEmbed3D1 \(1, 577, 64\) float32, network \(1, 1024, 128\)"):
        load("mit.unimiss_tiny_5022")


@pytest.mark.slow
def test_med3d_at_full_size(offer: Offer, shared_folder: Path) -> None:
    check = load_check(shared_folder)
    offer(check.standin("med3d_resnet101", 0)[0])
    network = load("resunet.med3d_1623")
    wrong, count, left = check.check_loaded(network, "med3d_resnet101", "")
    assert (wrong, count) == ([], 624)
    assert network.load_report is not None
    assert network.load_report.initialised == tuple(left)
