"""Torch's functions and those that stand for them on a CPU give the same numbers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from suprem._cpu_functions import FasterOnCpu, faster_on

LAST = torch.channels_last_3d


def compare(function: Callable[[], torch.Tensor]) -> torch.Tensor:
    """The replaced result, once it agrees with torch's own."""
    with torch.inference_mode():
        plain = function()
        with FasterOnCpu():
            found = function()
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-5)
    return found


@st.composite
def convolutions(pick: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, dict[str, Any]]:
    """An image, weights, a bias or none, and the settings of a convolution that fits them."""
    groups, inputs, outputs = (pick(st.integers(1, 3)) for _ in range(3))
    kernel = [pick(st.sampled_from([1, 2, 3])) for _ in range(3)]
    dilation = pick(st.sampled_from([1, 2, (1, 2, 1)]))
    sizes = [pick(st.integers(6, 9)) for _ in range(3)]
    generator = torch.Generator().manual_seed(pick(st.integers(0, 99)))
    image = torch.randn((pick(st.integers(1, 2)), groups * inputs, *sizes), generator=generator)
    weight = torch.randn((groups * outputs, inputs, *kernel), generator=generator)
    bias = torch.randn(groups * outputs, generator=generator) if pick(st.booleans()) else None
    if pick(st.booleans()):
        image = image.to(memory_format=LAST)
    stride, padding = pick(st.sampled_from([1, 2, (2,), (1, 2, 1)])), pick(st.sampled_from([0, 1, (1, 0, 2), "valid"]))
    return image, weight, bias, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


@given(convolutions())
@settings(max_examples=80, deadline=None)
def test_convolutions(drawn: tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, dict[str, Any]]) -> None:
    image, weight, bias, options = drawn
    compare(lambda: F.conv3d(image, weight, bias, **options))


def test_their_results_keep_the_channels_of_a_voxel_together() -> None:
    image, weight = torch.randn(1, 1, 8, 8, 8), torch.randn(4, 1, 3, 3, 3)
    found = compare(lambda: F.conv3d(image, weight, padding=1))
    assert found.stride()[1] == 1
    pointwise = torch.randn(6, 4, 1, 1, 1)
    assert compare(lambda: F.conv3d(found, pointwise)).stride()[1] == 1


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("channels", "groups"), [(16, 8), (6, 1), (5, 5)])
def test_group_norms(samples: int, affine: bool, channels: int, groups: int) -> None:
    image = torch.randn(samples, channels, 7, 6, 5).to(memory_format=LAST)
    terms = (torch.randn(channels), torch.randn(channels)) if affine else (None, None)
    found = compare(lambda: F.group_norm(image, groups, *terms, eps=1e-3))
    assert found.is_contiguous(memory_format=LAST)


@pytest.mark.parametrize("affine", [True, False])
def test_instance_norms(affine: bool) -> None:
    image = torch.randn(2, 6, 9, 8, 7).to(memory_format=LAST)
    terms = {"weight": torch.randn(6), "bias": torch.randn(6)} if affine else {}
    compare(lambda: F.instance_norm(image, **terms))


def test_running_statistics_stay_torch_s() -> None:
    image, mean, variance = torch.randn(2, 6, 4, 4, 4).to(memory_format=LAST), torch.randn(6), torch.rand(6)
    compare(lambda: F.instance_norm(image, mean, variance, use_input_stats=False))


def test_norms_of_large_images_far_from_zero_are_exact() -> None:
    generator = torch.Generator().manual_seed(3)
    image = (torch.randn((1, 8, 64, 64, 48), generator=generator) + 100).to(memory_format=LAST)
    wanted = F.group_norm(image.double().contiguous(), 4)
    with torch.inference_mode(), FasterOnCpu():
        found = F.group_norm(image, 4)
    assert float((found - wanted).abs().max()) < 5e-5


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_torch_s(dtype: torch.dtype) -> None:
    image, weight = torch.randn(1, 2, 6, 6, 6, dtype=dtype), torch.randn(4, 2, 3, 3, 3, dtype=dtype)
    with FasterOnCpu():
        assert F.conv3d(image, weight).dtype == dtype
    with torch.inference_mode():
        plain = F.conv3d(image, weight)
        with FasterOnCpu():
            assert torch.equal(F.conv3d(image, weight), plain)


def test_autocast_still_casts() -> None:
    image, weight = torch.randn(1, 2, 6, 6, 6), torch.randn(4, 2, 3, 3, 3)
    with torch.inference_mode(), FasterOnCpu(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert F.conv3d(image, weight).dtype == torch.bfloat16


def test_images_without_a_batch_are_torch_s() -> None:
    image, weight = torch.randn(2, 6, 6, 6), torch.randn(4, 2, 3, 3, 3)
    compare(lambda: F.conv3d(image, weight))


def test_without_onednn_torch_s_own_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.delattr(torch, "mkldnn_convolution")
    image, weight = torch.randn(1, 2, 6, 6, 6), torch.randn(4, 2, 3, 3, 3)
    with torch.inference_mode():
        plain = F.conv3d(image, weight)
        with FasterOnCpu():
            assert torch.equal(F.conv3d(image, weight), plain)


def test_gradients() -> None:
    network = torch.nn.Sequential(
        torch.nn.Conv3d(1, 8, 3, padding=1),
        torch.nn.GroupNorm(4, 8),
        torch.nn.InstanceNorm3d(8),
        torch.nn.Conv3d(8, 2, 1),
    )
    image, found = torch.randn(1, 1, 8, 8, 8), []
    for within in (False, True):
        network.zero_grad()
        if within:
            with FasterOnCpu():
                network(image).square().sum().backward()
        else:
            network(image).square().sum().backward()
        found.append([parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None])
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-3)


def test_only_a_cpu_needs_them() -> None:
    assert isinstance(faster_on(torch.device("cpu")), FasterOnCpu)
    assert not isinstance(faster_on(torch.device("cuda")), FasterOnCpu)
