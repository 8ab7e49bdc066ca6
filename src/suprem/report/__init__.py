"""Results as one HTML file that people can look at without any program but a browser; resolved on first use."""

from typing import TYPE_CHECKING

from suprem._lazy import lazy_names

if TYPE_CHECKING:
    from suprem.report.document import Report
    from suprem.report.prediction import PredictionReport
    from suprem.report.sections import Picture, Section, StructureRow, Table, Text, Viewer
    from suprem.report.viewer import ViewerBuilder

__all__ = [
    "Picture",
    "PredictionReport",
    "Report",
    "Section",
    "StructureRow",
    "Table",
    "Text",
    "Viewer",
    "ViewerBuilder",
]

_HOMES = {
    "Picture": "suprem.report.sections",
    "PredictionReport": "suprem.report.prediction",
    "Report": "suprem.report.document",
    "Section": "suprem.report.sections",
    "StructureRow": "suprem.report.sections",
    "Table": "suprem.report.sections",
    "Text": "suprem.report.sections",
    "Viewer": "suprem.report.sections",
    "ViewerBuilder": "suprem.report.viewer",
}

__getattr__ = lazy_names(globals(), _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
