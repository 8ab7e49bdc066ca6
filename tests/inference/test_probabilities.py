"""Probabilities that leave the streaming engine, against those of MONAI's pipeline, which holds all of them."""

import resource
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from suprem.errors import ConfigurationError, OutputError, UnknownNameError
from suprem.inference import Predictor
from suprem.inference.grid import ModelGrid
from suprem.inference.probabilities import ProbabilityFile
from suprem.volumes import Volume
from tests.inference.test_predictor import masks_of, monai_logits, network_of, noise, patient

STEP = 1 / 255


@pytest.mark.parametrize("chosen", [None, [2, 0]])
@pytest.mark.parametrize(("count", "activation"), [(3, "sigmoid"), (12, "sigmoid"), (3, "softmax"), (12, "softmax")])
def test_every_voxel_has_the_probability_of_the_blended_logits(
    tmp_path: Path, count: int, activation: str, chosen: list[int] | None
) -> None:
    network, scan = network_of(count, activation), noise((34, 30, 31), (1.6, 1.9, 2.7))
    logits = torch.from_numpy(monai_logits(network, scan, 0.25))
    expected = logits.sigmoid() if activation == "sigmoid" else logits.softmax(0)[1:]
    names = [network.config.classes[i] for i in chosen or range(count)]
    predictor = Predictor(network, device="cpu", max_ram=None, quality="exhaustive", overlap=0.25, classes=names)
    plain = predictor.predict(scan)
    with ProbabilityFile(tmp_path) as sink:
        found = predictor.predict(scan, probabilities=sink)
        assert sink.classes == tuple(names)
        for name in names:
            values = sink.on_grid(name)
            assert values.dtype == np.uint8
            truth = expected[network.config.classes.index(name)].numpy()
            assert np.abs(values / 255 - truth).max() < 0.5 * STEP + 1e-4
            assert np.array_equal(values[:, :, 3:9], sink.on_grid(name, slice(3, 9)))
            if activation == "sigmoid":
                assert np.array_equal(values > 127, found.grid_mask(name))
    assert np.array_equal(masks_of(found), masks_of(plain))
    assert found.undecided_ml == plain.undecided_ml


def test_the_scan_gets_linear_interpolation(tmp_path: Path) -> None:
    network, scan = network_of(3), noise((34, 30, 31), (1.6, 1.9, 2.7))
    turned = Volume(scan.array.transpose(2, 0, 1)[::-1].copy(), np.diag([1.0, 1.0, 1.0, 1.0]), "turned")
    turned.affine[:3, :3] = np.array([[0, 1.6, 0], [0, 0, 1.9], [-2.7, 0, 0]])
    for volume in (scan, turned):
        with ProbabilityFile(tmp_path) as sink:
            Predictor(network, device="cpu", max_ram=None, quality="exhaustive").predict(volume, probabilities=sink)
            values, found = sink.on_grid("spleen"), sink.on_scan("spleen")
        grid = ModelGrid.of(volume, (2.0, 2.0, 2.0))
        index = np.indices(grid.scan_shape) / np.reshape(grid.steps, (3, 1, 1, 1))
        exact = map_coordinates(values.astype(float), index, order=1, mode="nearest")
        assert found.shape == volume.shape
        assert np.abs(found - grid.reorientation.invert(exact)).max() < 0.502


def test_parts_of_a_large_scan_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, scan = network_of(3), noise((34, 30, 31), (1.6, 1.9, 2.7))
    with ProbabilityFile(tmp_path) as sink:
        Predictor(network, device="cpu", max_ram=None).predict(scan, probabilities=sink)
        whole = sink.on_scan("spleen")
        monkeypatch.setattr("suprem.inference.probabilities.FILE_CHUNK_BYTES", 34 * 30 * 16 * 4)
        assert np.array_equal(sink.on_scan("spleen"), whole)


def test_equal_grids_are_not_interpolated(tmp_path: Path) -> None:
    network, scan = network_of(3), noise((20, 22, 18), (2.0, 2.0, 2.0))
    with ProbabilityFile(tmp_path) as sink:
        Predictor(network, device="cpu", max_ram=None).predict(scan, probabilities=sink)
        assert np.array_equal(sink.on_scan("spleen"), sink.on_grid("spleen"))


def test_nothing_is_probable_outside_the_body(tmp_path: Path) -> None:
    network, (scan, inside) = network_of(3, spacing=(4.0, 4.0, 4.0)), patient()
    predictor = Predictor(network, device="cpu", max_ram=None)
    with ProbabilityFile(tmp_path) as sink:
        segmentation = predictor.predict(scan, probabilities=sink)
        assert segmentation.info["body"] == "found"
        values = sink.on_grid("spleen")
    assert not values[60:].any()
    assert np.median(values[inside]) > 0
    assert np.array_equal(values > 127, segmentation.grid_mask("spleen"))


def test_a_class_can_be_brought_to_agree_with_its_repaired_mask(tmp_path: Path) -> None:
    network, scan = network_of(3), noise((20, 22, 18), (2.0, 2.0, 2.0))
    with ProbabilityFile(tmp_path) as sink:
        Predictor(network, device="cpu", max_ram=None).predict(scan, probabilities=sink)
        before = {name: sink.on_grid(name) for name in sink.classes}
        mask = np.random.default_rng(0).random(scan.shape) < 0.5
        sink.agree("kidney_right", mask)
        after = sink.on_grid("kidney_right")
        assert np.array_equal(after > 127, mask)
        same = (before["kidney_right"] > 127) == mask
        assert 0.2 < same.mean() < 0.8
        assert np.array_equal(after[same], before["kidney_right"][same])
        assert all(np.array_equal(sink.on_grid(name), before[name]) for name in ("spleen", "kidney_left"))


def _peak(action: Callable[[], object]) -> int:
    """The most memory that Python and NumPy have taken for it."""
    tracemalloc.start()
    action()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_no_array_of_classes_times_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suprem.inference.probabilities.FILE_CHUNK_BYTES", 2**20)
    network, scan = network_of(12, "softmax"), noise((56, 50, 60), (1.5, 1.5, 1.5))
    predictor = Predictor(network, device="cpu", max_ram=None, overlap=0.0)
    predictor.predict(scan)  # what is imported and kept at first use
    with ProbabilityFile(tmp_path) as sink:
        with_them = _peak(lambda: predictor.predict(scan, probabilities=sink))
        assert with_them - _peak(lambda: predictor.predict(scan)) < scan.array.size  # of twelve times that
        assert _peak(lambda: sink.on_scan("liver")) < scan.array.size + 1.5 * 2**20


def test_what_cannot_work(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nowhere"):
        ProbabilityFile(tmp_path / "nowhere")
    with ProbabilityFile(tmp_path) as sink:
        with pytest.raises(ConfigurationError, match="hand the file to"):
            sink.on_grid("spleen")
        Predictor(network_of(3), device="cpu", max_ram=None).predict(noise((9, 9, 9), (2, 2, 2)), probabilities=sink)
        with pytest.raises(UnknownNameError, match="liver"):
            sink.on_scan("liver")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    predictor, scan = Predictor(network_of(3), device="cpu", max_ram=None), noise((20, 20, 20), (2, 2, 2))
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    with ProbabilityFile(tmp_path) as sink:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * scan.array.size, most))
        try:
            with pytest.raises(OutputError, match="No space is left"):
                predictor.predict(scan, probabilities=sink)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    assert not list(tmp_path.iterdir())
