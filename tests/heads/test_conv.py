"""The plain head."""

import torch

from suprem.backbones import create_model
from suprem.heads import HEADS
from suprem.heads.conv import attach_conv_head, output_convolution


def test_output_convolution_is_pointwise_and_affine() -> None:
    torch.manual_seed(0)
    head = output_convolution(4, 3)
    features = torch.randn(2, 4, 2, 3, 5)
    expected = torch.einsum("kc,ncxyz->nkxyz", head.weight[:, :, 0, 0, 0], features) + head.bias[:, None, None, None]
    torch.testing.assert_close(head(features), expected)


def test_attaching_keeps_a_head_of_the_right_size_and_replaces_another() -> None:
    network = create_model("unet", num_classes=2, base_channels=2)
    weight = network.out_tr.final_conv.weight
    assert attach_conv_head(network, 2).out_tr.final_conv.weight is weight
    assert attach_conv_head(network, 4).out_tr.final_conv.weight.shape == (4, 4, 1, 1, 1)
    assert network.num_classes == 4


def test_heads_are_listed_by_file() -> None:
    assert set(HEADS.names()) >= {"conv", "universal"}
