"""The way a scan takes on a GPU, run on the CPU and compared with the way it takes there."""

import numpy as np
import pytest
import torch

from suprem.errors import CheckpointError, VolumeError
from suprem.inference import Predictor, engine, on_device, predictor
from suprem.inference.body import coarse_factors, find_body
from suprem.inference.engine import LabelWriter
from suprem.inference.grid import InputBand, ModelGrid
from suprem.inference.on_device import BodyLookup, DeviceScan, device_bytes
from suprem.volumes.body import block_means
from suprem.volumes.geometry import Volume
from tests.inference.test_predictor import network_of, noise
from tests.inference.test_undecided import _channels

CPU = torch.device("cpu")
WINDOW = (-175.0, 250.0)
AFFINES = {
    "RAS": np.diag([1.5, 1.2, 2.5, 1.0]),
    "LPS": np.diag([-1.5, -1.2, 2.5, 1.0]),
    "SRA": np.array([[0, 1.5, 0, 3], [0, 0, -1.2, 5], [2.5, 0, 0, -7], [0, 0, 0, 1.0]]),
}


def _scan(orientation: str, *, fortran: bool = False, dtype: type = np.int16) -> Volume:
    array = np.random.default_rng(4).integers(-1000, 800, (37, 29, 41)).astype(dtype)
    return Volume(np.asfortranarray(array) if fortran else array, AFFINES[orientation])


@pytest.mark.parametrize("orientation", list(AFFINES))
@pytest.mark.parametrize("fortran", [False, True])
@pytest.mark.parametrize("spacing", [None, (2.0, 2.0, 2.0), (1.0, 3.0, 4.0)])
def test_input_equals_that_of_the_band(orientation: str, fortran: bool, spacing: tuple[float, ...] | None) -> None:
    scan = _scan(orientation, fortran=fortran)
    grid = ModelGrid.of(scan, spacing)
    band, whole = InputBand(scan, grid, WINDOW), DeviceScan(scan, grid, CPU).input(WINDOW)
    band.advance(-3, 20)
    for start in ((-3, -2, -3), (4, 5, 2), (grid.shape[0] - 9, 0, 4)):
        size = (16, 16, 16)
        np.testing.assert_allclose(whole.window(start, size).numpy(), band.window(start, size), atol=2e-6)


@pytest.mark.parametrize("orientation", list(AFFINES))
def test_block_means_and_body(orientation: str) -> None:
    scan = _scan(orientation, dtype=np.float64)
    grid = ModelGrid.of(scan, None)
    for factors in ((4, 5, 2), (1, 1, 1), (40, 3, 7)):
        expected = block_means(grid.reorientation.apply(scan.array), factors)
        np.testing.assert_allclose(DeviceScan(scan, grid, CPU).block_means(factors), expected, rtol=1e-5, atol=1e-3)
    tissue = Volume(np.full((40, 40, 30), 40, dtype=np.int16), np.diag([3.0, 3.0, 3.0, 1.0]))
    tissue.array[:8] = -1000
    grid = ModelGrid.of(tissue, (4.0, 4.0, 4.0))
    means = DeviceScan(tissue, grid, CPU).block_means(coarse_factors(grid))
    here, there = find_body(tissue, grid), find_body(tissue, grid, means)
    assert here is not None
    assert there is not None
    assert np.array_equal(here.coarse, there.coarse)
    region = (slice(2, 20), slice(None), slice(5, 9))
    expected = here.coarse[np.ix_(*(index[part] for index, part in zip(here.index, region, strict=True)))]
    assert np.array_equal(BodyLookup(there, CPU).region(region).numpy(), expected)  # type: ignore[union-attr]
    assert BodyLookup(None, CPU).region(region) is None


def test_values_that_are_not_finite_are_refused() -> None:
    scan = _scan("RAS", dtype=np.float32)
    scan.array[3, 3, 3] = np.inf
    with pytest.raises(VolumeError, match="infinite"):
        DeviceScan(scan, ModelGrid.of(scan, None), CPU)


class _Late:
    """Labels that arrive when they are waited for, as those of a GPU do."""

    def __init__(self, labels: torch.Tensor) -> None:
        self.here = torch.full_like(labels, 255)
        self._labels = labels

    def synchronize(self) -> None:
        self.here.copy_(self._labels)


@pytest.mark.parametrize(("activation", "count"), [("sigmoid", 11), ("sigmoid", 3), ("softmax", 5)])
@pytest.mark.parametrize("waiting", [0, 100, 10**6])
def test_labels_that_a_gpu_collects_equal_those_of_the_host(
    activation: str, count: int, waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[_Late] = []

    def send(labels: torch.Tensor) -> tuple[torch.Tensor, _Late]:
        late.append(_Late(labels))
        return late[-1].here, late[-1]

    monkeypatch.setattr(engine, "_sent", send)
    names = [2, 0, *range(3, count)] if activation == "softmax" else list(range(count))
    channels = _channels(activation, names, count)
    shape, rng = (6, 5, 9), np.random.default_rng(6)
    host, gpu = LabelWriter(channels, shape), LabelWriter(channels, shape, CPU, waiting=waiting)
    for layers in (slice(0, 4), slice(4, 7), slice(7, 9)):
        for part in (slice(0, 2), slice(2, 6)):
            region = (part, slice(None), layers)
            box = (part.stop - part.start, 5, layers.stop - layers.start)
            logits = torch.from_numpy(rng.normal(0, 1, (len(channels.rows), int(np.prod(box)))).astype(np.float32))
            inside = None if part.start else torch.from_numpy(rng.random(box) < 0.7)
            labels = channels.decide(logits, None).labels
            host.write(region, labels, inside)
            gpu.write(region, labels, inside)
        gpu.complete(layers.stop - 1)  # a window above begins in the last of them
        host.complete(layers.stop - 1)
        assert gpu._waiting_bytes == sum(size for size, _ in gpu._waiting) <= waiting
    assert len(late) == 3
    one, other = host.finish(), gpu.finish()
    assert one.any().any()
    assert all(np.array_equal(one.mask(i), other.mask(i)) for i in range(len(names)))


@pytest.mark.parametrize("size", [1, 7, 8, 50])
def test_what_is_copied_in_parts_arrives(size: int) -> None:
    source = torch.arange(23, dtype=torch.int16).view(torch.uint8)
    target = torch.zeros_like(source)
    on_device._copy_in_parts(source, target, [torch.zeros(size, dtype=torch.uint8) for _ in range(2)])
    assert torch.equal(source, target)


@pytest.mark.parametrize(
    ("count", "activation", "flip"), [(3, "sigmoid", False), (12, "softmax", False), (3, "sigmoid", True)]
)
def test_a_prediction_equals_that_of_the_host(
    count: int, activation: str, flip: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, scan = network_of(count, activation), noise((34, 30, 41), (1.6, 1.9, 2.7))
    run = Predictor(network, device="cpu", max_ram=None, overlap=0.25, flip_tta=flip)
    here = run.predict(scan)
    monkeypatch.setattr(Predictor, "_on_device", lambda self, resident, free: True)
    there = run.predict(scan)
    for name in here.classes:
        assert (here.grid_mask(name) != there.grid_mask(name)).mean() < 1e-3  # rounding at the threshold
        assert here.undecided_ml[name] == pytest.approx(there.undecided_ml[name], rel=1e-3, abs=0.1)
    assert any(here.grid_mask(name).any() for name in here.classes)


def test_a_damaged_network_is_refused_on_the_device_too(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of(3)
    with torch.no_grad():
        network.get_parameter(f"{network.head_path}.bias")[1] = float("nan")
    monkeypatch.setattr(Predictor, "_on_device", lambda self, resident, free: True)
    with pytest.raises(CheckpointError, match="NaN"):
        Predictor(network, device="cpu", max_ram=None).predict(noise((20, 20, 20), (2.0, 2.0, 2.0)))


def test_the_gpu_keeps_room_for_the_network() -> None:
    grid = ModelGrid.of(_scan("RAS"), (2.0, 2.0, 2.0))
    needed = device_bytes(grid, 10**6)
    assert needed > 2 * 10**6
    run = Predictor(network_of(3), device="cpu")
    assert not run._on_device(needed, None)
    assert run._on_device(needed, round(needed / predictor._RESIDENT_FRACTION) + 1)
    assert not run._on_device(needed, 2 * needed)
