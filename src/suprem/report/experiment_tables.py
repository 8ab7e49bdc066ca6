"""Tables of an experiment: the numbers of the paper, ours below them, and the differences."""

from collections.abc import Iterable, Sequence

from suprem.report.experiment import Experiment, Item, Row
from suprem.report.experiment_claims import Effect
from suprem.report.table import Cell, Estimate, Table

__all__ = ["cells_table", "effects_table", "main_table"]

Key = tuple[str, ...]
PAPER, OURS, DIFFERENCE = "paper", "here", "here - paper"


class _Notes:
    """Distinct notes, numbered in the order of their first appearance."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def sign(self, text: str) -> str:
        """Number of a note; empty without one."""
        return str(self._numbers.setdefault(text, len(self._numbers) + 1)) if text else ""

    def lines(self) -> tuple[str, ...]:
        return tuple(f"[{number}] {text}" for text, number in self._numbers.items())


def _axes(item: Item) -> tuple[Key, Key]:
    """Keys of the rows and of the columns; several metrics are told apart by the columns unless the item says where."""
    if len(item.metrics) > 1 and "metric" not in (*item.rows, *item.columns):
        return item.rows, (*item.columns, "metric")
    return item.rows, item.columns


def _at(row: Row, keys: Iterable[str]) -> Key:
    return tuple(row.metric if key == "metric" else row.keys[key] for key in keys)


def _shown(item: Item, key: str, value: str) -> str:
    if key == "metric":
        return item.metrics[value].title
    return item.label(value)


def main_table(experiment: Experiment) -> Table:
    """One line per combination of row keys and source, one column per combination of column keys.

    Where there are results, lines of the paper and ours alternate, and a third one holds the differences of cells that
    both have.
    """
    item, notes = experiment.item, _Notes()
    row_keys, column_keys = _axes(item)
    sources = {PAPER: _cells(experiment.expected), OURS: _cells(experiment.results or ())}
    every = [row for source in sources.values() for row in source]
    lines, columns = (_in_order(_at(row, keys) for row in every) for keys in (row_keys, column_keys))
    lookup = {
        name: {(_at(row, row_keys), _at(row, column_keys)): row for row in rows} for name, rows in sources.items()
    }
    ran = experiment.results is not None
    table: list[list[Cell]] = []
    for line in lines:
        head = [_shown(item, key, value) for key, value in zip(row_keys, line, strict=True)]
        for name, rows in lookup.items():
            found = [rows.get((line, column)) for column in columns]
            if any(found):
                cells = [_cell(item, row, name, notes) for row in found]
                table.append([*head, *([name] if ran else []), *cells])
        pairs = [(lookup[PAPER].get((line, column)), lookup[OURS].get((line, column))) for column in columns]
        differences = [_difference(item, *pair) for pair in pairs]
        if any(differences):
            table.append([*head, DIFFERENCE, *differences])
    names = [item.label(key) if key != "metric" else "quantity" for key in row_keys]
    names += [*(["source"] if ran else []), *(_column(item, column_keys, column) for column in columns)]
    caption = f"{item.title}. {_what(item)}"
    return Table(names, table, caption=caption, notes=(*notes.lines(), *_test_notes(experiment)))


def _in_order(values: Iterable[Key]) -> list[Key]:
    """Distinct values as they appear, those that differ in their last part alone next to each other."""
    distinct = list(dict.fromkeys(values))
    place = {start: number for number, start in enumerate(dict.fromkeys(value[:-1] for value in distinct))}
    return sorted(distinct, key=lambda value: place[value[:-1]])


def _cells(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row.point is None]


def _column(item: Item, keys: Key, values: Key) -> str:
    words = [_shown(item, key, value) for key, value in zip(keys, values, strict=True)]
    return ", ".join(words) or next(iter(item.metrics.values())).title


def _what(item: Item) -> str:
    labels = ", ".join(metric.title for metric in item.metrics.values())
    return f"{labels}; mean ± standard deviation over the runs where it is known."


def _cell(item: Item, row: Row | None, source: str, notes: _Notes) -> Cell:
    if row is None:
        return None
    sign = notes.sign(row.note)
    if row.mean is None:
        return f"{'not printed' if source == PAPER else 'not run'} [{sign}]"
    return Estimate(row.mean, row.sd, row.n, row.p_value, digits=item.metrics[row.metric].digits, footnote=sign)


def _difference(item: Item, paper: Row | None, ours: Row | None) -> Cell:
    if paper is None or ours is None or paper.mean is None or ours.mean is None:
        return None
    return Estimate(ours.mean - paper.mean, signed=True, digits=item.metrics[ours.metric].digits)


def _test_notes(experiment: Experiment) -> list[str]:
    compared = experiment.item.comparison
    if compared is None:
        return []
    against = experiment.item.label(compared.against)
    lines = []
    for name, rows in ((PAPER, experiment.expected), (OURS, experiment.results or ())):
        if tests := dict.fromkeys(row.test for row in rows if row.test):
            lines.append(f"Tests against {against} ({name}): {', '.join(tests)}.")
    return lines


def effects_table(item: Item, sources: Sequence[tuple[str, Sequence[Effect]]]) -> Table:
    """The differences that the claim is about, one line per pair and source; positive is better."""
    compared = item.comparison
    of, against = (item.label(compared.of), item.label(compared.against)) if compared else ("", "")
    keys = [key for key in item.keys if compared and key not in (compared.key, compared.least_against_most)]
    rows: list[Sequence[Cell]] = []
    for name, found in sources:
        for effect in found:
            metric = item.metrics[effect.of.metric]
            gain = Estimate(effect.gain, p_value=effect.of.p_value, signed=True, digits=metric.digits)
            head = [item.label(effect.of.keys[key]) for key in keys]
            rows.append([name, *head, metric.title, *_sides(item, effect, metric.digits), gain])
    names = ["source", *(item.label(key) for key in keys), "quantity", of, against, "gain"]
    return Table(names, rows, caption=f"{of} against {against}; a positive gain is better")


def _sides(item: Item, effect: Effect, digits: int) -> list[Cell]:
    free = item.comparison.least_against_most if item.comparison else None
    cells: list[Cell] = []
    for row in (effect.of, effect.against):
        mean = f"{row.mean:.{digits}f}"
        cells.append(f"{mean} ({item.label(free)} {row.keys[free]})" if free else Estimate(float(mean), digits=digits))
    return cells


def cells_table(experiment: Experiment) -> Table:
    """All cells of both sources, one row each, for programs."""
    item = experiment.item
    index: dict[tuple[Key, str], list[Row | None]] = {}
    for place, rows in enumerate((experiment.expected, experiment.results or ())):
        for row in _cells(rows):
            index.setdefault((_at(row, item.keys), row.metric), [None, None])[place] = row
    lines: list[Sequence[Cell]] = []
    for (keys, metric), (paper, ours) in index.items():
        cells: list[Cell] = []
        for side in (paper, ours):
            cells += [None] * 6 if side is None else [side.mean, side.sd, side.n, side.p_value, side.test, side.note]
        lines.append([*keys, metric, *cells])
    values = ("mean", "sd", "n", "p_value", "test", "note")
    names = [*item.keys, "metric", *(f"{source}_{value}" for source in ("paper", "here") for value in values)]
    return Table(names, lines)
