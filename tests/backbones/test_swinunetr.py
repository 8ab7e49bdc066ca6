"""Swin UNETR is MONAI's, but merges patches in the order its published weights were trained with."""

import pytest
import torch
from monai.networks.nets.swin_unetr import PatchMerging, PatchMergingV2

from suprem.backbones import create_model
from suprem.backbones._swinunetr import LegacyPatchMerging
from suprem.errors import ConfigurationError

# As written in the facts about MONAI 0.9.0 to 1.4.0: offsets along depth, height, width, in concatenation order.
WRITTEN_ORDER = "000, 100, 010, 001, 101, 010, 001, 111"


def test_patch_merging_concatenates_in_the_written_order() -> None:
    dim = 3
    merging = LegacyPatchMerging(dim)
    collected = []
    merging.norm = torch.nn.Identity()
    merging.reduction = torch.nn.Identity()
    x = torch.arange(2 * 4 * 6 * 2 * dim, dtype=torch.float32).reshape(2, 4, 6, 2, dim)
    merged = merging(x)
    assert merged.shape == (2, 2, 3, 1, 8 * dim)
    for block, offsets in enumerate(WRITTEN_ORDER.split(", ")):
        d, h, w = map(int, offsets)
        expected = torch.stack([x[:, 2 * i + d, 2 * j + h, w] for i in range(2) for j in range(3)], dim=1)
        collected.append(expected.reshape(2, 2, 3, 1, dim))
        assert torch.equal(merged[..., block * dim : (block + 1) * dim], collected[-1])


def test_patch_merging_normalises_then_reduces_and_differs_from_monai() -> None:
    torch.manual_seed(0)
    ours = LegacyPatchMerging(4)
    x = torch.randn(1, 4, 4, 4, 4)
    parts = torch.cat([x[:, int(o[0]) :: 2, int(o[1]) :: 2, int(o[2]) :: 2] for o in WRITTEN_ORDER.split(", ")], -1)
    normalised = (parts - parts.mean(-1, keepdim=True)) / (parts.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(ours(x), normalised @ ours.reduction.weight.T)
    for other in (PatchMerging(4), PatchMergingV2(4)):
        other.load_state_dict(ours.state_dict(), strict=True)
        assert (other(x) - ours(x)).abs().max() > 0.1


def test_a_single_voxel_at_the_bottleneck_is_refused() -> None:
    network = create_model("swinunetr", num_classes=2, feature_size=12, window_size=2)
    with pytest.raises(ConfigurationError, match="at least 64"):
        network(torch.zeros(1, 1, 32, 32, 32))


def test_published_parameter_counts() -> None:
    network = create_model("swinunetr", num_classes=14)
    assert sum(p.numel() for p in network.parameters()) == 62_186_610 + 49 * 14 == 62_187_296
    network.replace_head(25)
    assert sum(p.numel() for p in network.parameters()) == 62_187_835


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feature_size": 20}, "multiple of 12"),
        ({"depths": (2, 2, 2)}, "four entries"),
        ({"num_heads": (3, 6, 12)}, "four entries"),
        ({"num_heads": (5, 6, 12, 24)}, "5 attention heads cannot share 48 channels"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        create_model("swinunetr", num_classes=2, **options)


def test_recomputing_blocks_does_not_change_the_gradient() -> None:
    options = {"feature_size": 12, "window_size": 2, "depths": (1, 1, 1, 1)}
    image = torch.randn(1, 1, 64, 32, 32)
    gradients = []
    for use_checkpoint in (False, True):
        torch.manual_seed(0)
        network = create_model("swinunetr", num_classes=1, use_checkpoint=use_checkpoint, **options).train()
        network(image).sum().backward()
        gradients.append([p.grad for p in network.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1])
