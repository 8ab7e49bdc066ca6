"""A network and scans small enough that a test of the driver predicts in a fraction of a second."""

from pathlib import Path

import numpy as np
import torch

from suprem.backbones import create_model
from suprem.volumes.geometry import Volume
from suprem.volumes.io import write_volume
from suprem.zoo import ModelConfig, Preprocessing, save_folder

CLASSES = ("liver", "liver_tumor", "spleen")
SHAPE = (26, 22, 18)
SPACING_MM = (5.0, 5.0, 6.0)


def save_tiny_model(folder: Path, *, seed: int = 0, label_space: str | None = "universal_32") -> str:
    """Writes random weights that find something of every class; returns what ``--model`` takes."""
    torch.manual_seed(seed)
    network = create_model("segresnet_tiny", num_classes=len(CLASSES), blocks_down=(1, 1), blocks_up=(1,))
    network.config = ModelConfig(
        f"tiny.seed_{seed}",
        "segresnet_tiny",
        CLASSES,
        label_space=label_space,
        backbone_kwargs={"blocks_down": (1, 1), "blocks_up": (1,)},
        preprocessing=Preprocessing((6.0, 6.0, 6.0), patch_size=(16, 16, 16)),
    )
    return f"local-dir:{save_folder(network, folder)}"


def tiny_hu(seed: int = 0) -> np.ndarray:
    """int16 (X, Y, Z): a cylinder of soft tissue with blobs, in air."""
    rng = np.random.default_rng(seed)
    x, y, _ = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    body = x**2 + y**2 < 0.8
    blobs = rng.normal(0, 1, [n // 3 + 1 for n in SHAPE]).repeat(3, 0).repeat(3, 1).repeat(3, 2)
    hu = np.where(body, 40 + 60 * blobs[: SHAPE[0], : SHAPE[1], : SHAPE[2]], -1000)
    return (hu + rng.normal(0, 5, SHAPE)).astype(np.int16)


def save_scan(path: Path, seed: int = 0) -> Path:
    """An oblique scan that looks to the left, the back and up."""
    angle = np.radians(7)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag((-1, -1, 1)) * SPACING_MM
    affine[:3, 3] = (60.0, 55.0, -30.0)
    write_volume(Volume(tiny_hu(seed), affine), path)
    return path
