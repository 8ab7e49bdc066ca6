"""The peers of the benchmarks of inference; runs in their environment, without suprem.

Both read the scan and the weights that ours reads and build MONAI's SegResNet, or the same two convolutions of one
voxel. Every file that a peer writes is checked against the scan: same shape, same affine, not empty.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from _harness import answer, median_seconds, timed

HU = (-175.0, 250.0)


def network_of(job: dict[str, Any]) -> Any:
    """The network of a job."""
    from monai.networks.nets import SegResNet

    state = torch.load(job["network"], weights_only=True)
    channels = job["classes"] + (job["activation"] == "softmax")
    if job["kind"] == "pointwise":
        first, second = torch.nn.Conv3d(1, 16, 1), torch.nn.Conv3d(16, channels, 1)
        network: torch.nn.Module = torch.nn.Sequential()
        network.add_module("features", first)
        network.add_module("head", second)
    else:
        network = SegResNet(
            spatial_dims=3,
            init_filters=16,
            in_channels=1,
            out_channels=channels,
            norm=("GROUP", {"num_groups": 8}),
            blocks_down=(1, 2, 2, 4),
            blocks_up=(1, 1, 1),
            upsample_mode="nontrainable",
        )
    network.load_state_dict(state)
    return network.eval()


def windows(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds of one window."""
    network, image = network_of(job), torch.rand(1, 1, *(job["patch"],) * 3)
    with torch.inference_mode():
        return {"window_s": median_seconds(lambda: network(image), job["count"])}


class Clock:
    """A network's calls, counted and timed."""

    def __init__(self, network: Any) -> None:
        self.network, self.seconds, self.calls = network, 0.0, 0

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """One forward pass."""
        start = time.perf_counter()
        found: torch.Tensor = self.network(torch.as_tensor(image))
        self.seconds += time.perf_counter() - start
        self.calls += 1
        return found


def check(path: Path, scan: Path) -> int:
    """Raises unless a written file lies on the scan's grid; returns how many voxels are labelled."""
    written, wanted = nib.load(path), nib.load(scan)
    if written.shape != wanted.shape or not np.allclose(written.affine, wanted.affine, atol=1e-3):
        raise RuntimeError(f"{path.name} has shape {written.shape} and not the grid of the scan, {wanted.shape}")
    return int(np.count_nonzero(np.asanyarray(written.dataobj)))


def by_monai(job: dict[str, Any]) -> dict[str, Any]:
    """Dictionary transforms, sliding window, sigmoid, `Invertd`, nibabel, as its tutorials do it.

    `inversions` is "classes": one per class, of which the first `inverted` are done and written; or "combined": one of
    the combined map, from which the masks are taken and written; or "combined only": the map alone is written.
    """
    from monai.inferers import sliding_window_inference
    from monai.transforms import (
        Compose,
        CropForegroundd,
        EnsureChannelFirstd,
        Invertd,
        LoadImaged,
        Orientationd,
        ScaleIntensityRanged,
        Spacingd,
    )

    network = Clock(network_of(job))
    prepare = Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
            Spacingd("image", pixdim=(job["spacing"],) * 3, mode="bilinear"),
            ScaleIntensityRanged("image", a_min=HU[0], a_max=HU[1], b_min=0.0, b_max=1.0, clip=True),
            CropForegroundd("image", source_key="image", allow_smaller=True),
        ]
    )
    invert = Invertd("pred", transform=prepare, orig_keys="image", nearest_interp=True, to_tensor=True)
    patch, scan = (job["patch"],) * 3, Path(job["scan"])
    phases: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        affine = nib.load(scan).affine
        with timed() as found:
            start = time.perf_counter()
            data = prepare({"image": scan})
            phases["prepare"] = -start + (start := time.perf_counter())
            with torch.inference_mode():
                logits = sliding_window_inference(data["image"][None], patch, 1, network, job["overlap"], "gaussian")
                masks = (torch.sigmoid(logits) > 0.5)[0]
            del logits
            phases["windows"] = -start + (start := time.perf_counter())
            if job["inversions"] == "classes":
                for c in range(min(job["inverted"], len(masks))):
                    data["pred"] = masks[c : c + 1].float()
                    _save(invert(data)["pred"][0], affine, Path(folder) / f"{c}.nii.gz")
            else:
                number = torch.arange(1, len(masks) + 1).reshape(-1, 1, 1, 1)
                data["pred"] = torch.stack([(masks[c] * number[c]) for c in range(len(masks))]).amax(0, keepdim=True)
                data["pred"] = data["pred"].float()
                combined = invert(data)["pred"][0]
                _save(combined, affine, Path(folder) / "combined.nii.gz")
                for c in range(len(masks) if job["inversions"] == "combined" else 0):
                    _save(combined == c + 1, affine, Path(folder) / f"{c}.nii.gz")
            phases["invert and write"] = time.perf_counter() - start
        voxels = [check(path, scan) for path in sorted(Path(folder).iterdir())]
    if not any(voxels):
        raise RuntimeError("MONAI's pipeline has labelled nothing")
    return {**found, "forward_s": network.seconds, "windows": network.calls, "files": len(voxels), "phases": phases}


def _save(mask: Any, affine: Any, path: Path) -> None:
    nib.save(nib.Nifti1Image(np.asarray(mask).astype(np.uint8), affine), path)


def by_nnunet(job: dict[str, Any]) -> dict[str, Any]:
    """nnU-Net's predictor and export in one process, without mirroring.

    Its reader has the axes the other way round, so the kernels are transposed: the network is the same function.
    """
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    torch.set_grad_enabled(False)
    network = network_of(job)
    state = {name: _transposed(value) for name, value in network.state_dict().items()}
    plans = PlansManager(_plans(job["spacing"], job["patch"]))
    names = {"background": 0, **{f"class {c}": c for c in range(1, job["classes"] + 1)}}
    about = {"channel_names": {"0": "CT"}, "labels": names, "numTraining": 1, "file_ending": ".nii.gz"}
    options = {"use_gaussian": True, "use_mirroring": False, "perform_everything_on_device": False}
    predictor = nnUNetPredictor(
        tile_step_size=1 - job["overlap"], device=torch.device("cpu"), allow_tqdm=False, **options
    )
    predictor.manual_initialization(network, plans, plans.get_configuration("3d_fullres"), [state], about, "none", None)
    clock, forward = Clock(network.forward), network.forward
    network.forward = clock  # nnU-Net calls the module itself
    scan = Path(job["scan"])
    with tempfile.TemporaryDirectory() as folder:
        with timed() as found:
            predictor.predict_from_files_sequential([[str(scan)]], [str(Path(folder) / "case")])
        (written,) = Path(folder).glob("case*.nii.gz")
        if not check(written, scan):
            raise RuntimeError("nnU-Net has labelled nothing")
        if job.get("out"):
            Path(job["out"]).write_bytes(written.read_bytes())
    network.forward = forward
    return {**found, "forward_s": clock.seconds, "windows": clock.calls, "files": 1}


def _transposed(value: torch.Tensor) -> torch.Tensor:
    return value.permute(0, 1, 4, 3, 2).contiguous() if value.ndim == 5 else value


def _plans(spacing: float, patch: int) -> dict[str, Any]:
    """What nnU-Net's planner writes, for our contract: its CT normalisation then maps the HU window to [0, 1]."""
    low, high = HU
    resample: dict[str, Any] = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "benchmark",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [patch] * 3,
        "median_image_size_in_voxels": [patch] * 3,
        "spacing": [spacing] * 3,
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resample,
        "resampling_fn_seg_kwargs": {**resample, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**resample, "order": 1},
        "architecture": {"network_class_name": "none", "arch_kwargs": {}, "_kw_requires_import": []},
        "batch_dice": False,
    }
    intensities = {"mean": low, "std": high - low, "percentile_00_5": low, "percentile_99_5": high}
    return {
        "dataset_name": "benchmark",
        "plans_name": "benchmark",
        "original_median_spacing_after_transp": [spacing] * 3,
        "original_median_shape_after_transp": [patch] * 3,
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "experiment_planner_used": "none",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {**intensities, "median": low, "min": low, "max": high}},
    }


if __name__ == "__main__":
    answer({"monai": by_monai, "nnunet": by_nnunet, "windows": windows})
