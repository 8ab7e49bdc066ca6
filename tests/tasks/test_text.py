"""Text codes of the text-driven head: of weights, of an encoder, learned, never silently random."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from suprem import load_pretrained
from suprem.errors import ConfigurationError
from suprem.heads.universal import UniversalNetwork
from suprem.tasks.segmentation import SegmentationTask
from suprem.tasks.text import LEARNED, add_classes, prompt, text_codes
from suprem.zoo import Preprocessing

SMALL = {"base_channels": 8}
KNOWN, CLASSES = ("liver", "spleen"), ("spleen", "kidney_left")


def _task(classes: tuple[str, ...] = KNOWN, **arguments: Any) -> SegmentationTask:
    torch.manual_seed(0)
    if "init" not in arguments:
        arguments |= {"backbone": "unet", "backbone_kwargs": SMALL}
    return SegmentationTask(classes=classes, **{"backbone": None, "head": "universal", **arguments})


def _table(task: SegmentationTask) -> torch.Tensor:
    assert isinstance(task.network, UniversalNetwork)
    return task.network.organ_embedding


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a network that knows the liver and the spleen."""
    task = _task(text=LEARNED, preprocessing=Preprocessing((2.0, 2.0, 2.0), (-175.0, 250.0), (16, 16, 16)))
    return f"local-dir:{task.export(tmp_path_factory.mktemp('text') / 'model', name='unet.text')}"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A CLIP text encoder of random weights that reads letters."""
    transformers = pytest.importorskip("transformers")
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    folder = tmp_path_factory.mktemp("clip")
    letters = list(bytes_to_unicode().values())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    start, end = vocabulary["<|startoftext|>"], vocabulary["<|endoftext|>"]
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokens), hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        projection_dim=512, bos_token_id=start, eos_token_id=end, pad_token_id=end,
    )  # fmt: skip
    torch.manual_seed(3)
    transformers.CLIPTextModelWithProjection(config).save_pretrained(folder)
    return f"clip:{folder}"


def test_the_prompt_is_plain_english() -> None:
    assert prompt("kidney_right") == "A computerized tomography of a right kidney"
    assert prompt("portal_vein_and_splenic_vein").endswith("a portal vein and splenic vein")


@pytest.mark.parametrize("init", [False, True])
def test_forgotten_codes_are_an_error(init: bool, weights: str) -> None:
    arguments = {"init": weights} if init else {}
    with pytest.raises(ConfigurationError, match=r"no text code of (liver, spleen|kidney_left)\. Give text="):
        _task(CLASSES if init else KNOWN, **arguments)


def test_codes_for_a_network_without_the_head_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="leave text out"):
        _task(head="conv", text=LEARNED)


def test_known_classes_keep_their_codes_and_new_ones_get_theirs(weights: str, encoder: str) -> None:
    before = load_pretrained(weights)
    assert isinstance(before, UniversalNetwork)
    table = _table(_task(CLASSES, init=weights, text=encoder))
    assert torch.equal(table[0], before.organ_embedding[1])
    torch.testing.assert_close(table[1], text_codes(["left kidney"], encoder)[0])
    assert not isinstance(table, torch.nn.Parameter)


def test_codes_of_weights_are_found_by_name(weights: str) -> None:
    network = load_pretrained(weights)
    assert isinstance(network, UniversalNetwork)
    assert torch.equal(text_codes(["spleen", "liver"], weights), network.organ_embedding[[1, 0]])
    with pytest.raises(ConfigurationError, match="no text code of kidney_left"):
        text_codes(["kidney_left"], weights)
    with pytest.raises(ConfigurationError, match="has no text-driven head"):
        text_codes(["liver"], "segresnet_tiny.phantom")


def test_an_encoder_gives_each_structure_its_own_code(encoder: str) -> None:
    codes = text_codes(["liver", "pancreas", "spleen"], encoder)
    assert (codes.shape, codes.dtype) == ((3, 512), torch.float32)
    torch.testing.assert_close(text_codes(["pancreas"], encoder)[0], codes[1])  # padding changes nothing
    assert float((codes[0] - codes[2]).norm()) > 1e-3


def test_an_encoder_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        text_codes(["liver"], f"clip:{tmp_path}")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'suprem\[text\]'"):
        text_codes(["liver"], "clip:anything")


def test_learned_codes_move_with_the_training(weights: str) -> None:
    task = _task(CLASSES, init=weights, text=LEARNED)
    table = _table(task)
    known = load_pretrained(weights)
    assert isinstance(known, UniversalNetwork)
    assert torch.equal(table[0], known.organ_embedding[1])
    before = table.detach().clone()
    optimiser = task.make_optimizer([{"params": task.network.parameters(), "lr": 1e-2}])
    image = torch.rand(2, 1, 16, 16, 16)
    task.loss(task.network(image), torch.cat([image > 0.7, image < 0.2], dim=1)).backward()
    optimiser.step()
    assert (table.detach() != before).any(dim=1).all()


def test_a_class_that_is_added_leaves_the_others_alone(weights: str, encoder: str) -> None:
    network = load_pretrained(weights)
    assert isinstance(network, UniversalNetwork)
    image = torch.rand(1, 1, 16, 16, 16)
    with torch.no_grad():
        before = network(image)
        add_classes(network, ["left kidney"], text_codes(["left kidney"], encoder))
        after = network(image)
    assert network.config is not None
    assert network.config.classes == ("liver", "spleen", "kidney_left")
    assert after.shape[1] == 3
    torch.testing.assert_close(after[:, :2], before, rtol=1e-5, atol=1e-6)
    with pytest.raises(ConfigurationError, match="predicts spleen already"):
        add_classes(network, ["spleen"], torch.ones(1, 512))
    with pytest.raises(ConfigurationError, match="must be"):
        add_classes(network, ["aorta"], torch.ones(1, 256))
