"""The U-Net's norm: statistics of each patch alone, whatever the buffers and the mode say."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from suprem.backbones import create_model
from suprem.backbones._unet import PatchNorm
from suprem.errors import ConfigurationError


@pytest.fixture
def norm() -> PatchNorm:
    torch.manual_seed(0)
    layer = PatchNorm(4, batch_statistics=False)
    state = {key: torch.rand(4) + 0.5 for key in ("weight", "bias", "running_mean", "running_var")}
    layer.load_state_dict(state | {"num_batches_tracked": torch.tensor(7)}, strict=True)
    return layer


def test_norm_is_a_batch_norm_applied_to_one_patch_at_a_time(norm: PatchNorm) -> None:
    x = torch.randn(3, 4, 5, 6, 7) * 3 + 2
    expected = [
        F.batch_norm(
            sample[None], norm.running_mean.clone(), norm.running_var.clone(), norm.weight, norm.bias, training=True
        )
        for sample in x
    ]
    for training in (True, False):
        torch.testing.assert_close(norm.train(training)(x), torch.cat(expected))


def test_running_statistics_are_kept_and_never_read(norm: PatchNorm) -> None:
    x = torch.randn(2, 4, 4, 4, 4)
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    output = norm.train()(x)
    assert set(before) == {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    torch.testing.assert_close(dict(norm.state_dict()), before, rtol=0, atol=0)
    norm.running_mean.fill_(100)
    norm.running_var.fill_(torch.nan)
    assert torch.equal(norm(x), output)


def test_tools_do_not_take_it_for_a_batch_norm() -> None:
    network = create_model("unet", num_classes=2, base_channels=2)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in converted.modules())


def test_batch_statistics_are_those_of_the_reference_program() -> None:
    """A reference network of torch's batch norms, in training mode, on two samples."""
    torch.manual_seed(0)
    network = create_model("unet", num_classes=2, base_channels=2, batch_statistics=True).eval()
    reference = create_model("unet", num_classes=2, base_channels=2)
    for name, module in list(reference.named_modules()):
        if isinstance(module, PatchNorm):
            reference.set_submodule(name, nn.BatchNorm3d(len(module.weight)))
    reference.load_state_dict(network.state_dict(), strict=True)
    image = torch.randn(2, 1, 16, 16, 16)
    with torch.no_grad():
        output = network(image)
        torch.testing.assert_close(output, reference.train()(image))
        assert (network(image[:1]) - output[:1]).abs().max() > 1e-3


def test_convolution_biases_in_front_of_norms_do_not_reach_the_output() -> None:
    torch.manual_seed(0)
    network = create_model("unet", num_classes=2, base_channels=2).eval()
    image = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        before = network(image)
        for name, parameter in network.named_parameters():
            if name.endswith("conv1.bias"):
                parameter.add_(1)
        torch.testing.assert_close(network(image), before, rtol=0, atol=1e-4)


def test_a_single_voxel_at_the_bottleneck_is_refused() -> None:
    network = create_model("unet", num_classes=2, base_channels=2)
    with pytest.raises(ConfigurationError, match="at least 16"):
        network(torch.zeros(1, 1, 8, 8, 8))
    assert network(torch.randn(1, 1, 8, 16, 8)).shape == (1, 2, 8, 16, 8)


@pytest.mark.parametrize("num_classes", [1, 9, 18, 25, 32])
def test_published_parameter_counts(num_classes: int) -> None:
    with torch.device("meta"):
        network = create_model("unet", num_classes=num_classes)
    assert sum(p.numel() for p in network.parameters()) == 19_073_600 + 65 * num_classes


def test_widths_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="base_channels is 0"):
        create_model("unet", num_classes=2, base_channels=0)
