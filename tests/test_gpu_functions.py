"""Torch's functions and those that stand for them on a GPU give the same numbers; on a CPU they are slow, but run."""

import pytest
import torch
import torch.nn.functional as F

from suprem._gpu_functions import FasterOnGpu

LAST = torch.channels_last_3d
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"))]


def _values(dtype: torch.dtype, device: str, *, offset: float = 3.0) -> torch.Tensor:
    """Channels-last, each channel around a mean of its own."""
    values = torch.randn((2, 6, 5, 4, 7), generator=torch.Generator().manual_seed(1))
    values = values * torch.arange(1.0, 7.0).view(6, 1, 1, 1) + offset * torch.arange(6.0).view(6, 1, 1, 1)
    return values.to(device, dtype).to(memory_format=LAST)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("affine", [True, False])
def test_norms(groups: int, dtype: torch.dtype, affine: bool, device: str) -> None:
    values = _values(dtype, device)
    weight = torch.linspace(0.5, 2, 6, device=device) if affine else None
    bias = torch.linspace(-1, 1, 6, device=device) if affine else None
    expected = F.group_norm(values.double(), groups, *(None if v is None else v.double() for v in (weight, bias)))
    with torch.inference_mode(), FasterOnGpu():
        found = [F.group_norm(values, groups, weight, bias)]
        if groups == 6:
            found.append(F.instance_norm(values, weight=weight, bias=bias))
    close = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}[dtype]  # the last digits
    for one in found:
        assert one.dtype == dtype
        assert one.is_contiguous(memory_format=LAST)
        torch.testing.assert_close(one.double(), expected, rtol=close, atol=close)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [1, 3])
def test_convolutions_keep_the_channels_of_a_voxel_together(channels: int, device: str) -> None:
    generator = torch.Generator().manual_seed(2)
    image = torch.randn((2, channels, 8, 7, 6), generator=generator).to(device)
    weight, bias = torch.randn((4, channels, 3, 3, 3), generator=generator).to(device), torch.randn(4).to(device)
    with torch.inference_mode():
        plain = F.conv3d(image, weight, bias, stride=2, padding=1)
        with FasterOnGpu():
            found = F.conv3d(image, weight, bias, stride=2, padding=1)
            further = F.conv3d(found, torch.ones(5, 4, 1, 1, 1, device=device))
    torch.testing.assert_close(found, plain, rtol=1e-2, atol=1e-2)  # TF32
    assert found.is_contiguous(memory_format=LAST)
    assert further.is_contiguous(memory_format=LAST)


def test_what_it_has_nothing_for_is_left_as_it_is() -> None:
    values = _values(torch.float32, "cpu")
    mean, variance = torch.arange(6.0), torch.arange(1.0, 7.0)
    flat, flat_weight = torch.randn(1, 2, 5, 5), torch.randn(3, 2, 3, 3)
    with torch.inference_mode():
        functions = [
            lambda: F.instance_norm(values, mean, variance, use_input_stats=False),
            lambda: F.group_norm(values.contiguous(), 2),
            lambda: F.group_norm(values[:, :, 0], 2),
            lambda: F.conv2d(flat, flat_weight),
            lambda: F.conv3d(values[0], torch.ones(2, 6, 1, 1, 1)),
        ]
        for function in functions:
            plain = function()
            with FasterOnGpu():
                assert torch.equal(function(), plain)


def test_gradients_go_torchs_own_way() -> None:
    values = _values(torch.float32, "cpu").requires_grad_()
    weight = torch.randn(2, 6, 1, 1, 1, requires_grad=True)
    with FasterOnGpu():
        F.group_norm(F.conv3d(values, weight), 2).square().sum().backward()
    found, values.grad, weight.grad = (values.grad, weight.grad), None, None
    F.group_norm(F.conv3d(values, weight), 2).square().sum().backward()
    for one, other in zip(found, (values.grad, weight.grad), strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)
