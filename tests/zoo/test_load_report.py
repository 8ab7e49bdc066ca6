"""What a load says about its assumptions, and what it leaves alone."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from suprem.backbones import create_model
from suprem.errors import CheckpointError
from suprem.zoo import load_pretrained
from tests.zoo.standins import filled

State = dict[str, torch.Tensor]


def stored(state: State, folder: Path) -> str:
    save_file(state, folder / "x.safetensors")
    return f"local-file:{folder / 'x.safetensors'}"


def tiny(num_classes: int) -> State:
    return filled(create_model("segresnet_tiny", num_classes=num_classes).state_dict())


def notes(source: str, **options: object) -> str:
    report = load_pretrained(source, **options).load_report  # type: ignore[arg-type]
    assert report is not None
    return " | ".join(report.notes)


def test_an_assumed_class_order_is_said(tmp_path: Path) -> None:
    source = stored(tiny(32), tmp_path)
    assert "does not say what its channels mean" in notes(source)
    assert "source_classes='universal_32'" in notes(source, classes=["liver"])
    assert "channels mean" not in notes(source, source_classes="universal_32")
    assert "channels mean" not in notes(source, source_classes=[], classes=["liver"])


def test_a_part_of_a_softmax_layer_is_warned_about(tmp_path: Path) -> None:
    source = stored(tiny(4), tmp_path)
    whole = ["liver", "spleen", "aorta"]
    assert "softmax" not in notes(source, source_classes=whole)
    assert "softmax" not in notes(source, source_classes=whole, classes=["aorta", "liver", "spleen", "sacrum"])
    assert "2 of the file's are left out" in notes(source, source_classes=whole, classes=["liver"])
    assert "softmax" not in notes(source, source_classes=whole, classes=["liver"], activation="sigmoid")
    sigmoid = [*whole, "pancreas"]
    assert "softmax" not in notes(source, source_classes=sigmoid, classes=["liver"])


def test_loading_seeds_no_generator_of_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    torch.manual_seed(0)
    assert seeded == [0]  # the trap is live
    load_pretrained(stored(tiny(32), tmp_path), classes=["sacrum"], seed=4)
    assert seeded == [0]


def test_eight_bit_floats_are_checked_and_loaded(tmp_path: Path) -> None:
    state = {k: v.to(torch.float8_e4m3fn) if v.is_floating_point() else v for k, v in tiny(32).items()}
    network = load_pretrained(stored(state, tmp_path))
    assert torch.equal(network.get_parameter("convInit.conv.weight"), state["convInit.conv.weight"].float())
    state["convInit.conv.weight"] = torch.full_like(tiny(32)["convInit.conv.weight"], torch.nan).to(torch.float8_e4m3fn)
    with pytest.raises(CheckpointError, match=r"NaN or infinite values in convInit\.conv\.weight"):
        load_pretrained(stored(state, tmp_path))
