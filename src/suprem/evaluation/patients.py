"""From voxels to patients: does this patient have a lesion, and how sure is that?

The rule is the one with which SuPreM's tumour classification was scored on scans of two contrast phases.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from suprem.errors import ConfigurationError

__all__ = ["PANCREAS_LESIONS", "LesionType", "PatientDecision", "PhaseScan", "decide_patient", "valid_lesions"]

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class LesionType:
    """A kind of lesion and when it counts.

    Attributes:
        name: of the structure.
        phase: contrast phase whose scan decides.
        minimum_voxels: least size of a valid lesion, in voxels of the scan.
    """

    name: str
    phase: str
    minimum_voxels: int

    def at_spacing(
        self, spacing_mm: tuple[float, float, float], stated_mm: tuple[float, float, float] = (0.5, 0.5, 0.5)
    ) -> "LesionType":
        """The same least volume on another grid, at least one voxel.

        Args:
            spacing_mm: of the scan.
            stated_mm: for which ``minimum_voxels`` was stated.
        """
        voxels = self.minimum_voxels * math.prod(stated_mm) / math.prod(spacing_mm)
        return replace(self, minimum_voxels=max(1, math.ceil(round(voxels, 6))))


PANCREAS_LESIONS = (
    LesionType("pancreas_pdac", "venous", 30),
    LesionType("pancreas_cyst", "venous", 40),
    LesionType("pancreas_pnet", "arterial", 35),
)
"""Those of the paper's tumour classification: the sizes hold for voxels of 0.5 mm."""


@dataclass(frozen=True, eq=False)
class PhaseScan:
    """What was segmented in one scan of a patient.

    Attributes:
        organ: bool (X, Y, Z), the organ without its lesions.
        lesions: name -> bool array of the same shape.
        probabilities: name -> array of the same shape, in [0, 1]; empty where no score is wanted.
    """

    organ: npt.NDArray[Any]
    lesions: Mapping[str, npt.NDArray[Any]]
    probabilities: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class PatientDecision:
    """Of one patient.

    Attributes:
        positive: any valid lesion was found.
        lesions: number of valid lesions of each type.
        score: in [0, 1], higher for positive; ``None`` without probabilities.
    """

    positive: bool
    lesions: dict[str, int]
    score: float | None


def valid_lesions(lesion: npt.NDArray[Any], organ: npt.NDArray[Any], minimum_voxels: int) -> int:
    """Counts the lesions that are large enough and touch the organ.

    Lesions are parts connected by faces (6 neighbours). The organ is its largest such part, dilated by a cube of 3 x 3
    x 3 voxels; a lesion that shares a voxel with it touches it.

    Args:
        lesion: bool or 0/1 (X, Y, Z).
        organ: the same shape; without lesions, or with them.
        minimum_voxels: least size.

    Raises:
        ConfigurationError: shapes differ, or the least size is below 1.
    """
    if lesion.shape != organ.shape or lesion.ndim != 3:
        raise ConfigurationError(
            f"lesion is {lesion.shape} and organ {organ.shape}; both must be (X, Y, Z) on the same grid."
        )
    if minimum_voxels < 1:
        raise ConfigurationError(f"minimum_voxels is {minimum_voxels}; a lesion has at least one.")
    parts, sizes = _parts(lesion)
    organs, organ_sizes = _parts(organ)
    if not len(sizes) or not len(organ_sizes):
        return 0
    largest = organs == int(np.argmax(organ_sizes)) + 1
    near = ndimage.binary_dilation(largest, structure=np.ones((3, 3, 3), dtype=bool))
    touching = np.unique(parts[near & (parts > 0)])
    return int(np.count_nonzero(sizes[touching.astype(np.intp) - 1] >= minimum_voxels))


def _parts(mask: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.intp]]:
    dense = np.ascontiguousarray(mask.astype(bool))
    labels = cc3d.connected_components(dense, connectivity=6, binary_image=True)
    return labels, np.bincount(labels.ravel())[1:]


def decide_patient(scans: Mapping[str, PhaseScan], types: Sequence[LesionType] = PANCREAS_LESIONS) -> PatientDecision:
    """Decides whether a patient has a lesion of one of the types, each looked for in the scan of its phase.

    The patient is positive if any valid lesion exists, see :func:`valid_lesions`; which type it was taken for does not
    matter. The truth of a patient follows from reference masks by the same rule.

    The score of a scan is the largest probability of a type within the voxels of that type, and within the organ the
    largest mean of the probabilities of the types that the phase decides; the score of the patient is the largest of
    its scans. It does not look at sizes, and is 0 where neither organ nor lesion was segmented.

    Args:
        scans: phase -> scan.
        types: lesions that make a patient positive.

    Raises:
        ConfigurationError: no types; a phase, mask or probability is missing; shapes differ; a probability is not in
            [0, 1].
    """
    if not types:
        raise ConfigurationError("types is empty; name the lesions that make a patient positive.")
    for kind in types:
        if kind.phase not in scans:
            raise ConfigurationError(
                f"{kind.name} is decided in the {kind.phase} phase; this patient has {', '.join(scans) or 'no scan'}."
            )
        if kind.name not in scans[kind.phase].lesions:
            raise ConfigurationError(
                f"The {kind.phase} scan has no mask of {kind.name}; give an empty one if so meant."
            )
    lesions = {
        kind.name: valid_lesions(scans[kind.phase].lesions[kind.name], scans[kind.phase].organ, kind.minimum_voxels)
        for kind in types
    }
    phases = dict.fromkeys(kind.phase for kind in types)
    score = None
    if any(scans[phase].probabilities for phase in phases):
        names = {phase: [kind.name for kind in types if kind.phase == phase] for phase in phases}
        score = max(_scan_score(phase, scans[phase], names[phase]) for phase in phases)
    return PatientDecision(any(lesions.values()), lesions, score)


def _scan_score(phase: str, scan: PhaseScan, names: Sequence[str]) -> float:
    organ = scan.organ.astype(bool)
    best, total = 0.0, np.zeros(int(np.count_nonzero(organ)))
    for name in names:
        if name not in scan.probabilities:
            raise ConfigurationError(
                f"The {phase} scan has no probabilities of {name}; give those of all types or none."
            )
        values = scan.probabilities[name]
        if values.shape != organ.shape:
            raise ConfigurationError(f"Probabilities of {name} are {values.shape}, the organ is {organ.shape}.")
        inside, within = values[scan.lesions[name].astype(bool)], values[organ]
        for part in (inside, within):
            if part.size and not (part.min() >= 0 and part.max() <= 1):  # also where one is NaN
                raise ConfigurationError(
                    f"Probabilities of {name} in the {phase} scan run from {part.min()} to {part.max()}; bring them to "
                    "[0, 1] first."
                )
        best = max(best, float(inside.max(initial=0.0)))
        total += within
    return max(best, float(total.max(initial=0.0)) / len(names))
