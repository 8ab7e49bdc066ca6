"""The folder of an experiment: what is claimed, the numbers of the paper, and ours where it has been run.

``item.yaml`` says what the rows mean and how they are drawn, ``expected.csv`` holds the paper's numbers, and
``results.csv`` ours. Both tables have one row per cell: the key columns that ``item.yaml`` names, then
``metric,mean,sd,n,p_value,test,note``; points of ROC curves have ``x,y`` as well.
"""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import yaml

from suprem.errors import ConfigurationError, brief, did_you_mean
from suprem.report.table import significance
from suprem.zoo._schema import from_mapping

__all__ = ["EXPECTED", "ITEM", "RESULTS", "Comparison", "Experiment", "Item", "Metric", "Row", "read_experiment"]

ITEM, EXPECTED, RESULTS = "item.yaml", "expected.csv", "results.csv"
VALUES = ("metric", "mean", "sd", "n", "p_value", "test", "note")
ROC_POINT = "roc"
_LIMITS = {"percent": 100.0, "fraction": 1.0}
_MOST_BYTES = 20_000_000


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


def read_experiment(folder: str | Path) -> Experiment:
    """Reads and checks a folder.

    Args:
        folder: with ``item.yaml``, ``expected.csv`` and, where it has been run, ``results.csv``.

    Raises:
        ConfigurationError: a file is missing or wrong, with its name, the line and what to do.
    """
    place = Path(folder).resolve()
    path = place / ITEM
    try:
        content = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is no YAML: {brief(str(error))}. Correct it.") from error
    item = from_mapping(Item, content, str(path))
    results = place / RESULTS
    return Experiment(
        place.name,
        item,
        _read(place / EXPECTED, item),
        _read(results, item) if results.exists() else None,
    )


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigurationError(f"{path} has {path.stat().st_size:,} bytes; {_MOST_BYTES:,} are allowed.")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigurationError(f"{path} does not exist; name a folder that holds {ITEM} and {EXPECTED}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}. It must be a text in UTF-8.") from error


def _read(path: Path, item: Item) -> tuple[Row, ...]:
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    rows: list[Row] = []
    seen: dict[tuple[object, ...], int] = {}
    try:
        head = next(reader, [])
        _check_head(path, head, item)
        for cells in reader:
            if not cells:
                continue
            where = f"{path}, line {reader.line_num}"
            if len(cells) != len(head):
                raise ConfigurationError(f"{where} has {len(cells)} cells, the header {len(head)}; quote commas.")
            row = _row(where, reader.line_num, {k: v.strip() for k, v in zip(head, cells, strict=True)}, item)
            key = (*(row.keys[name] for name in item.keys), row.metric, row.point)
            if key in seen:
                raise ConfigurationError(f"{where} has the same keys as line {seen[key]}; remove one of them.")
            seen[key] = row.line
            rows.append(row)
    except csv.Error as error:
        raise ConfigurationError(f"{path}, line {reader.line_num}: {error}. Write it with a CSV library.") from error
    return tuple(rows)


def _check_head(path: Path, head: list[str], item: Item) -> None:
    wanted = [*item.keys, *VALUES, *(("x", "y") if item.kind == "roc" else ())]
    for name in head:
        if name not in wanted:
            raise ConfigurationError(f"{path}, line 1: {did_you_mean('column', name, wanted)}")
    if missing := [name for name in wanted if name not in head]:
        raise ConfigurationError(f"{path}, line 1 lacks the columns {missing}; add them, empty if not known.")
    if len(head) != len(wanted):
        raise ConfigurationError(f"{path}, line 1 is {head}; a column is there twice. Remove one of them.")


def _row(where: str, line: int, cells: Mapping[str, str], item: Item) -> Row:
    name, is_point = cells["metric"], item.kind == "roc" and cells["metric"] == ROC_POINT
    if name not in item.metrics and not is_point:
        raise ConfigurationError(f"{where}: {did_you_mean('metric', name, item.metrics)}")
    most = math.inf if is_point else _LIMITS.get(item.metrics[name].unit, math.inf)
    count = _number(where, "n", cells["n"], math.inf)
    if count is not None and (count < 1 or count != int(count)):
        raise ConfigurationError(f"{where}: n is {cells['n']!r}; it is a number of runs, at least 1.")
    row = Row(
        line,
        {key: cells[key] for key in item.keys},
        name,
        mean=_number(where, "mean", cells["mean"], most),
        sd=_number(where, "sd", cells["sd"], most),
        n=None if count is None else int(count),
        p_value=_p_value(where, cells["p_value"]),
        test=cells["test"],
        note=cells["note"],
        point=_point(where, cells, is_point) if item.kind == "roc" else None,
    )
    for key in {item.x, item.comparison.least_against_most if item.comparison else None} - {None}:
        value = _number(where, str(key), row.keys[str(key)], math.inf)
        if key == item.x and item.scale == "log" and value == 0:
            raise ConfigurationError(f"{where}: {key} is 0, which a logarithmic axis cannot show; remove the row.")
    _check_row(where, row)
    return row


def _check_row(where: str, row: Row) -> None:
    """What the numbers of a row must have in common."""
    if row.mean is None and (row.sd, row.p_value) != (None, None):
        raise ConfigurationError(f"{where} has no mean but a deviation or p-value; fill in the mean.")
    if row.mean is None and row.point is None and not row.note:
        raise ConfigurationError(f"{where} has no mean; say in its note why.")
    if row.mean is not None and row.point is not None:
        raise ConfigurationError(
            f"{where} is a point of a curve and has a mean; write the area as a metric of its own."
        )
    if row.p_value is not None and not row.test:
        raise ConfigurationError(f"{where} has a p-value but names no test; fill in the column test.")
    if row.n is not None and row.n < 2 and (row.p_value is not None or row.sd is not None):
        raise ConfigurationError(f"{where}: n is {row.n}; a deviation or a test needs two runs. Leave both empty.")


def _number(where: str, name: str, text: str, most: float) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise ConfigurationError(f"{where}: {name} is {brief(text)}; write a number, or leave it empty.") from None
    if not (math.isfinite(value) and 0 <= value <= most):
        upper = "" if most == math.inf else f" and at most {most:g}"
        raise ConfigurationError(f"{where}: {name} is {text}; it must be at least 0{upper}.")
    return value


def _p_value(where: str, text: str) -> float | str | None:
    if not text:
        return None
    try:
        significance(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None
    return text if text[0] in "<>" else float(text)


def _point(where: str, cells: Mapping[str, str], is_point: bool) -> tuple[float, float] | None:
    x, y = (_number(where, name, cells[name], 1.0) for name in ("x", "y"))
    if is_point and x is not None and y is not None:
        return x, y
    if is_point or x is not None or y is not None:
        raise ConfigurationError(
            f"{where}: x is {cells['x']!r}, y {cells['y']!r}; rows {ROC_POINT!r}, and only they, need both."
        )
    return None
