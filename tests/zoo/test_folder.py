"""Published folders: what is written, what is read back, and what is refused; golden outputs and verification."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from suprem._files import sha256_file
from suprem.errors import CheckpointError, ConfigurationError, OutputError
from suprem.zoo import DatasetUse, ModelConfig, Provenance, Score, load_pretrained, save_folder, verify
from suprem.zoo.folder import read_folder
from suprem.zoo.golden import MAX_GOLDEN_BYTES, golden_input, read_golden
from tests.zoo.standins import filled, published

if TYPE_CHECKING:
    from suprem.backbones._base import SegmentationNetwork

FILES = {"model.safetensors", "config.json", "golden.safetensors", "README.md"}


@pytest.fixture(scope="module")
def original(
    tmp_path_factory: pytest.TempPathFactory, make_published: "Callable[[Path], SegmentationNetwork]"
) -> "tuple[SegmentationNetwork, Path]":
    folder = tmp_path_factory.mktemp("published") / "model"
    return make_published(folder), folder


@pytest.fixture
def folder(original: "tuple[SegmentationNetwork, Path]", tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(original[1], tmp_path / "copy"))


def outcomes(source: str, **options: Any) -> dict[str, str]:
    return {check.name: check.outcome for check in verify(source, **options).checks}


def test_a_folder_comes_back_bit_for_bit(original: "tuple[SegmentationNetwork, Path]") -> None:
    network, folder = original
    assert {path.name for path in folder.iterdir()} == FILES
    again = load_pretrained(f"local-dir:{folder}")
    assert again.config == network.config
    state = again.state_dict()
    assert list(state) == list(network.state_dict())
    assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())
    assert again.load_report is not None
    assert again.load_report.sha256 == sha256_file(folder / "model.safetensors")
    assert again.load_report.notes == ()


def test_others_may_read_the_files(original: "tuple[SegmentationNetwork, Path]") -> None:
    assert all((original[1] / name).stat().st_mode & 0o044 == 0o044 for name in FILES)


def test_writing_twice_gives_the_same_bytes(original: "tuple[SegmentationNetwork, Path]", tmp_path: Path) -> None:
    network, folder = original
    save_folder(network, tmp_path / "again", notes="Random weights, for tests.")
    assert {name: sha256_file(tmp_path / "again" / name) for name in FILES} == {
        name: sha256_file(folder / name) for name in FILES
    }


def test_a_universal_network_comes_back(tmp_path: Path) -> None:
    from suprem.backbones import create_model

    small = {"base_channels": 8}
    state = filled(create_model("unet", num_classes=32, head="universal", **small).state_dict())
    torch.save(published(state), tmp_path / "x.pth")
    network = load_pretrained(f"local-file:{tmp_path / 'x.pth'}", backbone="unet", backbone_kwargs=small)
    save_folder(network, tmp_path / "folder")
    again = load_pretrained(f"local-dir:{tmp_path / 'folder'}", classes=["spleen", "liver"])
    assert torch.equal(again.organ_embedding, state["organ_embedding"][[0, 5]])  # type: ignore[operator,index]
    assert len(again.load_report.loaded) == 117  # type: ignore[union-attr]
    # The running statistics of the U-Net are never used, and exported as they came in.
    exported = load_file(tmp_path / "folder" / "model.safetensors")
    assert torch.equal(
        exported["backbone.down_tr64.ops.0.bn1.running_var"], state["backbone.down_tr64.ops.0.bn1.running_var"]
    )
    assert outcomes(f"local-dir:{tmp_path / 'folder'}")["golden outputs"] == "passed"
    readme = (tmp_path / "folder" / "README.md").read_text("utf-8")
    assert "Started from `x.pth`" in readme
    assert str(tmp_path) not in readme


@pytest.mark.parametrize(
    ("backbone", "options"),
    [
        ("unet", {"base_channels": 4}),
        ("swinunetr", {"feature_size": 12, "depths": (1, 1, 1, 1)}),
        ("segresnet_tiny", {"blocks_down": (1, 1), "blocks_up": (1,)}),
    ],
)
@pytest.mark.parametrize("encoder_only", [False, True])
def test_weights_without_an_output_layer_come_back(
    backbone: str, options: dict[str, Any], encoder_only: bool, tmp_path: Path
) -> None:
    from suprem.backbones import create_model

    torch.manual_seed(0)
    network = create_model(backbone, num_classes=1, **options)
    network.config = ModelConfig(f"{backbone}.own", backbone, (), head="none", backbone_kwargs=options)
    save_folder(network, tmp_path / "model", encoder_only=encoder_only)
    source, state = f"local-dir:{tmp_path / 'model'}", network.state_dict()
    assert {path.name for path in (tmp_path / "model").iterdir()} == FILES - {"golden.safetensors"}
    kept = load_file(tmp_path / "model/model.safetensors")
    body = {key for key in state if key not in network.head_keys}
    assert set(kept) == ({key for key in body if key.startswith(network.encoder_stages)} if encoder_only else body)
    again = load_pretrained(source, classes=["liver", "spleen"])
    assert again.load_report is not None
    assert set(again.load_report.loaded) == set(kept)
    assert set(again.load_report.initialised) == set(state) - set(kept)
    assert all(torch.equal(again.state_dict()[key], state[key]) for key in kept)
    with pytest.raises(ConfigurationError, match="has no output layer for segmentation"):
        load_pretrained(source)
    assert set(outcomes(source).values()) == {"passed", "skipped"}
    readme = (tmp_path / "model/README.md").read_text("utf-8")
    assert 'classes=["liver"]' in readme
    assert "## Channels" not in readme


def test_what_a_folder_without_an_output_layer_cannot_be(tmp_path: Path) -> None:
    from suprem.backbones import create_model

    with pytest.raises(ConfigurationError, match="no head to predict them"):
        ModelConfig("a.b", "unet", ("liver",), head="none")
    network = create_model("unet", num_classes=1, base_channels=4)
    small = {"base_channels": 4}
    network.config = ModelConfig("unet.own", "unet", ("liver",), backbone_kwargs=small)
    with pytest.raises(ConfigurationError, match=r"network\.config\.head is 'conv'"):
        save_folder(network, tmp_path / "model", encoder_only=True)
    network.config = ModelConfig("unet.own", "unet", (), head="none", backbone_kwargs=small)
    save_folder(network, tmp_path / "model", encoder_only=True)
    path = tmp_path / "model/model.safetensors"
    tensors = load_file(path)
    del tensors["down_tr512.ops.1.bn1.bias"]  # no longer a whole encoder
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=r"missing \(down_tr512.ops.1.bn1.bias"):
        load_pretrained(f"local-dir:{tmp_path / 'model'}", classes=["liver"])


def test_the_readme_is_made_from_facts(original: "tuple[SegmentationNetwork, Path]") -> None:
    network, folder = original
    text = (folder / "README.md").read_text("utf-8")
    parameters = sum(p.numel() for p in network.parameters())
    for fact in (
        f"{parameters:,}",
        "3 x 3 x 3 mm",
        "-175 to 250",
        "| 1 | spleen |",
        "Not for clinical use",
        "for tests.",
    ):
        assert fact in text
    assert sha256_file(folder / "model.safetensors") in text


def test_a_card_says_what_is_known_and_what_is_not(
    original: "tuple[SegmentationNetwork, Path]", tmp_path: Path
) -> None:
    network, folder = original
    text = (folder / "README.md").read_text("utf-8")
    assert text.count("Not recorded.") == 3  # results, licence, citation
    assert "Training data: not recorded." in text
    known = Provenance(
        licence="cc-by-4.0",
        datasets=(DatasetUse("Ours | <script>alert(1)</script>", 7, "research only"),),
        cases_sha256="a" * 64,
        procedure={"steps": "10"},
        scores=(Score("liver", 0.9, 0.85, 0.95, 4), Score("spleen", 0.5, None, None, 1)),
        scored_on="5 cases",
        citation="We, 2026.",
    )
    save_folder(network, tmp_path / "m", provenance=known)
    text = (tmp_path / "m" / "README.md").read_text("utf-8")
    assert "Not recorded." not in text
    assert "| liver | 0.900 | 0.850 to 0.950 | 4 |" in text
    assert "| spleen | 0.500 | one case | 1 |" in text
    assert "| Ours \\| &lt;script&gt;alert(1)&lt;/script&gt; | 7 | research only |" in text
    metadata = yaml.safe_load(text.split("---\n")[1])
    assert (metadata["license"], metadata["library_name"]) == ("cc-by-4.0", "suprem")
    assert metadata["model-index"][0]["results"][0]["metrics"][0] == {
        "type": "dice",
        "name": "Dice, liver",
        "value": 0.9,
    }
    with pytest.raises(ConfigurationError, match=r"give an identifier such as apache-2\.0"):
        Provenance(licence="Do what you like!")


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("# A model\n", "failed"),
        ("---\nlicense: !!python/object/apply:os.system ['true']\n---\n", "failed"),
        ("---\n- a list\n---\n", "failed"),
        ("---\nlicense: mit\n---\n\n# By hand\n", "passed"),
        ("---\n" + "x" * 2**20 + "\n---\n", "failed"),
        (None, "skipped"),
    ],
)
def test_the_model_card_is_checked(folder: Path, text: str | None, outcome: str) -> None:
    if text is None:
        (folder / "README.md").unlink()
    else:
        (folder / "README.md").write_text(text)
    assert outcomes(f"local-dir:{folder}")["model card"] == outcome


def test_another_number_of_parameters_than_the_card_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from suprem.zoo import card

    name = "segresnet_tiny.phantom"
    assert outcomes(name)["parameters"] == "passed"
    known = card(name)
    wrong = replace(known, architecture=replace(known.architecture, parameters=664_265))
    monkeypatch.setattr("suprem.zoo.source.card", lambda _: wrong)
    found = {check.name: check for check in verify(name).checks}
    assert found["parameters"].outcome == "failed"
    assert found["parameters"].detail == "664,264, recorded 664,265"


def test_golden_outputs_are_small_and_are_what_the_network_computes(
    original: "tuple[SegmentationNetwork, Path]",
) -> None:
    network, folder = original
    assert (folder / "golden.safetensors").stat().st_size <= MAX_GOLDEN_BYTES
    golden = read_golden(folder / "golden.safetensors")
    assert golden.shape == (1, 1, 32, 32, 32)
    assert len(golden.logits) == 4096
    image = np.random.default_rng(golden.seed).random(golden.shape, dtype=np.float32)
    assert np.array_equal(golden_input(golden.seed, golden.shape).numpy(), image)
    with torch.inference_mode():
        logits = network(torch.from_numpy(image))[0].numpy()
    np.testing.assert_allclose(golden.logits, logits.reshape(-1)[golden.index], atol=1e-6)
    flat = logits.reshape(2, -1).astype(np.float64)
    np.testing.assert_allclose(golden.statistics[:, 0], flat.mean(1), atol=1e-6)
    np.testing.assert_allclose(golden.statistics[:, 2], np.abs(flat).max(1), atol=1e-6)


def test_a_network_without_a_fitting_configuration_is_not_saved(
    original: "tuple[SegmentationNetwork, Path]", tmp_path: Path
) -> None:
    from suprem.backbones import create_model

    network = create_model("segresnet_tiny", num_classes=2)
    with pytest.raises(ConfigurationError, match="has no config"):
        save_folder(network, tmp_path / "x")
    network.config = ModelConfig("a.b", "segresnet_tiny", ("liver", "spleen"), activation="softmax")
    with pytest.raises(ConfigurationError, match="announces 1 input and 3 output channels"):
        save_folder(network, tmp_path / "x")
    network.config = ModelConfig("a.b", "segresnet_tiny", ("liver", "Milz"))
    with pytest.raises(ConfigurationError, match="Unknown structure 'Milz'"):
        save_folder(network, tmp_path / "x")
    network.config = original[0].config
    network.convInit.conv.weight.data[0] = torch.nan  # type: ignore[union-attr,operator,index]
    with pytest.raises(ConfigurationError, match=r"NaN or infinite values in convInit"):
        save_folder(network, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_kept_unless_told(original: "tuple[SegmentationNetwork, Path]", folder: Path) -> None:
    with pytest.raises(OutputError, match="already exists"):
        save_folder(original[0], folder)
    (folder / "old.txt").write_text("old")
    save_folder(original[0], folder, overwrite=True)
    assert {path.name for path in folder.iterdir()} == FILES


def test_a_failure_leaves_nothing_behind(
    original: "tuple[SegmentationNetwork, Path]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("suprem.zoo.golden.save_file", full)
    with pytest.raises(OutputError, match="No space is left"):
        save_folder(original[0], tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------ refused


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_files(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"lacks {name}"):
        read_folder(folder)


def test_a_file_where_a_folder_is_needed(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is not a folder; load a single file as 'local-file:"):
        load_pretrained(f"local-dir:{folder / 'model.safetensors'}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": "/etc/passwd"}, r"unknown keys \['weights'\]"),
        ({"backbone": "suprem.backbones.unet"}, "Unknown backbone"),
        ({"backbone": "os.system"}, "Unknown backbone"),
        ({"backbone": "../evil"}, "Unknown backbone"),
        ({"classes": ["livr", "spleen"]}, "did you mean 'liver'"),
        ({"classes": ["liver", "Milt"]}, "Unknown structure"),
        ({"classes": ["liver", "inferior_vena_cava"]}, "must be spelled 'postcava'"),
        ({"label_space": "mine"}, "label space"),
        ({"label_space": "imagecas"}, "label space 'imagecas' has no liver, spleen"),
        ({"head": "universal", "activation": "softmax"}, "sigmoid, not softmax"),
        ({"backbone_kwargs": {"init_filters": 10**9}}, "more than 4096"),
        ({"backbone_kwargs": {"blocks_down": [1] * 5000}}, "more than 4096"),
        ({"in_channels": 0}, "refused"),
        ({"backbone_kwargs": {"colour": 1}}, "has no option 'colour'"),
    ],
)
def test_a_configuration_that_cannot_be(folder: Path, change: dict[str, Any], message: str) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ConfigurationError, match=message):
        load_pretrained(f"local-dir:{folder}")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1]", b"{" * 10, b"0" * (2**20 + 1)])
def test_a_configuration_that_is_none(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    with pytest.raises((ConfigurationError, CheckpointError), match=r"config\.json"):
        load_pretrained(f"local-dir:{folder}")


def test_options_of_lists_in_lists_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["backbone_kwargs"]["blocks_down"] = "deep"
    text = json.dumps(config).replace('"deep"', "[" * 900 + "1" + "]" * 900)
    (folder / "config.json").write_text(text)
    with pytest.raises(ConfigurationError, match="blocks_down"):
        load_pretrained(f"local-dir:{folder}")


def test_a_large_network_is_not_built_for_a_small_file(folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "backbone_kwargs": {"init_filters": 4096}}))
    with pytest.raises(CheckpointError, match="of another shape"):  # 70 billion parameters would not fit anywhere
        load_pretrained(f"local-dir:{folder}")


@pytest.mark.parametrize("change", [{"activation": "softmax"}, {"classes": ["liver"]}, {"head": "universal"}])
def test_a_configuration_of_other_weights(folder: Path, change: dict[str, Any]) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CheckpointError, match=r"do not belong together|should have a universal output layer"):
        load_pretrained(f"local-dir:{folder}")


def test_weights_without_their_output_layer(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in state.items() if not k.startswith("conv_final.2")}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="should have a conv output layer and has none"):
        load_pretrained(f"local-dir:{folder}")


# ------------------------------------------------------------------ verification


def test_an_untouched_folder_passes_every_check(folder: Path) -> None:
    assert outcomes(f"local-dir:{folder}") == {
        "size": "skipped",
        "SHA-256": "skipped",
        "golden belongs to weights": "passed",
        "tensors": "passed",
        "class order": "passed",
        "parameters": "passed",
        "model card": "passed",
        "golden outputs": "passed",
    }


def test_changed_weights_fail(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    state["conv_final.2.conv.bias"] += 0.01
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    report = verify(f"local-dir:{folder}")
    assert not report.ok
    failed = {check.name for check in report.checks if check.outcome == "failed"}
    assert failed == {"golden belongs to weights", "golden outputs"}


def test_swapped_classes_fail(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "classes": ["spleen", "liver"]}))
    assert outcomes(f"local-dir:{folder}")["class order"] == "failed"


def test_truncated_weights_fail_the_load(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert outcomes(f"local-dir:{folder}")["strict load"] == "failed"


def rewrite_golden(path: Path, metadata: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """Changes some of the values in a file of golden outputs."""
    with safe_open(path, framework="pt") as file:
        [(key, text)] = file.metadata().items()
    changed = {key: json.dumps({**json.loads(text), **metadata})}
    save_file({**load_file(path), **tensors}, path, metadata=changed)


@pytest.mark.parametrize("content", [b"", b"x" * 50, b"0" * (MAX_GOLDEN_BYTES + 1)])
def test_a_damaged_golden_file_fails(folder: Path, content: bytes) -> None:
    (folder / "golden.safetensors").write_bytes(content)
    assert outcomes(f"local-dir:{folder}")["golden file"] == "failed"


@pytest.mark.parametrize(
    "metadata",
    [
        {"input_shape": [1, 1, 100000, 100000, 100000]},
        {"input_shape": [1]},
        {"input_shape": 3},
        {"seed": -1},
        {"seed": "x"},
        {"facts": []},
    ],
)
def test_a_golden_file_that_asks_for_too_much_fails(folder: Path, metadata: dict[str, Any]) -> None:
    path = folder / "golden.safetensors"
    rewrite_golden(path, metadata, {})
    with pytest.raises(CheckpointError, match=r"golden\.safetensors"):
        read_golden(path)


def test_probes_outside_the_output_fail(folder: Path) -> None:
    path = folder / "golden.safetensors"
    rewrite_golden(path, {}, {"index": torch.full((4096,), 2**30, dtype=torch.int32)})
    assert outcomes(f"local-dir:{folder}")["golden outputs"] == "failed"


@pytest.mark.parametrize(
    "tensors",
    [
        {"index": torch.zeros(0, dtype=torch.int32), "logits": torch.zeros(0)},
        {"logits": torch.full((4096,), torch.nan)},
        {"statistics": torch.full((2, 4), torch.nan, dtype=torch.float64)},
    ],
    ids=["nothing", "NaN logits", "NaN statistics"],
)
def test_golden_outputs_that_prove_nothing_fail(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    rewrite_golden(folder / "golden.safetensors", {}, tensors)
    assert outcomes(f"local-dir:{folder}")["golden file"] == "failed"


def test_a_local_file_is_verified_as_far_as_possible(tmp_path: Path) -> None:
    from suprem.backbones import create_model

    torch.save(published(create_model("segresnet_tiny", num_classes=32).state_dict()), tmp_path / "x.pth")
    found = outcomes(f"local-file:{tmp_path / 'x.pth'}")
    assert found["tensors"] == "passed"
    assert found["class order"] == "skipped"
    assert found["golden outputs"] == "skipped"
