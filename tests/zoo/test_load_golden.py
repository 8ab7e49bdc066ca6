"""The published files: stand-ins filled by the public rule must arrive whole, each tensor in its place.

The layouts come from the golden folder beside the repository; where it is absent, from our own networks, whose names
and shapes other tests compare with recorded digests.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from suprem.backbones import create_model
from suprem.zoo import load_pretrained
from tests.zoo.standins import filled, load_check, published, wrong_values

SHARED = Path(__file__).resolve().parents[3] / "shared"
HEADS = {
    "unet": ("out_tr.final_conv.weight", "out_tr.final_conv.bias"),
    "swinunetr": ("out.conv.conv.weight", "out.conv.conv.bias"),
    "segresnet": ("conv_final.2.conv.weight", "conv_final.2.conv.bias"),
}
Check = Callable[[torch.nn.Module, str], tuple[list[str], int, list[str]]]


def content_of(model: str) -> dict[str, Any]:
    """What the published file holds: from the recorded keys, else from our own network in the published layout."""
    if SHARED.is_dir():
        content: dict[str, Any] = load_check(SHARED).standin(model, 0)[0]
        return content
    if model == "models_genesis":
        return published(filled(create_model("unet", num_classes=1).state_dict()), "state_dict")
    head = "conv" if model == "segresnet" else "universal"
    return published(filled(create_model(model, num_classes=32, head=head).state_dict()))


def arrived(network: torch.nn.Module, model: str, prefix: str = "") -> int:
    """Number of backbone tensors that hold the right values; the recorded check where it is there, else the rule."""
    report = network.load_report
    assert wrong_values(network, report.loaded) == []  # type: ignore[union-attr]
    if not SHARED.is_dir():
        own = [key for key in report.loaded if key.startswith(prefix)]  # type: ignore[union-attr]
        return len([key for key in own if key not in HEADS.get(model, ())])
    wrong, count, _ = load_check(SHARED).check_loaded(network, model, prefix)
    assert wrong == []
    return int(count)


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Writes each stand-in once and returns its source string."""
    folder = tmp_path_factory.mktemp("standins")

    def source(model: str) -> str:
        path = folder / f"{model}.pth"
        if not path.exists():
            torch.save(content_of(model), path)
        return f"local-file:{path}"

    return source


@pytest.mark.parametrize(
    ("model", "whole", "backbone"), [("unet", 117, 104), ("segresnet", 83, 81), ("swinunetr", 170, 157)]
)
def test_a_published_file_arrives_whole(stand_in: Callable[[str], str], model: str, whole: int, backbone: int) -> None:
    network = load_pretrained(stand_in(model))
    report = network.load_report
    assert report is not None
    assert network.config is not None
    assert network.config.backbone == model
    assert len(report.loaded) == whole == len(network.state_dict())
    assert (report.initialised, report.dropped) == ((), ())
    universal = network.config.head == "universal"
    assert universal == (model != "segresnet")
    assert arrived(network, model, "backbone." if universal else "") == backbone
    if universal and SHARED.is_dir():
        assert arrived(network, f"universal_{model}") == whole


@pytest.mark.parametrize(("model", "backbone"), [("unet", 104), ("segresnet", 81), ("swinunetr", 157)])
def test_fine_tuning_starts_from_the_recorded_count(stand_in: Callable[[str], str], model: str, backbone: int) -> None:
    network = load_pretrained(
        stand_in(model), backbone=model, head="conv", source_classes=[], classes=["vertebrae_L1", "vertebrae_L2"]
    )
    report = network.load_report
    assert report is not None
    assert len(report.loaded) == backbone == len(network.state_dict()) - 2
    assert report.initialised == HEADS[model]
    assert arrived(network, model) == backbone


def test_models_genesis(stand_in: Callable[[str], str]) -> None:
    source = stand_in("models_genesis")
    with pytest.raises(ValueError, match="1 output channels"):
        load_pretrained(source, classes=["liver"])
    network = load_pretrained(source, source_classes=[], classes=["liver"])
    report = network.load_report
    assert report is not None
    assert len(report.loaded) == 104
    assert set(report.dropped) == {"module.out_tr.final_conv.weight", "module.out_tr.final_conv.bias"}
    assert arrived(network, "models_genesis") == 104
