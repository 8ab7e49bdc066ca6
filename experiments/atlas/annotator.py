"""An annotator who knows the truth: takes a hand-out, corrects what it is pointed to, and brings it back.

It works on the files alone, as a person would: it reads `ticket.json` and `labels.seg.nrrd`, replaces the structures
that are listed there as in doubt by the truth, leaves all others as they are, writes masks, and imports them.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from suprem.atlas._review_ticket import read_ticket
from suprem.atlas.review import Handout, ImportOutcome, import_case
from suprem.atlas.workspace import Atlas
from suprem.volumes.geometry import Volume
from suprem.volumes.io import write_volume
from suprem.volumes.slicer import read_segmentation

__all__ = ["Truth", "annotate"]

Truth = Callable[[str], Mapping[str, npt.NDArray[np.bool_]]]
"""Masks of a case, by its key."""


def annotate(
    atlas: Atlas, handout: Handout, truth: Truth, *, user: str = "annotator", thorough: bool = False
) -> list[ImportOutcome]:
    """Corrects and imports every case of a hand-out."""
    outcomes = []
    for case, folder in handout.folders.items():
        correct(folder, truth(case), thorough=thorough)
        outcomes.append(import_case(atlas, folder, user=user))
    return outcomes


def correct(folder: Path, truth: Mapping[str, npt.NDArray[np.bool_]], *, thorough: bool = False) -> tuple[str, ...]:
    """Writes the masks of the structures in doubt, or of all, into `segmentations/`; returns their names."""
    ticket, shown = read_ticket(folder), read_segmentation(folder / "labels.seg.nrrd")
    corrected = tuple(name for name in (truth if thorough else ticket.doubtful) if name in truth)
    target = folder / "segmentations"
    target.mkdir(exist_ok=True)
    for name in corrected:
        mask = Volume(truth[name].astype(np.uint8), shown.affine, name)
        write_volume(mask, target / f"{name}.nii.gz")
    if not corrected:
        target.rmdir()
    return corrected
