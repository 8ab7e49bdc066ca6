"""The quality flags of a predicted case: what is gathered of each mask while it is written, and judged at the end."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from suprem.inference.statistics import StructureStatistics
from suprem.quality import body_midline_mm, find, gather
from suprem.volumes.geometry import to_ras

if TYPE_CHECKING:
    from suprem.inference.segmentation import Segmentation

__all__ = ["QualityCheck"]


class QualityCheck:
    """Looks at each mask, and judges all of them at the end.

    Masks are looked at on the model's grid, where they were predicted: the nearest labels that the scan's grid gets
    have the same parts, and many times as many voxels.

    Args:
        segmentation: What was predicted.
    """

    def __init__(self, segmentation: "Segmentation") -> None:
        ras, _ = to_ras(segmentation.scan)
        self._midline_mm = body_midline_mm(ras.array, ras.spacing_mm)
        self._segmentation = segmentation

    def looked_at(self, row: StructureStatistics) -> StructureStatistics:
        """A structure as measured on the grid of the scan, with what is to be judged; threads may ask for it."""
        mask = self._segmentation.grid_mask(row.structure)
        if row.empty:  # too small to be seen there
            mask[:] = False
        evidence = gather(
            row.structure,
            mask,
            self._segmentation.grid_spacing_mm,
            mean_hu=row.mean_hu,
            std_hu=row.std_hu,
            undecided_ml=self._segmentation.undecided_ml.get(row.structure),
        )
        return replace(row, evidence=evidence)

    def judged(self, rows: Sequence[StructureStatistics]) -> list[StructureStatistics]:
        """All structures, once they were looked at, with what was found."""
        findings = find([row.evidence for row in rows if row.evidence], self._midline_mm)
        return [replace(row, findings=tuple(f for f in findings if f.structure == row.structure)) for row in rows]
