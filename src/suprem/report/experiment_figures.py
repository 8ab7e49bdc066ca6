"""Figures of an experiment: hollow marks are the paper's numbers, filled ones ours; bars are standard deviations."""

import io
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from suprem.report.experiment import Experiment, Row
from suprem.report.table import significance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "png", "svg"]

# Okabe and Ito's colours, which people with each kind of colour blindness can tell apart; marks differ as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#B8AD00")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
PAPER, OURS = "paper", "here"
_MOST_COLUMNS, _MOST_TICKS = 4, 8
Key = tuple[str, ...]


def draw(experiment: Experiment) -> "Figure":
    """The figure of the paper with its printed numbers, and ours in it or beside it."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context({"text.parse_math": False, "font.size": 9}):  # a dollar sign in a name is a dollar sign
        kinds: dict[str, type[_Dots | _Curve | _Roc]] = {"table": _Dots, "curve": _Curve, "roc": _Roc}
        figure = Figure(layout="constrained")
        FigureCanvasAgg(figure)
        kinds[experiment.item.kind](experiment).draw(figure)
        return figure


def svg(figure: "Figure") -> str:
    """As a vector drawing; the same figure gives the same text."""
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "suprem", "text.parse_math": False}):
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        return text.getvalue()


def png(figure: "Figure") -> bytes:
    """As a picture of 150 dots per inch."""
    from matplotlib import rc_context

    with rc_context({"text.parse_math": False}):
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=150, metadata={"Software": None})
        return data.getvalue()


class _Drawing(ABC):
    """What the kinds of figures share: panels, colours per series, and the legend."""

    beside = False  # whether paper and ours have panels of their own
    styles = ("hollow", "filled", "; bars: ± 1 standard deviation over the runs")

    def __init__(self, experiment: Experiment) -> None:
        self.item = experiment.item
        self.metric = next(iter(self.item.metrics))
        self.sources = {
            name: [row for row in rows or () if self._is_drawn(row)]
            for name, rows in ((PAPER, experiment.expected), (OURS, experiment.results))
        }
        self.ran = experiment.results is not None
        every = [row for rows in self.sources.values() for row in rows]
        self.panels = list(dict.fromkeys(self._at(row, self.item.panels) for row in every)) or [()]
        self.series = list(dict.fromkeys(self._at(row, self.item.series) for row in every))
        self._handles: dict[Key, Any] = {}

    def _is_drawn(self, row: Row) -> bool:
        return row.point is None and row.metric == self.metric

    def _at(self, row: Row, keys: Sequence[str]) -> Key:
        return tuple(row.keys[key] for key in keys)

    def _words(self, values: Key) -> str:
        return ", ".join(_plain(self.item.label(value)) for value in values)

    def draw(self, figure: "Figure") -> None:
        """Fills the figure."""
        places = self._contents()
        columns = min(_MOST_COLUMNS, len(places))
        lines = math.ceil(len(places) / columns)
        width, height = self.size()
        figure.set_size_inches(max(6.0, columns * width), 1.4 + lines * height)
        grid = figure.subplots(lines, columns, squeeze=False).ravel().tolist()
        for axes, (panel, names) in zip(grid, places, strict=False):
            self._panel(axes, panel, names)
            title = [self._words(panel), *(names if len(names) == 1 else [])]
            axes.set_title(": ".join(part for part in title if part), fontsize=9)
        for axes in grid[len(places) :]:
            axes.set_axis_off()
        figure.suptitle(_plain(self.item.title), fontsize=11)
        handles = [(self._words(key), handle) for key, handle in self._handles.items() if key]
        labels, marks = zip(*handles, strict=True) if handles else ((), ())
        figure.legend(
            marks,
            labels,
            loc="outside lower center",
            ncols=max(1, min(4, len(labels))),
            fontsize=8,
            title=self._caption(),
            title_fontsize=8,
            frameon=False,
        )

    def _contents(self) -> list[tuple[Key, list[str]]]:
        """Panels, and the sources that are drawn into each; what has no number is not drawn beside what has."""
        full = [
            (panel, [name])
            for panel in self.panels
            for name in self.sources
            if any(self._has_place(row) for row in self._of(name, panel))
        ]
        if self.beside and full:
            return full
        return [(panel, list(self.sources)) for panel in (self.panels[:1] if self.beside else self.panels)]

    def _of(self, name: str, panel: Key) -> list[Row]:
        return [row for row in self.sources[name] if self._at(row, self.item.panels) == panel]

    def _has_place(self, row: Row) -> bool:
        return row.mean is not None

    def _caption(self) -> str:
        printed = any(self._has_place(row) for row in self.sources[PAPER])
        paper = f"{self.styles[0]}: printed in the paper" if printed else "the paper prints no numbers"
        ours = f"{self.styles[1]}: measured here" if self.ran else "not run here"
        return f"{paper}; {ours}{self.styles[2]}"

    def _panel(self, axes: "Axes", panel: Key, names: list[str]) -> None:
        drawn = False
        for name in names:
            rows = [row for row in self._of(name, panel) if self._has_place(row)]
            self._rows(axes, name, rows)
            drawn = drawn or bool(rows)
        if not drawn:
            said = {PAPER: "no numbers are printed in the paper", OURS: "not run here"}
            text = "\n".join(said[name] for name in names)
            axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#606060")

    def size(self) -> tuple[float, float]:
        """Of one panel in inches."""
        return 3.4, 3.0

    @abstractmethod
    def _rows(self, axes: "Axes", name: str, rows: list[Row]) -> None:
        """Draws the rows of one source that have a place into a panel."""

    def _style(self, series: Key, name: str) -> dict[str, Any]:
        place = self.series.index(series)
        colour = COLOURS[place % len(COLOURS)]
        face = "white" if name == PAPER else colour
        mark = MARKS[(place + place // len(COLOURS)) % len(MARKS)]  # the ninth series shares a colour, not the mark
        return {"color": colour, "marker": mark, "markerfacecolor": face, "markersize": 6}

    def _remember(self, series: Key, name: str, handle: Any) -> None:
        if name == OURS or series not in self._handles:
            self._handles[series] = handle


class _Dots(_Drawing):
    """A point per cell, its series told apart by colour and mark, one above the other."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(experiment)
        used = (*self.item.series, *self.item.panels)
        self._lines = tuple(key for key in self.item.keys if key not in used)
        # Panel -> line -> the series in it.
        self._of_panel: dict[Key, dict[Key, list[Key]]] = {panel: {} for panel in self.panels}
        for panel, lines in self._of_panel.items():
            for row in (row for name in self.sources for row in self._of(name, panel)):
                lanes, series = lines.setdefault(self._at(row, self._lines), []), self._at(row, self.item.series)
                if series not in lanes:
                    lanes.append(series)

    def size(self) -> tuple[float, float]:
        most = max(len(lines) for lines in self._of_panel.values())
        lanes = max(len(lanes) for lines in self._of_panel.values() for lanes in lines.values())
        return 3.6, 0.9 + most * max(0.3, 0.14 * lanes)

    def _panel(self, axes: "Axes", panel: Key, names: list[str]) -> None:
        lines = self._of_panel[panel]
        super()._panel(axes, panel, names)
        axes.set_yticks(range(len(lines)), [self._words(line) for line in lines], fontsize=8)
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.margins(x=0.15)
        _scale(axes, self.item.scale, [])
        axes.set_xlabel(_plain(self.item.metrics[self.metric].title))
        axes.grid(axis="x", color="#e0e0e0", linewidth=0.6)

    def _rows(self, axes: "Axes", name: str, rows: list[Row]) -> None:
        for row in rows:
            lines, line = self._of_panel[self._at(row, self.item.panels)], self._at(row, self._lines)
            series, lanes = self._at(row, self.item.series), lines[line]
            step = 0.8 / len(lanes)
            # The paper's and our mark of a series share its lane, a little apart.
            aside = (lanes.index(series) + 0.5) * step - 0.4 + (0.12 if name == OURS else -0.12) * step
            place = list(lines).index(line) + aside
            mean, style = float(row.mean or 0.0), self._style(series, name)
            handle = axes.errorbar(mean, place, xerr=row.sd, linewidth=1, capsize=2, ls="", **style)
            self._remember(series, name, handle)
            _mark(axes, row, (mean, place))


class _Curve(_Drawing):
    """The metric over a numeric key; paper and ours side by side, since their scales may have nothing in common."""

    beside = True

    def _panel(self, axes: "Axes", panel: Key, names: list[str]) -> None:
        super()._panel(axes, panel, names)
        placed = [row for name in names for row in self._of(name, panel) if self._has_place(row)]
        _scale(axes, self.item.scale, [self._x(row) for row in placed])
        axes.set_xlabel(_plain(self.item.label(self.item.x or "")))
        axes.set_ylabel(_plain(self.item.metrics[self.metric].title))
        axes.grid(color="#e0e0e0", linewidth=0.6)

    def _has_place(self, row: Row) -> bool:
        return row.mean is not None and bool(row.keys[self.item.x or ""])

    def _x(self, row: Row) -> float:
        return float(row.keys[self.item.x or ""])

    def _rows(self, axes: "Axes", name: str, rows: list[Row]) -> None:
        for series in self.series:
            own = [row for row in rows if self._at(row, self.item.series) == series]
            points = sorted(((self._x(row), row) for row in own), key=lambda point: point[0])
            if not points:
                continue
            places, means = [place for place, _ in points], [float(row.mean or 0.0) for _, row in points]
            bars = [row.sd or 0.0 for _, row in points] if any(row.sd for _, row in points) else None
            line = "--" if name == PAPER else "-"
            style = self._style(series, name)
            self._remember(
                series, name, axes.errorbar(places, means, yerr=bars, linewidth=1, capsize=2, ls=line, **style)
            )
            for place, row in points:
                _mark(axes, row, (place, float(row.mean or 0.0)))


class _Roc(_Drawing):
    """True against false positive rate."""

    beside = True
    styles = ("dashed", "solid", "; dotted: chance")

    def _is_drawn(self, row: Row) -> bool:
        return row.point is not None

    def _has_place(self, row: Row) -> bool:
        return row.point is not None

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(experiment)
        self._areas = {
            (name, tuple(row.keys.values())): row.mean
            for name, rows in ((PAPER, experiment.expected), (OURS, experiment.results or ()))
            for row in rows
            if row.metric == self.metric and row.mean is not None
        }
        every = [*experiment.expected, *(experiment.results or ())]
        self.panels = list(dict.fromkeys(self._at(row, self.item.panels) for row in every)) or [()]

    def _panel(self, axes: "Axes", panel: Key, names: list[str]) -> None:
        super()._panel(axes, panel, names)
        axes.plot([0, 1], [0, 1], color="#a0a0a0", linewidth=0.8, ls=":")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")

    def _rows(self, axes: "Axes", name: str, rows: list[Row]) -> None:
        lines = 0
        for series in self.series:
            own = [row for row in rows if self._at(row, self.item.series) == series]
            points = sorted(row.point for row in own if row.point)
            if not points:
                continue
            style = {"color": self._style(series, name)["color"], "ls": "--" if name == PAPER else "-"}
            (handle,) = axes.plot(*zip(*points, strict=True), linewidth=1.5, **style)
            self._remember(series, name, handle)
            area = self._areas.get((name, tuple(own[0].keys.values())))
            if area is not None:
                text = f"{self._words(series)}: {self.item.metrics[self.metric].label} {area:.3f}"
                axes.text(0.97, 0.05 + 0.08 * lines, text, color=style["color"], fontsize=8, ha="right")
                lines += 1


def _scale(axes: "Axes", scale: str, ticks: Sequence[float]) -> None:
    """Sets the scale of the horizontal axis and writes its numbers plainly, at the given places if they are few."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale(scale)
    places = sorted(set(ticks))
    if 0 < len(places) <= _MOST_TICKS:
        axes.set_xticks(places, [f"{place:g}" for place in places], rotation=45, fontsize=8)
        axes.minorticks_off()
    elif scale == "log":
        axes.xaxis.set_major_locator(LogLocator(numticks=6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())


def _mark(axes: "Axes", row: Row, place: tuple[float, float]) -> None:
    if row.p_value is not None:
        axes.annotate(significance(row.p_value), place, (4, 2), textcoords="offset points", fontsize=7)


def _plain(text: str) -> str:
    """One line that the fonts can draw."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
