"""Exported programs compute what PyTorch computes, and say how a scan has to be prepared."""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from suprem.backbones._base import Features, SegmentationNetwork
from suprem.cli import main
from suprem.errors import CheckpointError, ConfigurationError, OutputError, UnknownNameError
from suprem.zoo import save_folder
from suprem.zoo.export import export
from tests.zoo.export_networks import CLASSES, CONV, UNIVERSAL, small_network

ALL = [(name, "conv") for name in CONV] + [(name, "universal") for name in UNIVERSAL]
# Converting a published network takes a quarter of a minute, an attention over windows three times as long.
EACH = [pytest.param(*pair, marks=[] if pair[0] == "segresnet_tiny" else [pytest.mark.slow]) for pair in ALL]


def _image(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(7))


def _run_onnx(path: Path, image: torch.Tensor) -> torch.Tensor:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"image": image.numpy()})[0])


def _onnx_contract(path: Path) -> dict[str, Any]:
    import onnx

    contract: dict[str, Any] = json.loads({p.key: p.value for p in onnx.load(path).metadata_props}["suprem"])
    return contract


# An ONNX file is made from the same program: here the one head of Swin UNETR, below the other.
@pytest.mark.parametrize(("backbone", "head"), [p for p in EACH if p.values != ("swinunetr", "conv")])
@torch.no_grad()
def test_a_program_computes_what_pytorch_computes(backbone: str, head: str, tmp_path: Path) -> None:
    network, path = small_network(backbone, head), tmp_path / "model.pt2"
    report = export(network, path, format="torch-export")
    assert max(report.differences.values()) <= 1e-6
    extra = {"suprem.json": ""}
    program = torch.export.load(path, extra_files=extra).module()
    assert network.config is not None
    window = network.config.preprocessing.patch_size
    image = _image(3, 1, *window)
    torch.testing.assert_close(program(image), network(image), rtol=0, atol=1e-5)
    contract = json.loads(extra["suprem.json"])
    assert contract["input"]["spacing_mm"] == [6.0, 6.0, 6.0]
    assert contract["input"]["hu_window"] == [-160.0, 240.0]
    assert contract["output"] == {
        "name": "logits",
        "activation": "sigmoid",
        "decision": "sigmoid above 0.5, per channel",
        "channels": ["liver", "spleen"],
    }
    fixed = backbone == "swinunetr" or head == "universal"
    assert ("only" in contract["input"]["sizes"]) == fixed
    other = _image(1, 1, *(size + network.divisor for size in window))
    if fixed:
        with pytest.raises((AssertionError, RuntimeError)):  # torch's guards raise either
            program(other)
    else:
        torch.testing.assert_close(program(other), network(other), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("backbone", "head"), [p for p in EACH if p.values != ("swinunetr", "universal")])
@torch.no_grad()
def test_onnx_runtime_computes_what_pytorch_computes(backbone: str, head: str, tmp_path: Path) -> None:
    network, path = small_network(backbone, head), tmp_path / "model.onnx"
    report = export(network, path, format="onnx")
    assert 0 < max(report.differences.values()) <= 2e-5
    assert network.config is not None
    image = _image(3, 1, *network.config.preprocessing.patch_size)
    torch.testing.assert_close(_run_onnx(path, image), network(image), rtol=0, atol=5e-5)
    assert _onnx_contract(path)["output"]["channels"] == list(CLASSES)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]


def test_background_and_axes_are_named(tmp_path: Path) -> None:
    import onnx

    path = tmp_path / "model.onnx"
    export(small_network("segresnet_tiny", activation="softmax"), path, format="onnx")
    contract = _onnx_contract(path)
    assert (contract["output"]["channels"], contract["output"]["decision"]) == (["background", *CLASSES], "argmax")
    graph = onnx.load(path).graph
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {"image": ["batch", 1, "2*x", "2*y", "2*z"], "logits": ["batch", 3, "2*x", "2*y", "2*z"]}


@pytest.mark.slow
def test_files_hold_no_paths_and_are_the_same_each_time(tmp_path: Path) -> None:
    network = small_network("segresnet_tiny")
    for name in ("a.pt2", "b.pt2", "c.onnx"):
        export(network, tmp_path / name, format="onnx" if name.endswith("onnx") else "torch-export")
    assert (tmp_path / "a.pt2").read_bytes() == (tmp_path / "b.pt2").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.pt2") as archive:
        contents = [archive.read(name) for name in archive.namelist()]
    contents.append((tmp_path / "c.onnx").read_bytes())
    here = str(Path(__file__).parents[2]).encode()
    assert not [text for text in contents if here in text or b"site-packages" in text]


def test_the_network_is_left_as_it_is(tmp_path: Path) -> None:
    network = small_network("segresnet_tiny").train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    export(network, tmp_path / "model.pt2", format="torch-export")
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.slow
def test_a_program_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from suprem.zoo.export import _program

    other = small_network("segresnet_tiny")
    with torch.no_grad():
        other.get_parameter("convInit.conv.weight").add_(0.01)
    true_program_of = _program.program_of

    def wrong(subject: _program.Subject) -> Any:
        return true_program_of(_program.Subject(other, subject.config, subject.terms, subject.card, ""))

    monkeypatch.setattr(_program, "program_of", wrong)
    with pytest.raises(CheckpointError, match=r"differs from PyTorch by up to [\d.e-]+ in logits of up to"):
        export(small_network("segresnet_tiny"), tmp_path / "model.pt2", format="torch-export")
    with pytest.raises(CheckpointError, match=r"ONNX file of .* differs"):
        export(small_network("segresnet_tiny"), tmp_path / "model.onnx", format="onnx", tolerance=1e-12)
    assert not list(tmp_path.iterdir())


class _Branching(SegmentationNetwork):
    """What a program cannot express: the number of passes depends on the values."""

    head_path = "head"

    def __init__(self) -> None:
        super().__init__()
        self.in_channels, self.divisor, self.decoder_channels, self.bottleneck_channels = 1, 8, 1, 1
        self.head = torch.nn.Conv3d(1, 2, 1)

    def forward_features(self, image: torch.Tensor) -> Features:
        if image.mean() > 0.5:
            image = image * 2
        return Features(image, image)


@pytest.mark.parametrize("format", ["torch-export", "onnx"])
def test_what_cannot_be_traced_is_told_in_a_sentence(format: Any, tmp_path: Path) -> None:
    network = _Branching()
    network.config = small_network("segresnet_tiny").config
    target = tmp_path / ("model.onnx" if format == "onnx" else "model.pt2")
    with pytest.raises(ConfigurationError, match=r"cannot be turned into a program: .*data-dependent") as error:
        export(network, target, format=format)
    assert len(str(error.value).splitlines()) == 1
    assert not target.exists()


def test_bad_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = small_network("segresnet_tiny")
    with pytest.raises(ConfigurationError, match=r"must end with \.onnx"):
        export(network, tmp_path / "model.pt2", format="onnx")
    with pytest.raises(ConfigurationError, match="Unknown format 'onx'; did you mean 'onnx'"):
        export(network, tmp_path / "model.onnx", format="onx")  # type: ignore[arg-type]
    (tmp_path / "there.pt2").touch()
    with pytest.raises(OutputError, match="already exists"):
        export(network, tmp_path / "there.pt2", format="torch-export")
    with pytest.raises(ConfigurationError, match="tolerance is 0"):
        export(network, tmp_path / "model.pt2", format="torch-export", tolerance=0)
    unset = small_network("segresnet_tiny", "universal")
    unset.replace_head(2)
    with pytest.raises(ConfigurationError, match="text embedding of 2 of 2 classes is not set"):
        export(unset, tmp_path / "model.pt2", format="torch-export")
    with pytest.raises(UnknownNameError):
        export("segresnet_tiny.phantm", tmp_path / "model.pt2", format="torch-export")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigurationError, match=r"ONNX needs onnxruntime, .*pip install 'suprem\[export\]'"):
        export(network, tmp_path / "model.onnx", format="onnx")
    network.config = None
    with pytest.raises(ConfigurationError, match="has no config"):
        export(network, tmp_path / "model.pt2", format="torch-export")
    assert [path.name for path in tmp_path.iterdir()] == ["there.pt2"]


@pytest.mark.slow
def test_terms_come_from_the_card_or_from_the_model_card(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    report = export("segresnet_tiny.phantom", tmp_path / "a.pt2", format="torch-export")
    assert "weights Apache-2.0 (stated)" in report.terms
    shown = [record.message for record in caplog.records if record.name.startswith("suprem")]
    assert shown == [report.terms]  # once
    folder = save_folder(small_network("segresnet_tiny"), tmp_path / "model")
    assert "no licence is recorded" in export(f"local-dir:{folder}", tmp_path / "b.pt2", format="torch-export").terms
    readme = folder / "README.md"
    readme.write_text(readme.read_text().replace("---\n", "---\nlicense: cc-by-4.0\n", 1))
    assert "weights cc-by-4.0" in export(f"local-dir:{folder}", tmp_path / "c.pt2", format="torch-export").terms


def test_the_licence_of_a_repository_is_on_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from suprem.zoo import hub

    folder = save_folder(small_network("segresnet_tiny"), tmp_path / "model")
    monkeypatch.setattr(hub, "fetch_folder", lambda *arguments, **options: folder)
    report = export("hf-hub:me/mine@main", tmp_path / "bundle", format="monai-bundle")
    assert "the repository's page, huggingface.co/me/mine." in report.terms
    assert not (tmp_path / "bundle" / "docs" / "license.txt").exists()


def test_random_weights_are_not_exported(tmp_path: Path) -> None:
    folder = save_folder(small_network("segresnet_tiny"), tmp_path / "model")
    with pytest.raises(CheckpointError, match="does not hold a whole network"):
        export(f"local-dir:{folder}", tmp_path / "a.pt2", format="torch-export", classes=["liver", "pancreas"])


def test_the_command_reports_the_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save_folder(small_network("segresnet_tiny"), tmp_path / "model")
    words = ["zoo", "export", f"local-dir:{folder}", "--format", "torch-export", "-o", str(tmp_path / "model.pt2")]
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document["differences"]) == ["1x1x32x24x16", "2x1x32x24x16", "1x1x4x6x4"]
    assert np.isfinite(list(document["differences"].values())).all()
    assert main(words) == 1  # there already
    assert main([*words, "--overwrite"]) == 0
    assert "takes any batch; spatial sizes that are multiples of 2" in capsys.readouterr().out
