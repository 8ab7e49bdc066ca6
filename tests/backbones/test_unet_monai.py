"""MONAI's own U-Net is the independent reference: the same tensors give the same output."""

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.nets import UNet

from suprem import create_model, load_pretrained
from suprem.backbones._unet_monai import options_of
from suprem.errors import CheckpointError, ConfigurationError
from suprem.zoo import verify
from suprem.zoo.convert import convert

CLASSES = ["liver", "spleen", "aorta"]
FORMS: dict[str, dict[str, Any]] = {
    "plain": {"channels": (4, 8, 16), "strides": (2, 2)},
    "residual, batch norm": {"channels": (4, 8, 16, 32), "strides": (2, 2, 2), "num_res_units": 2, "norm": "BATCH"},
    "a stride of 1": {"channels": (4, 8, 16), "strides": (2, 1), "num_res_units": 3},
    "four levels of stride 2": {"channels": (4, 8, 8, 16, 16), "strides": (2, 2, 2, 2)},
}


def monai(form: str, in_channels: int = 1) -> UNet:
    torch.manual_seed(4)
    network = UNet(spatial_dims=3, in_channels=in_channels, out_channels=len(CLASSES), **FORMS[form]).eval()
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
    return network


@pytest.mark.parametrize("form", FORMS)
def test_a_file_of_monai_gives_its_output(form: str, tmp_path: Path) -> None:
    original = monai(form)
    torch.save({"state_dict": original.state_dict()}, tmp_path / "x.pth")
    network = load_pretrained(f"local-file:{tmp_path / 'x.pth'}", source_classes=CLASSES)
    assert network.config is not None
    assert network.load_report is not None
    assert (network.config.backbone, network.config.classes) == ("unet_monai", tuple(CLASSES))
    assert (network.load_report.initialised, network.load_report.dropped) == ((), ())
    image = torch.rand(2, 1, 32, 16, 32)
    with torch.inference_mode():
        assert torch.equal(network(image), original(image))
        assert network.forward_encoder(image).shape[1] == FORMS[form]["channels"][-1]


def test_classes_are_kept_by_name_and_the_folder_is_whole(tmp_path: Path) -> None:
    original = monai("residual, batch norm")
    torch.save(original.state_dict(), tmp_path / "x.pth")
    source = f"local-file:{tmp_path / 'x.pth'}"
    network = load_pretrained(source, source_classes=CLASSES, classes=["aorta", "pancreas"])
    assert network.load_report is not None
    assert (network.load_report.kept_classes, network.load_report.new_classes) == (("aorta",), ("pancreas",))
    image = torch.rand(1, 1, 16, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(network(image)[:, 0], original(image)[:, 2], rtol=0, atol=0)
    convert(tmp_path / "x.pth", tmp_path / "model", source_classes=CLASSES)
    assert verify(f"local-dir:{tmp_path / 'model'}").ok
    again = load_pretrained(f"local-dir:{tmp_path / 'model'}")
    with torch.inference_mode():
        assert torch.equal(again(image), original(image))


def test_softmax_has_background_in_front(tmp_path: Path) -> None:
    torch.save(monai("plain").state_dict(), tmp_path / "x.pth")
    network = load_pretrained(f"local-file:{tmp_path / 'x.pth'}", source_classes=["liver", "spleen"])
    assert network.config is not None
    assert network.config.activation == "softmax"


def test_the_benchmark_network_has_the_recorded_size() -> None:
    network = create_model("unet_monai", num_classes=9)
    own = sum(p.numel() for name, p in network.named_parameters() if not name.startswith("head."))
    assert own == 7_775_439


def test_what_cannot_be(tmp_path: Path) -> None:
    for options, message in (
        ({"channels": [8], "strides": []}, "at least two levels"),
        ({"strides": [2, 2, 3]}, "stride of 1 or 2"),
        ({"norm": "group"}, "norm one of instance, batch"),
        ({"features": 0}, "must be positive"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            create_model("unet_monai", num_classes=2, **options)
    assert options_of(create_model("segresnet_tiny", num_classes=2).state_dict()) is None
    state = monai("plain").state_dict()
    del state["model.1.submodule.0.conv.bias"]
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"1 missing \(model\.1\.submodule\.0\.conv\.bias\)"):
        load_pretrained(f"local-file:{tmp_path / 'x.pth'}", source_classes=CLASSES)
