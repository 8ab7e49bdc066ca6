from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from torch.utils.data import DataLoader

from suprem import load_pretrained
from suprem.adapters import STRATEGIES, apply_strategy
from suprem.backbones import create_model
from suprem.errors import UnknownNameError
from suprem.tasks.optimisation import Optimisation
from suprem.tasks.segmentation import SegmentationTask
from suprem.zoo import Preprocessing

OPTIONS: dict[str, dict[str, Any]] = {
    "unet": {"base_channels": 4}, "swinunetr": {"feature_size": 12}, "segresnet_tiny": {}, "segresnet": {},
}  # fmt: skip


@pytest.mark.parametrize("backbone", OPTIONS)
def test_stages_of_the_encoder(backbone: str) -> None:
    network = create_model(backbone, num_classes=2, **OPTIONS[backbone])
    names = [name for name, _ in network.named_parameters()]
    for stage in network.encoder_stages:
        assert any(name.startswith(stage) for name in names), stage
    inside = {name for name in names if name.startswith(network.encoder_stages)}
    # What the loss of a bottleneck voxel can reach is the encoder, nothing of the decoder.
    features = network.forward_features(torch.rand(1, 1, *(2 * network.divisor,) * 3))
    features.bottleneck.square().sum().backward()
    reached = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    if backbone == "swinunetr":  # its bottleneck has one more convolution block
        reached = {name for name in reached if name.startswith("swinViT.")}
    assert reached <= inside
    assert not any(name.startswith(network.head_path) for name in inside)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_only_what_the_strategy_names_is_trained(strategy: str) -> None:
    torch.manual_seed(0)
    task = SegmentationTask(
        "segresnet_tiny", ["liver", "spleen"], strategy=strategy,  # type: ignore[arg-type]
        optimisation=Optimisation(0.01, weight_decay=0.1, warmup_steps=0),
    )  # fmt: skip
    network = task.network
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    image = torch.rand(1, 16, 16, 16)
    data = DataLoader([{"image": image, "target": torch.cat([image > 0.7, image < 0.2])}] * 3, batch_size=1)
    Trainer(
        max_steps=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(task, data)  # fmt: skip
    changed = {name for name, p in network.named_parameters() if not torch.equal(p, before[name])}
    expected = {
        "full": set(before),
        "frozen_encoder": {name for name in before if not name.startswith(network.encoder_stages)},
        "norm_and_bias": {name for name, p in before.items() if p.ndim == 1} | set(network.head_keys),
        "head": set(network.head_keys),
        "lora": {name for name in before if name.endswith((".up", ".down"))} | set(network.head_keys),
    }[strategy]
    # Biases in front of a norm over single channels have no gradient, and without decay would stay.
    assert changed == expected


def test_the_count_is_that_of_the_trained() -> None:
    network = create_model("segresnet_tiny", num_classes=2)
    assert apply_strategy(network, "head") == 2 * 8 + 2
    assert apply_strategy(network, "full") == sum(p.numel() for p in network.parameters())
    with pytest.raises(UnknownNameError, match="did you mean 'lora'"):
        apply_strategy(network, "lorra")


def test_the_universal_head_is_trained_as_a_whole() -> None:
    network = create_model("unet", num_classes=2, head="universal", base_channels=8)
    apply_strategy(network, "head")
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    assert trained == {name for name, _ in network.named_parameters() if not name.startswith("backbone.")}
    apply_strategy(network, "frozen_encoder")
    assert not network.get_parameter("backbone.down_tr64.ops.0.conv1.weight").requires_grad
    assert network.get_parameter("backbone.up_tr64.ops.0.conv1.weight").requires_grad


def test_adapters_are_merged_in_what_is_exported(tmp_path: Path) -> None:
    contract = Preprocessing((3.0, 3.0, 3.0), patch_size=(16, 16, 16))
    task = SegmentationTask("segresnet_tiny", ["liver", "spleen"], strategy="lora", preprocessing=contract)
    with torch.no_grad():
        for name, parameter in task.network.named_parameters():
            if name.endswith(".up"):
                parameter.normal_(std=0.1)
    task.export(tmp_path / "model", name="segresnet_tiny.test")
    network = load_pretrained(f"local-dir:{tmp_path / 'model'}")
    image = torch.rand(1, 1, 16, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(network(image), task.network.eval()(image), rtol=0, atol=0)
