"""What every registered backbone promises to heads, loaders, inference and training."""

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch

from suprem._cpu_functions import FasterOnCpu
from suprem.backbones import create_model, list_backbones
from suprem.backbones._base import SegmentationNetwork
from suprem.errors import CheckpointError, ConfigurationError, UnknownNameError
from suprem.heads._self_supervised import SelfSupervisedNetwork

# Options that make a network cheap; a backbone that is missing here is tested with its defaults.
SMALL_MIT = {
    "patch_size": (64, 32, 32),
    "depths": (1, 1, 1, 1),
    "decoder_depths": (1, 1, 1),
    "embed_dims": (8, 8, 16, 16),
    "num_heads": (1, 2, 4, 8),
}
TINY: dict[str, dict[str, Any]] = {
    "mit": {**SMALL_MIT, "stem_channels": 4},
    "resunet": {"base_channels": 4, "depths": (1, 1, 1, 1), "head_channels": 8},
    "segresnet": {"init_filters": 8, "blocks_down": (1, 1, 1), "blocks_up": (1, 1)},
    "segresnet_tiny": {},
    "swinunetr": {"feature_size": 12, "window_size": 4},
    "unet": {"base_channels": 4},
}
# Widths whose decoder and bottleneck channels can be split into the 16 groups of the universal head.
UNIVERSAL: dict[str, dict[str, Any]] = {
    "mit": {**SMALL_MIT, "stem_channels": 16},
    "resunet": {"base_channels": 4, "depths": (1, 1, 1, 1), "head_channels": 16},
    "segresnet": {"init_filters": 16, "blocks_down": (1, 1, 1), "blocks_up": (1, 1)},
    "segresnet_tiny": {"init_filters": 16, "blocks_down": (1, 1), "blocks_up": (1,)},
    "unet": {"base_channels": 8},
}
# Biases that a norm cancels, so that their gradient is rounding noise around zero.
CANCELLED = {"resunet": "conv_seg.0.bias", "unet": ".conv1.bias"}
NETWORKS = [(name, "conv") for name in list_backbones()] + [(name, "universal") for name in sorted(UNIVERSAL)]

each_network = pytest.mark.parametrize(("backbone", "head"), NETWORKS, ids=lambda value: value)
each_backbone = pytest.mark.parametrize("backbone", list_backbones())


def make(backbone: str, head: str = "conv", *, num_classes: int = 3, in_channels: int = 1) -> SegmentationNetwork:
    options = (UNIVERSAL if head == "universal" else TINY).get(backbone, {})
    torch.manual_seed(0)
    network = create_model(backbone, num_classes=num_classes, in_channels=in_channels, head=head, **options)
    if head == "universal":
        network.set_embedding(torch.randn(num_classes, 512))
    return network


def image_for(network: SegmentationNetwork, samples: int = 1, seed: int = 1) -> torch.Tensor:
    size = network.divisor
    shape = (samples, network.in_channels, 2 * size, size, size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_listing_names_imports_nothing_heavy() -> None:
    program = (
        "import sys, suprem; names = suprem.list_backbones(); "
        "heavy = {'torch', 'monai', 'pytorch_lightning'} & sys.modules.keys(); print(*names); sys.exit(bool(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(list_backbones())
    assert {"segresnet", "segresnet_tiny", "swinunetr", "unet"} <= set(list_backbones())


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"backbone 'segresnett'; did you mean 'segresnet'"):
        create_model("segresnett", num_classes=2)
    with pytest.raises(UnknownNameError, match="head 'convolution'"):
        create_model("unet", num_classes=2, head="convolution")
    with pytest.raises(ConfigurationError, match=r"'unet' has no option 'width'; it takes base_channels"):
        create_model("unet", num_classes=2, width=8)
    for wrong in (0, -1, True, 2.0):
        with pytest.raises(ConfigurationError, match="num_classes is"):
            create_model("unet", num_classes=wrong)  # type: ignore[arg-type]


@each_network
def test_shapes_and_parts(backbone: str, head: str) -> None:
    network = make(backbone, head, num_classes=5, in_channels=2).eval()
    image = image_for(network, samples=2)
    with torch.no_grad():
        features = network.forward_features(image)
        logits = network.classify(features)
        whole = network(image)
    assert network.num_classes == 5
    assert whole.shape == (2, 5, *image.shape[2:])
    assert features.decoder.shape == (2, network.decoder_channels, *image.shape[2:])
    assert features.bottleneck.shape[:2] == (2, network.bottleneck_channels)
    torch.testing.assert_close(logits, whole)


@each_network
def test_the_decoder_pyramid_names_its_levels_from_the_coarsest(backbone: str, head: str) -> None:
    network = make(backbone, head).eval()
    image, found = image_for(network), []
    for name in network.decoder_pyramid:
        network.get_submodule(name).register_forward_hook(lambda m, i, output: found.append(tuple(output.shape)))
    with torch.no_grad():
        network(image)
    assert [shape[1] for shape in found] == list(network.decoder_pyramid.values())
    if not found:
        return
    finest = [size // small for size, small in zip(image.shape[2:], found[-1][2:], strict=True)]
    assert set(finest) in ({2}, {1, 2})  # below full resolution, if not along every axis
    for n, shape in enumerate(reversed(found)):
        assert [small * factor * 2**n for small, factor in zip(shape[2:], finest, strict=True)] == list(image.shape[2:])


@each_backbone
def test_heads_of_coarser_levels_fit_their_levels(backbone: str) -> None:
    network = make(backbone, num_classes=5)
    assert set(network.level_heads) in (set(), set(network.decoder_pyramid))
    for name, path in network.level_heads.items():
        assert network.get_parameter(f"{path}.weight").shape == (5, network.decoder_pyramid[name], 1, 1, 1)


@each_backbone
def test_pointwise_head_is_the_convolution_on_the_decoder_features(backbone: str) -> None:
    network = make(backbone).eval()
    assert network.pointwise_head
    with torch.no_grad():
        image = image_for(network)
        decoder = network.forward_features(image).decoder
        weight = network.get_parameter(f"{network.head_path}.weight")[:, :, 0, 0, 0]
        expected = torch.einsum("kc,ncxyz->nkxyz", weight, decoder)
        if f"{network.head_path}.bias" in network.head_keys:
            expected += network.get_parameter(f"{network.head_path}.bias")[:, None, None, None]
        torch.testing.assert_close(network(image), expected, rtol=1e-4, atol=1e-5)


@each_network
def test_gradient_reaches_every_parameter(backbone: str, head: str) -> None:
    network = make(backbone, head).train()
    image = image_for(network, samples=2)
    logits = network(image)
    (logits * torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    largest = {name: p.grad.abs().max() for name, p in network.named_parameters() if p.grad is not None}
    idle = tuple(f"{path}." for path in network.level_heads.values())  # deep supervision alone uses them
    assert largest.keys() == {name for name, _ in network.named_parameters() if not name.startswith(idle)}
    assert all(torch.isfinite(value) for value in largest.values())
    silent = {name for name, value in largest.items() if value < 1e-6}
    cancelled = CANCELLED.get(backbone, "no such parameter")
    assert {name for name in silent if not name.endswith(cancelled)} == set()


@each_network
def test_samples_of_a_batch_do_not_influence_each_other(backbone: str, head: str) -> None:
    network = make(backbone, head).eval()
    image = image_for(network, samples=2)
    other = image.clone()
    other[1] = 30 * other[1] + 7
    for training in (False, True):
        network.train(training)
        with torch.no_grad():
            together, changed, alone = network(image), network(other), network(image[:1])
        if training and network.batch_norms:
            assert (together[0] - changed[0]).abs().max() > 1e-3
            continue
        torch.testing.assert_close(together[0], changed[0], rtol=0, atol=1e-4)
        torch.testing.assert_close(together[:1], alone, rtol=0, atol=1e-4)


@each_network
def test_forward_changes_no_tensor_and_keeps_no_activation(backbone: str, head: str) -> None:
    network = make(backbone, head)
    before = copy.deepcopy(network.state_dict())
    for training in (False, True):
        network.train(training)(image_for(network))
        statistics = set()
        if training and network.batch_norms:
            statistics = {key for key in before if ".running_" in key or key.endswith(".num_batches_tracked")}
        after = {key: value for key, value in network.state_dict().items() if key not in statistics}
        torch.testing.assert_close(after, {key: before[key] for key in after}, rtol=0, atol=0)
    stored = [
        (name, key)
        for name, module in network.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, torch.Tensor)
    ]
    assert stored == []


@each_network
def test_state_dict_round_trip(backbone: str, head: str) -> None:
    network = make(backbone, head).eval()
    torch.manual_seed(1)
    options = (UNIVERSAL if head == "universal" else TINY).get(backbone, {})
    second = create_model(backbone, num_classes=3, head=head, **options).eval()
    second.load_state_dict(network.state_dict(), strict=True)
    image = image_for(network)
    with torch.no_grad():
        torch.testing.assert_close(second(image), network(image))
        torch.testing.assert_close(copy.deepcopy(network)(image), network(image))


@each_network
def test_inputs_that_do_not_fit_are_refused(backbone: str, head: str) -> None:
    network = make(backbone, head)
    image = image_for(network)
    for wrong, message in (
        (image[..., :-1], f"multiple of {network.divisor}"),
        (image[..., :0], f"multiple of {network.divisor}"),
        (image.expand(-1, 3, -1, -1, -1), r"takes \(N, 1, X, Y, Z\)"),
        (image[0], r"takes \(N, 1, X, Y, Z\)"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            network(wrong)


@each_network
def test_head_keys_are_the_tensors_that_follow_the_class_count(backbone: str, head: str) -> None:
    few, many = (make(backbone, head, num_classes=n).state_dict() for n in (3, 4))
    assert set(make(backbone, head).head_keys) == {key for key in few if few[key].shape != many[key].shape}
    assert few.keys() == many.keys()


@each_network
def test_input_keys_are_the_tensors_that_follow_the_input_channels(backbone: str, head: str) -> None:
    one, two = (make(backbone, head, in_channels=n).state_dict() for n in (1, 2))
    changed = {key for key in one if one[key].shape != two[key].shape}
    assert set(make(backbone, head).input_keys) == changed
    assert all(one[key].shape[1] == 1 and two[key].shape[1] == 2 for key in changed)


@each_network
def test_repeated_input_channels_keep_the_output(backbone: str, head: str) -> None:
    single = make(backbone, head).eval()
    triple = make(backbone, head, in_channels=3).eval()
    triple.load_state_dict(triple.repeat_input_channels(single.state_dict()), strict=True)
    image = image_for(single)
    with torch.no_grad():
        torch.testing.assert_close(triple(image.expand(-1, 3, -1, -1, -1)), single(image), rtol=1e-4, atol=1e-4)
    state = triple.state_dict()
    torch.testing.assert_close(triple.repeat_input_channels(state), dict(state), rtol=0, atol=0)


@each_network
def test_replacing_the_head_touches_nothing_else(backbone: str, head: str) -> None:
    network = make(backbone, head).to(torch.float64)
    before = copy.deepcopy(network.state_dict())
    network.replace_head(7)
    after = network.state_dict()
    assert list(after) == list(before)
    assert network.num_classes == 7
    for key in after:
        assert after[key].dtype == before[key].dtype
        if key in network.head_keys:
            assert after[key].shape == (7, *before[key].shape[1:])
        else:
            assert torch.equal(after[key], before[key])


@each_network
def test_own_names_translate_to_themselves_behind_any_wrapper(backbone: str, head: str) -> None:
    network = make(backbone, head)
    own = list(network.state_dict())
    assert network.translate_keys(own) == {key: key for key in own}
    for prefix in ("module.", "model.", "module.module.", "module.model."):
        assert network.translate_keys(prefix + key for key in own) == {prefix + key: key for key in own}
    assert network.absent_by_design(own) == frozenset()


@each_network
def test_unknown_names_stay_and_twins_are_refused(backbone: str, head: str) -> None:
    network = make(backbone, head)
    own = next(key for key in network.state_dict() if key not in network.head_keys)
    foreign = "module.somebody.elses.weight"
    assert network.translate_keys([own, foreign]) == {own: own, foreign: foreign}
    with pytest.raises(CheckpointError, match="more than once"):
        network.translate_keys([own, f"module.{own}"])


@each_network
def test_mixed_precision_on_cpu(backbone: str, head: str) -> None:
    network = make(backbone, head).eval()
    image = image_for(network)
    with torch.no_grad():
        full = network(image)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = network(image)
    assert torch.isfinite(mixed).all()
    correlation = torch.corrcoef(torch.stack((full.flatten(), mixed.float().flatten())))[0, 1]
    assert correlation > 0.98


@each_backbone
def test_the_encoder_runs_alone_and_uses_its_stages_and_nothing_else(backbone: str) -> None:
    network = make(backbone).train()
    image = image_for(network, samples=2)
    if type(network).forward_encoder is SegmentationNetwork.forward_encoder:
        with pytest.raises(ConfigurationError, match="cannot run its encoder alone, as rotation needs"):
            SelfSupervisedNetwork(network, ["rotation"])
        return
    deepest = network.forward_encoder(image)
    assert deepest.shape == (2, network.bottleneck_channels, *(size // network.divisor for size in image.shape[2:]))
    (deepest * torch.randn(deepest.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    used = {name for name, p in network.named_parameters() if p.grad is not None}
    assert used == {name for name, _ in network.named_parameters() if name.startswith(network.encoder_stages)}


@each_backbone
def test_an_encoder_alone_is_recognised_only_when_it_is_complete(backbone: str) -> None:
    network = make(backbone)
    own = list(network.state_dict())
    encoder = [key for key in own if key.startswith(network.encoder_stages)]
    assert network.absent_by_design(f"module.{key}" for key in encoder) == set(own) - set(encoder)
    assert encoder[0] not in network.absent_by_design(encoder[1:])  # so that a load names it as missing
    assert network.absent_by_design([*encoder, own[-1]]) == frozenset()


@each_network
@pytest.mark.parametrize("samples", [1, 2])
def test_functions_that_are_faster_on_a_cpu_change_nothing_but_rounding(backbone: str, head: str, samples: int) -> None:
    network = make(backbone, head).eval()
    image = image_for(network, samples=samples)
    with torch.inference_mode():
        plain = network(image)
        with FasterOnCpu():
            found = network(image)
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=2e-5)
