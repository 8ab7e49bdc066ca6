"""The labels of one case in a round: the predictions of its models, fused."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from suprem._files import atomic_folder
from suprem.atlas.fusion import Fusion, fused_masks
from suprem.atlas.label_set import LabelSet, Provenance
from suprem.atlas.predictions import Prediction
from suprem.errors import ConfigurationError

__all__ = ["FuseJob", "fuse_case"]

_MADE_OF = "fusion.json"


@dataclass(frozen=True)
class FuseJob:
    """One case; can be sent to another process.

    Attributes:
        case: its key.
        folder: where the labels go.
        shape: voxels (X, Y, Z) of the stored grid.
        affine: index -> RAS mm.
        structures: of the atlas.
        fusion: how the predictions are fused.
        round: of the atlas.
        models: name with version of each model, and its prediction.
        made_of: what the labels are a function of; plain JSON values.
    """

    case: str
    folder: Path
    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    structures: tuple[str, ...]
    fusion: Fusion
    round: int
    models: tuple[tuple[str, Path], ...]
    made_of: Mapping[str, Any]

    def is_done(self) -> bool:
        """Whether the labels are there, made of what they should be."""
        try:
            return bool(json.loads((self.folder / _MADE_OF).read_text(encoding="utf-8")) == self.made_of)
        except (OSError, ValueError):
            return False


def fuse_case(job: FuseJob) -> None:
    """Writes the labels of one case; a structure is fused over the models that know it.

    Raises:
        SupremError: a prediction is damaged, or the labels cannot be written.
    """
    predictions = [Prediction.open(folder) for _, folder in job.models]
    for prediction in predictions:
        if prediction.shape != job.shape:
            raise ConfigurationError(
                f"{prediction.folder} has the shape {prediction.shape}, not {job.shape}; delete it."
            )
    provenance = {}
    for name in job.structures:
        labels = [label for (label, _), p in zip(job.models, predictions, strict=True) if name in p.classes]
        if labels:
            provenance[name] = Provenance("pseudo", f"{', '.join(labels)}; {job.fusion}", job.round)
    masks = fused_masks(predictions, job.structures, job.fusion)
    fused = LabelSet.from_masks(masks, job.shape, np.array(job.affine), provenance)
    with atomic_folder(job.folder, overwrite=True) as folder:
        fused.write(folder)
        (folder / _MADE_OF).write_text(json.dumps(job.made_of, indent=1) + "\n", encoding="utf-8")
