"""Fixtures that several test modules share; nothing heavy is imported before a test asks for it."""

import operator
import os
import random
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.doctest import DoctestModule

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from suprem.backbones._base import SegmentationNetwork
    from suprem.phantom import PhantomCase
    from suprem.volumes import Volume

# Before any test imports huggingface_hub, which reads these once: no test may reach the internet by accident. Tests
# that talk to the loopback hub run the client in a subprocess with an environment of their own.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")
# Two threads on two cores gain nothing on tiny volumes and halve the speed when two test processes run.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Looks for no examples in the docstrings of tests, which have none."""
    found = yield
    return [collector for collector in found if not isinstance(collector, DoctestModule)]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: with several processes nobody waits for a long one that came last."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests and fixtures that draw from the common generators get the same numbers, whatever ran before."""
    random.seed(0)
    for name, seed in (("numpy", "random.seed"), ("torch", "manual_seed")):
        module = sys.modules.get(name)  # neither is imported for this
        if module is not None:
            operator.attrgetter(seed)(module)(0)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The folder with golden vectors and real scans beside the repository; its tests are skipped without it."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"the folder of golden vectors and real scans is absent: {folder}")
    return folder


@pytest.fixture(scope="session")
def real_ct(shared_folder: Path) -> Path:
    """A real CT, 122 x 101 x 112 voxels at 3 mm."""
    path = shared_folder / "real" / "example_ct.nii.gz"
    if not path.is_file():
        pytest.skip(f"the real scan is absent: {path}")
    return path


@pytest.fixture(scope="session")
def phantom_case() -> "PhantomCase":
    """One synthetic abdomen of moderate size; generated once, so treat its arrays as read-only."""
    from suprem.phantom import generate

    return generate(20240, spacing_mm=(6.0, 6.0, 6.0))


@pytest.fixture
def phantom_ct(phantom_case: "PhantomCase", tmp_path: Path) -> Path:
    """The synthetic abdomen as a NIfTI file."""
    from suprem.volumes import write_volume

    path = tmp_path / "phantom.nii.gz"
    write_volume(phantom_case.ct, path)
    return path


@pytest.fixture
def make_volume() -> "Callable[..., Volume]":
    """Factory of small random volumes: ``make_volume(shape=..., spacing_mm=..., directions=..., seed=...)``."""
    import numpy as np

    from suprem.volumes import Volume

    def make(
        shape: tuple[int, int, int] = (12, 10, 8),
        spacing_mm: tuple[float, float, float] = (1.5, 1.5, 1.5),
        directions: "npt.NDArray[np.float64] | None" = None,
        seed: int = 0,
        name: str = "random",
    ) -> "Volume":
        array = np.random.default_rng(seed).integers(-200, 300, shape, dtype=np.int16)
        affine = np.eye(4)
        affine[:3, :3] = (np.eye(3) if directions is None else directions) * np.asarray(spacing_mm)
        affine[:3, 3] = (-11.0, 7.0, 23.0)
        return Volume(array, affine, name)

    return make


@pytest.fixture
def tiny_network() -> "Callable[..., SegmentationNetwork]":
    """Factory of a small seeded network with a configuration: ``tiny_network(classes=("liver", "spleen"))``."""
    import torch

    from suprem.backbones import create_model
    from suprem.zoo.config import ModelConfig, Preprocessing

    def make(classes: tuple[str, ...] = ("liver", "spleen"), seed: int = 0, **config: Any) -> "SegmentationNetwork":
        config.setdefault("preprocessing", Preprocessing(spacing_mm=(6.0, 6.0, 6.0), patch_size=(32, 32, 32)))
        settings = ModelConfig("tiny.test", "segresnet_tiny", classes, **config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = create_model(
                settings.backbone, num_classes=settings.num_channels, head=settings.head, **settings.backbone_kwargs
            )
        network.config = settings
        return network.eval()

    return make
