"""Scans: what inference records as well, and whether they fit into memory."""

from math import ceil, prod

from suprem.doctor.tables import SIZE_CHECKS
from suprem.errors import ConfigurationError
from suprem.inference.grid import ModelGrid
from suprem.inference.memory import Demand, Plan, make_plan
from suprem.volumes.geometry import Volume
from suprem.volumes.scan_checks import check_scan_file
from suprem.volumes.scans import ScanInput
from suprem.volumes.symptoms import Symptom

__all__ = ["expected_plan", "scan_symptoms"]

# Of the SuPreM checkpoint that runs on a CPU: spacing, window and classes of its card, features of its decoder.
_SPACING_MM = (1.5, 1.5, 1.5)
_PATCH = (96, 96, 96)
_CLASSES, _FEATURES = 32, 16
_WEIGHT_BYTES = 19 * 2**20
_FEATURE_COPIES = 5
"""Of the decoder's features, the least that one window takes; see :func:`suprem.inference.devices.window_bytes`."""
_LIBRARY_BYTES = 380 * 2**20
"""Of Python, torch and the other libraries, from experiments/benchmarks/results_inference_memory.csv."""


def scan_symptoms(scan: ScanInput, max_ram: str | int | None, series: str | int | None) -> tuple[Symptom, ...]:
    """What is found in one scan.

    Args:
        scan: which.
        max_ram: memory that prediction may take, ``None`` for no limit.
        series: DICOM only: which series.
    """
    volume, found = check_scan_file(scan.path, series=series if scan.kind == "dicom" else None)
    if volume is None:
        return found
    try:
        expected_plan(volume, max_ram)
    except ConfigurationError as error:
        told = str(error).partition(" Raise")[0]
        return (*found, Symptom.of(SIZE_CHECKS, "memory", told.replace("with this network", "with a SegResNet")))
    return found


def expected_plan(volume: Volume, max_ram: str | int | None) -> Plan:
    """The plan of inference for the default network on a CPU, before anything is loaded or measured.

    Raises:
        ConfigurationError: nothing fits into ``max_ram``.
    """
    grid = ModelGrid.of(volume, _SPACING_MM)
    width, depth, _ = grid.shape
    window = 4 * _FEATURES * prod(_PATCH) * _FEATURE_COPIES
    demand = Demand(
        model_shape=grid.shape,
        scan_shape=grid.scan_shape,
        in_use=_LIBRARY_BYTES + volume.array.nbytes + _WEIGHT_BYTES,
        scan_bytes=volume.array.nbytes,
        weights_bytes=_WEIGHT_BYTES,
        label_bytes=prod(grid.shape) * ceil(_CLASSES / 8),
        patch_size=_PATCH,
        channels=_FEATURES,
        blends="features",
        window_bytes=window,
        # Two thirds of a slab: what :class:`suprem.inference.slabs.SlabLayout` keeps open.
        open_voxels=lambda batch: ceil(2 / 3 * width * depth * _PATCH[2]),
    )
    return make_plan(demand, max_ram, batches=(1,))
