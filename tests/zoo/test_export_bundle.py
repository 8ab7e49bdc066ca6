"""MONAI bundles run with MONAI alone and find what our own predictor finds."""

import json
import subprocess
import sys
from pathlib import Path

import monai
import nibabel
import numpy as np
import pytest
import torch

from suprem import load_pretrained
from suprem.backbones import create_model
from suprem.errors import CheckpointError, ConfigurationError, OutputError
from suprem.inference import Predictor
from suprem.phantom import generate
from suprem.volumes.geometry import Volume
from suprem.volumes.io import read_ct, write_volume
from suprem.zoo.export import _monai_bundle, export
from tests.zoo.export_networks import CONV, small_network

# The mandatory keys of MONAI's bundle specification (the packages under their present name), and those of a tensor.
MANDATORY = {
    "version", "monai_version", "pytorch_version", "numpy_version", "required_packages_version", "task", "description",
    "authors", "copyright", "network_data_format",
}  # fmt: skip
TENSOR = {
    "type", "format", "modality", "num_channels", "spatial_shape", "dtype", "value_range", "is_patch_data",
    "channel_def",
}  # fmt: skip


def _scan(folder: Path, spacing_mm: tuple[float, float, float], layers: int) -> Volume:
    """Some layers of a phantom, looking to the left, as a file; no nearest voxel is a tie at these spacings."""
    case = generate(20240, spacing_mm=spacing_mm)
    low = int(120 / spacing_mm[2])
    array = np.ascontiguousarray(case.ct.array[::-1, :, low : low + layers])
    affine = case.ct.affine.copy()
    affine[:3, 3] += affine[:3, 2] * low + affine[:3, 0] * (array.shape[0] - 1)
    affine[:3, 0] *= -1
    folder.mkdir()
    write_volume(Volume(array, affine), folder / "scan.nii.gz")
    return read_ct(folder / "scan.nii.gz")


def _found(folder: Path, volume: Volume) -> np.ndarray:
    image = nibabel.load(folder / "scan_seg.nii.gz")  # type: ignore[attr-defined]
    np.testing.assert_allclose(image.affine, volume.affine, atol=1e-3)
    return np.asanyarray(image.dataobj)


@pytest.mark.slow
def test_a_bundle_of_monais_own_class_runs_without_us(tmp_path: Path) -> None:
    volume = _scan(tmp_path / "scans", (5.9, 6.1, 6.7), 16)
    report = export("segresnet_tiny.phantom", tmp_path / "bundle", format="monai-bundle")
    assert max(report.differences.values()) == 0
    words = ["run", "--config_file", "configs/inference.json", "--bundle_root", "."]
    words += ["--dataset_dir", str(tmp_path / "scans"), "--output_dir", str(tmp_path / "masks")]
    program = (
        "import runpy, sys\nsys.modules['suprem'] = None\n"  # importing it would be an error
        f"sys.argv[1:] = {words!r}\nrunpy.run_module('monai.bundle', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path / "bundle", capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = _found(tmp_path / "masks", volume)
    predicted = Predictor(load_pretrained("segresnet_tiny.phantom"), device="cpu", quality="exhaustive").predict(volume)
    ours = np.stack([predicted.mask(name) for name in predicted.classes], axis=-1)
    assert ours.sum() > 1000
    # Interpolation in another order may turn a voxel at the threshold: at most one of ten thousand.
    assert np.count_nonzero(ours != (found > 0)) <= 1e-4 * ours.sum()


@pytest.mark.slow
def test_a_bundle_of_a_program_runs(tmp_path: Path) -> None:
    from monai.bundle.scripts import run

    network = small_network("unet", activation="softmax")
    volume = _scan(tmp_path / "scans", (9.1, 9.3, 9.7), 10)
    bundle = tmp_path / "bundle"
    report = export(network, bundle, format="monai-bundle")
    assert max(report.differences.values()) <= 1e-6
    assert [path.name for path in (bundle / "models").iterdir()] == ["model.pt2"]
    run(
        config_file=str(bundle / "configs/inference.json"),
        bundle_root=str(bundle),
        dataset_dir=str(tmp_path / "scans"),
        output_dir=str(tmp_path / "masks"),
    )
    found = _found(tmp_path / "masks", volume)
    predicted = Predictor(network, device="cpu", quality="exhaustive").predict(volume)
    ours = sum(index * predicted.mask(name).astype(int) for index, name in enumerate(predicted.classes, start=1))
    assert len(np.unique(ours)) > 1
    assert np.count_nonzero(found != ours) <= 1e-3 * found.size


def test_the_folder_follows_the_specification(tmp_path: Path) -> None:
    from monai.bundle.workflows import ConfigWorkflow

    bundle = tmp_path / "bundle"
    export("segresnet_tiny.phantom", bundle, format="monai-bundle")
    files = sorted(path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file())
    assert files == [
        "configs/inference.json", "configs/metadata.json", "docs/README.md", "docs/license.txt", "models/model.pt",
    ]  # fmt: skip
    content = json.loads((bundle / "configs/metadata.json").read_text())
    assert content.keys() >= MANDATORY
    tensors = [*content["network_data_format"]["inputs"].values(), *content["network_data_format"]["outputs"].values()]
    assert all(tensor.keys() == TENSOR for tensor in tensors)
    assert content["network_data_format"]["outputs"]["pred"]["channel_def"]["5"] == "liver"
    assert "Apache-2.0" in content["copyright"]
    assert "Apache-2.0" in (bundle / "docs/license.txt").read_text()
    assert "suprem" not in (bundle / "configs/inference.json").read_text()
    workflow = ConfigWorkflow(
        str(bundle / "configs/inference.json"), str(bundle / "configs/metadata.json"), workflow_type="infer"
    )
    workflow.initialize()
    assert not workflow.check_properties()


def test_monais_swin_unetr_would_compute_something_else() -> None:
    """Why the bundle of a Swin UNETR holds a program: the tensors fit, and the result differs."""
    network = small_network("swinunetr")
    options = CONV["swinunetr"]
    theirs = monai.networks.nets.SwinUNETR(
        in_channels=1, out_channels=2, spatial_dims=3, feature_size=options["feature_size"], depths=options["depths"],
        num_heads=(3, 6, 12, 24), window_size=options["window_size"],
    ).eval()  # fmt: skip
    theirs.load_state_dict(network.state_dict())
    image = torch.rand(1, 1, 64, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert float((theirs(image) - network(image)).abs().max()) > 1e-3
    assert network.monai_definition() is None


def test_what_cannot_be_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = create_model("segresnet_tiny", num_classes=2, in_channels=2, **CONV["segresnet_tiny"])
    one = small_network("segresnet_tiny")
    assert one.config is not None
    two.config = type(one.config)(**{**vars(one.config), "in_channels": 2})
    with pytest.raises(ConfigurationError, match="takes 2 input channels; a bundle reads one CT"):
        export(two, tmp_path / "bundle", format="monai-bundle")
    definition = {**(one.monai_definition() or {}), "norm": ["GROUP", {"num_groups": 4}]}
    monkeypatch.setattr(type(one), "monai_definition", lambda self: definition)
    with pytest.raises(CheckpointError, match=r"The network of the bundle .* differs from PyTorch"):
        export(one, tmp_path / "bundle", format="monai-bundle")
    assert not list(tmp_path.iterdir())
    (tmp_path / "bundle").mkdir()
    with pytest.raises(OutputError, match="already exists"):
        export(one, tmp_path / "bundle", format="monai-bundle")


@pytest.mark.slow
def test_a_network_that_monai_cannot_build_becomes_a_program(tmp_path: Path) -> None:
    """As the one above does; `test_export.py` traces that one, which takes long."""
    network = small_network("segresnet_tiny", "universal")
    assert network.monai_definition() is None
    export(network, tmp_path / "bundle", format="monai-bundle")
    module = _monai_bundle._network(tmp_path / "bundle", "models/model.pt2")
    assert network.config is not None
    image = torch.rand(1, 1, *network.config.preprocessing.patch_size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(module(image), network(image), rtol=0, atol=1e-5)
