"""The page of one predicted case: its CT, its masks, what was measured of them, and how they were made."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suprem.inference.statistics import StructureStatistics
from suprem.report.document import Report
from suprem.report.sections import Flag, Section, StructureRow, Text, Viewer
from suprem.report.viewer import ViewerBuilder
from suprem.volumes.geometry import Volume

__all__ = ["PredictionReport", "structure_rows"]

_WARNING = (
    "Masks are a computer's guess and contain errors. Page through all slices before you use a number. "
    "Not for clinical use."
)


def structure_rows(
    rows: Sequence[StructureStatistics], flags: Mapping[str, Sequence[Flag]] | None = None
) -> list[StructureRow]:
    """Volume and mean HU of each structure, with what a reader should doubt.

    Args:
        rows: As :func:`suprem.inference.statistics.measure` gives them.
        flags: Structure -> remarks, each a few words, or a word and the sentence that it opens; instead of the row's
            own: its quality flags or, where these were not looked for, that it reaches the border of the scan.

    Example:
        >>> row = StructureStatistics("liver", 1, 9, 0.01, 55.0, touches_fov_border=("superior",))
        >>> structure_rows([row])[0].flags
        ('reaches the superior border of the scan',)
    """
    return [
        StructureRow(
            row.structure,
            {"Volume (ml)": row.volume_ml, "Mean HU": row.mean_hu},
            tuple((flags or {}).get(row.structure, ())) or _remarks(row),
        )
        for row in rows
    ]


def _remarks(row: StructureStatistics) -> tuple[Flag, ...]:
    if row.evidence is not None:
        return tuple((finding.flag, finding.text) for finding in row.findings)
    faces = row.touches_fov_border
    return (f"reaches the {' and '.join(faces)} border of the scan",) if faces else ()


class PredictionReport:
    """Collects the masks of a case while they are written, then writes its page.

    Args:
        scan: The CT in HU.
        command: What made the prediction, as typed; left out of the page when empty.
    """

    def __init__(self, scan: Volume, command: str = "") -> None:
        self._builder = ViewerBuilder(scan)
        self._command = command

    def add(self, name: str, mask: npt.NDArray[np.bool_]) -> None:
        """Takes one mask, bool (X, Y, Z) on the scan's grid; it is not kept."""
        self._builder.add(name, mask)

    def write(
        self,
        path: Path,
        case: str,
        rows: Sequence[StructureStatistics],
        manifest: Mapping[str, Any],
        flags: Mapping[str, Sequence[Flag]] | None = None,
    ) -> None:
        """Writes the page.

        Args:
            path: The file.
            case: Name of the case.
            rows: Measurements of all structures.
            manifest: As written beside the masks; what of it is about this case's making becomes the provenance.
            flags: Structure -> remarks.

        Raises:
            OutputError: the place cannot be written.
        """
        viewer: Viewer = self._builder.build(structure_rows(rows, flags))
        sections: list[Section] = [viewer, Text(_WARNING, kind="warning")]
        if manifest.get("warnings"):
            sections.insert(0, Text("\n\n".join(manifest["warnings"]), "How the scan was read", "warning"))
        model = manifest.get("model")
        name = model.get("name") if isinstance(model, Mapping) else None
        subtitle = f"segmented by {name}" if name else ""
        Report(case, sections, _provenance(manifest, self._command), subtitle).write(path)


def _provenance(manifest: Mapping[str, Any], command: str) -> dict[str, Any]:
    """What of a manifest tells how the masks came about, in the order in which people ask."""
    model = manifest.get("model")
    model = dict(model) if isinstance(model, Mapping) else {"name": model}
    config = model.pop("config", None)
    config = config if isinstance(config, Mapping) else {}
    facts = {
        "command": command,
        "created": manifest.get("created"),
        "model": model,
        "network": {key: config[key] for key in ("backbone", "head") if key in config},
        "preprocessing": config.get("preprocessing"),
        "settings": manifest.get("settings"),
        "scan": manifest.get("input"),
        "device": manifest.get("device"),
        "seconds": manifest.get("seconds"),
        "versions": manifest.get("versions"),
    }
    return {key: value for key, value in facts.items() if value}
