"""Med3D's network: dilation, what is interpolated, and norms over the batch."""

import pytest
import torch
import torch.nn.functional as F

from suprem.backbones import create_model
from suprem.errors import ConfigurationError
from suprem.tasks.deep_supervision import DeepSupervision

SMALL = {"base_channels": 4, "depths": (1, 1, 2, 1), "head_channels": 8}


def test_published_parameter_counts() -> None:
    with torch.device("meta"):
        network = create_model("resunet", num_classes=32)
        assert sum(p.numel() for p in network.parameters()) == 85_753_312 + 32 * 32 == 85_754_336
        network.replace_head(5)
    assert sum(p.numel() for p in network.parameters()) == 85_753_312 + 32 * 5
    assert len(network.state_dict()) == 638


def test_the_last_stages_dilate_where_the_others_halve() -> None:
    network = create_model("resunet", num_classes=2, **SMALL)
    settings = {
        stage: {(block.conv2.stride[0], block.conv2.dilation[0]) for block in network.get_submodule(f"layer{stage}")}
        for stage in range(1, 5)
    }
    assert settings == {1: {(1, 1)}, 2: {(2, 1)}, 3: {(1, 2)}, 4: {(1, 4)}}
    features = network.quarter_features(torch.randn(1, 1, 32, 16, 24))
    assert features.bottleneck.shape == (1, 4 * 32, 4, 2, 3)
    assert features.decoder.shape == (1, 8, 8, 4, 6)


def test_interpolating_features_equals_interpolating_the_published_output() -> None:
    torch.manual_seed(0)
    network = create_model("resunet", num_classes=3, **SMALL).eval()
    image = torch.randn(2, 1, 32, 16, 24)
    with torch.no_grad():
        published = network.classify(network.quarter_features(image))
        expected = F.interpolate(published, scale_factor=4, mode="trilinear", align_corners=False)
        torch.testing.assert_close(network(image), expected, rtol=1e-4, atol=1e-5)
    assert published.shape == (2, 3, 8, 4, 6)


def test_the_output_convolution_has_no_bias_and_never_gets_one() -> None:
    network = create_model("resunet", num_classes=3, **SMALL)
    assert network.head_keys == ("conv_seg.6.weight",)
    network.replace_head(2)
    assert network.get_submodule("conv_seg.6").bias is None


def test_training_keeps_running_statistics_which_evaluation_uses() -> None:
    torch.manual_seed(0)
    network = create_model("resunet", num_classes=2, **SMALL)
    image = 5 + 3 * torch.randn(2, 1, 16, 16, 16)
    with torch.no_grad():
        before = network.eval()(image)
        network.train()(image)
        assert not torch.allclose(network.eval()(image), before, atol=1e-3)
        network.bn1.running_mean.fill_(1e3)
        assert network(image).abs().max() != before.abs().max()
    assert int(network.bn1.num_batches_tracked) == 1


def test_one_voxel_at_the_bottleneck_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 16"):
        create_model("resunet", num_classes=2, **SMALL)(torch.zeros(1, 1, 8, 8, 8))


def test_there_is_no_coarser_level_to_supervise() -> None:
    with pytest.raises(ConfigurationError, match="has 0 levels"):
        DeepSupervision(create_model("resunet", num_classes=2, **SMALL), 2, 1)


def test_files_without_head_or_counters_are_told_from_damaged_ones() -> None:
    network = create_model("resunet", num_classes=2, **SMALL)
    own = set(network.state_dict())
    head = {key for key in own if key.startswith("conv_seg.")}
    counters = {key for key in own if key.endswith(".num_batches_tracked")}
    assert (len(head), len(counters)) == (14, len(own) - len([k for k in own if "num_batches" not in k]))
    assert network.absent_by_design(own) == frozenset()
    assert network.absent_by_design({f"module.{key}" for key in own - head}) == head
    assert network.absent_by_design(own - head - counters) == head | counters
    assert network.absent_by_design(own - {"conv_seg.0.bias", "bn1.num_batches_tracked"}) == frozenset()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_channels": 0}, "base_channels is 0"),
        ({"head_channels": 0}, "head_channels 0"),
        ({"depths": (3, 4, 3)}, "four entries"),
        ({"depths": (3, 4, 0, 3)}, "at least 1"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        create_model("resunet", num_classes=2, **options)
