"""What the folder of an experiment holds: what is claimed, the numbers of the paper, and ours where it has been run.

``item.yaml`` says what the rows mean and how they are drawn, ``expected.csv`` holds the paper's numbers, and
``results.csv`` ours. Both tables have one row per cell: the key columns that ``item.yaml`` names, then
``metric,mean,sd,n,p_value,test,note``; points of ROC curves have ``x,y`` as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from suprem.errors import ConfigurationError, did_you_mean

__all__ = ["EXPECTED", "ITEM", "RESULTS", "VALUES", "Comparison", "Experiment", "Item", "Metric", "Row"]

ITEM, EXPECTED, RESULTS = "item.yaml", "expected.csv", "results.csv"
VALUES = ("metric", "mean", "sd", "n", "p_value", "test", "note")  # columns after those of the keys


@dataclass(frozen=True)
class Metric:
    """One quantity.

    Attributes:
        label: as it is written in tables and axes.
        unit: what the numbers in the files are; ``percent`` is 0 to 100.
        better: the direction of an improvement.
    """

    label: str
    unit: Literal["percent", "fraction", "hours", "count", "billions"]
    better: Literal["higher", "lower", "neither"] = "higher"

    @property
    def digits(self) -> int:
        """Decimals that are shown."""
        return {"percent": 1, "fraction": 3, "hours": 1, "count": 0, "billions": 1}[self.unit]

    @property
    def title(self) -> str:
        """Label and unit."""
        unit = {"percent": ", %", "hours": ", h", "billions": ", billions"}.get(self.unit, "")
        return f"{self.label}{unit}"


@dataclass(frozen=True)
class Comparison:
    """What the claim says is better than what.

    Attributes:
        key: the key column that tells them apart.
        of: its value in the rows that should be better.
        against: its value in the rows of the baseline, against which p-values are.
        otherwise: what is said if the direction is not found, such as "pre-training did not help here".
        leave_out: rows with one of these key values are not counted, such as averages of others.
        least_against_most: a numeric key column by which the rows are not paired: the smallest of the one is compared
            with the largest of the other.
    """

    key: str
    of: str
    against: str
    otherwise: str
    leave_out: tuple[str, ...] = ()
    least_against_most: str | None = None


@dataclass(frozen=True)
class Item:
    """What ``item.yaml`` says.

    Attributes:
        title: one line.
        claim: what the paper concludes, one or two sentences.
        source: where in the paper.
        kind: of the figure: points with error bars, a curve over ``x``, or ROC curves.
        keys: the key columns, in order.
        rows: keys that make the rows of the table; ``metric`` may be among them or the columns.
        columns: keys that make its columns.
        metrics: by their name in the files; the first is drawn.
        series: keys that are told apart by colour.
        panels: keys of which each combination has its own panel.
        x: numeric key of the horizontal axis of a curve.
        scale: of the horizontal axis.
        labels: how keys and their values are written.
        comparison: what the claim compares, if it does.
        results: a sentence about where our numbers are from.
    """

    title: str
    claim: str
    source: str
    kind: Literal["table", "curve", "roc"]
    keys: tuple[str, ...]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    metrics: Mapping[str, Metric]
    series: tuple[str, ...] = ()
    panels: tuple[str, ...] = ()
    x: str | None = None
    scale: Literal["linear", "log"] = "linear"
    labels: Mapping[str, str] = field(default_factory=dict)
    comparison: Comparison | None = None
    results: str = ""

    def __post_init__(self) -> None:
        if not self.metrics or not self.keys or len(set(self.keys)) < len(self.keys):
            raise ConfigurationError(f"keys are {list(self.keys)}, metrics {list(self.metrics)}; name each once.")
        if reserved := {*VALUES, "x", "y"}.intersection(self.keys):
            raise ConfigurationError(f"keys may not be called {sorted(reserved)}; those are columns of values.")
        placed = [key for key in (*self.rows, *self.columns) if key != "metric"]
        if sorted(placed) != sorted(self.keys):
            raise ConfigurationError(f"rows and columns name {placed}; they must name each of {list(self.keys)} once.")
        compared = self.comparison
        named = [*self.series, *self.panels, *([self.x] if self.x else [])]
        named += [compared.key, compared.least_against_most or compared.key] if compared else []
        if unknown := [key for key in named if key not in self.keys]:
            raise ConfigurationError(did_you_mean("key", unknown[0], self.keys))
        left = [key for key in self.keys if key not in (*self.series, *self.panels, self.x)]
        if self.kind != "table" and left:
            raise ConfigurationError(f"A {self.kind} needs each key in series, panels or x; {left} are in none.")
        if (self.kind == "curve") != (self.x is not None):
            raise ConfigurationError(f"kind is {self.kind!r} and x {self.x!r}; a curve, and only it, needs x.")

    def label(self, value: str) -> str:
        """How a key or a value is written."""
        return self.labels.get(value, value)


@dataclass(frozen=True)
class Row:
    """One row of ``expected.csv`` or ``results.csv``.

    Attributes:
        line: in the file.
        keys: values of the key columns.
        metric: name of the metric.
        mean: ``None`` if not known or not run; the note says why.
        sd: standard deviation over the runs.
        n: number of runs.
        p_value: against the baseline; a text is a bound.
        test: that gave it.
        note: what a reader has to know about the number.
        point: of a ROC curve: false and true positive rate.
    """

    line: int
    keys: Mapping[str, str]
    metric: str
    mean: float | None = None
    sd: float | None = None
    n: int | None = None
    p_value: float | str | None = None
    test: str = ""
    note: str = ""
    point: tuple[float, float] | None = None


@dataclass(frozen=True)
class Experiment:
    """A folder of one table or figure of the paper.

    Attributes:
        name: of the folder.
        item: what it is about.
        expected: rows of the paper.
        results: our rows; ``None`` if it has not been run.
    """

    name: str
    item: Item
    expected: tuple[Row, ...]
    results: tuple[Row, ...] | None
