"""What stands in a MONAI bundle: the configuration that runs, the metadata, and the page for people."""

from typing import Any

import monai
import numpy as np
import torch

from suprem._version import __version__
from suprem.zoo.export._subject import Subject

__all__ = ["PROGRAM", "STATE", "inference", "metadata", "readme"]

STATE, PROGRAM = "models/model.pt", "models/model.pt2"

# MONAI's published bundles name the same address; `monai.bundle verify_metadata` downloads it.
_SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
_PACKAGES = {"fire": "0.7.1", "nibabel": "5.4.2", "pytorch-ignite": "0.5.5"}
"""What `python -m monai.bundle run` needs beside MONAI, in the versions it was tried with."""


def inference(subject: Subject, definition: dict[str, Any] | None) -> dict[str, Any]:
    """The content of ``configs/inference.json``.

    Args:
        subject: what is exported.
        definition: MONAI's class and its arguments; ``None`` takes the traced program.
    """
    load = f"torch.export.load(@bundle_root + '/{PROGRAM}')"
    program = f"$torch.export.unflatten(move_to_device_pass({load}, str(@device)))"
    loader = {
        "_target_": "CheckpointLoader",
        "load_path": f"$@bundle_root + '/{STATE}'",
        "load_dict": {"model": "@network"},
        "map_location": "@device",
        "strict": True,
    }
    return {
        "imports": ["$import glob", "$import numpy", "$import torch"]
        + ([] if definition else ["$from torch.export.passes import move_to_device_pass"]),
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/input'",
        "output_dir": "$@bundle_root + '/eval'",
        "datalist": "$sorted(glob.glob(@dataset_dir + '/*.nii.gz'))",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": definition or program,
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": _preprocessing(subject)},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': path} for path in @datalist]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": list(subject.config.preprocessing.patch_size),
            "sw_batch_size": 1,
            "overlap": 0.5,
            "mode": "gaussian",
            "sigma_scale": 0.125,
            "padding_mode": "constant",
            "cval": 0.0,
        },
        "postprocessing": {"_target_": "Compose", "transforms": _postprocessing(subject)},
        "handlers": [loader] if definition else [],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
            "amp": False,
        },
        "run": ["$@evaluator.run()"],
    }


def _preprocessing(subject: Subject) -> list[dict[str, Any]]:
    contract = subject.config.preprocessing
    # Said, because the default changed between versions of MONAI; its readers give affines that lead to RAS.
    axes = {"axcodes": contract.orientation, "labels": [["L", "R"], ["P", "A"], ["I", "S"]]}
    transforms: list[dict[str, Any]] = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", **axes},
    ]
    if contract.spacing_mm is not None:
        transforms.append(
            {"_target_": "Spacingd", "keys": "image", "pixdim": list(contract.spacing_mm), "mode": "bilinear"}
        )
    lower, upper = contract.hu_window
    scaled = {"a_min": lower, "a_max": upper, "b_min": 0.0, "b_max": 1.0, "clip": True}
    transforms.append({"_target_": "ScaleIntensityRanged", "keys": "image", **scaled})
    transforms.append({"_target_": "EnsureTyped", "keys": "image"})
    return transforms


def _postprocessing(subject: Subject) -> list[dict[str, Any]]:
    if subject.config.activation == "softmax":
        decision: list[dict[str, Any]] = [{"_target_": "AsDiscreted", "keys": "pred", "argmax": True}]
    else:
        decision = [
            {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
            {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5},
        ]
    # Decided on the model's grid, then carried to the scanner's by the nearest voxel.
    back = {"transform": "@preprocessing", "orig_keys": "image", "nearest_interp": True, "to_tensor": True}
    save = {"output_dir": "@output_dir", "output_postfix": "seg", "separate_folder": False, "resample": False}
    kind = "$numpy.uint8" if len(subject.channels) <= 256 else "$numpy.uint16"
    return [
        *decision,
        {"_target_": "Invertd", "keys": "pred", **back},
        {"_target_": "SaveImaged", "keys": "pred", **save, "output_dtype": kind},
    ]


def metadata(subject: Subject) -> dict[str, Any]:
    """The content of ``configs/metadata.json``: the keys of MONAI's specification, and our contract beside them."""
    config, known = subject.config, subject.card
    patch = list(config.preprocessing.patch_size)
    tensor = {"type": "image", "modality": "CT", "spatial_shape": patch, "dtype": "float32", "is_patch_data": True}
    names = {str(index): name for index, name in enumerate(subject.channels)}
    output = "labels" if config.activation == "softmax" else "classes"
    return {
        "schema": _SCHEMA,
        "version": "0.1.0",
        "changelog": {"0.1.0": f"exported by suprem {__version__}"},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__,
        "numpy_version": np.__version__,
        "required_packages_version": _PACKAGES,
        "name": config.name,
        "task": f"Segmentation of {len(config.classes)} structures in CT",
        "description": known.title if known else f"{config.backbone} with a {config.head} head, exported by suprem",
        "authors": known.paper.authors if known else "not recorded",
        "copyright": subject.terms,
        "intended_use": "Research. Not a medical device, not for clinical use.",
        "data_source": known.training_data.value if known else "not recorded",
        "references": [f"{known.paper.title}, {known.paper.venue} {known.paper.year}"] if known else [],
        "network_data_format": {
            "inputs": {
                "image": {
                    **tensor,
                    "format": "hounsfield",
                    "num_channels": config.in_channels,
                    "value_range": [0, 1],
                    "channel_def": {"0": "image"},
                }
            },
            "outputs": {
                "pred": {
                    **tensor,
                    "format": output,
                    "num_channels": len(names),
                    "value_range": [],
                    "channel_def": names,
                }
            },
        },
        "suprem": subject.metadata(),
    }


def readme(subject: Subject, definition: dict[str, Any] | None) -> str:
    """The content of ``docs/README.md``."""
    if definition is not None:
        network = f"MONAI's `{definition['_target_'].rsplit('.', 1)[-1]}`, with the weights in `{STATE}`."
    else:
        network = (
            f"a `torch.export` program, `{PROGRAM}`, since MONAI has no class that computes the same from these "
            f"weights. There is no `{STATE}`. A program is executed when it runs: run it if you trust its origin."
        )
    softmax = subject.config.activation == "softmax"
    result = "one label map" if softmax else "one mask per structure along the fourth axis, since they may overlap"
    rows = "\n".join(f"| {index} | {name} |" for index, name in enumerate(subject.channels))
    return (
        f"# {subject.config.name}\n\nNot for clinical use.\n\n## Run\n\n```bash\n"
        "pip install monai nibabel pytorch-ignite fire\n"
        "python -m monai.bundle run --config_file configs/inference.json --bundle_root . \\\n"
        "    --dataset_dir scans --output_dir masks\n```\n\n"
        f"`scans` holds CTs in HU as `.nii.gz`; `masks` gets {result}, on the grid of each scan. All channels of a "
        "whole scan are held in memory at once; `suprem predict` does without, and skips windows outside the body.\n\n"
        f"## Network\n\n{network} It takes {subject.sizes}.\n\n"
        f"## Channels\n\n| channel | structure |\n|---|---|\n{rows}\n\n## Terms\n\n{subject.terms}\n"
    )
