"""The memory-light text-driven head equals the plain one that repeats the features for every class."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from suprem.backbones import create_model
from suprem.backbones._base import Features
from suprem.errors import ConfigurationError
from suprem.heads import universal
from suprem.heads.universal import UniversalNetwork

CLASSES = 5


def make(num_classes: int = CLASSES) -> UniversalNetwork:
    torch.manual_seed(0)
    network = create_model("unet", num_classes=num_classes, head="universal", base_channels=8)
    assert isinstance(network, UniversalNetwork)
    network.set_embedding(torch.randn(num_classes, 512))
    return network


def features_for(network: UniversalNetwork, samples: int = 2) -> Features:
    random = torch.Generator().manual_seed(1)
    return Features(
        decoder=torch.randn(samples, network.decoder_channels, 4, 5, 6, generator=random),
        bottleneck=torch.randn(samples, network.bottleneck_channels, 2, 1, 3, generator=random),
    )


def plain_head(network: UniversalNetwork, features: Features) -> torch.Tensor:
    """Written from the description of the published head: repeated features, grouped convolutions, sample by sample."""
    text = F.relu(F.linear(network.organ_embedding, network.text_to_vision.weight, network.text_to_vision.bias))
    classes = len(text)
    outputs = []
    for decoder, bottleneck in zip(features.decoder.split(1), features.bottleneck.split(1), strict=True):
        norm, _, _, conv = network.GAP
        pooled = F.relu(F.group_norm(bottleneck, 16, norm.weight, norm.bias)).mean(dim=(2, 3, 4), keepdim=True)
        code = F.conv3d(pooled, conv.weight, conv.bias).flatten()
        parameters = torch.stack(
            [network.controller(torch.cat((code, t))[None, :, None, None, None]).flatten() for t in text]
        )
        assert parameters.shape == (classes, 153)
        norm, _, conv = network.precls_conv
        reduced = F.conv3d(F.relu(F.group_norm(decoder, 16, norm.weight, norm.bias)), conv.weight, conv.bias)
        x = reduced.repeat(1, classes, 1, 1, 1)
        weights = (parameters[:, :64], parameters[:, 64:128], parameters[:, 128:136])
        biases = (parameters[:, 136:144], parameters[:, 144:152], parameters[:, 152:])
        for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            weight = weight.reshape(-1, 8, 1, 1, 1)
            x = F.conv3d(x, weight, bias.flatten(), groups=classes)
            x = F.relu(x) if layer < 2 else x
        outputs.append(x)
    return torch.cat(outputs)


@pytest.mark.parametrize("tile_bytes", [1, 10_000, 2**25])
def test_equals_the_plain_head(tile_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(universal._TILE_BYTES, "cpu", tile_bytes)
    network = make().double()
    features = Features(*(f.double() for f in features_for(network)))
    results = []
    for classify in (network.classify, lambda f: plain_head(network, f)):
        network.zero_grad()
        inputs = Features(*(f.clone().requires_grad_() for f in features))
        logits = classify(inputs)
        (logits * torch.linspace(-1, 1, logits.numel()).reshape(logits.shape)).sum().backward()
        head = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
        assert not any(name.startswith("backbone.") for name in head)
        assert len(head) == 12
        results.append((logits.detach(), head, [f.grad for f in inputs]))
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        torch.testing.assert_close(network.classify(features), results[0][0])


class LargestTensor(TorchDispatchMode):
    """Records the size of the largest tensor that any operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.numel = max(self.numel, result.numel())
        return result


@pytest.mark.parametrize("training", [False, True])
def test_no_intermediate_is_larger_than_the_logits(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain form holds 8 channels per class and voxel; here a tile bounds them."""
    monkeypatch.setitem(universal._TILE_BYTES, "cpu", 64 * 2**10)
    network = make(num_classes=32)
    decoder = torch.randn(1, network.decoder_channels, 24, 24, 24, requires_grad=training)
    features = Features(decoder, torch.randn(1, network.bottleneck_channels, 3, 3, 3))
    with torch.set_grad_enabled(training), LargestTensor() as largest:
        logits = network.classify(features)
        if training:
            logits.sum().backward()
    assert largest.numel == logits.numel() == 32 * 24**3


def test_only_the_own_text_and_image_matter() -> None:
    network = make()
    features = features_for(network)
    with torch.no_grad():
        before = network.classify(features)
        table = network.organ_embedding.clone()
        table[3] += 1
        network.set_embedding(table)
        after = network.classify(features)
    changed = (before - after).abs().amax(dim=(0, 2, 3, 4)) > 1e-6
    assert changed.tolist() == [False, False, False, True, False]


def test_unset_embedding_is_refused_until_it_is_set_or_loaded() -> None:
    network = create_model("unet", num_classes=CLASSES, head="universal", base_channels=8)
    image = torch.randn(1, 1, 16, 16, 16)
    with pytest.raises(ConfigurationError, match=r"5 of 5 classes is not set"):
        network(image)
    network.load_state_dict(make().state_dict(), strict=True)
    assert torch.isfinite(network(image)).all()
    network.organ_embedding[2] = torch.nan
    with pytest.raises(ConfigurationError, match=r"1 of 5 classes is not set"):
        network(image)
    network.set_embedding(torch.randn(CLASSES, 512, dtype=torch.float16))
    assert torch.isfinite(network(image)).all()
    network.replace_head(2)
    with pytest.raises(ConfigurationError, match=r"2 of 2 classes is not set"):
        network(image)


def test_embeddings_that_do_not_fit_are_refused() -> None:
    network = make()
    with pytest.raises(ConfigurationError, match=r"shape \(4, 512\); it must be \(5, 512\)"):
        network.set_embedding(torch.zeros(4, 512))
    with pytest.raises(ConfigurationError, match="NaN or infinite"):
        network.set_embedding(torch.full((5, 512), torch.inf))


def test_fewer_classes_are_a_prefix() -> None:
    """The rows of the text table are independent, so 3 of 5 classes give the first 3 channels."""
    many, few = make(), make(num_classes=3)
    state = many.state_dict()
    few.load_state_dict(state | {"organ_embedding": state["organ_embedding"][:3]}, strict=True)
    features = features_for(many)
    with torch.no_grad():
        torch.testing.assert_close(few.classify(features), many.classify(features)[:, :3])


def test_channels_that_cannot_be_grouped_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="8 decoder and 64 bottleneck channels"):
        create_model("segresnet_tiny", num_classes=2, head="universal")


def test_universal_output_is_not_pointwise() -> None:
    network = make()
    assert not network.pointwise_head
    with pytest.raises(ConfigurationError, match="cannot be removed"):
        network.remove_head()


def test_published_parameter_count_of_the_head() -> None:
    network = create_model("unet", num_classes=CLASSES, head="universal")
    head = sum(p.numel() for n, p in network.named_parameters() if not n.startswith("backbone."))
    assert head == 342_817
    assert sum(p.numel() for p in network.parameters()) == 19_416_417
