"""Files of other programs become folders that hold the same network."""

import json
from pathlib import Path

import pytest
import torch

from suprem import load_pretrained
from suprem.backbones import create_model
from suprem.cli import main
from suprem.errors import CheckpointError, ConfigurationError, OutputError
from suprem.zoo import verify
from suprem.zoo.convert import convert
from tests.zoo.standins import filled, published


def _file(tmp_path: Path, classes: int = 32) -> Path:
    """As the reference program saves a SegResNet: under `net`, with `module.` before each name."""
    network = create_model("segresnet", num_classes=classes)
    path = tmp_path / "supervised_suprem_segresnet_2100.pth"
    torch.save(published(filled(network.state_dict())), path)
    return path


def test_the_folder_holds_the_weights_of_the_file(tmp_path: Path) -> None:
    path = _file(tmp_path)
    report = convert(path, tmp_path / "model", name="segresnet.mine", notes="From the authors.")
    assert (len(report.initialised), report.container) == (0, "net")
    there, here = load_pretrained(f"local-file:{path}"), load_pretrained(f"local-dir:{tmp_path / 'model'}")
    assert here.config is not None
    assert here.config.name == "segresnet.mine"
    assert here.state_dict().keys() == there.state_dict().keys()
    assert all(torch.equal(value, there.state_dict()[key]) for key, value in here.state_dict().items())
    assert verify(f"local-dir:{tmp_path / 'model'}").ok
    readme = (tmp_path / "model" / "README.md").read_text()
    assert "From the authors." in readme
    assert str(tmp_path) not in readme
    with pytest.raises(OutputError):
        convert(path, tmp_path / "model")


def test_the_command_prints_what_happened_and_verifies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _file(tmp_path, 2)
    words = ["zoo", "convert", str(path), "-o", str(tmp_path / "model"), "--source-classes", "liver,spleen", "--json"]
    assert main(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verify"]["ok"] is True
    assert len(document["load"]["loaded"]) == len(create_model("segresnet", num_classes=2).state_dict())
    assert main([*words[:4], str(tmp_path / "other"), *words[5:7]]) == 0
    assert "tensors loaded from" in capsys.readouterr().out


def test_half_a_network_and_unknown_channels_are_refused(tmp_path: Path) -> None:
    path = _file(tmp_path, 2)
    with pytest.raises(ConfigurationError, match="2 output channels"):
        convert(path, tmp_path / "model")
    with pytest.raises((CheckpointError, ConfigurationError)):
        convert(path, tmp_path / "model", source_classes=[])
    with pytest.raises(CheckpointError, match="is not a file"):
        convert(tmp_path / "absent.pth", tmp_path / "model")
    state = create_model("segresnet", num_classes=32).state_dict()
    torch.save({key: value for key, value in state.items() if "up_layers" not in key}, tmp_path / "half.pth")
    with pytest.raises(CheckpointError):
        convert(tmp_path / "half.pth", tmp_path / "model")
    assert not (tmp_path / "model").exists()
