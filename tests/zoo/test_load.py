"""Loading by name: every layout, strictness, classes and rows; on small networks filled by the public rule."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from suprem.backbones import create_model
from suprem.errors import CheckpointError, ConfigurationError, IntegrityError, UnknownNameError
from suprem.labels import label_space
from suprem.zoo import Preprocessing, card, is_available_offline, load_pretrained
from tests.zoo.standins import TEXT_HEAD, filled, published, wrong_values

SMALL = {"base_channels": 8}  # of the U-Net: a 16th of the weights, the same names
UNIVERSAL = label_space("universal_32").names
Save = Callable[[Mapping[str, Any]], str]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes a checkpoint and returns its source string."""

    def write(content: Mapping[str, Any]) -> str:
        torch.save(dict(content), tmp_path / "x.pth")
        return f"local-file:{tmp_path / 'x.pth'}"

    return write


@pytest.fixture(scope="module")
def wrapper() -> dict[str, torch.Tensor]:
    """A 32-class network with the text-driven head, under its own names."""
    return filled(create_model("unet", num_classes=32, head="universal", **SMALL).state_dict())


@pytest.fixture(scope="module")
def segresnet() -> dict[str, torch.Tensor]:
    return filled(create_model("segresnet", num_classes=32).state_dict())


def tiny(num_classes: int) -> dict[str, torch.Tensor]:
    return filled(create_model("segresnet_tiny", num_classes=num_classes).state_dict())


def load_unet(source: str, **options: Any) -> Any:
    return load_pretrained(source, backbone="unet", backbone_kwargs=SMALL, **options)


# ------------------------------------------------------------------ layouts


def without_backbone_level(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key.removeprefix("backbone."): value for key, value in state.items()}


@pytest.mark.parametrize(
    ("container", "prefix"), [("net", "module."), ("net", ""), ("state_dict", "module.module."), ("model", "module.")]
)
@pytest.mark.parametrize("flat", [False, True], ids=["backbone level", "legacy flat"])
def test_universal_layouts_fill_every_tensor(
    save: Save, wrapper: dict[str, torch.Tensor], container: str, prefix: str, flat: bool
) -> None:
    state = without_backbone_level(wrapper) if flat else wrapper
    network = load_unet(save(published(state, container, prefix)))
    report = network.load_report
    assert len(report.loaded) == 117
    assert (report.initialised, report.dropped, report.container) == ((), (), container)
    assert wrong_values(network, report.loaded) == []
    assert network.config.head == "universal"
    assert network.config.classes == UNIVERSAL
    assert network.config.activation == "sigmoid"
    assert not network.training


@pytest.mark.parametrize("flat", [False, True], ids=["backbone level", "legacy flat"])
def test_a_conv_head_takes_the_backbone_alone(save: Save, wrapper: dict[str, torch.Tensor], flat: bool) -> None:
    state = without_backbone_level(wrapper) if flat else wrapper
    network = load_unet(save(published(state)), head="conv")
    report = network.load_report
    assert len(report.loaded) == 104
    assert wrong_values(network, report.loaded) == []
    assert report.initialised == ("out_tr.final_conv.weight", "out_tr.final_conv.bias")
    assert len(report.dropped) == 13
    assert all(key.removeprefix("module.").startswith(TEXT_HEAD) for key in report.dropped)
    assert report.new_classes == network.config.classes == UNIVERSAL


def test_a_backbone_file_needs_classes(save: Save, wrapper: dict[str, torch.Tensor]) -> None:
    plain = {k.removeprefix("backbone."): v for k, v in wrapper.items() if k.startswith("backbone.")}
    source = save({"net": plain})
    with pytest.raises(ConfigurationError, match="no output layer for segmentation; give classes"):
        load_unet(source)
    network = load_unet(source, classes=["liver"])
    assert len(network.load_report.loaded) == 104
    assert network.load_report.renamed == {}
    assert wrong_values(network, network.load_report.loaded) == []


def test_a_flat_file_without_container(save: Save, segresnet: dict[str, torch.Tensor]) -> None:
    network = load_pretrained(save(segresnet))
    assert len(network.load_report.loaded) == 83
    assert network.load_report.container is None
    assert wrong_values(network, network.load_report.loaded) == []


def swin_small() -> dict[str, torch.Tensor]:
    return filled(create_model("swinunetr", num_classes=14, feature_size=12, num_heads=(1, 2, 4, 8)).state_dict())


SWIN = {"feature_size": 12, "num_heads": (1, 2, 4, 8)}


def test_the_layout_of_the_50000_volume_file(save: Save) -> None:
    state = {}
    for key, value in swin_small().items():
        name = key.replace("swinViT.", "encoder.") if key.startswith("swinViT.") else key
        for stage in range(1, 5):
            name = name.replace(f"encoder.layers{stage}.0.", f"encoder.layers{stage}.0.0.")
        state[name] = value
    state |= {"encoder.mask_token": torch.ones(1, 1, 12), "encoder.norm.weight": torch.ones(192)}
    state["encoder.norm.bias"] = torch.ones(192)
    network = load_pretrained(
        save({"model": state}), backbone="swinunetr", backbone_kwargs=SWIN, classes=["liver", "spleen"]
    )
    report = network.load_report
    assert len(report.loaded) == 157
    assert wrong_values(network, report.loaded) == []
    assert set(report.dropped) == {
        "encoder.mask_token",
        "encoder.norm.weight",
        "encoder.norm.bias",
        "out.conv.conv.weight",
        "out.conv.conv.bias",
    }


def test_a_swin_encoder_alone_says_what_stays_random(save: Save) -> None:
    state = {}
    for key, value in swin_small().items():
        if key.startswith("swinViT."):
            state[key.removeprefix("swinViT.").replace("mlp.linear", "mlp.fc")] = value
    source = save(published({**state, "rotation_head.weight": torch.ones(4, 4)}, "state_dict"))
    network = load_pretrained(source, backbone="swinunetr", backbone_kwargs=SWIN, classes=["liver"])
    report = network.load_report
    assert len(report.loaded) == len(state)
    assert all(key.startswith("swinViT.") for key in report.loaded)
    assert wrong_values(network, report.loaded) == []
    assert any("a part of the network" in note for note in report.notes)
    assert set(report.loaded) | set(report.initialised) == set(network.state_dict())


# ------------------------------------------------------------------ classes


def test_fine_tuned_softmax_rows_are_copied_by_name(save: Save) -> None:
    state = tiny(25)
    weight, bias = state["conv_final.2.conv.weight"], state["conv_final.2.conv.bias"]
    source = save(published(state))
    network = load_pretrained(source, source_classes="totalsegmentator_v1_vertebrae")
    assert network.config.activation == "softmax"
    assert network.config.num_channels == 25
    assert network.config.label_space == "totalsegmentator_v1_vertebrae"
    assert torch.equal(network.conv_final[2].conv.weight, weight)

    # 1 = L5 ... 5 = L1, 6 = T12 in that numbering; channel 0 is background.
    network = load_pretrained(
        source, source_classes="totalsegmentator_v1_vertebrae", classes=["vertebrae T12", "vertebrae_L5"]
    )
    assert network.config.classes == ("vertebrae_T12", "vertebrae_L5")
    assert torch.equal(network.conv_final[2].conv.weight, weight[[0, 6, 1]])
    assert torch.equal(network.conv_final[2].conv.bias, bias[[0, 6, 1]])
    assert network.load_report.new_classes == ()
    assert len(network.load_report.loaded) == len(state)


def test_sigmoid_rows_are_copied_by_name_in_any_spelling(save: Save, segresnet: dict[str, torch.Tensor]) -> None:
    network = load_pretrained(
        save(published(segresnet)), classes=["Inferior Vena Cava", "gallbladder", "vertebrae_L1", "left kidney"]
    )
    assert network.config.classes == ("postcava", "gall_bladder", "vertebrae_L1", "kidney_left")
    own, file = network.conv_final[2].conv.weight, segresnet["conv_final.2.conv.weight"]
    for row, name in ((0, "postcava"), (1, "gall_bladder"), (3, "kidney_left")):
        assert torch.equal(own[row], file[UNIVERSAL.index(name)])
    assert not any(torch.equal(own[2], row) for row in file)
    report = network.load_report
    assert report.kept_classes == ("postcava", "gall_bladder", "kidney_left")
    assert report.new_classes == ("vertebrae_L1",)
    assert report.initialised == ("conv_final.2.conv.weight", "conv_final.2.conv.bias")
    assert network.config.label_space is None
    assert "vertebrae_L1" in report.summary()


def test_embedding_rows_are_copied_by_name(save: Save, wrapper: dict[str, torch.Tensor]) -> None:
    network = load_unet(save(published(wrapper)), classes=["liver_tumor", "liver"])
    rows = [UNIVERSAL.index("liver_tumor"), UNIVERSAL.index("liver")]
    assert torch.equal(network.organ_embedding, wrapper["organ_embedding"][rows])
    assert len(network.load_report.loaded) == 117
    assert network.config.label_space == "universal_32"


def test_a_new_text_code_has_the_length_of_the_others_and_is_reported(
    save: Save, wrapper: dict[str, torch.Tensor]
) -> None:
    network = load_unet(save(published(wrapper)), classes=["liver", "sacrum"])
    lengths = network.organ_embedding.norm(dim=1)
    assert torch.allclose(lengths[1], wrapper["organ_embedding"].norm(dim=1).mean(), rtol=1e-4)
    assert network.load_report.initialised == ("organ_embedding",)
    assert network.load_report.new_classes == ("sacrum",)
    with torch.inference_mode():
        assert torch.isfinite(network(torch.rand(1, 1, 16, 16, 16))).all()


def test_new_rows_are_the_same_every_time_and_leave_the_global_generator_alone(save: Save) -> None:
    source = save(published(tiny(32)))
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    networks = [load_pretrained(source, classes=["sacrum"], seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.rand(1), expected)
    first, second, other = (network.conv_final[2].conv.weight for network in networks)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_the_meaning_of_other_channel_counts_must_be_told(save: Save) -> None:
    source = save(published(tiny(3)))
    with pytest.raises(ConfigurationError, match=r"3 output channels.*source_classes=\[\.\.\.\] in channel order"):
        load_pretrained(source)
    with pytest.raises(ConfigurationError, match="3 output channels"):  # classes alone do not say it either
        load_pretrained(source, classes=["liver", "spleen", "aorta"])
    sigmoid = load_pretrained(source, source_classes=["liver", "spleen", "aorta"])
    softmax = load_pretrained(source, source_classes=["liver", "spleen"])
    assert (sigmoid.config.activation, softmax.config.activation) == ("sigmoid", "softmax")
    assert sigmoid.config.num_channels == softmax.config.num_channels == 3
    with pytest.raises(ConfigurationError, match=r"names 1; it must name 3 \(sigmoid\) or 2 \(softmax"):
        load_pretrained(source, source_classes=["liver"])


def test_an_output_layer_can_be_given_up(save: Save) -> None:
    state = tiny(32)
    network = load_pretrained(save(published(state)), source_classes=[], classes=["liver", "spleen"])
    report = network.load_report
    assert report.initialised == ("conv_final.2.conv.weight", "conv_final.2.conv.bias")
    assert report.dropped == ("module.conv_final.2.conv.weight", "module.conv_final.2.conv.bias")
    assert len(report.loaded) == len(state) - 2
    assert network.config.activation == "sigmoid"


def test_another_activation_starts_a_new_output_layer(save: Save) -> None:
    network = load_pretrained(save(published(tiny(32))), classes=["liver", "spleen"], activation="softmax")
    assert network.config.num_channels == network.num_classes == 3
    assert network.load_report.new_classes == ("liver", "spleen")


@pytest.mark.parametrize(
    ("classes", "error", "message"),
    [
        (["livr"], UnknownNameError, "did you mean 'liver'"),
        (["liver", "Liver"], ConfigurationError, "more than once"),
        (["postcava", "inferior_vena_cava"], ConfigurationError, "more than once: .*postcava"),
        ([], ConfigurationError, "classes is empty"),
        ("liver", ConfigurationError, "classes is the text 'liver'; give a list"),
    ],
)
def test_bad_classes(save: Save, classes: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_pretrained(save(published(tiny(32))), classes=classes)


def test_heads_that_do_not_go(save: Save, wrapper: dict[str, torch.Tensor]) -> None:
    source = save(published(tiny(32)))
    with pytest.raises(ConfigurationError, match="no text-driven head"):
        load_pretrained(source, head="universal")
    with pytest.raises(ConfigurationError, match="head is 'mlp'"):
        load_pretrained(source, head="mlp")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="predicts with sigmoid"):
        load_unet(save(published(wrapper)), activation="softmax")


# ------------------------------------------------------------------ strictness


def test_the_order_of_the_file_does_not_matter(save: Save) -> None:
    state = tiny(32)
    network = load_pretrained(save({"net": dict(reversed(state.items()))}))
    assert wrong_values(network, state) == []


def test_names_with_control_characters_stay_readable(save: Save) -> None:
    state = tiny(32)
    state["\x1b[31m\nred"] = state.pop("down_layers.1.1.norm1.bias")
    with pytest.raises(CheckpointError, match="does not fit backbone 'segresnet_tiny'") as caught:
        load_pretrained(save(published(state)), classes=["liver"])
    assert str(caught.value).isprintable()


def test_equal_shapes_under_other_names_are_refused(save: Save) -> None:
    state = {f"stage{i}": value for i, value in enumerate(tiny(32).values())}
    with pytest.raises(ConfigurationError, match="is not recognised: none of its names, such as stage0"):
        load_pretrained(save({"net": state}))
    with pytest.raises(CheckpointError, match=r"69 missing.*71 unexpected \(stage0"):
        load_pretrained(save({"net": state}), backbone="segresnet_tiny", source_classes=[], classes=["liver"])


def test_a_file_that_was_never_meant_for_us_hears_what_comes_closest(save: Save) -> None:
    state = {key: value for key, value in tiny(32).items() if key.startswith("down_layers.0")}
    state |= {f"other.{n}": torch.zeros(1) for n in range(3)}
    with pytest.raises(
        ConfigurationError, match=r"not recognised\. The closest backbone is 'segresnet_tiny', but 3 of the"
    ):
        load_pretrained(save({"net": state}))


def altered(kind: str) -> dict[str, torch.Tensor]:
    state = tiny(32)
    key = "down_layers.1.1.conv1.conv.weight"
    if kind == "missing":
        del state[key]
    elif kind == "unexpected":
        state["surprise.weight"] = torch.ones(2)
    elif kind == "shape":
        state[key] = state[key][:, :3]
    elif kind == "type":
        state[key] = state[key].to(torch.int64)
    elif kind == "nan":
        state[key][0, 0] = torch.nan
    elif kind == "no bias":
        del state["conv_final.2.conv.bias"]
    elif kind == "narrow head":
        state["conv_final.2.conv.weight"] = state["conv_final.2.conv.weight"][:, :4]
    return state


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", r"1 missing \(down_layers\.1\.1\.conv1\.conv\.weight\)"),
        ("unexpected", r"1 unexpected \(surprise\.weight\)"),
        ("shape", r"down_layers\.1\.1\.conv1\.conv\.weight \(16, 3, 3, 3, 3\) float32, network \(16, 16, 3, 3, 3\)"),
        ("type", r"1 of another shape or type \(down_layers.* int64"),
        ("nan", r"NaN or infinite values in down_layers\.1\.1"),
        ("no bias", r"conv_final\.2\.conv\.bias is missing"),
        ("narrow head", r"conv_final\.2\.conv\.weight has shape \(32, 4, 1, 1, 1\)"),
    ],
)
def test_anything_wrong_is_refused_with_the_tensor(save: Save, kind: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(save(published(altered(kind))), backbone="segresnet_tiny")


def test_half_precision_weights_become_float32(save: Save) -> None:
    state = {k: v.half() if v.is_floating_point() else v for k, v in tiny(32).items()}
    network = load_pretrained(save(published(state)))
    assert all(p.dtype == torch.float32 for p in network.parameters())
    assert torch.equal(network.convInit.conv.weight, state["convInit.conv.weight"].float())


@pytest.mark.parametrize(
    ("right", "wrong"), [("segresnet", "unet"), ("segresnet", "swinunetr"), ("segresnet", "segresnet_tiny")]
)
def test_the_wrong_backbone_is_told_the_right_one(
    save: Save, segresnet: dict[str, torch.Tensor], right: str, wrong: str
) -> None:
    with pytest.raises(CheckpointError, match=f"looks like a {right} checkpoint, not {wrong}.*backbone='{right}'"):
        load_pretrained(save(published(segresnet)), backbone=wrong)


def test_the_backbone_is_found_from_the_names(save: Save, segresnet: dict[str, torch.Tensor]) -> None:
    assert load_pretrained(save(published(segresnet))).config.backbone == "segresnet"
    assert load_pretrained(save(published(tiny(32)))).config.backbone == "segresnet_tiny"


def test_a_wider_published_form_is_found_from_its_shapes(save: Save) -> None:
    wide = create_model("segresnet", num_classes=32, init_filters=32).state_dict()
    assert load_pretrained(save(published(wide))).config.backbone_kwargs == {"init_filters": 32}


def test_tensors_that_share_memory_in_the_file_are_independent_in_the_network(save: Save) -> None:
    state = tiny(32)
    norms = [key for key in state if key.startswith("down_layers.0.1.norm")]
    shared = torch.cat([state[key] for key in norms])
    for place, key in enumerate(norms):
        state[key] = shared[8 * place : 8 * place + 8]
    state[norms[1]] = state[norms[0]]
    network = load_pretrained(save(published(state)))
    own = network.state_dict()
    for key in norms:
        assert torch.equal(own[key], state[key])
        assert own[key].untyped_storage().nbytes() == own[key].nbytes
    network.get_parameter(norms[0]).data.add_(1)
    assert torch.equal(network.state_dict()[norms[1]], state[norms[1]])


def test_training_a_network_leaves_its_file_alone(tmp_path: Path) -> None:
    from suprem.zoo import ModelConfig, save_folder

    first = create_model("segresnet_tiny", num_classes=1).eval()
    first.config = ModelConfig("segresnet_tiny.x", "segresnet_tiny", ("liver",))
    save_folder(first, tmp_path / "m")
    content = (tmp_path / "m" / "model.safetensors").read_bytes()
    one, two = (load_pretrained(f"local-dir:{tmp_path / 'm'}") for _ in range(2))
    assert all(parameter.requires_grad and not parameter.is_meta for parameter in one.parameters())
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(1)
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == content
    assert all(torch.equal(a, b) for a, b in zip(two.parameters(), first.parameters(), strict=True))


def test_another_width_points_at_the_options(save: Save, wrapper: dict[str, torch.Tensor]) -> None:
    with pytest.raises(CheckpointError, match=r"of another shape.*check in_channels, backbone_kwargs"):
        load_pretrained(save(published(wrapper)), backbone="unet")


def test_unknown_options_and_backbones(save: Save) -> None:
    source = save(published(tiny(32)))
    with pytest.raises(UnknownNameError, match="did you mean 'segresnet'"):
        load_pretrained(source, backbone="segrezent")
    with pytest.raises(ConfigurationError, match="has no option 'width'"):
        load_pretrained(source, backbone="segresnet_tiny", backbone_kwargs={"width": 3})


def test_more_input_channels_give_the_same_output_for_copies_of_one_image(save: Save) -> None:
    source = save(published(tiny(32)))
    one, three = load_pretrained(source), load_pretrained(source, in_channels=3)
    assert three.load_report.adapted == ("convInit.conv.weight",)
    assert three.config.in_channels == 3
    image = torch.rand(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(three(image.repeat(1, 3, 1, 1, 1)), one(image), atol=1e-4, rtol=1e-4)


# ------------------------------------------------------------------ sources


@pytest.mark.parametrize("source", ["weights/x.pth", "x.safetensors", "owner/repo", "~/x", "C:\\x", "owner/repo@main"])
def test_bare_paths_and_repositories_are_refused_with_both_fixes(source: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_pretrained(source)
    assert f"'local-file:{source}'" in str(caught.value)
    assert "'hf-hub:owner/repo@revision'" in str(caught.value)


def test_a_bare_folder_is_told_local_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "best").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="'local-dir:best'"):
        load_pretrained("best")


@pytest.mark.parametrize("source", ["hf-hub:", "hf-hub:repo", "hf-hub:a/b/c", "hf-hub:a/b@", "hf-hub:../x@main?"])
def test_malformed_hub_sources(source: str) -> None:
    with pytest.raises(ConfigurationError, match="hf-hub:owner/repo@revision"):
        load_pretrained(source)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        load_pretrained(f"local-file:{tmp_path}/none.pth")
    with pytest.raises(CheckpointError, match=r"is a folder.*local-dir"):
        load_pretrained(f"local-file:{tmp_path}")
    with pytest.raises(CheckpointError, match=r"lacks config\.json and model\.safetensors"):
        load_pretrained(f"local-dir:{tmp_path}")


def test_architectures_that_are_not_built_say_so() -> None:
    name = "unet.dodnet_920"
    said = rf"{name} cannot be loaded: .*not part of this version.*GPL-3\.0.*zoo show {name}"
    with pytest.raises(CheckpointError, match=said):
        load_pretrained(name, classes=["liver"])


@pytest.mark.parametrize("option", [{"backbone": "unet"}, {"backbone_kwargs": {}}])
def test_what_a_card_says_cannot_be_overridden(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be chosen for 'unet\.suprem_2100'"):
        load_pretrained("unet.suprem_2100", **option)


def test_another_input_contract_is_taken_over(save: Save) -> None:
    contract = Preprocessing((1.0, 1.0, 2.0), (-250.0, 250.0), (64, 64, 64))
    network = load_pretrained(save(published(tiny(32))), preprocessing=contract, source_classes="universal_32")
    assert network.config.preprocessing == contract
    assert network.load_report.notes == ()
    assumed = load_pretrained(save(published(tiny(32))))
    assert assumed.config.preprocessing == Preprocessing()
    assert any("how its input was prepared" in note for note in assumed.load_report.notes)


def test_a_bundled_checkpoint(
    make_published: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "segresnet_tiny.phantom"
    folder = tmp_path / "bundled"
    network = make_published(folder)
    monkeypatch.setattr("suprem.zoo.source.bundled_folder", lambda _: folder)
    assert is_available_offline(name)
    known = dataclasses.replace(card(name), file=dataclasses.replace(card(name).file, sha256=None))
    monkeypatch.setattr("suprem.zoo.source.card", lambda _: known)
    loaded = load_pretrained(name)
    assert torch.equal(loaded.convInit.conv.weight, network.convInit.conv.weight)
    assert loaded.config.name == name
    wrong = dataclasses.replace(known, file=dataclasses.replace(known.file, sha256="0" * 64))
    monkeypatch.setattr("suprem.zoo.source.card", lambda _: wrong)
    with pytest.raises(IntegrityError, match="differs from the bundled checkpoint"):
        load_pretrained(name)
    monkeypatch.setattr("suprem.zoo.source.bundled_folder", lambda _: None)
    assert not is_available_offline(name)
    with pytest.raises(CheckpointError, match="reinstall suprem"):
        load_pretrained(name)


@pytest.mark.parametrize("name", ["unet.suprem_2100", "resunet.med3d_1623"])
def test_nothing_is_available_offline_in_an_empty_cache(name: str, tmp_path: Path) -> None:
    assert not is_available_offline(name, cache_dir=tmp_path)


def test_the_report_accounts_for_every_tensor(save: Save, wrapper: dict[str, torch.Tensor]) -> None:
    state = published(wrapper)
    network = load_unet(save(state), head="conv", classes=["liver"])
    report = network.load_report
    assert set(report.loaded) | set(report.initialised) == set(network.state_dict())
    assert not set(report.loaded) & set(report.initialised)
    assert set(report.renamed) | set(report.dropped) == set(state["net"])
    summary = str(report)
    assert summary == report.summary()
    assert "104 of 106 tensors loaded" in summary
    assert report.sha256[:12] in summary
    assert "new classes, to be trained: liver" in summary
