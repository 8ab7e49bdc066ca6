"""The networks compute what the reference program computed with the same, rule-filled tensors.

`golden_probes.json` (committed) holds a few numbers per network; `../shared/golden` holds whole outputs, intermediate
features and statistics, and is compared where it exists. Neither was made with this package.
"""

import hashlib
import json
import math
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from suprem.backbones import create_model
from suprem.backbones._base import SegmentationNetwork

FACTS = json.loads((Path(__file__).parents[1] / "golden_probes.json").read_text())
MODELS = FACTS["models"]
TOLERANCE = FACTS["tolerance_abs"]
CLASSES = 32
# Where our modules expose the decoder and bottleneck entries of the golden files.
BOTTLENECK = {
    "mit": "transformer.block4",
    "resunet": "layer4",
    "segresnet": "down_layers.3",
    "swinunetr": "encoder10",
    "unet": "down_tr512.ops.1",
}
DECODER = {
    "mit": "stage3_de",
    "resunet": "conv_seg.3",
    "segresnet": "up_layers.2",
    "swinunetr": "decoder1",
    "unet": "up_tr64.ops.1",
}


def filled(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The filling rule of `golden_probes.json`."""
    x = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if len(shape) >= 2:
        return (x / np.float32(math.sqrt(math.prod(shape[1:])))).astype(np.float32)
    if name.endswith(".weight"):
        return (1 + np.float32(0.1) * x).astype(np.float32)
    if name.endswith(".running_var"):
        return (1 + np.float32(0.1) * np.abs(x)).astype(np.float32)
    return (np.float32(0.1) * x).astype(np.float32)


def golden_network(model: str, **options: Any) -> SegmentationNetwork:
    facts = MODELS[model]
    options = {**facts.get("options", {}), **options}
    network = create_model(facts["backbone"], num_classes=CLASSES, head=facts["head"], **options)
    digest = hashlib.sha256()
    state = network.state_dict()
    for key, tensor in state.items():
        if tensor.is_floating_point():
            values = filled(key.removeprefix("backbone."), tuple(tensor.shape))
            digest.update(np.ascontiguousarray(values).tobytes())
            state[key] = torch.from_numpy(values)
    assert digest.hexdigest() == facts["fill_sha256"], "names, shapes or the random streams differ from the goldens'"
    network.load_state_dict(state, strict=True)
    return network.eval()


def published_outputs(network: SegmentationNetwork, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the reference network returned: Med3D ends at a quarter of the resolution, UniMiSS has five outputs."""
    if hasattr(network, "quarter_features"):
        return {"out": network.classify(network.quarter_features(image))}
    if hasattr(network, "deep_outputs"):
        out, *coarser = network.deep_outputs(image)
        return {"out": out, **{f"ds{number}": level for number, level in enumerate(coarser, 1)}}
    return {"out": network(image)}


class Result(NamedTuple):
    """A network and what it computed for its cheapest case."""

    model: str
    network: SegmentationNetwork
    seen: dict[str, np.ndarray]


def run(network: SegmentationNetwork, model: str, shape: list[int]) -> dict[str, np.ndarray]:
    """Output, bottleneck and decoder features for the golden input of this shape."""
    facts, seen, handles = MODELS[model], {}, []
    image = np.random.default_rng(0).standard_normal(tuple(shape)).astype(np.float32)
    modules = dict(network.named_modules())
    prefix = "backbone." if facts["head"] == "universal" else ""
    for entry, paths in (("bottleneck", BOTTLENECK), ("decoder", DECODER)):

        def keep(module: torch.nn.Module, inputs: Any, output: torch.Tensor, entry: str = entry) -> None:
            seen[entry] = output.numpy().copy()

        handles.append(modules[prefix + paths[facts["backbone"]]].register_forward_hook(keep))
    with torch.no_grad():
        seen |= {name: values.numpy() for name, values in published_outputs(network, torch.from_numpy(image)).items()}
    for handle in handles:
        handle.remove()
    return seen


def statistics(values: np.ndarray) -> np.ndarray:
    """Mean, standard deviation, largest magnitude and random projection of every sample and channel."""
    flat = values.astype(np.float64).reshape(*values.shape[:2], -1)
    weights = np.random.default_rng(1).standard_normal(flat.shape[2])
    projection = (flat * weights).sum(2) / math.sqrt(flat.shape[2])
    return np.stack([flat.mean(2), flat.std(2), np.abs(flat).max(2), projection], 2)


def compare(shared_folder: Path, model: str, case: str, seen: dict[str, np.ndarray]) -> None:
    golden = np.load(shared_folder / "golden" / model / "golden.npz")
    entries = json.loads(str(golden["meta"]))["cases"][case]["entries"]
    assert {name for name in entries if not name.startswith("feat/")} == seen.keys()
    for name, values in seen.items():
        entry, shape = entries[name], list(values.shape)
        if entry["channel_axis"] == 2:  # recorded as tokens (N, L, C), whole
            shape = [shape[0], math.prod(shape[2:]), shape[1]]
        assert shape == entry["shape"]
        np.testing.assert_allclose(statistics(values), golden[f"{case}/{name}/stats"], rtol=0, atol=TOLERANCE)
        if "stride" in entry:
            step = slice(None, None, entry["stride"])
            ours, theirs = values[:, :, step, step, step], golden[f"{case}/{name}/sub"]
            if entry["channel_axis"] == 2:
                theirs = theirs.swapaxes(1, 2).reshape(ours.shape)
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)


@pytest.fixture(scope="module", params=sorted(MODELS))
def result(request: pytest.FixtureRequest) -> Result:
    model = request.param
    network = golden_network(model)
    return Result(model, network, run(network, model, MODELS[model]["input_shape"]))


def test_rule_draws_the_documented_numbers() -> None:
    first = filled("down_tr64.ops.0.conv1.weight", (32, 1, 3, 3, 3)).ravel()[:3]
    np.testing.assert_allclose(first, [0.24201319, -0.07767785, 0.11574447], rtol=1e-6)
    variance = filled("down_tr64.ops.0.bn1.running_var", (32,))[:2]
    np.testing.assert_allclose(variance, [1.1660808, 1.0642179], rtol=1e-6)


def test_probes(result: Result) -> None:
    probes = MODELS[result.model]["out"]
    assert {at[1] for at, _ in probes} == set(range(CLASSES))
    ours = [result.seen["out"][tuple(at)] for at, _ in probes]
    np.testing.assert_allclose(ours, [value for _, value in probes], rtol=0, atol=TOLERANCE)


def test_names_shapes_types_and_order(result: Result) -> None:
    state = result.network.state_dict()
    keys = [[key, list(t.shape), str(t.dtype).removeprefix("torch.")] for key, t in state.items()]
    assert len(keys) == MODELS[result.model]["tensors"]
    assert hashlib.sha256(json.dumps(keys).encode()).hexdigest() == MODELS[result.model]["keys_sha256"]


def test_parameter_count(result: Result) -> None:
    assert sum(p.numel() for p in result.network.parameters()) == MODELS[result.model]["parameters"]


def test_golden_vectors(result: Result, shared_folder: Path) -> None:
    compare(shared_folder, result.model, MODELS[result.model]["case"], result.seen)


def test_norm_settings(result: Result, shared_folder: Path) -> None:
    """A wrong epsilon moves outputs by less than the tolerance, so settings are compared by layer."""
    golden = np.load(shared_folder / "golden" / result.model / "golden.npz")
    norms = json.loads(str(golden["meta"]))["norms"]
    modules = dict(result.network.named_modules())
    assert norms.keys() <= modules.keys()
    for name, settings in norms.items():
        assert modules[name].eps == settings["eps"], name
        assert getattr(modules[name], "num_groups", None) == settings.get("num_groups"), name


@pytest.mark.slow
@pytest.mark.parametrize("case", ["x64", "x96", "xa", "b2x32"])
@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_golden_case(model: str, case: str, shared_folder: Path) -> None:
    meta = json.loads(str(np.load(shared_folder / "golden" / model / "golden.npz")["meta"]))
    if case not in meta["cases"]:
        pytest.skip(f"{model} has no case {case}")
    # With two samples the reference program normalises over both; by default our U-Net treats each alone.
    options = {"batch_statistics": True} if case == "b2x32" else {}
    shape = meta["cases"][case]["input_shape"]
    compare(shared_folder, model, case, run(golden_network(model, **options), model, shape))
