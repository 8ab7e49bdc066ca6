"""UniMiSS's transformer: its levels, its position tables, and what it does with patches of other sizes."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from suprem.backbones import create_model
from suprem.errors import ConfigurationError

TINY: dict[str, Any] = {"depths": (1, 1, 1, 1), "decoder_depths": (1, 1, 1)}
NARROW: dict[str, Any] = {
    **TINY,
    "patch_size": (64, 32, 32),
    "embed_dims": (8, 8, 16, 16),
    "num_heads": (1, 2, 4, 8),
    "stem_channels": 4,
}
# Tokens of a grid X/2 x Y/4 x Z/4, and of each stage below it, for a patch X x Y x Z.
TOKENS = {(64, 64, 64): (8192, 1024, 128, 16), (96, 96, 96): (27648, 3456, 432, 54), (64, 32, 32): (2048, 256, 32, 4)}


@pytest.mark.parametrize(("options", "count", "tensors"), [({}, 37_184_320, 409), (TINY, 16_494_048, 161)])
def test_published_parameter_counts(options: dict[str, Any], count: int, tensors: int) -> None:
    with torch.device("meta"):
        network = create_model("mit", num_classes=32, **options)
        per_class = 256 + 128 + 48 + 32 + 32 + 5
        assert sum(p.numel() for p in network.parameters()) == count + 32 * per_class
        network.replace_head(3)
    assert sum(p.numel() for p in network.parameters()) == count + 3 * per_class
    assert len(network.state_dict()) == tensors


@pytest.mark.parametrize("patch", TOKENS)
def test_position_tables_follow_the_patch(patch: tuple[int, int, int]) -> None:
    with torch.device("meta"):
        network = create_model("mit", num_classes=2, patch_size=patch, **TINY)
    encoder = [network.get_parameter(f"transformer.pos_embed{n}").shape[1] for n in range(1, 5)]
    decoder = [network.get_parameter(f"DecPosEmbed{n}").shape[1] for n in range(3)]
    assert (tuple(encoder), tuple(decoder)) == (TOKENS[patch], TOKENS[patch][2::-1])


def test_the_first_axis_is_halved_once_less() -> None:
    network = create_model("mit", num_classes=2, **NARROW)
    with torch.no_grad():
        outputs = network.deep_outputs(torch.randn(2, 1, 64, 32, 32))
        features = network.forward_features(torch.randn(1, 1, 64, 32, 32))
    sizes = [(64, 32, 32), (64, 16, 16), (32, 8, 8), (16, 4, 4), (8, 2, 2)]
    assert [tuple(level.shape) for level in outputs] == [(2, 2, *size) for size in sizes]
    assert features.bottleneck.shape == (1, 16, 4, 1, 1)


def test_the_first_of_the_outputs_is_the_prediction() -> None:
    torch.manual_seed(0)
    network = create_model("mit", num_classes=2, **NARROW).eval()
    image = torch.randn(1, 1, 64, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network.deep_outputs(image)[0], network(image), rtol=0, atol=0)


def test_tables_are_interpolated_on_their_grid_for_inputs_of_another_size() -> None:
    network = create_model("mit", num_classes=2, **NARROW).eval()
    table = network.get_parameter("transformer.pos_embed1")
    ramp = torch.arange(32.0)[:, None, None].expand(32, 8, 8).reshape(1, -1, 1).expand(1, -1, 8)
    with torch.no_grad():
        table.copy_(ramp)
        same = network.transformer.positions("pos_embed1", torch.zeros(1, 8, 32, 8, 8))
        wider = network.transformer.positions("pos_embed1", torch.zeros(1, 8, 32, 16, 8))
        assert torch.equal(same, ramp)
        torch.testing.assert_close(
            wider[0, :, 0].reshape(32, 16, 8), torch.arange(32.0)[:, None, None].expand(32, 16, 8)
        )
        assert network(torch.randn(1, 1, 32, 96, 64)).shape == (1, 2, 32, 96, 64)


def test_training_reaches_the_tables_through_the_interpolation() -> None:
    network = create_model("mit", num_classes=2, **NARROW)
    network(torch.randn(1, 1, 32, 64, 32)).square().mean().backward()
    for key in network.table_keys:
        gradient = network.get_parameter(key).grad
        assert gradient is not None
        assert gradient.abs().max() > 0


def published_table(tokens: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((1, tokens, width)).astype(np.float32))


@pytest.mark.parametrize(
    ("key", "name", "tokens", "drops"),
    [
        ("transformer.pos_embed1", "backbone.transformer.pos_embed3D1", 4609, False),
        ("transformer.pos_embed2", "backbone.transformer.pos_embed3D2", 577, False),
        ("transformer.pos_embed3", "backbone.transformer.pos_embed3D3", 73, False),
        ("transformer.pos_embed4", "backbone.transformer.pos_embed3D4", 10, True),
        ("DecPosEmbed0", "backbone.DecPosEmbed3D0", 73, True),
        ("DecPosEmbed1", "backbone.DecPosEmbed3D1", 577, True),
        ("DecPosEmbed2", "backbone.DecPosEmbed3D2", 4609, True),
    ],
)
def test_published_tables_are_resized_as_by_an_order_1_zoom(key: str, name: str, tokens: int, drops: bool) -> None:
    network = create_model("mit", num_classes=2, **NARROW)
    own = network.get_parameter(key)
    table = published_table(tokens, own.shape[2])
    kept = table.numpy()[0, 1:] if drops else table.numpy()[0]
    expected = zoom(kept, (own.shape[1] / len(kept), 1), order=1)
    fitted = network.resize_tables({key: table, "norm.weight": own}, {key: name, "norm.weight": "norm.weight"})
    assert fitted["norm.weight"] is own
    np.testing.assert_allclose(fitted[key].numpy()[0], expected, rtol=0, atol=2e-6)


def test_own_tables_keep_their_first_token_and_equal_ones_are_left_alone() -> None:
    network = create_model("mit", num_classes=2, **NARROW)
    table = published_table(10, 16)
    key = "transformer.pos_embed4"
    fitted = network.resize_tables({key: table}, {key: key})[key]
    assert torch.equal(fitted[0], table[0, ::3])  # tokens 0, 3, 6 and 9 of ten
    state = dict(network.state_dict())
    same = network.resize_tables(state, {name: name for name in state})
    assert all(same[name] is value for name, value in state.items())


def test_the_token_of_the_class_is_dropped_even_where_nothing_is_resized() -> None:
    network = create_model("mit", num_classes=2, **NARROW)
    table = published_table(5, 16)
    key = "transformer.pos_embed4"
    assert torch.equal(network.resize_tables({key: table}, {key: "transformer.pos_embed3D4"})[key], table[:, 1:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": (64, 64)}, "three positive multiples of 32"),
        ({"patch_size": (64, 64, 48)}, r"patch_size is \(64, 64, 48\)"),
        ({"depths": (1, 1, 1)}, "depths is"),
        ({"depths": (1, 1, 0, 1)}, "at least 1"),
        ({"decoder_depths": (1, 1, 1, 1)}, "decoder_depths is"),
        ({"stem_channels": 0}, "stem_channels is"),
        ({"num_heads": (1, 2, 3, 8)}, "3 attention heads cannot share 128 channels"),
        ({"num_heads": (1, 5, 4, 8)}, "5 attention heads cannot share 48 channels"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        create_model("mit", num_classes=2, **options)
