"""What may be wrong with a CT before anything is computed from it; seconds for a whole scan, no network needed.

Every check looks at the voxels and their grid alone, so nothing is certain: a symptom is a reason to look. The bounds
in the rules are what usual CTs of adults keep; ``experiments/quality/doctor.py`` counts on phantoms what is found, and
what is found wrongly.
"""

import os
from pathlib import Path

from suprem.errors import VolumeError
from suprem.volumes._scan_body import body_symptoms
from suprem.volumes._scan_grid import grid_symptoms
from suprem.volumes._scan_look import Look
from suprem.volumes._scan_slices import slice_symptoms
from suprem.volumes._scan_table import SCAN_CHECKS
from suprem.volumes._scan_values import value_symptoms
from suprem.volumes.geometry import Volume
from suprem.volumes.io import read_ct
from suprem.volumes.symptoms import Symptom

__all__ = ["SCAN_CHECKS", "check_scan", "check_scan_file"]


def check_scan(scan: Volume) -> tuple[Symptom, ...]:
    """Looks for what makes a prediction or a training case wrong or doubtful.

    Where the values are no HU, or the voxel size cannot be true, checks of the patient are left out.

    Args:
        scan: (X, Y, Z) on its own index axes, supposedly HU.

    Returns:
        Symptoms in the order of :data:`SCAN_CHECKS`; an empty tuple where nothing was found.

    Example:
        >>> import numpy as np
        >>> labels = np.zeros((40, 40, 20), dtype=np.uint8)
        >>> labels[10:30, 10:30] = 3
        >>> [symptom.code for symptom in check_scan(Volume(labels, np.diag([3.0, 3.0, 3.0, 1.0])))]
        ['label-map']
    """
    look = Look.at(scan)
    found = [*grid_symptoms(look), *value_symptoms(look)]
    if all(symptom.code != "label-map" for symptom in found):  # slices of labels may well be equal
        found += slice_symptoms(look)
    # Millimetres and HU are what the others rest on.
    if not any(symptom.severity == "error" or symptom.code == "spacing" for symptom in found):
        found += body_symptoms(look)
    order = list(SCAN_CHECKS)
    return tuple(sorted(found, key=lambda symptom: order.index(symptom.code)))


def check_scan_file(
    path: str | os.PathLike[str], *, series: str | int | None = None
) -> tuple[Volume | None, tuple[Symptom, ...]]:
    """Reads a scan and checks it; a scan that cannot be read is a symptom as well.

    Args:
        path: as for :func:`~suprem.volumes.io.read_ct`.
        series: DICOM only: which series.

    Returns:
        The scan, ``None`` where it cannot be read, and what was found.
    """
    try:
        scan = read_ct(Path(path), series=series)
    except VolumeError as error:
        return None, (Symptom.of(SCAN_CHECKS, "unreadable", str(error)),)
    return scan, check_scan(scan)
