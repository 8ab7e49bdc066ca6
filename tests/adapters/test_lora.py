import copy
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from suprem.adapters import add_lora, has_lora, load_lora, merge_lora, save_lora
from suprem.adapters.lora import LowRank
from suprem.backbones import create_model
from suprem.backbones._base import SegmentationNetwork
from suprem.errors import CheckpointError, ConfigurationError

OPTIONS = {
    "mit": {"depths": (1, 1, 1, 1), "decoder_depths": (1, 1, 1), "embed_dims": (8, 8, 16, 16), "stem_channels": 4},
    "resunet": {"base_channels": 4, "depths": (1, 1, 1, 1), "head_channels": 4},
    "segresnet_tiny": {},
    "swinunetr": {"feature_size": 12},
    "unet": {"base_channels": 4},
}


def _network(backbone: str = "segresnet_tiny", num_classes: int = 3, seed: int = 0) -> SegmentationNetwork:
    torch.manual_seed(seed)
    return create_model(backbone, num_classes=num_classes, **OPTIONS[backbone]).eval()


def _image(network: SegmentationNetwork) -> torch.Tensor:
    size = 2 * network.divisor
    return torch.rand(1, 1, size, size, size, generator=torch.Generator().manual_seed(1))


def _shake(network: SegmentationNetwork) -> None:
    """Adapters as after a training."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, LowRank):
                module.up.copy_(0.1 * torch.randn(module.up.shape, generator=generator))


@pytest.mark.parametrize(
    "backbone", [pytest.param(name, marks=[pytest.mark.slow] if name == "swinunetr" else []) for name in OPTIONS]
)
@torch.no_grad()
def test_nothing_changes_at_first_and_merging_is_exact(backbone: str) -> None:
    network = _network(backbone)
    image = _image(network)
    names, before = set(network.state_dict()), network(image)
    adapted = add_lora(network, rank=2)
    assert not {f"{name}.weight" for name in adapted} & set(network.head_keys)
    assert has_lora(network)
    torch.testing.assert_close(network(image), before, rtol=0, atol=0)
    _shake(network)
    changed = network(image)
    assert not torch.allclose(changed, before)
    assert merge_lora(network) == len(adapted)
    assert not has_lora(network)
    assert set(network.state_dict()) == names
    torch.testing.assert_close(network(image), changed, rtol=0, atol=0)


def test_against_the_definition() -> None:
    layer = torch.nn.Conv3d(6, 5, 3, padding=1)
    adapter = LowRank(layer.weight, rank=2, alpha=3.0)
    torch.nn.init.normal_(adapter.up)
    image = torch.rand(1, 6, 4, 4, 4)
    with torch.no_grad():
        found = F.conv3d(image, adapter(layer.weight), layer.bias, padding=1)
        # B A x: a convolution to `rank` channels, then one of 1x1x1.
        down = F.conv3d(image, adapter.down.view(2, 6, 3, 3, 3), padding=1)
        expected = layer(image) + 3.0 / 2 * F.conv3d(down, adapter.up.view(5, 2, 1, 1, 1))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_adapters_travel_alone(tmp_path: Path) -> None:
    network = _network()
    start = copy.deepcopy(network)
    network.replace_head(2)
    add_lora(network, rank=2, alpha=5.0)
    _shake(network)
    path = tmp_path / "adapters.safetensors"
    save_lora(network, path)
    whole = sum(p.numel() * 4 for p in start.parameters())
    assert path.stat().st_size < 0.25 * whole
    load_lora(start, path)
    image = _image(network)
    with torch.no_grad():
        torch.testing.assert_close(start(image), network(image), rtol=0, atol=0)


def test_the_adapters_of_the_published_unet_are_small(tmp_path: Path) -> None:
    network = create_model("unet", num_classes=2)
    add_lora(network)
    save_lora(network, tmp_path / "adapters.safetensors")
    assert 1e6 < (tmp_path / "adapters.safetensors").stat().st_size < 3e6


def test_what_cannot_be(tmp_path: Path) -> None:
    network = _network()
    for options in ({"rank": 0}, {"alpha": 0.0}, {"rank": 10_000}):
        with pytest.raises(ConfigurationError):
            add_lora(network, **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="no adapters to save"):
        save_lora(network, tmp_path / "a.safetensors")
    add_lora(network)
    with pytest.raises(ConfigurationError, match="merge_lora"):
        add_lora(network)


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    network = _network()
    add_lora(network, rank=2)
    path = tmp_path / "adapters.safetensors"
    save_lora(network, path)
    other = _network("unet")
    other.replace_head(network.num_classes + 2)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(CheckpointError, match="made for another network"):
        load_lora(other, path)
    assert other.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="no adapters that can be read"):
        load_lora(_network(), path)
