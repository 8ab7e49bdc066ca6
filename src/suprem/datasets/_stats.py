"""What a store holds, structure by structure."""

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from suprem._files import atomic_path
from suprem.errors import ConfigurationError
from suprem.labels import color, ordered
from suprem.volumes.store import CaseRecord, Store

__all__ = ["StructureSummary", "plot", "summarise", "write_csv"]


@dataclass(frozen=True)
class StructureSummary:
    """One structure over all cases of a store.

    Attributes:
        structure: its name.
        annotated: cases in which it was annotated.
        present: those among them that have a voxel of it.
        unknown: cases in which it was not annotated.
        mean_ml: mean volume where it is present.
        sd_ml: standard deviation of the volume over cases (n - 1); NaN for a single one.
        least_ml: smallest volume.
        most_ml: largest volume.
        mean_hu: mean over cases of the mean HU of up to 512 voxels of each, those that the store keeps for sampling.
        sd_hu: standard deviation of that mean over cases (n - 1).
    """

    structure: str
    annotated: int
    present: int
    unknown: int
    mean_ml: float = math.nan
    sd_ml: float = math.nan
    least_ml: float = math.nan
    most_ml: float = math.nan
    mean_hu: float = math.nan
    sd_hu: float = math.nan


def summarise(store: Store, *, intensities: bool = True) -> list[StructureSummary]:
    """Counts, volumes and intensities of every annotated structure, in the order of the registry.

    Args:
        store: The store.
        intensities: Read the CTs for the HU; without, the index alone answers.
    """
    volumes: dict[str, list[float]] = {}
    annotated: dict[str, int] = {}
    hu: dict[str, list[float]] = {}
    for record in store.records:
        means = _mean_hu(store, record) if intensities and record.labelled else {}
        for name in record.annotated:
            annotated[name] = annotated.get(name, 0) + 1
            if record.voxels[name]:
                millilitres = record.voxels[name] * math.prod(record.spacing_mm) / 1000
                volumes.setdefault(name, []).append(millilitres)
        for name, mean in means.items():
            hu.setdefault(name, []).append(mean)
    return [
        _summary(name, annotated[name], len(store), volumes.get(name, []), hu.get(name, []))
        for name in ordered(annotated)
    ]


def _mean_hu(store: Store, record: CaseRecord) -> dict[str, float]:
    case = store.case(record.key)
    ct = case.ct()
    points = {name: case.foreground(name) for name in record.annotated}
    return {name: float(ct[tuple(p.T)].mean(dtype=np.float64)) for name, p in points.items() if len(p)}


def _summary(name: str, annotated: int, cases: int, volumes: list[float], hu: list[float]) -> StructureSummary:
    found = StructureSummary(name, annotated, len(volumes), cases - annotated)
    if not volumes:
        return found
    values = {
        **asdict(found),
        "mean_ml": float(np.mean(volumes)),
        "sd_ml": _deviation(volumes),
        "least_ml": min(volumes),
        "most_ml": max(volumes),
    }
    if hu:
        values |= {"mean_hu": float(np.mean(hu)), "sd_hu": _deviation(hu)}
    return StructureSummary(**values)


def _deviation(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def write_csv(rows: Sequence[StructureSummary], path: Path) -> None:
    """Writes one line per structure; what is not known stays empty.

    Raises:
        OutputError: the file cannot be written.
    """
    names = [f.name for f in fields(StructureSummary)]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_cell(getattr(row, name)) for name in names] for row in rows)


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else round(value, 3)
    return value


def plot(rows: Sequence[StructureSummary], path: Path, title: str) -> None:
    """Draws, for every structure, in how many cases it is there, absent and unknown, and its volumes.

    Raises:
        ConfigurationError: there is no structure to draw.
        OutputError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not rows:
        raise ConfigurationError(f"{title} holds no annotated structure, so there is nothing to draw.")
    figure = Figure(figsize=(11, 1.2 + 0.22 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    counts, volumes = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(rows))
    start = np.zeros(len(rows))
    parts = (
        ("present", [row.present for row in rows], "#2f6fb0"),
        ("absent", [row.annotated - row.present for row in rows], "#e0a030"),
        ("not annotated", [row.unknown for row in rows], "#d8d8d8"),
    )
    for label, sizes, tone in parts:
        counts.barh(places, sizes, left=start, color=tone, label=label)
        start += sizes
    counts.set_yticks(places, [row.structure for row in rows], fontsize=8)
    counts.invert_yaxis()
    counts.set_xlabel("cases")
    counts.legend(fontsize=8)
    for place, row in zip(places, rows, strict=True):
        if row.present:
            own = tuple(part / 255 for part in color(row.structure))
            volumes.plot([row.least_ml, row.most_ml], [place, place], color="#808080", linewidth=1)
            volumes.plot(row.mean_ml, place, "o", color=own, markeredgecolor="#303030", markersize=5)
    volumes.set_xscale("log")
    volumes.set_xlabel("volume, ml (mean, smallest to largest)")
    figure.suptitle(title, fontsize=10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120, metadata={"Software": None})
