"""SegResNet is MONAI's, split where the head begins."""

import pytest
import torch
from monai.networks.nets import SegResNet

from suprem.backbones import create_model
from suprem.errors import ConfigurationError


def test_equals_monai() -> None:
    torch.manual_seed(0)
    ours = create_model("segresnet", num_classes=3, in_channels=2, init_filters=8).eval()
    monai = SegResNet(
        blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1), init_filters=8, in_channels=2, out_channels=3
    ).eval()
    assert list(ours.state_dict()) == list(monai.state_dict())
    monai.load_state_dict(ours.state_dict(), strict=True)
    image = torch.randn(1, 2, 16, 24, 8)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), monai(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("filters", "num_classes", "count"), [(16, 18, 4_701_186), (16, 25, 4_701_305), (32, 25, 18_796_761)]
)
def test_published_parameter_counts(filters: int, num_classes: int, count: int) -> None:
    with torch.device("meta"):
        network = create_model("segresnet", num_classes=num_classes, init_filters=filters)
    assert sum(p.numel() for p in network.parameters()) == count


def test_tiny_fits_the_bundled_size() -> None:
    with torch.device("meta"):
        network = create_model("segresnet_tiny", num_classes=33)
    assert 4 * sum(p.numel() for p in network.parameters()) <= 6e6


def test_levels_set_the_divisor_and_widths() -> None:
    network = create_model("segresnet_tiny", num_classes=2, blocks_down=[1, 1], blocks_up=[1])
    assert (network.divisor, network.decoder_channels, network.bottleneck_channels) == (2, 8, 16)
    assert network(torch.randn(1, 1, 2, 2, 4)).shape == (1, 2, 2, 2, 4)


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    network = create_model("segresnet_tiny", num_classes=2, blocks_down=(1, 1), blocks_up=(1,), dropout_prob=0.5)
    image = torch.randn(1, 1, 8, 8, 8)
    network.eval()
    assert torch.equal(network(image), network(image))
    network.train()
    assert not torch.equal(network(image), network(image))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init_filters": 12}, "multiple of 8"),
        ({"init_filters": 0}, "multiple of 8"),
        ({"blocks_down": (1, 1)}, "one entry fewer"),
        ({"blocks_down": (1, 0), "blocks_up": (1,)}, "at least 1"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        create_model("segresnet", num_classes=2, **options)
