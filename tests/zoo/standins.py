"""Checkpoints in the published layouts, filled by the public rule: the value of a tensor follows from its name."""

import importlib.util
import math
import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

PREFIXES = ("module.", "backbone.")
TEXT_HEAD = ("organ_embedding", "precls_conv.", "GAP.", "controller.", "text_to_vision.")


def filling(key: str, shape: Iterable[int]) -> torch.Tensor:
    """The rule of the golden vectors, for the plain name of a float tensor."""
    shape = tuple(shape)
    x = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
    leaf = key.rsplit(".", 1)[-1]
    if len(shape) >= 2:
        x = x / np.float32(math.sqrt(np.prod(shape[1:])))
    elif leaf == "weight":
        x = 1 + np.float32(0.1) * x
    elif leaf == "running_var":
        x = 1 + np.float32(0.1) * np.abs(x)
    else:
        x = np.float32(0.1) * x
    return torch.from_numpy(np.asarray(x, dtype=np.float32))


def plain(key: str) -> str:
    """Without the prefixes that do not take part in the rule."""
    for prefix in PREFIXES:
        key = key.removeprefix(prefix)
    return key


def filled(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same names with the rule's values; integer buffers as they are."""
    return {
        key: filling(plain(key), value.shape) if value.is_floating_point() else value.clone()
        for key, value in state.items()
    }


def wrong_values(network: torch.nn.Module, keys: Iterable[str]) -> list[str]:
    """Which of the network's own tensors do not hold the rule's value for their own name."""
    state = network.state_dict()
    return [
        key
        for key in keys
        if state[key].is_floating_point() and not torch.equal(state[key], filling(plain(key), state[key].shape))
    ]


def published(tensors: Mapping[str, torch.Tensor], container: str = "net", prefix: str = "module.") -> dict[str, Any]:
    """What a training program saves: tensors under a key, with the rest of its state beside them."""
    inner = {f"{prefix}{key}": value for key, value in tensors.items()}
    return {container: inner, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}, "scheduler": {}, "epoch": 400}


def load_check(shared_folder: Path) -> ModuleType:
    """``golden/check.py`` as a module."""
    spec = importlib.util.spec_from_file_location("golden_check", shared_folder / "golden" / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Token counts of the pre-training on 16 x 96 x 96 voxels, the token of the class included.
UNIMISS_TOKENS = {
    **{f"transformer.pos_embed{n}": tokens for n, tokens in enumerate((4609, 577, 73, 10), 1)},
    **{f"DecPosEmbed{n}": tokens for n, tokens in enumerate((73, 577, 4609))},
}
UNIMISS_FRESH = (
    "transposeconv_stage3.weight",
    "transposeconv_stage3.bias",
    "stage3_de.conv.weight",
    "stage3_de.norm.weight",
    "stage3_de.norm.bias",
)


def unimiss(form: str) -> dict[str, torch.Tensor]:
    """The layout of the published file, from our own names by the rule of the facts read backwards."""
    from suprem.backbones import create_model
    from suprem.zoo import card

    own = create_model("mit", num_classes=1, **card(f"mit.unimiss_{form}_5022").architecture.kwargs).state_dict()
    state: dict[str, torch.Tensor] = {}
    for key, value in own.items():
        if key in UNIMISS_FRESH or key.split(".")[0].endswith("cls_conv"):
            continue
        split = re.sub(r"(pos_embed|patch_embed|DecPosEmbed|DecEmbed|attn\.sr)", r"\1@", key)
        if key in UNIMISS_TOKENS:
            value = value.new_empty(1, UNIMISS_TOKENS[key], value.shape[2])
        if "@" in split:
            flat = value if value.ndim < 5 else value[..., 0]
            state[split.replace("@", "2D")] = torch.zeros_like(flat)
        state[split.replace("@", "3D")] = filling(key, value.shape)
    pretext = ("transformer.cls_tokens1", "transformer.cls_tokens2.weight", "cls_tokens0.bias")
    layout = {f"backbone.{key}": value for key, value in state.items()}
    layout |= {f"backbone.{key}": torch.zeros(2, 2) for key in pretext}
    return layout | {"head.mlp.0.weight": torch.zeros(2, 2), "head.last_layer.weight_g": torch.zeros(2, 1)}
