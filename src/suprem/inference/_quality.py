"""The quality flags of a predicted case, gathered mask by mask while it is written."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from suprem.inference.statistics import StructureStatistics
from suprem.quality import Evidence, body_midline_mm, find, gather
from suprem.volumes.geometry import Volume, to_ras

__all__ = ["QualityCheck"]


class QualityCheck:
    """Looks at each mask once, and judges all of them at the end.

    Args:
        scan: HU on its own grid.
        undecided_ml: structure -> volume in which the network was undecided.
    """

    def __init__(self, scan: Volume, undecided_ml: Mapping[str, float]) -> None:
        ras, self._step = to_ras(scan)
        self._spacing_mm = ras.spacing_mm
        self._midline_mm = body_midline_mm(ras.array, ras.spacing_mm)
        self._undecided_ml = undecided_ml
        self._evidence: list[Evidence] = []

    def add(self, row: StructureStatistics, mask: npt.NDArray[np.bool_]) -> None:
        """Looks at one mask on the grid of the scan, of which ``row`` is already measured."""
        box = None
        if row.start is not None and row.stop is not None:
            spans = []
            for axis, flip in zip(self._step.axes, self._step.flips, strict=True):
                low, high, size = row.start[axis], row.stop[axis], mask.shape[axis]
                spans.append(slice(size - high, size - low) if flip else slice(low, high))
            box = (spans[0], spans[1], spans[2])
        self._evidence.append(
            gather(
                row.structure,
                self._step.apply(mask),
                self._spacing_mm,
                mean_hu=row.mean_hu,
                std_hu=row.std_hu,
                undecided_ml=self._undecided_ml.get(row.structure),
                box=box,
            )
        )

    def judged(self, rows: Sequence[StructureStatistics]) -> list[StructureStatistics]:
        """The measurements of all masks, in the order they were added, with what was found."""
        findings = find(self._evidence, self._midline_mm)
        return [
            replace(row, evidence=one, findings=tuple(f for f in findings if f.structure == row.structure))
            for row, one in zip(rows, self._evidence, strict=True)
        ]
