"""Volumes in which the network was close to its decision, against a count over all logits at once."""

import numpy as np
import pytest
import torch

from suprem.inference import Predictor
from suprem.inference.blending import ClassChannels
from suprem.zoo.config import ModelConfig, Preprocessing
from tests.inference.test_predictor import NAMES, monai_logits, network_of, noise


def _channels(activation: str, chosen: list[int], count: int = 4) -> ClassChannels:
    preprocessing = Preprocessing((2.0, 2.0, 2.0), patch_size=(16, 16, 16))
    config = ModelConfig("test", "segresnet_tiny", NAMES[:count], activation=activation, preprocessing=preprocessing)
    return ClassChannels(config, chosen, flip=False)


def _expected(logits: np.ndarray, activation: str, chosen: list[int]) -> list[int]:
    """Straight from the definition, voxel by voxel."""
    if activation == "sigmoid":
        p = 1 / (1 + np.exp(-logits))
        return [int(((p[i] > 0.25) & (p[i] < 0.75)).sum()) for i in chosen]
    p = np.exp(logits) / np.exp(logits).sum(axis=0)
    counts = np.zeros(len(logits), dtype=int)
    for voxel in p.T:
        second, first = np.argsort(voxel)[-2:]
        if voxel[first] < 3 * voxel[second]:
            counts[[first, second]] += 1
    return [int(counts[i + 1]) for i in chosen]


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("chosen", [[0, 1, 2, 3], [2, 0]])
def test_counts_by_definition(activation: str, chosen: list[int]) -> None:
    channels = _channels(activation, chosen)
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, (4 + (activation == "softmax"), 500))
    inside = rng.random(500) < 0.6
    given = torch.from_numpy(logits if activation == "softmax" else logits[chosen])
    assert channels.by_name(channels.decide(given, None).undecided).tolist() == _expected(logits, activation, chosen)
    masked = channels.by_name(channels.decide(given, torch.from_numpy(inside)).undecided).tolist()
    assert masked == _expected(logits[:, inside], activation, chosen)
    assert sum(masked) > 0


@pytest.mark.parametrize(("count", "chosen"), [(3, [0, 1, 2]), (12, [11, 2, 0]), (300, list(range(300)))])
def test_labels_by_definition(count: int, chosen: list[int]) -> None:
    logits = np.random.default_rng(4).normal(0, 1, (count + 1, 700)).astype(np.float32)
    logits[2, :9] = logits[1, :9] = 9.0  # the first of two equal ones wins
    config = ModelConfig("test", "segresnet_tiny", tuple(f"class_{i}" for i in range(count)), activation="softmax")
    labels = ClassChannels(config, chosen, flip=False).decide(torch.from_numpy(logits), None).labels.numpy()
    winner = logits.argmax(axis=0)
    expected = [chosen.index(c - 1) + 1 if c - 1 in chosen else 0 for c in winner.tolist()]
    assert labels.tolist() == expected
    assert labels.dtype == (np.int32 if len(chosen) > 255 else np.uint8)
    config = ModelConfig("test", "segresnet_tiny", config.classes, activation="sigmoid")
    bits = ClassChannels(config, chosen, flip=False).decide(torch.from_numpy(logits[chosen]), None).labels.numpy()
    wanted = np.packbits(logits[chosen] > 0, axis=0, bitorder="little")
    assert np.array_equal(bits, wanted)


@pytest.mark.parametrize(("count", "activation"), [(3, "sigmoid"), (12, "softmax")])
def test_the_streaming_count_equals_that_of_the_whole_volume(count: int, activation: str) -> None:
    network, scan = network_of(count, activation), noise((34, 30, 41), (1.6, 1.9, 2.7))
    logits = monai_logits(network, scan, 0.25)
    segmentation = Predictor(network, device="cpu", max_ram=None, quality="exhaustive", overlap=0.25).predict(scan)
    expected = _expected(logits.reshape(len(logits), -1), activation, list(range(count)))
    assert list(segmentation.undecided_ml) == list(segmentation.classes)
    found = [ml * 1000 / 8 for ml in segmentation.undecided_ml.values()]
    assert max(expected) > 1000
    np.testing.assert_allclose(found, expected, atol=0.002 * logits[0].size)  # rounding near the limits


def test_nothing_is_counted_outside_the_body() -> None:
    network, scan = network_of(3, spacing=(4.0, 4.0, 4.0)), noise((40, 40, 20), (4.0, 4.0, 4.0))
    scan.array[:] = -1000
    scan.array[4:18, 4:18, 3:17] = 40  # 176 ml: enough to be a body
    predict = {name: Predictor(network, device="cpu", max_ram=None, quality=name) for name in ("fast", "exhaustive")}
    within, everywhere = (predict[name].predict(scan) for name in predict)
    assert within.info["body"] == "found"
    assert 0 < sum(within.undecided_ml.values()) < sum(everywhere.undecided_ml.values())
