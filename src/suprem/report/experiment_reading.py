"""Reading the folder of an experiment, and refusing what is wrong in it with the file, the line and what to do."""

import csv
import io
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from suprem.errors import ConfigurationError, brief, did_you_mean
from suprem.report.experiment import EXPECTED, ITEM, RESULTS, VALUES, Experiment, Item, Row
from suprem.report.table import significance
from suprem.zoo._schema import from_mapping

__all__ = ["read_experiment"]

logger = logging.getLogger(__name__)

ROC_POINT = "roc"  # metric of the rows that are points of a curve
_LIMITS = {"percent": 100.0, "fraction": 1.0}
_MOST_BYTES = 20_000_000


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
    _warn_of_fractions(path, rows, item)
    return tuple(rows)


def _warn_of_fractions(path: Path, rows: Sequence[Row], item: Item) -> None:
    """A DSC of 0.9 where 90 is meant passes every check of a single row."""
    for name, metric in item.metrics.items():
        means = [row.mean for row in rows if row.metric == name and row.mean is not None]
        if metric.unit == "percent" and means and 0 < max(means) <= 1:
            text = "%s: every %s is at most 1, and its unit is percent; multiply by 100 if these are fractions."
            logger.warning(text, path, name)


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
