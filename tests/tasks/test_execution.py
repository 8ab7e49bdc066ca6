"""Memory layout, recomputation and compilation: the same numbers, by other means."""

import copy
import logging
from typing import Any

import pytest
import torch
from torch import nn

from suprem.backbones import create_model
from suprem.backbones._base import SegmentationNetwork
from suprem.tasks.execution import Execution, prepare_network, recompute_blocks
from suprem.tasks.segmentation import SegmentationTask

SIZES: dict[str, dict[str, Any]] = {
    "segresnet_tiny": {"init_filters": 8, "blocks_down": (1, 1, 1), "blocks_up": (1, 1)},
    "unet": {"base_channels": 4},
}


def _network(backbone: str) -> SegmentationNetwork:
    torch.manual_seed(0)
    return create_model(backbone, num_classes=2, **SIZES[backbone])


def _gradients(network: nn.Module) -> dict[str, torch.Tensor]:
    image = torch.rand(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    network(image).square().mean().backward()
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("execution", [Execution(channels_last=True), Execution(recompute=True)], ids=str)
@pytest.mark.parametrize("backbone", SIZES)
def test_gradients_are_those_of_the_plain_network(backbone: str, execution: Execution) -> None:
    network = _network(backbone)
    other = copy.deepcopy(network)
    prepare_network(other, execution)
    expected, found = _gradients(network), _gradients(other)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("backbone", SIZES)
def test_recomputation_keeps_fewer_bytes_for_the_backward_pass(backbone: str) -> None:
    kept = []
    for recompute in (False, True):
        network = _network(backbone)
        prepare_network(network, Execution(recompute=recompute))
        saved: dict[int, int] = {}

        def pack(tensor: torch.Tensor, saved: dict[int, int] = saved) -> torch.Tensor:
            saved[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            network(torch.rand(2, 1, 32, 32, 32))
        kept.append(sum(saved.values()))
    assert kept[1] < 0.6 * kept[0]


def test_a_copy_of_a_recomputing_network_runs_its_own_weights() -> None:
    network = _network("unet")
    recompute_blocks(network)
    other = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert not other(torch.rand(2, 1, 16, 16, 16)).any()


def test_a_batch_norm_sees_a_recomputed_batch_once() -> None:
    network = nn.Sequential(nn.Sequential(nn.Conv3d(1, 4, 1), nn.BatchNorm3d(4)))
    plain = copy.deepcopy(network)
    assert recompute_blocks(network) == ["0"]
    image = torch.rand(2, 1, 8, 8, 8)
    for module in (network, plain):
        module(image).square().sum().backward()
    for found, expected in zip(network.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(found, expected)


def test_where_compilation_fails_the_network_runs_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*arguments: Any) -> None:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr("torch._inductor.compile_fx.compile_fx", fails)
    network = _network("unet")
    expected = _gradients(copy.deepcopy(network))
    prepare_network(network, Execution(compile=True))
    with caplog.at_level(logging.WARNING):
        found = _gradients(network)
    assert "no compiler here" in caplog.text
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=2e-3, atol=1e-5)


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_gradients() -> None:
    network = _network("segresnet_tiny")
    expected = _gradients(copy.deepcopy(network))
    prepare_network(network, Execution(compile=True, recompute=True))
    for name, gradient in _gradients(network).items():
        torch.testing.assert_close(gradient, expected[name], rtol=2e-3, atol=1e-5)


def test_a_task_runs_its_network_as_asked_and_exports_plain_weights(tmp_path: Any) -> None:
    from suprem import load_pretrained
    from suprem.zoo import Preprocessing

    task = SegmentationTask(
        "unet",
        ["liver", "spleen"],
        backbone_kwargs=SIZES["unet"],
        preprocessing=Preprocessing((2.0, 2.0, 2.0), (-175.0, 250.0), (16, 16, 16)),
        execution=Execution(channels_last=True, recompute=True),
    )
    folder = task.export(tmp_path / "model", name="unet.test")
    weights = load_pretrained(f"local-dir:{folder}").state_dict()
    assert weights.keys() == task.network.state_dict().keys()
    assert all(torch.equal(weights[name], value) for name, value in task.network.state_dict().items())
