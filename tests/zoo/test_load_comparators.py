"""The published comparators: stand-ins in their layouts arrive through their cards, with exact counts.

The layouts come from the golden folder beside the repository; where it is absent, from our own networks, whose names
and shapes other tests compare with recorded digests.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from suprem.backbones import create_model
from suprem.backbones._base import SegmentationNetwork
from suprem.errors import CheckpointError
from suprem.zoo import load_pretrained
from suprem.zoo.hub import Fetched
from tests.zoo.standins import filled, published, wrong_values

CLASSES = ("liver", "spleen", "aorta")
Offer = Callable[[Mapping[str, Any]], None]


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Puts a file in the place of a download; everything behind it is real."""

    def put(content: Mapping[str, Any]) -> None:
        torch.save(dict(content), tmp_path / "x.pth")
        monkeypatch.setattr("suprem.zoo.hub.fetch_card", lambda *_, **__: Fetched(tmp_path / "x.pth", "0" * 64, None))

    return put


def load(card: str, **options: Any) -> SegmentationNetwork:
    network = load_pretrained(card, classes=CLASSES, **options)
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
    import dataclasses

    from suprem.zoo import card

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


@pytest.mark.slow
def test_med3d_at_full_size(offer: Offer, shared_folder: Path) -> None:
    from tests.zoo.standins import load_check

    check = load_check(shared_folder)
    offer(check.standin("med3d_resnet101", 0)[0])
    network = load("resunet.med3d_1623")
    wrong, count, left = check.check_loaded(network, "med3d_resnet101", "")
    assert (wrong, count) == ([], 624)
    assert network.load_report is not None
    assert network.load_report.initialised == tuple(left)
