"""Scores that lie in CSV files, per case and structure: those of other benchmarks, and those written here before."""

import json
import logging
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from suprem._files import read_csv
from suprem.errors import ConfigurationError, UnknownNameError
from suprem.evaluation.metrics import MaskScores
from suprem.evaluation.scores import CaseScore, Evaluation
from suprem.labels import canonical_name, known_name
from suprem.volumes.io import image_suffix

__all__ = ["CASES", "DOCUMENT", "is_scores", "read_scores"]

CASES, DOCUMENT = "cases.csv", "evaluation.json"

_log = logging.getLogger(__name__)

_METRICS = {
    "dsc": "dsc",
    "dice": "dsc",
    "nsd": "nsd",
    "hd95": "hd95_mm",
    "hd95_mm": "hd95_mm",
    "hd": "hd_mm",
    "hd_mm": "hd_mm",
    "asd": "asd_mm",
    "asd_mm": "asd_mm",
}
_SHARES = ("dsc", "nsd")  # in [0, 1]
_NO_STRUCTURES = ("background", "average", "mean", "avg")
_EMPTY = ("", "nan", "na", "n/a", "none")
_OWN = ("case", "structure")
_ADVICE = "Give one row per case: its name, then a column per structure."

_Values = dict[tuple[str, str], dict[str, float]]  # (case, structure) -> metric -> value


def is_scores(path: str | Path) -> bool:
    """Whether a path holds scores rather than masks: a CSV file, or a folder with ``cases.csv`` or ``dsc.csv`` ...

    Raises:
        ConfigurationError: a folder holds both.
    """
    path = Path(path)
    if path.is_file():
        return path.suffix.lower() == ".csv"
    tables = _tables(path) if path.is_dir() else []
    if not tables:
        return False
    masks = [p for p in sorted(path.iterdir()) if p.is_file() and image_suffix(p)]
    if masks:
        raise ConfigurationError(
            f"{path} holds scores ({tables[0].name}) and images ({masks[0].name}); name the CSV file itself, or move "
            "one of them to a folder of its own."
        )
    return True


def _tables(folder: Path) -> list[Path]:
    """Our own table of cases, or else one table per metric."""
    found = [path for path in sorted(folder.iterdir()) if path.suffix.lower() == ".csv"]
    own = [path for path in found if path.name == CASES]
    return own or [path for path in found if path.stem.lower() in _METRICS]


def read_scores(path: str | Path, *, known: Collection[str] = (), tolerance_mm: float | None = None) -> Evaluation:
    """Scores per case as if the masks had been compared here.

    Two layouts are read. A folder with one CSV file per metric, ``dsc.csv`` and ``nsd.csv`` (and ``hd95.csv``,
    ``hd.csv``, ``asd.csv``), as Touchstone publishes them: one row per case, the first column its name, one column per
    structure, matched by name in any spelling. And ``cases.csv`` as ``suprem evaluate`` writes it. One such file alone
    will do. An empty cell or ``nan`` is no value. Columns of the background or of averages are left out with a note.

    Args:
        path: the folder or a file.
        known: names of structures outside the registry that are accepted too.
        tolerance_mm: refuse NSD that was measured here with another tolerance; tables of others do not say theirs.

    Raises:
        ConfigurationError: a table cannot be read, names a case or structure twice, or holds what is no score.
        UnknownNameError: columns that name no structure.

    References:
        Bassi et al., "Touchstone Benchmark: Are We on the Right Way for Evaluating AI Algorithms for Medical
        Segmentation?", 2024.
    """
    path = Path(path)
    tables = _tables(path) if path.is_dir() else [path]
    if not tables:
        raise ConfigurationError(f"{path} holds no scores: neither {CASES} nor {', '.join(sorted(_METRICS))}.csv.")
    values: _Values = {}
    notes: list[str] = []
    for table in tables:
        names, rows = read_csv(table, advice=_ADVICE)
        if names[:2] == _OWN:
            _check_tolerance(table, tolerance_mm)
            _add_own(values, table, names, rows)
        else:
            notes += _add_table(values, table, names, rows, known)
    for note in notes:
        _log.warning(note)
    every = [field.name for field in fields(MaskScores)]
    scores = tuple(
        CaseScore(
            case,
            structure,
            found.get("reference_ml", math.nan),
            MaskScores(**{name: found.get(name, math.nan) for name in every}),
        )
        for (case, structure), found in values.items()
    )
    if not scores:
        raise ConfigurationError(f"{path} holds no score of any case. {_ADVICE}")
    return Evaluation(str(path), scores, (), (), (), (), notes=tuple(notes))


def _check_tolerance(table: Path, wanted: float | None) -> None:
    document = table.with_name(DOCUMENT)
    if wanted is None or not document.is_file():
        return
    try:
        found = float(json.loads(document.read_text(encoding="utf-8"))["settings"]["tolerance_mm"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{document} does not say the tolerance of {table.name}: {error!r}. Evaluate again."
        ) from error
    if found != wanted:
        raise ConfigurationError(
            f"{table} was measured with a tolerance of {found:g} mm, and this run with {wanted:g} mm; use one of them "
            "for both."
        )


def _add_own(values: _Values, table: Path, names: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
    every = {field.name for field in fields(MaskScores)} | {"reference_ml"}
    unknown = [name for name in names[2:] if name not in every]
    if unknown or "dsc" not in names:
        raise ConfigurationError(
            f"{table} is no table of cases: it has {', '.join(unknown) or 'no dsc'} after case and structure."
        )
    for line, row in _complete(table, names, rows):
        case, structure = row["case"].strip(), known_name(row["structure"].strip())
        if (case, structure) in values:
            raise ConfigurationError(f"{table} has {structure} of {case} twice, again in line {line}; remove one.")
        found = {name: _number(row[name], name, f"{table}, line {line}, {name}") for name in names[2:]}
        values[case, structure] = {name: value for name, value in found.items() if value is not None}


def _add_table(
    values: _Values, table: Path, names: Sequence[str], rows: Sequence[Mapping[str, str]], known: Collection[str]
) -> list[str]:
    metric = _METRICS.get(table.stem.lower())
    if metric is None:
        raise ConfigurationError(
            f"{table} does not say which metric it holds; call it {', '.join(f'{name}.csv' for name in _METRICS)}."
        )
    columns, left_out = _columns(table, names, known)
    seen = set()
    for line, row in _complete(table, names, rows):
        case = row[names[0]].strip()
        if not case or case in seen:
            what = f"the case {case} twice, again" if case else "no name of a case"
            raise ConfigurationError(f"{table} has {what} in line {line}; correct the first column.")
        seen.add(case)
        for column, structure in columns.items():
            value = _number(row[column], metric, f"{table}, line {line}, {column}")
            if value is not None:
                values.setdefault((case, structure), {})[metric] = value
    return [f"{table}: the columns {', '.join(left_out)} are no structures and were left out."] if left_out else []


def _columns(table: Path, names: Sequence[str], known: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Column -> structure, and the columns of no structure."""
    columns: dict[str, str] = {}
    unknown, left_out = [], []
    for column in names[1:]:
        text = column.strip()
        if text.lower() in _NO_STRUCTURES:
            left_out.append(text)
            continue
        try:
            structure = text if text in known else canonical_name(text)
        except UnknownNameError as error:
            unknown.append(str(error))
            continue
        if structure in columns.values():
            raise ConfigurationError(f"{table} has two columns of {structure}; remove one of them.")
        columns[column] = structure
    if unknown:
        raise UnknownNameError(f"{table} has columns that name no structure. {' '.join(unknown)}")
    if not columns:
        raise ConfigurationError(f"{table} has no column of a structure. {_ADVICE}")
    return columns, left_out


def _complete(
    table: Path, names: Sequence[str], rows: Sequence[Mapping[str, str]]
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The rows with the number of their lines; each has a cell for every column."""
    if len(set(names)) != len(names):
        raise ConfigurationError(f"{table} has two columns of one name: {', '.join(names)}. Rename one of them.")
    for line, row in enumerate(rows, start=2):
        if set(row) != set(names) or any(row[name] is None for name in names):
            raise ConfigurationError(f"{table} has another number of cells in line {line} than in its first line.")
        yield line, row


def _number(text: str, metric: str, where: str) -> float | None:
    if text.strip().lower() in _EMPTY:
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{where} holds {text!r}, which is no number; leave it empty if there is none."
        ) from error
    if metric in _SHARES and not 0 <= value <= 1:
        raise ConfigurationError(f"{where} holds {value:g}; {metric} lies in 0 to 1. Divide percentages by 100.")
    if metric.endswith("_mm") and value < 0:
        raise ConfigurationError(f"{where} holds {value:g}; a distance is not negative.")
    return value
