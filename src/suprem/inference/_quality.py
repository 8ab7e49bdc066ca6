"""The quality flags of a predicted case, gathered mask by mask while it is written."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from suprem.inference.statistics import StructureStatistics
from suprem.quality import Evidence, body_midline_mm, find, gather
from suprem.volumes.geometry import to_ras

if TYPE_CHECKING:
    from suprem.inference.segmentation import Segmentation

__all__ = ["QualityCheck"]


class QualityCheck:
    """Looks at each mask once, and judges all of them at the end.

    Masks are looked at on the model's grid, where they were predicted: the nearest labels that the scan's grid gets
    have the same parts, and many times as many voxels.

    Args:
        segmentation: What was predicted.
    """

    def __init__(self, segmentation: "Segmentation") -> None:
        ras, _ = to_ras(segmentation.scan)
        self._midline_mm = body_midline_mm(ras.array, ras.spacing_mm)
        self._segmentation = segmentation
        self._evidence: list[Evidence] = []

    def add(self, row: StructureStatistics) -> None:
        """Looks at the structure that ``row`` has measured on the grid of the scan."""
        mask = self._segmentation.grid_mask(row.structure)
        if row.empty:  # too small to be seen there
            mask[:] = False
        self._evidence.append(
            gather(
                row.structure,
                mask,
                self._segmentation.grid_spacing_mm,
                mean_hu=row.mean_hu,
                std_hu=row.std_hu,
                undecided_ml=self._segmentation.undecided_ml.get(row.structure),
            )
        )

    def judged(self, rows: Sequence[StructureStatistics]) -> list[StructureStatistics]:
        """The measurements of all masks, in the order they were added, with what was found."""
        findings = find(self._evidence, self._midline_mm)
        return [
            replace(row, evidence=one, findings=tuple(f for f in findings if f.structure == row.structure))
            for row, one in zip(rows, self._evidence, strict=True)
        ]
